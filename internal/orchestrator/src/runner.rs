//! A batch of inputs is one transaction: load, `next`, save, history, outbox.

pub(crate) mod act;
pub(crate) mod batch;
pub(crate) mod consumer;
pub(crate) mod encode;
pub(crate) mod registry;
pub(crate) mod spans;
pub(crate) mod timers;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use palinode_db::Db;
use palinode_outbox::Doorbell;
use palinode_telemetry::Tracer;
use palinode_values::Clock;

use registry::Registry;

/// What every loop of the orchestrator works with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Engine {
    pub(crate) db: Db,
    pub(crate) registry: Registry,
    pub(crate) doorbell: Doorbell,
    pub(crate) tracer: Tracer,
    /// What the names of topics begin with.
    pub(crate) prefix: Arc<str>,
    pub(crate) clock: Clock,
}

/// The name of this service.
pub(crate) const SERVICE: &str = "orchestrator";
