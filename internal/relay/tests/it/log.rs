use palinode_outbox::{to_log, to_queue};
use palinode_relay::{Mode, Options};

use crate::stack::{LIMIT, RunningRelay, Stack, execute, quick};
use crate::writers::Writers;

fn log() -> Options {
    Options {
        mode: Mode::Log,
        ..quick()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_is_larger_than_a_page_is_read_in_parts() {
    let mut stack = Stack::in_mode(Mode::Log, 2).await;
    Writers::start(&stack, 8, 60).await.done().await;
    // 16 rows of a lane are the least that a page may hold
    let options = Options {
        page_rows: 16,
        ..log()
    };
    let relay = RunningRelay::start(options, vec![stack.source()], stack.producer());
    let sum = stack.check().await;
    assert_eq!(sum.repeats, 0, "{sum:?}");
    relay.stop().await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_stays_open_delays_nobody_and_is_published_in_the_end() {
    let mut stack = Stack::in_mode(Mode::Log, 1).await;
    let relay = stack.relay();
    let mut long = stack.db.begin().await.unwrap();
    let held = palinode_outbox::Held::by_insert(&long, [b"long".to_vec()]);
    let record = crate::stack::record("long", b"long");
    palinode_outbox::append(&mut long, &held, &[record], "test")
        .await
        .unwrap();
    for number in 0..30 {
        stack.write(&format!("key-{number}"), &[b"x"]).await;
    }
    stack.see(30).await;
    stack.drained().await;
    long.commit().await.unwrap();
    stack.see(31).await;
    stack.check().await;
    relay.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn a_log_becomes_a_queue_and_a_log_again() {
    let mut stack = Stack::in_mode(Mode::Log, 1).await;
    stack.write("a", &[b"1"]).await;
    assert!(to_queue(&stack.db).await.is_err(), "a row is not published");
    let relay = stack.relay();
    stack.see(1).await;
    stack.drained().await;
    relay.stop().await;
    to_queue(&stack.db).await.unwrap();
    stack.mode = Mode::Queue;
    let relay = stack.relay();
    stack.write("a", &[b"2"]).await;
    stack.see(2).await;
    stack.drained().await;
    relay.stop().await;
    to_log(&stack.db).await.unwrap();
    stack.mode = Mode::Log;
    let relay = stack.relay();
    stack.write("a", &[b"3"]).await;
    stack.see(3).await;
    stack.drained().await;
    assert_eq!(stack.bodies(), ["1", "2", "3"]);
    relay.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn cursors_of_another_server_or_of_the_future_are_refused() {
    let stack = Stack::in_mode(Mode::Log, 1).await;
    execute(
        &stack.db,
        "UPDATE outbox_lane SET s1 = '4000000000:4000000000:' WHERE lane = 7",
    )
    .await;
    let mut relay = RunningRelay::start(log(), vec![stack.source()], stack.producer());
    relay.until("it refuses", |status| !status.database).await;
    assert_eq!(relay.status[0].borrow().lanes, 0);
    // a new base, once somebody has looked
    to_log(&stack.db).await.unwrap();
    relay.until("it goes on", |status| status.lanes == 64).await;
    relay.stop().await;
    execute(
        &stack.db,
        "UPDATE outbox_log SET system_identifier = system_identifier + 1",
    )
    .await;
    let mut relay = RunningRelay::start(log(), vec![stack.source()], stack.producer());
    relay.until("it refuses", |status| !status.database).await;
    relay.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn a_relay_in_log_mode_refuses_a_queue() {
    let stack = Stack::start(1).await;
    let mut relay = RunningRelay::start(log(), vec![stack.source()], stack.producer());
    relay.until("it refuses", |status| !status.database).await;
    tokio::time::timeout(LIMIT, relay.stop()).await.unwrap();
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_of_more_rows_than_the_producer_takes_at_once_is_published() {
    let stack = Stack::in_mode(Mode::Log, 1).await;
    execute(
        &stack.db,
        "INSERT INTO outbox (lane, topic, event_id, key, headers, payload)
         SELECT n % 64, (SELECT min(id) FROM outbox_topic), gen_random_uuid(), 'a', '', ''
           FROM generate_series(1, 70000) n",
    )
    .await;
    let relay = stack.relay();
    stack.drained().await;
    relay.stop().await;
    stack.end().await;
}
