//! On a real PostgreSQL.

mod categories;
mod fixture;
mod listing;
mod products;
mod search;
mod seed;
