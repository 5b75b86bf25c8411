//! A batch of inputs is one transaction: load, `next`, save, history, outbox; one statement where all that
//! has to be known is remembered.

pub(crate) mod act;
pub(crate) mod batch;
pub(crate) mod breaker;
pub(crate) mod bulk;
pub(crate) mod consumer;
pub(crate) mod deed;
pub(crate) mod encode;
pub(crate) mod live;
pub(crate) mod recent;
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

use batch::Inputs;
use breaker::Breakers;
use recent::Recent;
use registry::{Registry, StoredPlan};
use timers::Soon;

/// What every loop of the orchestrator works with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Engine {
    pub(crate) db: Db,
    pub(crate) registry: Registry,
    pub(crate) breakers: Breakers,
    pub(crate) recent: Recent,
    pub(crate) doorbell: Doorbell,
    pub(crate) soon: Soon,
    /// Rung when a bulk is run.
    pub(crate) bulks: Doorbell,
    /// Rung when a breaker is set by hand.
    pub(crate) set: Doorbell,
    pub(crate) tracer: Tracer,
    /// What the names of topics begin with.
    pub(crate) prefix: Arc<str>,
    pub(crate) clock: Clock,
}

impl Engine {
    /// Applies the inputs in a transaction of that name, and tells of it.
    pub(crate) async fn apply(&self, name: &'static str, inputs: &Inputs) -> Result<(), Error> {
        let hot = self.db.with_fixed_plans();
        let written = hot
            .run_tx(name, |tx| batch::apply(self, tx, inputs))
            .await?;
        written.committed(self);
        Ok(())
    }

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
