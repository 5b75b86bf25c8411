use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use palinode_messaging::{Producer, partition_of};
use palinode_testkit::eventually;
use tokio::sync::Notify;

use crate::consumer::{Member, Script};
use crate::stack::{LIMIT, Stack, numbered};

/// A key of each of two partitions.
fn keys() -> [&'static str; 2] {
    let all = ["a", "b", "c", "d", "e", "f"];
    let of = |partition| {
        *all.iter()
            .find(|key| partition_of(key.as_bytes(), 2) == partition)
            .unwrap()
    };
    [of(0), of(1)]
}

#[tokio::test]
async fn two_members_share_the_partitions_and_nothing_is_lost_or_repeated() {
    let stack = Stack::start(2).await;
    let producer = Producer::start(&stack.kafka).unwrap();
    let script = Script::default();
    let mut first = Member::start(&stack, &script);
    first.until(|status| status.partitions == 2).await;
    for key in keys() {
        stack.publish(&producer, key, &numbered(0..50)).await;
    }
    let mut second = Member::start(&stack, &script);
    for key in keys() {
        stack.publish(&producer, key, &numbered(50..100)).await;
    }
    first.until(|status| status.partitions == 1).await;
    second.until(|status| status.partitions == 1).await;
    for key in keys() {
        stack.publish(&producer, key, &numbered(100..150)).await;
    }
    let seen = script.until("all are handled", |c| c.len() >= 300).await;
    // both keys have the same bodies
    let distinct: HashSet<_> = seen.iter().collect();
    assert_eq!((seen.len(), distinct.len()), (300, 150));
    // one leaves: the other gets everything
    second.stop().await;
    first.until(|status| status.partitions == 2).await;
    first.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn a_revoke_waits_for_the_batch_in_hand() {
    let stack = Stack::start(2).await;
    let producer = Producer::start(&stack.kafka).unwrap();
    let bell = Arc::new(Notify::new());
    let slow = Script {
        hangs: Some(Arc::clone(&bell)),
        ..Script::default()
    };
    let mut first = Member::start(&stack, &slow);
    first.until(|status| status.partitions == 2).await;
    let one_each = || async {
        for key in keys() {
            stack.publish(&producer, key, &numbered(0..1)).await;
        }
    };
    one_each().await;
    slow.until("a batch is in hand", |c| !c.is_empty()).await;
    let quick = Script::default();
    let mut second = Member::start(&stack, &quick);
    // the batch ends well within the time that a revoke waits
    let ring = async {
        loop {
            bell.notify_one();
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = ring => {}
        () = second.until(|status| status.partitions == 1) => {}
    }
    let seen = slow.committed().len() + quick.committed().len();
    assert_eq!(seen, 2, "handled once each");
    assert_eq!(*slow.dropped.lock().unwrap(), 0);
    second.stop().await;
    first.kill().await;
    stack.end().await;
}

#[tokio::test]
async fn a_batch_that_does_not_end_is_given_up_and_its_records_go_to_the_new_owner() {
    let stack = Stack::start(2).await;
    let producer = Producer::start(&stack.kafka).unwrap();
    let stuck = Script {
        hangs: Some(Arc::default()),
        hangs_from: 2,
        ..Script::default()
    };
    let mut first = Member::start(&stack, &stuck);
    first.until(|status| status.partitions == 2).await;
    // of both partitions, for either of them may go over
    eventually(LIMIT, "a batch is in hand", async || {
        let page: Vec<_> = keys().map(|key| stack.record(key, key)).into();
        let permit = producer.reserve(&page).await;
        producer.send(permit, page).await;
        stuck.hung.load(Ordering::Acquire).then_some(())
    })
    .await;

    let quick = Script::default();
    let mut second = Member::start(&stack, &quick);
    second.until(|status| status.partitions == 1).await;
    // whichever partition went over, its record comes, unless it was never in hand there
    quick
        .until("the record comes again", |c| !c.is_empty())
        .await;
    eventually(LIMIT, "the batch was dropped", async || {
        (*stuck.dropped.lock().unwrap() > 0).then_some(())
    })
    .await;
    second.stop().await;
    first.kill().await;
    stack.end().await;
}
