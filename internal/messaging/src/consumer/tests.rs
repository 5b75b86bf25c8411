use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::batches::Batches;
use super::inbox::Inbox;
use super::{BatchHandler, Committed, Failure, Offsets, Received, Turns};
use crate::headers::Headers;

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
        turns: None,
        turn: None,
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

/// Says when it is at work, and works until it is told to end.
struct Slow {
    at_work: Arc<Semaphore>,
    end: Arc<Semaphore>,
    sizes: Arc<Mutex<Vec<usize>>>,
}

impl BatchHandler for Slow {
    async fn handle(&mut self, batch: &[Received]) -> Result<Committed, Failure> {
        self.sizes.lock().unwrap().push(batch.len());
        self.at_work.add_permits(1);
        self.end.acquire().await.unwrap().forget();
        Ok(Committed)
    }

    async fn park(&mut self, _record: &Received, _error: &str) -> Result<Committed, Failure> {
        Err(Failure::batch("nothing is parked here"))
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_turn_takes_all_that_came_meanwhile() {
    let (turns, stop) = (Turns::new(1), CancellationToken::new());
    let (at_work, end) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let consumer = || {
        let (inbox, sizes) = (Arc::new(Inbox::new()), Arc::default());
        let (taken, told) = (Arc::clone(&inbox), Arc::clone(&sizes));
        let (at_work, end) = (Arc::clone(&at_work), Arc::clone(&end));
        let (turns, stop) = (turns.clone(), stop.clone());
        let run = async move {
            let mut batches = Batches {
                inbox: &taken,
                offsets: Offsets {
                    client: Weak::new(),
                },
                handler: Slow {
                    at_work,
                    end,
                    sizes: told,
                },
                batch_max: 500,
                turns: Some(turns),
                turn: None,
            };
            batches.run(&stop).await;
        };
        (inbox, sizes, run)
    };
    let (first, firsts, run_first) = consumer();
    let (second, seconds, run_second) = consumer();
    let script = async {
        first.push(record(0));
        first.announce();
        at_work.acquire().await.unwrap().forget();
        for offset in 0..3 {
            second.push(record(offset));
            second.announce();
            tokio::task::yield_now().await;
        }
        assert!(seconds.lock().unwrap().is_empty(), "it is not its turn");
        end.add_permits(1);
        at_work.acquire().await.unwrap().forget();
        stop.cancel();
        end.add_permits(1);
    };
    tokio::join!(run_first, run_second, script);
    assert_eq!(*firsts.lock().unwrap(), [1]);
    assert_eq!(*seconds.lock().unwrap(), [3]);
}
