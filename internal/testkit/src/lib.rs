//! Real PostgreSQL and Kafka for tests and for `palinode dev`: launchers, databases, waiting.
//!
//! - [`postgres`] starts a PostgreSQL of our own, on binaries found or fetched.
//! - [`database`] gives each test a migrated database on a cluster that its process shares.
//! - [`commands`] sends commands to a participant under test.
//! - [`kafka`] starts a real Apache Kafka from its published jars.
//! - [`process`] runs a child process that ends with us.
//! - [`tables`] tells how statements used the tables of a database.
//! - [`eventually`] waits for a fact.
//!
//! Servers started here end with the process that started them, however it ends.
//!
//! Not here: stacks of services and the invariants they are judged by; those are `lab`'s.

pub mod commands;
pub mod database;
mod environment;
mod eventually;
pub mod kafka;
pub mod postgres;
pub mod process;
mod progress;
mod scratch;
pub mod tables;

pub use eventually::eventually;
pub use progress::{Progress, skipped};
