//! One use case a file.

pub(crate) mod cancel;
pub(crate) mod cart;
pub(crate) mod counter;
pub(crate) mod decide;
pub(crate) mod forget;
pub(crate) mod place;
pub(crate) mod quote;
pub(crate) mod sweep;
pub(crate) mod watch;

#[cfg(test)]
mod tests;

use palinode_db::Db;
use palinode_messaging::{Record, creation_span};
use palinode_outbox::Doorbell;
use palinode_telemetry::{TraceContext, Tracer};
use palinode_values::Clock;

/// What use cases that start sagas work with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) doorbell: Doorbell,
    pub(crate) tracer: Tracer,
    /// What the names of topics begin with.
    pub(crate) prefix: String,
}

impl Desk {
    /// To be called when starts of sagas are committed: `start` was created under `parent`.
    fn started(&self, start: &Record, parent: &TraceContext) {
        if self.tracer.is_enabled() {
            let now = self.clock.now();
            let span = creation_span(start, &self.prefix, parent.span_id, now);
            self.tracer.emit(span);
        }
        self.doorbell.ring();
    }
}

/// The plan that decides orders.
pub(crate) const PLAN: &str = "place-order";
/// The step of the plan that is done by placing the order.
pub(crate) const OPENING_STEP: &str = "open-order";
/// The plan that takes completed orders back.
pub(crate) const CANCEL_PLAN: &str = "cancel-order";
/// The step of that plan that is done by asking for it.
pub(crate) const CANCEL_OPENING_STEP: &str = "open-cancellation";
/// The name of this service.
pub(crate) const SERVICE: &str = "order";
