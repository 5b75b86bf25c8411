use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many batches the consumers of a process handle at once, each in its turn. Cheap to clone.
///
/// With more batches at work than there are cores, each is smaller, and costs more for a record:
/// who has to wait takes more when its turn comes. Where there is little to do nobody waits.
#[derive(Debug, Clone)]
pub struct Turns(Arc<Semaphore>);

impl Turns {
    /// So many at once; one at least.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count.max(1))))
    }

    pub(super) async fn next(&self) -> OwnedSemaphorePermit {
        let turn = Arc::clone(&self.0).acquire_owned().await;
        turn.expect("turns are never closed")
    }
}
