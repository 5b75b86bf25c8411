//! Appending to the outbox of a real database.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod append;
mod topics;
