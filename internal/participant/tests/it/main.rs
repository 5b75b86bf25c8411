//! The participant on a real PostgreSQL.

mod batch;
mod concurrency;
mod fixture;
mod settle;
mod trace;
