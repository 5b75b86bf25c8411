use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use palinode_db::{Db, Error};
use palinode_messaging::{Backoff, Kafka, StartAt, TopicTail, events_of};
use palinode_values::OrderId;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::domain::Order;
use crate::store;

/// Orders that somebody watches, at the most, and each as often as calls allow.
const WATCHED_MAX: usize = 20_000;
/// A change that no event told of is seen after this.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The same while events cannot be read.
const LOOK_EVERY_DEAF: Duration = Duration::from_secs(1);
/// How often it is asked whether anybody watches, and after how many times the reading ends.
const LISTEN_LOOK: Duration = Duration::from_secs(10);
const LISTEN_LOOKS: u32 = 6;

/// Too many orders are watched.
#[derive(Debug, thiserror::Error)]
#[error("too many orders are watched: try again in a moment")]
pub(crate) struct TooMany;

/// Who waits for orders to change. Every instance of the service reads all events of orders while
/// somebody waits there, for any of them may have carried a decision out; while nobody does,
/// nothing is read. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watchers {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    orders: Mutex<HashMap<OrderId, Watched>>,
    somebody: Notify,
    listening: watch::Sender<bool>,
}

#[derive(Debug)]
struct Watched {
    watchers: usize,
    changed: watch::Sender<()>,
}

/// One who waits for one order.
#[derive(Debug)]
pub(crate) struct Watcher {
    shared: Arc<Shared>,
    id: OrderId,
    changed: watch::Receiver<()>,
    /// What was seen last.
    seen: Option<Order>,
}

impl Watchers {
    /// Begins to watch an order; `seen`: what the caller knows of it.
    ///
    /// # Errors
    /// Too many are watched.
    pub(crate) fn watch(&self, id: OrderId, seen: Option<Order>) -> Result<Watcher, TooMany> {
        let mut orders = self.shared.lock();
        let is_full = orders.len() >= WATCHED_MAX;
        let changed = match orders.entry(id) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.watchers += 1;
                known.changed.subscribe()
            }
            Entry::Vacant(_) if is_full => return Err(TooMany),
            Entry::Vacant(free) => {
                let (sender, changed) = watch::channel(());
                free.insert(Watched {
                    watchers: 1,
                    changed: sender,
                });
                changed
            }
        };
        drop(orders);
        self.shared.somebody.notify_one();
        Ok(Watcher {
            shared: Arc::clone(&self.shared),
            id,
            changed,
            seen,
        })
    }

    /// Somebody has changed the order, and committed it.
    pub(crate) fn tell(&self, id: OrderId) {
        if let Some(watched) = self.shared.lock().get(&id) {
            watched.changed.send_replace(());
        }
    }

    /// Waits until events are read.
    #[cfg(test)]
    pub(crate) async fn until_listening(&self) {
        let mut listening = self.shared.listening.subscribe();
        drop(listening.wait_for(|is| *is).await.unwrap());
    }

    /// Reads the events of orders while somebody watches one, until `stop`.
    pub(crate) async fn listen(self, kafka: Kafka, stop: CancellationToken) {
        let topic = events_of("order").expect("the table of topics has the order service");
        let mut backoff = Backoff::default();
        let listen = async {
            loop {
                while self.shared.lock().is_empty() {
                    self.shared.somebody.notified().await;
                }
                match TopicTail::start(&kafka, &[topic], StartAt::End).await {
                    Ok(tail) => {
                        backoff = Backoff::default();
                        self.listen_to(tail).await;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "events of orders cannot be read: watchers look by themselves");
                        sleep(backoff.next_pause()).await;
                    }
                }
            }
        };
        tokio::select! {
            () = listen => {}
            () = stop.cancelled() => {}
        }
    }

    /// Tells who watches, until for a while nobody does.
    async fn listen_to(&self, mut tail: TopicTail) {
        self.shared.listening.send_replace(true);
        // what happened before the tail began may not have been seen
        for watched in self.shared.lock().values() {
            watched.changed.send_replace(());
        }
        let mut looks = 0;
        let mut next_look = Instant::now() + LISTEN_LOOK;
        while looks < LISTEN_LOOKS {
            match timeout_at(next_look, tail.recv()).await {
                Ok(Some(event)) => {
                    let key = std::str::from_utf8(&event.key).ok();
                    if let Some(id) = key.and_then(|key| key.parse().ok()) {
                        self.tell(id);
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    next_look = Instant::now() + LISTEN_LOOK;
                    let nobody = self.shared.lock().is_empty();
                    looks = if nobody { looks + 1 } else { 0 };
                }
            }
        }
        self.shared.listening.send_replace(false);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<OrderId, Watched>> {
        // a map of numbers is whole whatever its holder did
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher {
    /// The order as it is, once that differs from what was seen before; at once the first time,
    /// where the caller knows nothing of it. `None`: there is none.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn next(&mut self, db: &Db) -> Result<Option<Order>, Error> {
        loop {
            // who begins to listen tells everybody once: nothing is missed before
            self.changed.mark_unchanged();
            let Some(order) = store::order::get(db, self.id).await? else {
                return Ok(None);
            };
            if self.seen.as_ref() != Some(&order) {
                self.seen = Some(order.clone());
                return Ok(Some(order));
            }
            let pause = match *self.shared.listening.borrow() {
                true => LOOK_EVERY,
                false => LOOK_EVERY_DEAF,
            };
            tokio::select! {
                changed = self.changed.changed() => changed.expect("its sender is kept while it watches"),
                () = sleep(pause) => {}
            }
        }
    }

    /// What was seen last is settled.
    pub(crate) fn is_settled(&self) -> bool {
        let seen = self.seen.as_ref();
        seen.is_some_and(|order| order.status.is_settled())
    }

    /// The order once it is settled; after `limit` as it is.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn settled(
        mut self,
        db: &Db,
        limit: Duration,
    ) -> Result<Option<Order>, Error> {
        let until = Instant::now() + limit;
        loop {
            if self.is_settled() {
                return Ok(self.seen.take());
            }
            match timeout_at(until, self.next(db)).await {
                Ok(Ok(Some(_))) => {}
                Ok(ended) => return ended,
                Err(_) => return Ok(self.seen.take()),
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut orders = self.shared.lock();
        if let Entry::Occupied(mut known) = orders.entry(self.id) {
            known.get_mut().watchers -= 1;
            if known.get().watchers == 0 {
                known.remove();
            }
        }
    }
}
