//! Requests over HTTP against a transcoder whose service answers gRPC frames in the same process,
//! and, for what only a network can show, over a socket.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod build;
mod errors;
mod openapi;
mod requests;
mod responses;
mod routing;
mod shop;
mod streams;
mod transport;
