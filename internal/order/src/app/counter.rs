use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Desk;
use super::place::{Asked, PlaceError, Placed, place};

/// Calls that may wait; one more is refused.
const WAITING_MAX: usize = 1_000;
/// Calls of one transaction at the most.
const TOGETHER_MAX: usize = 200;

/// Where orders are handed in. Those that come while a transaction is under way are placed
/// together in the next one; a call that comes alone starts at once. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Counter {
    waiting: mpsc::Sender<Waiting>,
}

/// Who places what was handed in.
#[derive(Debug)]
pub(crate) struct Clerk {
    waiting: mpsc::Receiver<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    asked: Asked,
    answer: oneshot::Sender<Result<Placed, PlaceError>>,
}

/// A counter, and its clerk.
pub(crate) fn counter() -> (Counter, Clerk) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let clerk = Clerk { waiting: receiver };
    (Counter { waiting: sender }, clerk)
}

impl Counter {
    /// Hands a call in, and waits for its answer. Who stops waiting finds out with the same key.
    ///
    /// # Errors
    /// Those of [`place`]; `Busy`: too many wait, or the clerk has gone home.
    pub(crate) async fn place(&self, asked: Asked) -> Result<Placed, PlaceError> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { asked, answer };
        let handed_in = self.waiting.try_send(waiting);
        handed_in.map_err(|_full_or_closed| PlaceError::Busy)?;
        answered.await.unwrap_or(Err(PlaceError::Busy))
    }
}

impl Clerk {
    /// Places what is handed in until `stop`, then what waits already.
    pub(crate) async fn run(mut self, desk: Desk, stop: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                _ = self.waiting.recv_many(&mut batch, TOGETHER_MAX) => {}
                () = stop.cancelled(), if !self.waiting.is_closed() => self.waiting.close(),
            }
            if batch.is_empty() && self.waiting.is_closed() {
                return;
            }
            // who has gone away before it was begun gets no order
            batch.retain(|waiting: &Waiting| !waiting.answer.is_closed());
            let (asked, answers): (Vec<Asked>, Vec<_>) =
                batch.drain(..).map(|w| (w.asked, w.answer)).unzip();
            for (answer, placed) in answers.into_iter().zip(place(&desk, &asked).await) {
                // nobody listens any more: the same key finds the order
                drop(answer.send(placed));
            }
        }
    }
}
