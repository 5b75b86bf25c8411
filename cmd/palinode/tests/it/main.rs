//! The tool as its user runs it: real processes, a real PostgreSQL, and the real Kafka of
//! `PALINODE_TEST_KAFKA` besides the in-process broker where that is set.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod bad_input;
mod demo;
mod kafka;
mod lab;
mod mistakes;
mod orders;
mod restart;
mod serve;
mod shop;
mod tool;
