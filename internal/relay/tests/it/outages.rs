use palinode_db::{Area, Db};
use palinode_outbox::Doorbell;
use palinode_relay::Source;
use palinode_testkit::database::test_database;
use sqlx::{Connection, PgConnection};

use crate::stack::{RunningRelay, Stack, quick};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_away_stops_reading_and_loses_nothing() {
    let mut stack = Stack::in_process(2).await;
    let mut relay = stack.relay();
    stack.write("a", &[b"before"]).await;
    stack.see(1).await;
    stack.broker.as_ref().unwrap().down().unwrap();
    for key in 0..50 {
        stack.write(&format!("key-{key}"), &[b"one", b"two"]).await;
    }
    relay
        .until("the circuit is open", |status| !status.broker)
        .await;
    // the leases go on meanwhile
    assert_eq!(relay.status[0].borrow().lanes, 64);
    stack.broker.as_ref().unwrap().up().unwrap();
    relay
        .until("it is closed again", |status| status.broker)
        .await;
    let sum = stack.check().await;
    assert_eq!(sum.committed, 101);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_while_the_broker_is_away_ends_in_time_and_a_successor_publishes() {
    let mut stack = Stack::in_process(1).await;
    let relay = stack.relay();
    stack.write("a", &[b"before"]).await;
    stack.see(1).await;
    stack.broker.as_ref().unwrap().down().unwrap();
    stack.write("a", &[b"after"]).await;
    relay.stop().await;
    stack.broker.as_ref().unwrap().up().unwrap();
    let relay = stack.relay();
    let sum = stack.check().await;
    assert_eq!(sum.committed, 2);
    relay.stop().await;
}

#[tokio::test]
async fn a_database_that_breaks_does_not_stop_the_others() {
    let mut stack = Stack::start(1).await;
    let other = test_database(Area::Order).await;
    let options = palinode_db::Options {
        url: other.url.clone(),
        service: "test".to_owned(),
        connections_max: 3,
    };
    let broken = Source {
        name: "broken".to_owned(),
        db: Db::connect(&options).await.unwrap(),
        doorbell: Doorbell::new(),
    };
    let never_there = Source {
        name: "never there".to_owned(),
        db: Db::connect(&options).await.unwrap(),
        doorbell: Doorbell::new(),
    };
    never_there.db.close().await;
    let sources = vec![stack.source(), broken.clone(), never_there];
    let mut relay = RunningRelay::start(quick(), sources, stack.producer());
    relay.status[1]
        .wait_for(|status| status.lanes == 64)
        .await
        .unwrap();
    broken.db.close().await;
    relay.status[1]
        .wait_for(|status| status.lanes == 0 && !status.database)
        .await
        .unwrap();
    assert!(!relay.status[2].borrow().database);
    stack.write("a", &[b"x"]).await;
    stack.check().await;
    relay.until("it is well", |status| status.database).await;
    relay.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn connections_that_are_cut_cost_nothing_but_a_moment() {
    let mut stack = Stack::start(1).await;
    let mut relay = stack.relay();
    relay.until("it has all", |status| status.lanes == 64).await;
    for round in 0..5 {
        let mut admin = PgConnection::connect(&stack.url).await.unwrap();
        sqlx::query!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
              WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        .fetch_all(&mut admin)
        .await
        .unwrap();
        // the first try may meet a dead connection of the pool
        stack.db.ping().await.ok();
        stack.write("a", &[format!("{round}").as_bytes()]).await;
    }
    let sum = stack.check().await;
    assert_eq!(sum.committed, 5);
    relay.stop().await;
    stack.end().await;
}
