use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::batches::Batches;
use super::inbox::Inbox;
use super::{BatchHandler, Committed, Failure, Offsets, Received};
use crate::envelope::Headers;

/// What a handler was asked, in order: offsets of a batch, or of a record to park.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Handle(Vec<i64>),
    Park(i64),
}

#[derive(Clone, Default)]
struct Handler {
    asked: Arc<Mutex<Vec<Asked>>>,
    poison: Vec<i64>,
    stop: CancellationToken,
    last: i64,
}

impl BatchHandler for Handler {
    async fn handle(&mut self, batch: &[Received]) -> Result<Committed, Failure> {
        let offsets: Vec<_> = batch.iter().map(|record| record.offset).collect();
        self.settled_up_to(&offsets);
        let poisoned = offsets.iter().any(|offset| self.poison.contains(offset));
        self.asked.lock().unwrap().push(Asked::Handle(offsets));
        if poisoned {
            return Err(Failure::batch("poison"));
        }
        Ok(Committed)
    }

    async fn park(&mut self, record: &Received, _error: &str) -> Result<Committed, Failure> {
        self.settled_up_to(&[record.offset]);
        self.asked.lock().unwrap().push(Asked::Park(record.offset));
        Ok(Committed)
    }
}

impl Handler {
    fn settled_up_to(&self, offsets: &[i64]) {
        if offsets.contains(&self.last) {
            self.stop.cancel();
        }
    }
}

fn record(offset: i64) -> Received {
    Received {
        topic: "test".into(),
        partition: 0,
        offset,
        key: Bytes::new(),
        body: Bytes::new(),
        headers: Headers::default(),
    }
}

/// Hands one batch of `count` records over; returns what the handler was asked.
async fn run(count: i64, poison: &[i64]) -> Vec<Asked> {
    let inbox = Inbox::new();
    (0..count).map(record).for_each(|record| inbox.push(record));
    let handler = Handler {
        poison: poison.to_vec(),
        last: count - 1,
        ..Handler::default()
    };
    let (asked, stop) = (Arc::clone(&handler.asked), handler.stop.clone());
    let mut batches = Batches {
        inbox: &inbox,
        offsets: Offsets {
            client: Weak::new(),
        },
        handler,
        batch_max: 500,
    };
    batches.run(&stop).await;
    let asked = asked.lock().unwrap();
    asked.clone()
}

fn handle(offsets: std::ops::Range<i64>) -> Asked {
    Asked::Handle(offsets.collect())
}

#[tokio::test(start_paused = true)]
async fn a_good_batch_is_handed_over_once() {
    assert_eq!(run(8, &[]).await, [handle(0..8)]);
}

#[tokio::test(start_paused = true)]
async fn the_first_of_a_batch_is_poison() {
    let alone = handle(0..1);
    assert_eq!(
        run(8, &[0]).await,
        [
            handle(0..8),
            handle(0..4),
            handle(0..2),
            alone.clone(),
            alone.clone(),
            alone,
            Asked::Park(0),
            handle(1..2),
            handle(2..4),
            handle(4..8),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn one_in_the_middle_is_poison() {
    let alone = handle(2..3);
    assert_eq!(
        run(5, &[2]).await,
        [
            handle(0..5),
            handle(0..2),
            handle(2..5),
            alone.clone(),
            alone.clone(),
            alone,
            Asked::Park(2),
            handle(3..5),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_last_of_a_batch_is_poison() {
    let alone = handle(3..4);
    assert_eq!(
        run(4, &[3]).await,
        [
            handle(0..4),
            handle(0..2),
            handle(2..4),
            handle(2..3),
            alone.clone(),
            alone.clone(),
            alone,
            Asked::Park(3),
        ]
    );
}
