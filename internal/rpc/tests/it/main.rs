//! A server and a channel over loopback.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod authorizer;
mod requests;
mod server;
