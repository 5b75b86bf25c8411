use std::ops::{ControlFlow, Range};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::Offsets;
use super::handler::{BatchHandler, Committed, Failure, chain};
use super::inbox::{Inbox, Partition, of};
use super::turns::Turns;
use crate::backoff::Backoff;
use crate::envelope::Received;

/// How often a record is tried alone before it is parked.
const TRIES_ALONE: u32 = 3;
/// Between two tries of a record alone: a conflict with a neighbour has passed by then.
const ALONE_PAUSE: Duration = Duration::from_millis(20);

/// The loop over batches: handle, halve what fails, park what fails alone.
pub(super) struct Batches<'a, H> {
    pub(super) inbox: &'a Inbox,
    pub(super) offsets: Offsets,
    pub(super) handler: H,
    pub(super) batch_max: usize,
    pub(super) turns: Option<Turns>,
    /// Held while a batch is handled, and not while something is waited for.
    pub(super) turn: Option<OwnedSemaphorePermit>,
}

/// What became of a piece of a batch.
enum Verdict {
    /// It is committed.
    Settled,
    /// It failed by the fault of a record in it.
    Failed(String),
    /// Some partitions are no longer ours; nothing is committed.
    GivenUp(Vec<Partition>),
    /// We stop before it could be handled.
    Stopped,
}

impl<H: BatchHandler> Batches<'_, H> {
    /// Ends with `stop`, after the batch in hand, or when there will be no more records.
    pub(super) async fn run(&mut self, stop: &CancellationToken) {
        while self.is_our_turn(stop).await {
            // a revoke may have taken what was there
            let batch = self.inbox.take(self.batch_max);
            if self.settle(batch, stop).await.is_break() {
                return;
            }
            self.turn = None;
        }
    }

    /// Waits for a record and then for our turn: the batch grows meanwhile. `false` at the end.
    async fn is_our_turn(&mut self, stop: &CancellationToken) -> bool {
        let ours = async {
            let goes_on = self.inbox.wait().await;
            self.take_turn().await;
            goes_on
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => false,
            goes_on = ours => goes_on,
        }
    }

    async fn take_turn(&mut self) {
        if let (None, Some(turns)) = (&self.turn, &self.turns) {
            self.turn = Some(turns.next().await);
        }
    }

    /// Brings every record of the batch to an end: handled, parked, or given up.
    async fn settle(
        &mut self,
        mut batch: Vec<Received>,
        stop: &CancellationToken,
    ) -> ControlFlow<()> {
        // taken from the back: the first half is settled before the second
        let mut pieces = whole(&batch);
        while let Some(piece) = pieces.pop() {
            let mut verdict = self.handle(&batch[piece.clone()], stop).await;
            if let (Verdict::Failed(error), 1) = (&verdict, piece.len()) {
                let error = error.clone();
                verdict = self.settle_alone(&batch[piece.start], error, stop).await;
            }
            match verdict {
                Verdict::Settled => self.offsets.store(&batch[piece]),
                Verdict::Failed(_) => {
                    let middle = piece.start + piece.len() / 2;
                    pieces.push(middle..piece.end);
                    pieces.push(piece.start..middle);
                }
                Verdict::GivenUp(gone) => {
                    batch.drain(..piece.start);
                    batch.retain(|record| !of(&gone, record));
                    self.inbox.hold(&batch);
                    pieces = whole(&batch);
                }
                Verdict::Stopped => return ControlFlow::Break(()),
            }
        }
        self.inbox.settled();
        ControlFlow::Continue(())
    }

    /// Hands a piece over until it is committed or fails by its own fault.
    async fn handle(&mut self, piece: &[Received], stop: &CancellationToken) -> Verdict {
        let mut backoff = Backoff::default();
        loop {
            self.take_turn().await;
            let result = tokio::select! {
                biased;
                result = self.handler.handle(piece) => result,
                gone = self.inbox.give_up() => return Verdict::GivenUp(gone),
            };
            match result {
                Ok(Committed) => {
                    self.inbox.waiting_for(None);
                    return Verdict::Settled;
                }
                Err(Failure::Batch(error)) => return Verdict::Failed(chain(error.as_ref())),
                Err(Failure::Unavailable(error)) => {
                    let why = chain(error.as_ref());
                    if let Some(verdict) = self.wait(why, backoff.next_pause(), stop).await {
                        return verdict;
                    }
                }
            }
        }
    }

    /// A record that has failed alone once: tries it again, then parks it.
    async fn settle_alone(
        &mut self,
        record: &Received,
        mut error: String,
        stop: &CancellationToken,
    ) -> Verdict {
        for _ in 1..TRIES_ALONE {
            self.turn = None;
            tokio::time::sleep(ALONE_PAUSE).await;
            match self.handle(std::slice::from_ref(record), stop).await {
                Verdict::Failed(again) => error = again,
                verdict @ (Verdict::Settled | Verdict::GivenUp(_) | Verdict::Stopped) => {
                    return verdict;
                }
            }
        }
        let (topic, partition, offset) = (&*record.topic, record.partition, record.offset);
        tracing::error!(topic, partition, offset, error, "a record is parked");
        let mut backoff = Backoff::default();
        loop {
            let result = tokio::select! {
                biased;
                result = self.handler.park(record, &error) => result,
                gone = self.inbox.give_up() => return Verdict::GivenUp(gone),
            };
            let failure = match result {
                Ok(Committed) => {
                    self.inbox.waiting_for(None);
                    return Verdict::Settled;
                }
                // nothing is smaller than a record: it has to be parked some time
                Err(Failure::Batch(failure) | Failure::Unavailable(failure)) => failure,
            };
            let why = chain(failure.as_ref());
            if let Some(verdict) = self.wait(why, backoff.next_pause(), stop).await {
                return verdict;
            }
        }
    }

    /// Waits before the next try, unless there will be none.
    async fn wait(
        &mut self,
        why: String,
        pause: Duration,
        stop: &CancellationToken,
    ) -> Option<Verdict> {
        self.turn = None;
        tracing::warn!(why, ?pause, "a batch waits");
        self.inbox.waiting_for(Some(why));
        tokio::select! {
            biased;
            () = stop.cancelled() => Some(Verdict::Stopped),
            gone = self.inbox.give_up() => Some(Verdict::GivenUp(gone)),
            () = tokio::time::sleep(pause) => None,
        }
    }
}

/// One piece, or none if there is nothing.
fn whole(batch: &[Received]) -> Vec<Range<usize>> {
    let piece = 0..batch.len();
    Some(piece)
        .filter(|piece| !piece.is_empty())
        .into_iter()
        .collect()
}
