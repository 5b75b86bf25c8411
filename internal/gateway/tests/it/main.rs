//! The gateway over HTTP, before an order service that answers as told.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod callers;
mod connections;
mod edge;
mod graphql;
mod https;
mod orders;
mod routes;
