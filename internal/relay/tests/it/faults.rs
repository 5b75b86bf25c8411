use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::scripted::{Faults, Scripted};
use crate::stack::{RunningRelay, Stack, count, execute, quick};
use crate::writers::Writers;

fn start(stack: &Stack, faults: &Arc<Faults>) -> RunningRelay {
    let publisher = Scripted {
        inner: stack.producer(),
        faults: Arc::clone(faults),
    };
    RunningRelay::start(quick(), vec![stack.source()], publisher)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_that_are_lost_repeat_records_and_lose_none() {
    let mut stack = Stack::start(1).await;
    let faults = Arc::new(Faults::default());
    faults.lose_acks.store(20, Ordering::Release);
    let relay = start(&stack, &faults);
    Writers::start(&stack, 4, 60).await.done().await;
    let sum = stack.check().await;
    assert!(sum.repeats >= 20, "{sum:?}");
    relay.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn of_a_request_that_the_broker_refuses_only_the_culprit_is_parked() {
    let mut stack = Stack::start(1).await;
    // one lane, one page
    stack.write("a", &[b"1", b"2", b"poison", b"4"]).await;
    let faults = Arc::new(Faults {
        poison: Some(b"poison"),
        ..Faults::default()
    });
    let mut relay = start(&stack, &faults);
    stack.check().await;
    assert_eq!(stack.bodies(), ["1", "2"]);
    relay
        .until("they are counted", |status| status.parked == 2)
        .await;
    let errors = sqlx::query_scalar!("SELECT error FROM outbox_parked ORDER BY id")
        .fetch_all(stack.db.pool())
        .await
        .unwrap();
    assert_eq!(errors[0], "refused by policy");
    assert!(errors[1].contains("earlier record"), "{errors:?}");
    relay.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn an_answer_that_is_held_opens_the_circuit() {
    let mut stack = Stack::start(1).await;
    let faults = Arc::new(Faults::default());
    faults.hold.store(true, Ordering::Release);
    let mut relay = start(&stack, &faults);
    stack.write("a", &[b"1"]).await;
    relay
        .until("the circuit is open", |status| !status.broker)
        .await;
    // written meanwhile: not read, though its lane is idle
    stack.write("b", &[b"2"]).await;
    stack.see(1).await;
    stack.see_the_rest().await;
    assert_eq!(stack.bodies(), ["1"]);
    faults.hold.store(false, Ordering::Release);
    faults.released.notify_one();
    relay
        .until("the circuit is closed", |status| status.broker)
        .await;
    stack.check().await;
    relay.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn a_lane_that_is_lost_with_records_in_flight_is_purged() {
    let mut stack = Stack::start(1).await;
    let faults = Arc::new(Faults::default());
    faults.hold.store(true, Ordering::Release);
    let mut relay = start(&stack, &faults);
    relay.until("it has all", |status| status.lanes == 64).await;
    stack.write("a", &[b"1"]).await;
    stack.see(1).await;
    execute(
        &stack.db,
        "UPDATE outbox_lane SET owner = gen_random_uuid(), epoch = epoch + 1,
                lease_until = clock_timestamp()",
    )
    .await;
    relay
        .until("it lost its lanes", |status| status.lanes == 0)
        .await;
    assert_eq!(faults.purges.load(Ordering::Acquire), 1);
    relay
        .until("it has all again", |status| status.lanes == 64)
        .await;
    faults.hold.store(false, Ordering::Release);
    faults.released.notify_waiters();
    stack.check().await;
    relay.stop().await;
    stack.end().await;
}

/// As a log leaves it that parks before its cursor has passed, or a dump.
#[tokio::test]
async fn a_row_that_is_parked_already_keeps_nobody_waiting() {
    let mut stack = Stack::start(1).await;
    stack.write("a", &[b"1"]).await;
    execute(
        &stack.db,
        "INSERT INTO outbox_parked (id, lane, topic, event_id, created_at, key, headers, payload, error)
         SELECT id, lane, topic, event_id, created_at, key, headers, payload, 'of before' FROM outbox",
    )
    .await;
    let relay = stack.relay();
    stack.write("b", &[b"2"]).await;
    stack.check().await;
    assert_eq!(stack.bodies(), ["2"]);
    relay.stop().await;
    stack.end().await;
}

/// Its next owner has looked for parked keys when he took it, and would publish what comes after.
#[tokio::test]
async fn who_has_lost_a_lane_parks_nothing_of_it() {
    let mut stack = Stack::start(1).await;
    let faults = Arc::new(Faults {
        poison: Some(b"poison"),
        ..Faults::default()
    });
    let mut relay = start(&stack, &faults);
    relay.until("it has all", |status| status.lanes == 64).await;
    let mut taker = stack.db.begin().await.unwrap();
    sqlx::query!("SELECT lane FROM outbox_lane FOR UPDATE")
        .fetch_all(taker.conn())
        .await
        .unwrap();
    stack.write("a", &[b"poison"]).await;
    let database = stack.database.as_ref().unwrap();
    database.until_locked_out("INSERT INTO outbox_parked").await;
    sqlx::query!(
        "UPDATE outbox_lane SET owner = gen_random_uuid(), epoch = epoch + 1, paused = true,
                lease_until = clock_timestamp() + interval '1h'"
    )
    .execute(taker.conn())
    .await
    .unwrap();
    taker.commit().await.unwrap();
    relay.until("it has none", |status| status.lanes == 0).await;
    stack.two_lease_rounds().await;
    let parked = "SELECT count(*) FROM outbox_parked";
    assert_eq!(count(&stack.db, parked).await, 0);
    let free = "UPDATE outbox_lane SET paused = false, lease_until = '-infinity'";
    execute(&stack.db, free).await;
    stack.check().await;
    assert_eq!(count(&stack.db, parked).await, 1);
    relay.stop().await;
    stack.end().await;
}
