use std::time::Duration;

use palinode_saga::Direction;
use palinode_testkit::eventually;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::fixture::{CardProcessor, Fixture, LIMIT, Order, quick};
use crate::calls::CardCalls;
use crate::config;

/// Runs the calls until it is dropped, which ends them as a crash would.
pub(super) struct Running(JoinSet<()>);

impl Running {
    pub(super) fn start(calls: CardCalls) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(calls.run(CancellationToken::new()));
        Self(tasks)
    }

    pub(super) async fn crash(mut self) {
        self.0.shutdown().await;
    }
}

#[tokio::test]
async fn a_card_is_charged_and_refunded() {
    let (mut fixture, processor) = (Fixture::new().await, CardProcessor::up().await);
    // an idle loop does not poll here: it has to hear the bell after the commit
    let limits = config::CardCalls {
        poll: Duration::from_secs(600),
        ..quick()
    };
    let _running = Running::start(fixture.calls(processor.address, limits));
    let order = Order::by_card("tok_visa", 1_250);

    fixture.hand_over(&[order.charge()]).await;
    let said = fixture.hear(2).await;
    assert_eq!(
        (said.answers(), said.events),
        (names(&["pending", "done"]), names(&["PaymentCharged"]))
    );
    assert_eq!(
        (
            fixture.state(&order).await.as_str(),
            fixture.intents().await
        ),
        ("captured", 0)
    );
    let accounts = (
        fixture.account("shop").await,
        fixture.account("processor").await,
    );
    assert_eq!(accounts, (1_250, -1_250));
    assert_eq!(fixture.deliver(&[order.charge()]).await.answers(), ["done"]);

    fixture.hand_over(&[order.refund()]).await;
    let said = fixture.hear(2).await;
    assert_eq!(
        (said.answers(), said.events),
        (names(&["pending", "undone"]), names(&["PaymentRefunded"]))
    );
    assert_eq!(fixture.state(&order).await, "refunded");
    assert_eq!(fixture.account("processor").await, 0);
    assert_eq!(
        processor.records().await,
        ["charge approved", "refund approved"]
    );
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn a_declined_card_is_a_verdict() {
    let (mut fixture, processor) = (Fixture::new().await, CardProcessor::up().await);
    let order = Order::by_card("tok_declined", 1_250);
    assert_eq!(
        fixture.deliver(&[order.charge()]).await.answers(),
        ["pending"]
    );
    let _running = Running::start(fixture.calls(processor.address, quick()));
    let said = fixture.hear(1).await;
    assert_eq!(
        (said.answers(), said.events),
        (names(&["CARD_DECLINED"]), names(&["PaymentDeclined"]))
    );
    assert_eq!(fixture.state(&order).await, "declined");
    let after = fixture.deliver(&[order.charge(), order.refund()]).await;
    assert_eq!(after.answers(), ["CARD_DECLINED", "undone empty"]);
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn a_group_of_charges_and_refunds_is_settled_whole() {
    let (mut fixture, processor) = (Fixture::new().await, CardProcessor::up().await);
    let _running = Running::start(fixture.calls(processor.address, quick()));
    let orders: Vec<Order> = (1..=40)
        .map(|n| {
            Order::by_card(
                if n % 4 == 0 {
                    "tok_declined"
                } else {
                    "tok_visa"
                },
                n,
            )
        })
        .collect();
    fixture
        .hand_over(&orders.iter().map(Order::charge).collect::<Vec<_>>())
        .await;
    let answers = fixture.hear(80).await.answers();
    assert_eq!(
        answers.iter().filter(|answer| *answer == "done").count(),
        30
    );
    fixture
        .hand_over(&orders.iter().map(Order::refund).collect::<Vec<_>>())
        .await;
    let answers = fixture.hear(70).await.answers();
    assert_eq!(
        answers.iter().filter(|answer| *answer == "undone").count(),
        30
    );
    assert_eq!(
        answers
            .iter()
            .filter(|answer| *answer == "undone empty")
            .count(),
        10
    );
    assert_eq!(fixture.account("shop").await, 0);
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn a_refund_that_meets_the_charge_call_waits_for_it_and_follows() {
    let (mut fixture, processor) = (Fixture::new().await, CardProcessor::up().await);
    let _running = Running::start(fixture.calls(processor.address, quick()));
    let order = Order::by_card("tok_slow", 900);
    fixture.hand_over(&[order.charge()]).await;
    processor.wait_for_records(1).await; // charged, and the answer is not here
    fixture.hand_over(&[order.refund()]).await;
    let said = fixture.hear(3).await;
    // the action is not answered any more
    assert_eq!(said.answers(), ["pending", "pending", "undone"]);
    assert_eq!(said.events, ["PaymentCharged", "PaymentRefunded"]);
    assert_eq!(fixture.state(&order).await, "refunded");
    assert_eq!(
        processor.records().await,
        ["charge approved", "refund approved"]
    );
    assert_eq!(
        fixture.deliver(&[order.refund()]).await.answers(),
        ["undone"]
    );
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn a_processor_that_is_down_is_called_again_with_the_same_key() {
    let (mut fixture, mut processor) = (Fixture::new().await, CardProcessor::down().await);
    let _running = Running::start(fixture.calls(processor.address, quick()));
    let order = Order::by_card("tok_visa", 900);
    assert_eq!(
        fixture.deliver(&[order.charge()]).await.answers(),
        ["pending"]
    );
    eventually(LIMIT, "the call has failed some times", async || {
        let attempts = sqlx::query_scalar!("SELECT attempts FROM card_intent")
            .fetch_one(fixture.db.pool())
            .await;
        (attempts.unwrap() >= 3).then_some(())
    })
    .await;
    assert_eq!(fixture.state(&order).await, "pending");

    processor.start();
    assert_eq!(fixture.hear(1).await.answers(), ["done"]);
    assert_eq!(
        processor.keys().await,
        [order.key(Direction::Forward).to_string()]
    );
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn a_crash_between_the_call_and_its_settling_charges_once() {
    let (mut fixture, processor) = (Fixture::new().await, CardProcessor::up().await);
    let order = Order::by_card("tok_slow", 900);
    assert_eq!(
        fixture.deliver(&[order.charge()]).await.answers(),
        ["pending"]
    );
    let running = Running::start(fixture.calls(processor.address, quick()));
    processor.wait_for_records(1).await;
    running.crash().await;
    assert_eq!(
        (
            fixture.state(&order).await.as_str(),
            fixture.intents().await
        ),
        ("pending", 1)
    );

    fixture.let_intents_be_due().await;
    let _running = Running::start(fixture.calls(processor.address, quick()));
    assert_eq!(fixture.hear(1).await.answers(), ["done"]);
    assert_eq!(
        processor.keys().await,
        [order.key(Direction::Forward).to_string()]
    );
    assert_eq!(fixture.account("shop").await, 900);
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn two_callers_of_one_intent_settle_it_once() {
    let (mut fixture, processor) = (Fixture::new().await, CardProcessor::up().await);
    // a lease that ends while the call is out
    let limits = || config::CardCalls {
        lease: Duration::from_millis(20),
        ..quick()
    };
    let order = Order::by_card("tok_slow", 900);
    assert_eq!(
        fixture.deliver(&[order.charge()]).await.answers(),
        ["pending"]
    );
    let _running = [
        Running::start(fixture.calls(processor.address, limits())),
        Running::start(fixture.calls(processor.address, limits())),
    ];
    assert_eq!(fixture.hear(1).await.answers(), ["done"]);
    assert_eq!(processor.keys().await.len(), 1);
    assert_eq!(fixture.account("shop").await, 900);
    assert!(fixture.said().await.replies.is_empty());
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn an_old_intent_is_looked_up_and_never_called_again() {
    let (mut fixture, processor) = (Fixture::new().await, CardProcessor::up().await);
    let known = Order::by_card("tok_slow", 900);
    assert_eq!(
        fixture.deliver(&[known.charge()]).await.answers(),
        ["pending"]
    );
    let running = Running::start(fixture.calls(processor.address, quick()));
    processor.wait_for_records(1).await;
    running.crash().await;
    let unknown = Order::by_card("tok_visa", 100);
    assert_eq!(
        fixture.deliver(&[unknown.charge()]).await.answers(),
        ["pending"]
    );
    fixture.let_intents_be_old_and_due().await;

    let _running = Running::start(fixture.calls(processor.address, quick()));
    assert_eq!(fixture.hear(1).await.answers(), ["done"]);
    assert_eq!(fixture.state(&known).await, "captured");
    eventually(LIMIT, "the unknown one is put aside", async || {
        let aside = sqlx::query_scalar!(
            r#"SELECT next_try_at > now() + interval '5 minutes' AS "aside!" FROM card_intent"#
        )
        .fetch_one(fixture.db.pool())
        .await;
        aside.unwrap().then_some(())
    })
    .await;
    assert_eq!(fixture.state(&unknown).await, "pending");
    assert_eq!(processor.records().await, ["charge approved"]);
}

#[tokio::test]
async fn a_refund_that_the_processor_refuses_cannot_be_undone() {
    let (mut fixture, processor) = (Fixture::new().await, CardProcessor::up().await);
    let _running = Running::start(fixture.calls(processor.address, quick()));
    let order = Order::by_card("tok_visa", 900);
    fixture.hand_over(&[order.charge()]).await;
    fixture.hear(2).await;
    processor.forget_everything().await;
    fixture.hand_over(&[order.refund()]).await;
    assert_eq!(
        fixture.hear(2).await.answers(),
        ["pending", "REFUND_DECLINED"]
    );
    assert_eq!(
        (
            fixture.state(&order).await.as_str(),
            fixture.intents().await
        ),
        ("captured", 0)
    );
    fixture.assert_books_are_right().await;
}

pub(super) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn a_call_that_is_out_at_the_stop_is_still_settled() {
    let (mut fixture, processor) = (Fixture::new().await, CardProcessor::up().await);
    let order = Order::by_card("tok_slow", 900);
    assert_eq!(
        fixture.deliver(&[order.charge()]).await.answers(),
        ["pending"]
    );
    let stop = CancellationToken::new();
    let running = fixture.calls(processor.address, quick()).run(stop.clone());
    let stopping = async {
        processor.wait_for_records(1).await;
        stop.cancel();
    };
    tokio::join!(running, stopping);
    assert_eq!(fixture.state(&order).await, "captured");
    assert_eq!(fixture.said().await.answers(), ["done"]);
}
