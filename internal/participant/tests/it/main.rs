//! The participant on a real PostgreSQL.

mod batch;
mod concurrency;
mod fixture;
mod inbox;
mod retention;
mod settle;
mod trace;
