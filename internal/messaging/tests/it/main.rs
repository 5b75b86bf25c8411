//! Producer, consumers, tail and administration against a broker: the in-process one, or real
//! Kafka where `PALINODE_TEST_KAFKA=HOST:PORT` names one.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod admin;
mod consumer;
mod poison;
mod producer;
mod rebalance;
mod stack;
mod tail;
