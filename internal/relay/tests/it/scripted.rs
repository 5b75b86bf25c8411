use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use palinode_messaging::{Delivery, Error, Outgoing, Permit, Producer};
use palinode_relay::Publisher;
use tokio::sync::Notify;

/// A producer with faults on order.
#[derive(Clone)]
pub(crate) struct Scripted {
    pub(crate) inner: Producer,
    pub(crate) faults: Arc<Faults>,
}

#[derive(Default)]
pub(crate) struct Faults {
    /// So many pages are written, and their acknowledgements lost from the middle on.
    pub(crate) lose_acks: AtomicU32,
    /// A request with this body in it is refused whole by the broker.
    pub(crate) poison: Option<&'static [u8]>,
    /// Answers are held until `released`.
    pub(crate) hold: AtomicBool,
    pub(crate) released: Notify,
    /// An answer is being held.
    pub(crate) holding: AtomicBool,
    pub(crate) purges: AtomicU32,
}

impl Publisher for Scripted {
    async fn reserve(&self, page: &[Outgoing]) -> Permit {
        self.inner.reserve(page).await
    }

    async fn send(&self, permit: Permit, page: Arc<Vec<Outgoing>>) -> Vec<Delivery> {
        let count = page.len();
        let poison = self.faults.poison;
        let mut deliveries = if page.iter().any(|out| Some(&*out.body) == poison) {
            vec![Delivery::Rejected("refused by policy".to_owned()); count]
        } else {
            self.inner.send(permit, page).await
        };
        let lose = |left: u32| left.checked_sub(1);
        let faults = &self.faults;
        let left = faults
            .lose_acks
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, lose);
        if left.is_ok() {
            deliveries[count / 2..].fill(Delivery::Unsent);
        }
        if faults.hold.load(Ordering::Acquire) {
            faults.holding.store(true, Ordering::Release);
            faults.released.notified().await;
        }
        deliveries
    }

    fn purge(&self) -> Result<(), Error> {
        self.faults.purges.fetch_add(1, Ordering::AcqRel);
        self.inner.purge()
    }
}
