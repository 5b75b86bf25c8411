use palinode_testkit::eventually;
use sqlx::{Connection, PgConnection};

use crate::stack::{LIMIT, Stack, execute};

/// How many lanes are under a lease, and how many workers are known.
async fn leased(stack: &Stack) -> (i64, i64) {
    let row = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM outbox_lane WHERE lease_until > clock_timestamp())
                  AS "lanes!",
                  (SELECT count(*) FROM outbox_worker) AS "workers!""#
    )
    .fetch_one(stack.db.pool())
    .await
    .unwrap();
    (row.lanes, row.workers)
}

#[tokio::test]
async fn a_relay_that_stops_gives_its_lanes_back() {
    let stack = Stack::start(1).await;
    let mut relay = stack.relay();
    relay.until("it has all", |status| status.lanes == 64).await;
    assert_eq!(leased(&stack).await, (64, 1));
    relay.stop().await;
    assert_eq!(leased(&stack).await, (0, 0));
    stack.end().await;
}

#[tokio::test]
async fn the_lanes_of_a_killed_relay_are_taken_over() {
    let mut stack = Stack::start(1).await;
    let mut first = stack.relay();
    let mut second = stack.relay();
    first
        .until("it has its share", |status| status.lanes == 32)
        .await;
    second
        .until("it has its share", |status| status.lanes == 32)
        .await;
    first.kill().await;
    for key in 0..100 {
        stack.write(&format!("key-{key}"), &[b"x"]).await;
    }
    second
        .until("it has all", |status| status.lanes == 64)
        .await;
    stack.check().await;
    second.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn a_worker_whose_session_is_over_is_dead_before_its_leases_end() {
    let mut stack = Stack::start(1).await;
    // as it is found after a process was killed: leases that go on for long
    let mut session = PgConnection::connect(&stack.url).await.unwrap();
    sqlx::query!(
        "WITH dead AS (
           INSERT INTO outbox_worker (id, seen_until, session, session_start)
           SELECT gen_random_uuid(), clock_timestamp() + interval '1h', pg_backend_pid(),
                  backend_start
             FROM pg_stat_activity WHERE pid = pg_backend_pid() RETURNING id)
         UPDATE outbox_lane SET owner = dead.id, epoch = 7,
                lease_until = clock_timestamp() + interval '1h' FROM dead"
    )
    .execute(&mut session)
    .await
    .unwrap();
    stack.write("a", &[b"x"]).await;
    let mut relay = stack.relay();
    stack.two_lease_rounds().await;
    assert_eq!(relay.status[0].borrow().lanes, 0, "its session lives");
    session.close().await.unwrap();
    relay.until("it has all", |status| status.lanes == 64).await;
    stack.check().await;
    relay.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn a_lane_that_was_taken_away_is_noticed_and_taken_again_in_a_later_epoch() {
    let mut stack = Stack::start(1).await;
    let mut relay = stack.relay();
    relay.until("it has all", |status| status.lanes == 64).await;
    // as if another worker had taken and released them
    execute(
        &stack.db,
        "UPDATE outbox_lane SET owner = gen_random_uuid(), epoch = epoch + 1,
                lease_until = clock_timestamp() + interval '500ms' WHERE lane < 10",
    )
    .await;
    relay
        .until("it lost them", |status| status.lanes == 54)
        .await;
    relay
        .until("it has all again", |status| status.lanes == 64)
        .await;
    stack.write("a", &[b"x"]).await;
    stack.check().await;
    let epochs = sqlx::query_scalar!("SELECT epoch FROM outbox_lane WHERE lane < 10")
        .fetch_all(stack.db.pool())
        .await
        .unwrap();
    assert!(epochs.iter().all(|epoch| *epoch >= 3), "{epochs:?}");
    relay.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn a_paused_lane_is_not_read_until_it_is_resumed() {
    let mut stack = Stack::start(1).await;
    execute(&stack.db, "UPDATE outbox_lane SET paused = true").await;
    let mut relay = stack.relay();
    relay.until("it has all", |status| status.lanes == 64).await;
    stack.write("a", &[b"x"]).await;
    let rows = async || {
        sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM outbox"#)
            .fetch_one(stack.db.pool())
            .await
            .unwrap()
    };
    stack.two_lease_rounds().await; // time enough to read it
    assert_eq!(rows().await, 1);
    execute(&stack.db, "UPDATE outbox_lane SET paused = false").await;
    eventually(LIMIT, "it is published", async || {
        (rows().await == 0).then_some(())
    })
    .await;
    stack.check().await;
    relay.stop().await;
    stack.end().await;
}

/// To others it is dead: they may have taken its lanes, and parked what it does not know of.
#[tokio::test]
async fn whoever_loses_his_session_takes_his_lanes_anew() {
    let mut stack = Stack::start(1).await;
    let mut relay = stack.steady_relay();
    relay.until("it has all", |status| status.lanes == 64).await;
    execute(
        &stack.db,
        "SELECT pg_terminate_backend(session) FROM outbox_worker",
    )
    .await;
    relay
        .until("it lost them", |status| status.lanes == 0)
        .await;
    relay
        .until("it has all again", |status| status.lanes == 64)
        .await;
    let epochs = sqlx::query_scalar!("SELECT DISTINCT epoch FROM outbox_lane");
    let epochs = epochs.fetch_all(stack.db.pool()).await.unwrap();
    assert_eq!(epochs, [2]);
    stack.write("a", &[b"x"]).await;
    stack.check().await;
    relay.stop().await;
    stack.end().await;
}
