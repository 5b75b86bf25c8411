use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use palinode_messaging::{
    BatchHandler, Committed, Consumer, ConsumerOptions, ConsumerStatus, Failure, Producer, Received,
};
use palinode_testkit::eventually;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::stack::{LIMIT, Stack, TOPIC, numbered};

/// What a handler was given, and how it has to behave.
#[derive(Clone, Default)]
pub(crate) struct Script {
    /// Bodies in the order of their commits.
    pub(crate) committed: Arc<Mutex<Vec<String>>>,
    pub(crate) parked: Arc<Mutex<Vec<String>>>,
    /// Bodies that fail the batch that they are in.
    pub(crate) poison: Arc<Mutex<HashSet<String>>>,
    /// How many more calls find the database away.
    pub(crate) outages: Arc<Mutex<u32>>,
    /// Set: commits and never returns, until it is rung.
    pub(crate) hangs: Option<Arc<Notify>>,
    /// With batches of so many partitions only.
    pub(crate) hangs_from: usize,
    /// One of them does.
    pub(crate) hung: Arc<AtomicBool>,
    /// Futures that were dropped before they returned.
    pub(crate) dropped: Arc<Mutex<u32>>,
}

struct CountDrop(Arc<Mutex<u32>>, bool);

impl Drop for CountDrop {
    fn drop(&mut self) {
        if self.1 {
            *self.0.lock().unwrap() += 1;
        }
    }
}

impl BatchHandler for Script {
    async fn handle(&mut self, batch: &[Received]) -> Result<Committed, Failure> {
        {
            let mut outages = self.outages.lock().unwrap();
            if *outages > 0 {
                *outages -= 1;
                return Err(Failure::unavailable("the database is away"));
            }
        }
        let bodies = batch.iter().map(body);
        if bodies
            .clone()
            .any(|b| self.poison.lock().unwrap().contains(&b))
        {
            return Err(Failure::batch("poison"));
        }
        self.committed.lock().unwrap().extend(bodies);
        if let Some(hangs) = &self.hangs
            && partitions(batch) >= self.hangs_from
        {
            self.hung.store(true, Ordering::Release);
            let mut guard = CountDrop(Arc::clone(&self.dropped), true);
            hangs.notified().await;
            guard.1 = false;
        }
        Ok(Committed)
    }

    async fn park(&mut self, record: &Received, error: &str) -> Result<Committed, Failure> {
        assert!(error.contains("poison"), "{error}");
        self.parked.lock().unwrap().push(body(record));
        Ok(Committed)
    }
}

fn partitions(batch: &[Received]) -> usize {
    let partitions: HashSet<_> = batch.iter().map(|record| record.partition).collect();
    partitions.len()
}

fn body(record: &Received) -> String {
    String::from_utf8(record.body.to_vec()).unwrap()
}

impl Script {
    pub(crate) fn committed(&self) -> Vec<String> {
        self.committed.lock().unwrap().clone()
    }

    pub(crate) async fn until(&self, what: &str, fact: impl Fn(&[String]) -> bool) -> Vec<String> {
        eventually(LIMIT, what, async || {
            let committed = self.committed();
            fact(&committed).then_some(committed)
        })
        .await
    }
}

/// A member of the group `test`, at work.
pub(crate) struct Member {
    pub(crate) status: watch::Receiver<ConsumerStatus>,
    stop: CancellationToken,
    task: JoinSet<Result<(), palinode_messaging::Error>>,
}

impl Member {
    pub(crate) fn start(stack: &Stack, script: &Script) -> Self {
        let options = ConsumerOptions::new(&stack.kafka, "test", &[TOPIC]);
        let consumer = Consumer::start(&options).unwrap();
        let status = consumer.status();
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(consumer.run(script.clone(), stop.clone()));
        Self { status, stop, task }
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        self.task.join_next().await.unwrap().unwrap().unwrap();
    }

    /// Ends it without the courtesies, as a crash would.
    pub(crate) async fn kill(mut self) {
        self.task.shutdown().await;
    }

    pub(crate) async fn until(&mut self, fact: impl FnMut(&ConsumerStatus) -> bool) {
        let seen = tokio::time::timeout(LIMIT, self.status.wait_for(fact)).await;
        seen.expect("the status is reached in time").unwrap();
    }
}

#[tokio::test]
async fn records_come_in_order_and_a_successor_begins_behind_them() {
    let stack = Stack::start(1).await;
    let producer = Producer::start(&stack.kafka).unwrap();
    let script = Script::default();
    let member = Member::start(&stack, &script);
    stack.publish(&producer, "a", &numbered(0..1_200)).await;
    let seen = script.until("all are handled", |c| c.len() >= 1_200).await;
    assert_eq!(seen, numbered(0..1_200));
    member.stop().await;

    let script = Script::default();
    let member = Member::start(&stack, &script);
    stack.publish(&producer, "a", &["marker".to_owned()]).await;
    let seen = script
        .until("the marker is handled", |c| !c.is_empty())
        .await;
    assert_eq!(seen, ["marker"]);
    member.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn a_record_that_comes_alone_does_not_wait_for_company() {
    let stack = Stack::start(1).await;
    let producer = Producer::start(&stack.kafka).unwrap();
    let script = Script::default();
    let mut member = Member::start(&stack, &script);
    member.until(|status| status.partitions == 1).await;
    for count in 1..=20 {
        stack.publish(&producer, "a", &["one".to_owned()]).await;
        script.until("it is handled", |c| c.len() == count).await;
    }
    member.until(|status| status.settled == 20).await;
    member.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn what_was_committed_without_its_offset_comes_again_after_a_kill() {
    let stack = Stack::start(1).await;
    let producer = Producer::start(&stack.kafka).unwrap();
    let script = Script {
        hangs: Some(Arc::default()),
        ..Script::default()
    };
    let member = Member::start(&stack, &script);
    stack.publish(&producer, "a", &numbered(0..3)).await;
    let first = script.until("they are committed", |c| !c.is_empty()).await;
    member.kill().await;

    let script = Script::default();
    let member = Member::start(&stack, &script);
    let again = script.until("they come again", |c| c.len() >= 3).await;
    assert_eq!(again, numbered(0..3));
    assert_eq!(first, again[..first.len()]);
    member.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn an_outage_keeps_the_batch_and_counts_against_no_record() {
    let stack = Stack::start(1).await;
    let producer = Producer::start(&stack.kafka).unwrap();
    let script = Script::default();
    *script.outages.lock().unwrap() = 4; // more than a record may fail alone
    let mut member = Member::start(&stack, &script);
    stack.publish(&producer, "a", &["x".to_owned()]).await;
    member.until(|status| status.waiting_for.is_some()).await;
    let seen = script.until("it is handled", |c| !c.is_empty()).await;
    assert_eq!(seen, ["x"]);
    member.until(|status| status.waiting_for.is_none()).await;
    assert!(script.parked.lock().unwrap().is_empty());
    member.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_an_outage_to_end() {
    let stack = Stack::start(1).await;
    let producer = Producer::start(&stack.kafka).unwrap();
    let script = Script::default();
    *script.outages.lock().unwrap() = u32::MAX;
    let mut member = Member::start(&stack, &script);
    stack.publish(&producer, "a", &["x".to_owned()]).await;
    member.until(|status| status.waiting_for.is_some()).await;
    tokio::time::timeout(LIMIT, member.stop()).await.unwrap();
    assert!(script.committed().is_empty());
    stack.end().await;
}
