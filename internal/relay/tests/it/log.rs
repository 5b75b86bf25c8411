use palinode_outbox::{Held, append, to_log, to_queue};
use palinode_relay::{Mode, Options};
use palinode_testkit::eventually;

use crate::stack::{
    LIMIT, RunningRelay, Stack, count, draw_transaction_id, execute, quick, record,
};
use crate::writers::Writers;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_is_larger_than_a_page_is_read_in_parts() {
    let mut stack = Stack::in_mode(Mode::Log, 2).await;
    Writers::start(&stack, 8, 60).await.done().await;
    // 16 rows of a lane are the least that a page may hold
    let options = Options {
        page_rows: 16,
        ..Options::default()
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
    let held = Held::by_insert(&long, [b"long".to_vec()]);
    let record = record("long", b"long");
    append(&mut long, &held, &[record], "test").await.unwrap();
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
async fn what_is_not_published_moves_with_the_shape() {
    let mut stack = Stack::start(1).await;
    stack.write("a", &[b"1", b"2"]).await;
    to_log(&stack.db).await.unwrap();
    stack.write("a", &[b"3"]).await;
    to_queue(&stack.db).await.unwrap();
    stack.write("a", &[b"4"]).await;
    to_log(&stack.db).await.unwrap();
    to_log(&stack.db).await.unwrap(); // it is one
    let relay = stack.steady_relay();
    stack.see(4).await;
    stack.drained().await;
    relay.stop().await;
    stack.write("a", &[b"5"]).await;
    to_queue(&stack.db).await.unwrap();
    to_queue(&stack.db).await.unwrap();
    assert_eq!(count(&stack.db, "SELECT count(*) FROM outbox").await, 1);
    let relay = stack.steady_relay();
    stack.see(5).await;
    assert_eq!(stack.bodies(), ["1", "2", "3", "4", "5"]);
    stack.check().await;
    relay.stop().await;
    stack.end().await;
}

/// The last that began is in flight at the base, and in no list of what is: no later one has ended.
#[tokio::test]
async fn who_began_before_the_base_and_writes_after_it_is_published() {
    let mut stack = Stack::start(1).await;
    for round in 0..5 {
        to_queue(&stack.db).await.unwrap();
        let mut tx = stack.db.begin().await.unwrap();
        draw_transaction_id(&mut tx).await;
        to_log(&stack.db).await.unwrap();
        let key = format!("key-{round}");
        let held = Held::by_insert(&tx, [key.clone().into_bytes()]);
        let record = record(&key, b"late");
        append(&mut tx, &held, &[record], "test").await.unwrap();
        tx.commit().await.unwrap();
    }
    let relay = stack.relay();
    stack.see(5).await;
    stack.check().await;
    relay.stop().await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relays_notice_that_the_shape_changes_while_others_write() {
    let mut stack = Stack::start(2).await;
    let (mut first, second) = (stack.relay(), stack.relay());
    first.until("they share", |status| status.lanes == 32).await;
    let writers = Writers::start(&stack, 4, 300).await;
    for mode in [Mode::Log, Mode::Queue, Mode::Log] {
        let seen = stack.seen.len();
        stack.see(seen + 50).await;
        match mode {
            Mode::Log => to_log(&stack.db).await.unwrap(),
            Mode::Queue => to_queue(&stack.db).await.unwrap(),
        }
    }
    writers.done().await;
    let sum = stack.check().await;
    assert!(sum.committed > 1_500, "{sum:?}");
    first.stop().await;
    second.stop().await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_written_all_the_time_is_emptied() {
    let mut stack = Stack::in_mode(Mode::Log, 2).await;
    let options = Options {
        log_rows_max: 300,
        ..Options::default()
    };
    let relay = RunningRelay::start(options, vec![stack.source()], stack.producer());
    let writers = Writers::start(&stack, 4, 400).await;
    let rows = eventually(LIMIT, "rows are gone", async || {
        let rows = count(&stack.db, "SELECT count(*) FROM outbox").await;
        let published = relay.status[0].borrow().published;
        (u64::try_from(rows).unwrap() < published).then_some(rows)
    })
    .await;
    let written = count(&stack.db, "SELECT count(*) FROM kept").await;
    assert!(rows < written, "{rows} of {written}");
    writers.done().await;
    let sum = stack.check().await;
    assert_eq!(sum.repeats, 0, "{sum:?}");
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
    let mut relay = RunningRelay::start(quick(), vec![stack.source()], stack.producer());
    relay.until("it refuses", |status| !status.database).await;
    assert_eq!(relay.status[0].borrow().lanes, 0);
    // a new base
    to_log(&stack.db).await.unwrap();
    relay.until("it goes on", |status| status.lanes == 64).await;
    relay.stop().await;
    execute(
        &stack.db,
        "UPDATE outbox_log SET system_identifier = system_identifier + 1",
    )
    .await;
    let mut relay = RunningRelay::start(quick(), vec![stack.source()], stack.producer());
    relay.until("it refuses", |status| !status.database).await;
    relay.stop().await;
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

/// Its cursors count rows as published that nobody has seen.
#[tokio::test]
async fn a_log_of_another_server_becomes_a_queue_with_all_its_rows() {
    let mut stack = Stack::in_mode(Mode::Log, 1).await;
    stack.write("a", &[b"1"]).await;
    execute(
        &stack.db,
        "UPDATE outbox_lane SET s1 = '4000000000:4000000000:'",
    )
    .await;
    to_queue(&stack.db).await.unwrap();
    let relay = stack.relay();
    stack.see(1).await;
    stack.check().await;
    relay.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn a_relay_at_work_notices_that_its_log_was_restored_from_another_server() {
    let mut stack = Stack::in_mode(Mode::Log, 1).await;
    let mut relay = stack.relay();
    relay.until("it has all", |status| status.lanes == 64).await;
    execute(
        &stack.db,
        "UPDATE outbox_lane SET paused = true, s1 = '4000000000:4000000000:';
         UPDATE outbox_log SET system_identifier = system_identifier + 1",
    )
    .await;
    relay.until("it refuses", |status| !status.database).await;
    stack.write("a", &[b"1"]).await;
    execute(&stack.db, "UPDATE outbox_lane SET paused = false").await;
    to_log(&stack.db).await.unwrap();
    stack.see(1).await;
    stack.check().await;
    relay.stop().await;
    stack.end().await;
}

/// A server that crashes may draw the numbers of transactions again that it has not kept.
#[tokio::test]
async fn a_relay_that_loses_its_server_goes_on_with_the_cursors_that_are_stored() {
    let mut stack = Stack::in_mode(Mode::Log, 1).await;
    let mut relay = stack.relay();
    relay.until("it has all", |status| status.lanes == 64).await;
    stack.write("a", &[b"1"]).await;
    stack.see(1).await;
    stack.drained().await;
    let of_before = sqlx::query_scalar!("SELECT id FROM outbox_worker")
        .fetch_all(stack.db.pool())
        .await
        .unwrap();
    execute(
        &stack.db,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .await;
    eventually(LIMIT, "it began anew", async || {
        let workers =
            sqlx::query_scalar!("SELECT id FROM outbox_worker").fetch_all(stack.db.pool());
        let workers = workers.await.ok()?;
        (!workers.is_empty() && !workers.iter().any(|id| of_before.contains(id))).then_some(())
    })
    .await;
    stack.write("a", &[b"2"]).await;
    stack.check().await;
    relay.stop().await;
    stack.end().await;
}

/// To find where they begin, all of them would have to be read.
#[tokio::test]
async fn a_lane_with_very_many_rows_is_read_from_its_head() {
    let mut stack = Stack::in_mode(Mode::Log, 1).await;
    let body = vec![&b"x"[..]; 500];
    for _ in 0..25 {
        stack.write("a", &body).await;
    }
    let relay = RunningRelay::start(Options::default(), vec![stack.source()], stack.producer());
    let sum = stack.check().await;
    assert_eq!((sum.committed, sum.repeats), (12_500, 0));
    relay.stop().await;
    stack.end().await;
}
