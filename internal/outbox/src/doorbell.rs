use std::sync::Arc;

use tokio::sync::Notify;

/// Tells the relay of this process that something was committed to an outbox, which saves it the
/// wait for its next poll. Cheap to clone; a bell that nobody hears does no harm.
///
/// Never `NOTIFY` in a business transaction: its commit holds a lock of the whole cluster, which
/// ends group commit.
#[derive(Debug, Clone, Default)]
pub struct Doorbell {
    bell: Arc<Notify>,
}

impl Doorbell {
    /// A new bell.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Rings, after the commit. Rings that were not heard yet are one.
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    /// Waits for a ring; one that came before counts.
    pub async fn heard(&self) {
        self.bell.notified().await;
    }
}
