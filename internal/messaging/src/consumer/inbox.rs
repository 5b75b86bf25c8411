use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::error::KafkaError;
use tokio::sync::{Notify, watch};

use super::ConsumerStatus;
use crate::envelope::Received;

/// Records that wait at the most, and their bytes: above that the thread stops fetching.
const QUEUED_MAX: usize = 5_000;
const QUEUED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long a batch that was given up may take to let go.
const GIVE_UP_WAIT: Duration = Duration::from_secs(1);

pub(super) type Partition = (Arc<str>, i32);

/// What stands between the consumer's thread and the loop that handles batches.
#[derive(Debug)]
pub(super) struct Inbox {
    state: Mutex<State>,
    /// Rung when there is room, when the hand is empty, and at the end.
    changed: Condvar,
    /// Rung when there are records, and at the end.
    ready: Notify,
    /// Rung when the batch in hand has to be given up.
    given_up: Notify,
    status: watch::Sender<ConsumerStatus>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Received>,
    queued_bytes: usize,
    /// Partitions of the batch in hand.
    hand: Vec<Partition>,
    /// Partitions to be taken out of the batch in hand.
    gone: Vec<Partition>,
    stopped: bool,
    failure: Option<KafkaError>,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            ready: Notify::new(),
            given_up: Notify::new(),
            status: watch::Sender::new(ConsumerStatus::default()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn status(&self) -> watch::Receiver<ConsumerStatus> {
        self.status.subscribe()
    }

    pub(super) fn waiting_for(&self, what: Option<String>) {
        self.status.send_if_modified(|status| {
            let changed = status.waiting_for != what;
            status.waiting_for = what;
            changed
        });
    }

    // === the thread's side ===

    /// Takes a record in; [`Inbox::announce`] tells of it.
    pub(super) fn push(&self, record: Received) {
        let mut state = self.lock();
        state.queued_bytes += size(&record);
        state.queue.push_back(record);
    }

    /// There may be records: one wake-up for all that came together.
    pub(super) fn announce(&self) {
        self.ready.notify_one();
    }

    /// Waits until there is room for records; `false` when there is none within `limit`.
    pub(super) fn wait_for_room(&self, limit: Duration) -> bool {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.lock(), limit, |state| {
                state.is_full() && !state.stopped
            })
            .unwrap_or_else(PoisonError::into_inner);
        !state.is_full()
    }

    /// The partitions go to another member: forgets what waits of them, and waits for the batch in
    /// hand if it has some. After `limit` the batch is given up.
    pub(super) fn revoke(&self, gone: &[Partition], limit: Duration) {
        let mut state = self.lock();
        state.queue.retain(|record| !of(gone, record));
        state.queued_bytes = state.queue.iter().map(size).sum();
        let in_hand = |state: &mut State| {
            !state.stopped && state.hand.iter().any(|partition| gone.contains(partition))
        };
        let (mut state, waited) = self
            .changed
            .wait_timeout_while(state, limit, in_hand)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            state.gone.extend_from_slice(gone);
            self.given_up.notify_one();
            drop(
                self.changed
                    .wait_timeout_while(state, GIVE_UP_WAIT, in_hand)
                    .unwrap_or_else(PoisonError::into_inner),
            );
        }
    }

    pub(super) fn assigned(&self, joined: bool, partitions: usize) {
        self.status.send_modify(|status| {
            status.assigned |= joined;
            status.partitions = partitions;
        });
    }

    /// The client gave up for good.
    pub(super) fn fail(&self, error: KafkaError) {
        self.lock().failure = Some(error);
        self.stop();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
        self.ready.notify_one();
    }

    pub(super) fn take_failure(&self) -> Option<KafkaError> {
        self.lock().failure.take()
    }

    // === the loop's side ===

    /// Waits for a record; `false` at the end.
    pub(super) async fn wait(&self) -> bool {
        loop {
            {
                let state = self.lock();
                if state.stopped || !state.queue.is_empty() {
                    return !state.stopped;
                }
            }
            self.ready.notified().await;
        }
    }

    /// What is there, at most `limit` records.
    pub(super) fn take(&self, limit: usize) -> Vec<Received> {
        let mut state = self.lock();
        let count = state.queue.len().min(limit);
        let batch: Vec<_> = state.queue.drain(..count).collect();
        state.queued_bytes -= batch.iter().map(size).sum::<usize>();
        state.hand = partitions_of(&batch);
        drop(state);
        self.changed.notify_all();
        batch
    }

    /// The batch in hand is settled, or its rest is `rest`.
    pub(super) fn hold(&self, rest: &[Received]) {
        let mut state = self.lock();
        let State { hand, gone, .. } = &mut *state;
        *hand = partitions_of(rest);
        // what is settled needs no giving up: a mark that stays would be of the next batch, once the
        // partition has come back
        gone.retain(|partition| hand.contains(partition));
        drop(state);
        self.changed.notify_all();
    }

    pub(super) fn settled(&self) {
        self.hold(&[]);
        self.status.send_modify(|status| status.settled += 1);
    }

    /// Ends when the batch in hand has to be given up; says whose records are to be left out.
    pub(super) async fn give_up(&self) -> Vec<Partition> {
        loop {
            let gone = std::mem::take(&mut self.lock().gone);
            if !gone.is_empty() {
                return gone;
            }
            self.given_up.notified().await;
        }
    }
}

impl State {
    fn is_full(&self) -> bool {
        self.queue.len() >= QUEUED_MAX || self.queued_bytes >= QUEUED_BYTES_MAX
    }
}

/// The last record of each partition.
pub(super) fn last_of_each_partition(batch: &[Received]) -> Vec<&Received> {
    let mut last: Vec<&Received> = Vec::new();
    for record in batch {
        let same = |seen: &&mut &Received| {
            seen.partition == record.partition && seen.topic == record.topic
        };
        match last.iter_mut().find(same) {
            Some(seen) => *seen = record,
            None => last.push(record),
        }
    }
    last
}

pub(super) fn of(partitions: &[Partition], record: &Received) -> bool {
    partitions
        .iter()
        .any(|(topic, partition)| *partition == record.partition && *topic == record.topic)
}

fn partitions_of(batch: &[Received]) -> Vec<Partition> {
    last_of_each_partition(batch)
        .into_iter()
        .map(|record| (Arc::clone(&record.topic), record.partition))
        .collect()
}

fn size(record: &Received) -> usize {
    record.key.len() + record.body.len() + record.headers.size()
}

/// Ends the loop when the thread does, however that was.
pub(super) struct EndsLoop(pub(super) Arc<Inbox>);

impl Drop for EndsLoop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Headers;

    fn record(offset: i64) -> Received {
        Received {
            topic: Arc::from("test"),
            partition: 0,
            offset,
            key: bytes::Bytes::new(),
            body: bytes::Bytes::new(),
            headers: Headers::with_capacity(0),
        }
    }

    /// The batch was settled in the moment in which it was to be given up.
    #[tokio::test]
    async fn a_batch_that_was_settled_is_not_given_up_and_nor_is_the_next() {
        let inbox = Inbox::new();
        inbox.push(record(1));
        assert_eq!(inbox.take(10).len(), 1);
        let partition: Partition = (Arc::from("test"), 0);
        inbox.lock().gone.push(partition.clone());
        inbox.given_up.notify_one();
        inbox.settled();
        inbox.push(record(2));
        assert_eq!(inbox.take(10).len(), 1);
        let soon = Duration::from_millis(50);
        let given_up = tokio::time::timeout(soon, inbox.give_up()).await;
        assert!(given_up.is_err(), "{given_up:?}");
        inbox.lock().gone.push(partition.clone());
        inbox.given_up.notify_one();
        assert_eq!(inbox.give_up().await, [partition]);
    }
}
