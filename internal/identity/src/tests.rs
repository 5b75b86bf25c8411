//! On a real PostgreSQL.

mod accounts;
mod fixture;
mod keys;
mod registration;
mod sessions;
mod throttle;
