//! Publishes outboxes to Kafka, in order for each key.
//!
//! Purpose: at least once. Nothing that was committed is lost, nothing that was rolled back is
//! published, and the first occurrences of a key's records follow the order of their ids.
//! Owns: the tables `outbox_lane`, `outbox_worker`, `outbox_parked` and `parked_verdict`; deletes from
//! `outbox`. [`operate`] is for operators: it shows all of that, and takes their verdicts.
//! Invariants: a row is deleted only after Kafka acknowledged it, by its id and never by range. A
//! page starts at the head of its lane, never after the last id. A lane has one page in flight.
//! After its trust in a lease is over a worker sends nothing.
//! Modes: a queue, whose rows are deleted; a log ([`Mode::Log`]), whose rows stay until nobody writes
//! and all of them are published, and over which a cursor moves from snapshot to snapshot.
//! Not here: appending (outbox) and dedupe (participant): a crash repeats records.
//!
//! ```no_run
//! use palinode_messaging::{Kafka, Producer};
//! use palinode_relay::{Options, Relay, Source};
//! use palinode_telemetry::Tracer;
//! use palinode_values::Clock;
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn publish(
//! #     kafka: &Kafka, sources: Vec<Source>, stop: CancellationToken,
//! # ) -> Result<(), palinode_messaging::Error> {
//! let producer = Producer::start(kafka)?;
//! let (tracer, clock) = (Tracer::disabled(), Clock::system());
//! let relay = Relay::new(Options::default(), sources, producer, tracer, clock);
//! relay.run(stop).await;
//! # Ok(())
//! # }
//! ```
#![warn(clippy::missing_errors_doc)]

mod floor;
mod lanes;
mod log;
pub mod metrics;
#[cfg(test)]
mod model;
pub mod operate;
mod options;
mod page;
mod poll;
mod publisher;
mod relay;
mod store;
mod trust;
mod verdict;
mod worker;

pub use options::{Mode, Options};
pub use publisher::Publisher;
pub use relay::{CONNECTIONS, DatabaseStatus, Relay, Source};
