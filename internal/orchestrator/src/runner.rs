//! A batch of inputs is one transaction: load, `next`, save, history, outbox.

pub(crate) mod act;
pub(crate) mod batch;
pub(crate) mod breaker;
pub(crate) mod bulk;
pub(crate) mod consumer;
pub(crate) mod deed;
pub(crate) mod encode;
pub(crate) mod registry;
pub(crate) mod retention;
pub(crate) mod spans;
pub(crate) mod start;
pub(crate) mod timers;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use palinode_db::{Db, Error};
use palinode_outbox::Doorbell;
use palinode_telemetry::Tracer;
use palinode_values::Clock;

use breaker::Breakers;
use registry::{Registry, StoredPlan};

/// What every loop of the orchestrator works with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Engine {
    pub(crate) db: Db,
    pub(crate) registry: Registry,
    pub(crate) breakers: Breakers,
    pub(crate) doorbell: Doorbell,
    pub(crate) tracer: Tracer,
    /// What the names of topics begin with.
    pub(crate) prefix: Arc<str>,
    pub(crate) clock: Clock,
}

impl Engine {
    /// The plan of that number, which another orchestrator, of a newer release, may have stored.
    pub(crate) async fn plan(&self, id: i32) -> Result<Option<Arc<StoredPlan>>, Error> {
        if let Some(plan) = self.registry.get(id) {
            return Ok(Some(plan));
        }
        self.registry.refresh(&self.db).await?;
        Ok(self.registry.get(id))
    }
}

/// The name of this service.
pub(crate) const SERVICE: &str = "orchestrator";
