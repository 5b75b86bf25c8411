use palinode_messaging::Producer;

use crate::consumer::{Member, Script};
use crate::stack::{Stack, numbered};

/// Eleven records, some of them poison: the others are handled once and in order.
async fn check(poison: &[u32]) {
    let stack = Stack::start(1).await;
    let producer = Producer::start(&stack.kafka).unwrap();
    let poison: Vec<_> = poison.iter().map(|number| format!("{number:05}")).collect();
    let script = Script::default();
    script.poison.lock().unwrap().extend(poison.iter().cloned());
    // published first, so that they come in one batch
    stack.publish(&producer, "a", &numbered(0..11)).await;
    let mut member = Member::start(&stack, &script);
    let good: Vec<_> = numbered(0..11)
        .into_iter()
        .filter(|body| !poison.contains(body))
        .collect();
    script
        .until("the others are handled", |c| c.len() >= good.len())
        .await;
    member.until(|status| status.settled > 0).await;
    assert_eq!(script.committed(), good);
    assert_eq!(*script.parked.lock().unwrap(), poison);
    member.stop().await;

    // nothing of it comes again: the offset is behind the parked ones
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
async fn the_first_of_a_batch_is_poison() {
    check(&[0]).await;
}

#[tokio::test]
async fn one_in_the_middle_is_poison() {
    check(&[5]).await;
}

#[tokio::test]
async fn the_last_of_a_batch_is_poison() {
    check(&[10]).await;
}

#[tokio::test]
async fn several_are_poison() {
    check(&[0, 1, 6, 10]).await;
}
