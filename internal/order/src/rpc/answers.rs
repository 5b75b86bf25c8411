use std::sync::Arc;
use std::time::Duration;

use palinode_db::{Db, Error};
use palinode_pb::order::v1 as pb;
use palinode_rpc::{accepted, created, waited};
use tokio::sync::Semaphore;
use tonic::Response;

use crate::app::place::Placed;
use crate::app::watch::Watchers;
use crate::convert;
use crate::domain::Order;

/// Calls that wait for an outcome, at the most.
const WAITING_MAX: usize = 1_000;

/// Answers calls that place orders: at once, or with the outcome. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Answers {
    db: Db,
    pub(super) watchers: Watchers,
    /// Calls that wait for an outcome hold a request of their connection; one more is answered at once.
    waiting: Arc<Semaphore>,
}

impl Answers {
    pub(crate) fn new(db: Db, watchers: Watchers) -> Self {
        Self {
            db,
            watchers,
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        }
    }

    /// The answer to a call that has placed an order, in the words of its method.
    pub(super) async fn placed<T>(
        &self,
        placed: Placed,
        wait: Option<Duration>,
        message: impl Fn(Option<pb::Order>) -> T,
    ) -> Response<T> {
        let (order, is_new) = match placed {
            Placed::New(order) => (order, true),
            Placed::Before(order) => (order, false),
        };
        let location = format!("/v1/orders/{}", order.id);
        let answer = |order: &Order| message(Some(convert::order(order)));
        if let (Some(limit), Ok(_permit)) = (wait, self.waiting.try_acquire()) {
            // it is placed, whatever becomes of waiting
            let order = self.wait(&order, limit).await.unwrap_or(order);
            let answer = match (order.status.is_settled(), is_new) {
                (true, true) => created(answer(&order), &location),
                (true, false) => Response::new(answer(&order)),
                (false, _) => accepted(answer(&order), &location),
            };
            return waited(answer, limit);
        }
        if is_new {
            created(answer(&order), &location)
        } else {
            Response::new(answer(&order))
        }
    }

    /// The order once it is settled, as far as the caller waits for that; `None`: nobody can watch it.
    async fn wait(&self, order: &Order, limit: Duration) -> Option<Order> {
        let watcher = self.watchers.watch(order.id, Some(order.clone())).ok()?;
        let settled: Result<_, Error> = watcher.settled(&self.db, limit).await;
        settled.ok().flatten()
    }
}
