use palinode_testkit::eventually;

use crate::stack::{LIMIT, Stack};
use crate::writers::Writers;

macro_rules! in_every_mode {
    ($($fact:ident,)*) => {
        mod queue {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $fact() {
                super::$fact(crate::stack::Stack::start(2).await).await;
            })*
        }
        /// As while a transaction is left open somewhere.
        mod queue_behind_dead_rows {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $fact() {
                let mut stack = crate::stack::Stack::start(2).await;
                stack.dead_rows_max = 0;
                super::$fact(stack).await;
            })*
        }
        mod log {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $fact() {
                super::$fact(crate::stack::Stack::in_mode(palinode_relay::Mode::Log, 2).await).await;
            })*
        }
    };
}

in_every_mode! {
    concurrent_writers_with_rollbacks_lose_nothing_and_keep_the_order_of_each_key,
    a_backlog_is_drained_in_order,
    two_relays_keep_the_order_while_lanes_move_between_them,
    a_relay_that_is_killed_again_and_again_loses_nothing,
    a_row_that_commits_late_with_a_small_id_is_published,
    records_that_are_written_one_by_one_are_published_one_by_one,
}

async fn concurrent_writers_with_rollbacks_lose_nothing_and_keep_the_order_of_each_key(
    mut stack: Stack,
) {
    let relay = stack.steady_relay();
    Writers::start(&stack, 8, 60).await.done().await;
    let sum = stack.check().await;
    assert!(sum.committed > 300, "{sum:?}");
    assert_eq!(
        sum.repeats, 0,
        "nothing failed, so nothing is repeated: {sum:?}"
    );
    relay.stop().await;
    stack.end().await;
}

async fn a_backlog_is_drained_in_order(mut stack: Stack) {
    Writers::start(&stack, 8, 60).await.done().await;
    let relay = stack.steady_relay();
    let sum = stack.check().await;
    assert_eq!(sum.repeats, 0, "{sum:?}");
    relay.stop().await;
    stack.end().await;
}

async fn two_relays_keep_the_order_while_lanes_move_between_them(mut stack: Stack) {
    let writers = Writers::start(&stack, 4, 150).await;
    let first = stack.steady_relay();
    let mut second = stack.steady_relay();
    second
        .until("it has its share", |status| status.lanes == 32)
        .await;
    first.stop().await;
    second
        .until("it has all", |status| status.lanes == 64)
        .await;
    writers.done().await;
    let sum = stack.check().await;
    assert_eq!(sum.repeats, 0, "lanes were handed over, not lost: {sum:?}");
    second.stop().await;
    stack.end().await;
}

async fn a_relay_that_is_killed_again_and_again_loses_nothing(mut stack: Stack) {
    let writers = Writers::start(&stack, 4, 150).await;
    for _ in 0..3 {
        let relay = stack.relay();
        eventually(LIMIT, "it publishes", async || {
            // the writers may have ended before the last is killed
            stack.write("another", &[b"and another"]).await;
            (relay.status[0].borrow().published > 20).then_some(())
        })
        .await;
        relay.kill().await;
    }
    let relay = stack.relay();
    writers.done().await;
    let sum = stack.check().await;
    assert!(sum.repeats <= 3 * 5_000, "{sum:?}");
    relay.stop().await;
    stack.end().await;
}

async fn a_row_that_commits_late_with_a_small_id_is_published(mut stack: Stack) {
    let relay = stack.steady_relay();
    let mut late = stack.db.begin().await.unwrap();
    let held = palinode_outbox::Held::by_insert(&late, [b"late".to_vec()]);
    let record = crate::stack::record("late", b"late");
    palinode_outbox::append(&mut late, &held, &[record], "test")
        .await
        .unwrap();
    stack.write("early", &[b"early"]).await;
    stack.see(1).await;
    stack.drained().await;
    late.commit().await.unwrap();
    stack.see(2).await;
    assert_eq!(stack.bodies(), ["early", "late"]);
    stack.check().await;
    relay.stop().await;
    stack.end().await;
}

async fn records_that_are_written_one_by_one_are_published_one_by_one(mut stack: Stack) {
    let mut relay = stack.steady_relay();
    for count in 1..=20 {
        stack.write("a", &[b"x"]).await;
        stack.see(count).await;
    }
    relay
        .until("they are counted", |status| status.published == 20)
        .await;
    relay.stop().await;
    stack.end().await;
}
