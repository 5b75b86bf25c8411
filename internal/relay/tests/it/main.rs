//! The relay between a real database and a broker: the in-process one, or real Kafka where
//! `PALINODE_TEST_KAFKA=HOST:PORT` names one.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod checker;
mod faults;
mod leases;
mod log;
mod metrics;
mod order;
mod outages;
mod parking;
mod plans;
mod processes;
mod record;
mod restarts;
mod scripted;
mod stack;
mod verdict;
mod writers;
