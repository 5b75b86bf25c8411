use std::time::Duration;

use palinode_messaging::{Delivery, Producer};
use tokio::time::timeout;

use crate::stack::{LIMIT, Stack, numbered};

#[tokio::test]
async fn after_a_refused_record_only_its_key_is_held_back() {
    let stack = Stack::start(1).await;
    let producer = Producer::start(&stack.kafka).unwrap();
    let page = vec![
        stack.record("a", "first"),
        stack.record("b", vec![0; 2_000_000]),
        stack.record("b", "behind"),
        stack.record("a", "second"),
    ];
    let permit = producer.reserve(&page).await;
    let deliveries = timeout(LIMIT, producer.send(permit, page)).await.unwrap();
    assert_eq!(deliveries[0], Delivery::Acked);
    let Delivery::Refused(why) = &deliveries[1] else {
        panic!("{deliveries:?}");
    };
    assert!(why.contains("too large"), "{why}");
    assert_eq!(deliveries[2], Delivery::Unsent);
    assert_eq!(deliveries[3], Delivery::Acked);
    stack.end().await;
}

#[tokio::test]
async fn a_page_waits_for_a_broker_that_is_away() {
    let stack = Stack::in_process(1);
    let broker = stack.broker.as_ref().unwrap();
    let producer = Producer::start(&stack.kafka).unwrap();
    stack.publish(&producer, "a", &numbered(0..1)).await;
    broker.down().unwrap();
    let page = vec![stack.record("a", "late")];
    let permit = producer.reserve(&page).await;
    let reported = producer.send(permit, page);
    tokio::pin!(reported);
    let early = timeout(Duration::from_millis(300), &mut reported).await;
    assert!(early.is_err(), "acknowledged by nobody: {early:?}");
    broker.up().unwrap();
    let deliveries = timeout(LIMIT, reported).await.unwrap();
    assert_eq!(deliveries, [Delivery::Acked]);
}

#[tokio::test]
async fn a_purge_reports_what_is_in_flight_and_a_new_client_goes_on() {
    let stack = Stack::in_process(1);
    let broker = stack.broker.as_ref().unwrap();
    let producer = Producer::start(&stack.kafka).unwrap();
    stack.publish(&producer, "a", &numbered(0..1)).await;
    broker.down().unwrap();
    let page: Vec<_> = ["x", "y"].map(|body| stack.record("a", body)).into();
    let permit = producer.reserve(&page).await;
    let reported = producer.send(permit, page);
    producer.purge().unwrap();
    let deliveries = timeout(LIMIT, reported).await.unwrap();
    assert_eq!(deliveries, [Delivery::Unsent, Delivery::Unsent]);
    broker.up().unwrap();
    let bodies = numbered(1..2);
    let publish = stack.publish(&producer, "a", &bodies);
    timeout(LIMIT, publish).await.unwrap();
}
