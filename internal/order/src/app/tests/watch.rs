use std::time::Duration;

use palinode_messaging::{InProcessBroker, Kafka, Outgoing, Producer, events_of, partition_of};
use palinode_values::OrderId;
use tokio::time::timeout;

use super::*;
use crate::app::watch::{Watcher, Watchers};

const LIMIT: Duration = Duration::from_secs(30);

fn rejected() -> Decision {
    Decision::Reject {
        reason: "OUT_OF_STOCK".to_owned(),
        detail: "none left".to_owned(),
    }
}

async fn next(watcher: &mut Watcher, db: &Db) -> Order {
    let next = timeout(LIMIT, watcher.next(db)).await;
    next.expect("it is seen in time").unwrap().unwrap()
}

#[tokio::test]
async fn an_order_is_seen_at_once_and_each_time_that_it_has_changed() {
    let world = World::new().await;
    let watchers = Watchers::default();
    let order = world.placed().await;
    let mut watcher = watchers.watch(order.id, None).unwrap();
    let mut other = watchers.watch(order.id, Some(order.clone())).unwrap();
    assert_eq!(next(&mut watcher, &world.db).await, order);
    assert!(!watcher.is_settled());
    world.decide(&[(order.id, rejected())]).await;
    watchers.tell(order.id);
    let seen = next(&mut watcher, &world.db).await;
    assert_eq!(seen.status.word(), "rejected");
    assert_eq!(next(&mut other, &world.db).await, seen);
    assert!(watcher.is_settled());
}

#[tokio::test]
async fn a_change_that_nobody_tells_of_is_seen_a_little_later() {
    let world = World::new().await;
    let order = world.placed().await;
    let watchers = Watchers::default();
    let mut watcher = watchers.watch(order.id, Some(order.clone())).unwrap();
    world.decide(&[(order.id, rejected())]).await;
    assert_eq!(
        next(&mut watcher, &world.db).await.status.word(),
        "rejected"
    );
}

#[tokio::test]
async fn who_waits_gets_the_outcome_or_what_there_is_then() {
    let world = World::new().await;
    let watchers = Watchers::default();
    let order = world.placed().await;
    let watch = || watchers.watch(order.id, Some(order.clone())).unwrap();
    let early = watch().settled(&world.db, Duration::from_millis(20)).await;
    assert_eq!(early.unwrap().unwrap(), order);
    let waits = watch().settled(&world.db, LIMIT);
    let decides = async {
        world.decide(&[(order.id, rejected())]).await;
        watchers.tell(order.id);
    };
    let (settled, ()) = tokio::join!(waits, decides);
    assert_eq!(settled.unwrap().unwrap().status.word(), "rejected");
    let nothing = OrderId::new(&world.clock);
    let nothing = watchers.watch(nothing, None).unwrap();
    assert_eq!(nothing.settled(&world.db, LIMIT).await.unwrap(), None);
}

/// As another instance would: what it has carried out is known by its event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_tell_of_what_others_have_decided() {
    let world = World::new().await;
    let (_broker, kafka) = InProcessBroker::start("test", 1).unwrap();
    let watchers = Watchers::default();
    let mut listening = JoinSet::new();
    let stop = CancellationToken::new();
    listening.spawn(watchers.clone().listen(kafka.clone(), stop.clone()));
    // one after the other: while nobody watches nothing is read
    for _ in 0..2 {
        let order = world.placed().await;
        let mut watcher = watchers.watch(order.id, Some(order.clone())).unwrap();
        watchers.until_listening().await;
        world.decide(&[(order.id, rejected())]).await;
        publish(&kafka, order.id).await;
        assert_eq!(
            next(&mut watcher, &world.db).await.status.word(),
            "rejected"
        );
    }
    stop.cancel();
    listening.join_next().await.unwrap().unwrap();
}

async fn publish(kafka: &Kafka, id: OrderId) {
    let topic = events_of("order").unwrap();
    let producer = Producer::start(kafka).unwrap();
    let event = Outgoing {
        topic: kafka.topic_name(topic).into(),
        partition: partition_of(&id.key(), 1),
        key: id.key().into(),
        body: bytes::Bytes::new(),
        headers: palinode_messaging::Headers::default(),
    };
    let page = std::sync::Arc::new(vec![event]);
    let permit = producer.reserve(&page).await;
    producer.send(permit, page).await;
}
