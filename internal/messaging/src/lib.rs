//! Kafka: envelope, topics, producer settings and the batch loop of consumers.
//!
//! Purpose: the only crate that names librdkafka. A record is protobuf in CloudEvents 1.0 Kafka
//! binary mode with trace headers and saga headers.
//! Invariant: an offset is stored only after the handler's transaction has committed.
//! Not here: what a record means (participant, orchestrator) and how it is kept until it is
//! published (outbox, relay).

mod admin;
mod backoff;
mod broker;
mod consumer;
mod envelope;
mod headers;
mod kafka;
mod producer;
mod slab;
mod spans;
mod tail;
mod topics;

pub use admin::{create_topics, delete_topics, partitions, reachable};
pub use backoff::Backoff;
pub use broker::InProcessBroker;
pub use consumer::{
    BatchHandler, Committed, Consumer, ConsumerOptions, ConsumerStatus, Failure, Turns,
};
pub use envelope::{HeaderError, Received, Record, SagaHeaders, lane_of, partition_of};
pub use headers::Headers;
pub use kafka::{BrokerKind, Error, Kafka};
pub use producer::{Delivery, Outgoing, PAGE_RECORDS_MAX, Permit, Producer};
pub use spans::{creation_span, saga_attributes};
pub use tail::{StartAt, TopicTail};
pub use topics::{LANES, TOPICS, Topic, TopicSpec, commands_of, events_of};
