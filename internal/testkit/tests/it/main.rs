//! testkit against real servers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod database;
mod docs;
mod kafka;
mod postgres;
mod tidy;
mod transactions;
