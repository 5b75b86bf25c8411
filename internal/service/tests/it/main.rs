//! Services hosted as in a process: without a database, and with one and a broker.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod hosting;
mod messages;
