use std::future::Future;
use std::sync::Arc;

use palinode_messaging::{Delivery, Error, Outgoing, Permit, Producer};

/// What pages are published through: the producer, or one with scripted faults in tests.
pub trait Publisher: Send + Sync + 'static {
    /// Waits for room in the budget.
    fn reserve(&self, page: &[Outgoing]) -> impl Future<Output = Permit> + Send;

    /// Hands a page over; ends when each record of it is reported, in the same order.
    fn send(
        &self,
        permit: Permit,
        page: Arc<Vec<Outgoing>>,
    ) -> impl Future<Output = Vec<Delivery>> + Send;

    /// Forgets what is queued and in flight; those pages are reported at once.
    ///
    /// # Errors
    /// There is no new client; the old one goes on.
    fn purge(&self) -> Result<(), Error>;
}

impl Publisher for Producer {
    fn reserve(&self, page: &[Outgoing]) -> impl Future<Output = Permit> + Send {
        Self::reserve(self, page)
    }

    fn send(
        &self,
        permit: Permit,
        page: Arc<Vec<Outgoing>>,
    ) -> impl Future<Output = Vec<Delivery>> + Send {
        Self::send(self, permit, page)
    }

    fn purge(&self) -> Result<(), Error> {
        Self::purge(self)
    }
}
