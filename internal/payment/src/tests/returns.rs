use palinode_messaging::{BatchHandler, Received};
use palinode_participant::step_key;
use palinode_saga::Direction;
use palinode_values::PaymentId;

use super::cards::{Running, names};
use super::fixture::{CardProcessor, Fixture, Order, RETURN_STEP, batches, quick};

#[tokio::test]
async fn another_saga_gives_the_money_of_a_wallet_back_once() {
    let mut fixture = Fixture::with_wallets(&[("alice", 1_000)]).await;
    let order = Order::by_wallet("alice", 300);
    fixture.deliver(&[order.charge()]).await;
    let payment = fixture.payment(&order).await;
    let back = order.of_another_saga().give_back(payment);
    let said = fixture.deliver(&[back.clone(), back.clone()]).await;
    assert_eq!(
        (said.answers(), said.events),
        (names(&["done", "done"]), names(&["PaymentRefunded"]))
    );
    let said = fixture.deliver(&[back]).await;
    assert_eq!((said.answers(), said.events), (names(&["done"]), vec![]));
    assert_eq!(fixture.state(&order).await, "refunded");
    assert_eq!(fixture.balance("alice").await, 1_000);

    // nobody else gives it back once more, not even the saga that took it: what they want is so
    let other = order.of_another_saga().give_back(payment);
    let said = fixture.deliver(&[other, order.refund()]).await;
    assert_eq!(
        (said.answers(), said.events),
        (names(&["done", "undone"]), vec![])
    );
    assert_eq!(fixture.balance("alice").await, 1_000);
    assert_eq!(fixture.account("shop").await, 0);
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn what_is_not_captured_is_not_given_back_yet() {
    let (mut fixture, processor) = (Fixture::new().await, CardProcessor::up().await);
    let (pending, declined) = (Order::by_card("tok_visa", 5), Order::by_wallet("carol", 5));
    fixture
        .deliver(&[pending.charge(), declined.charge()])
        .await;
    let (pending_id, declined_id) = (
        fixture.payment(&pending).await,
        fixture.payment(&declined).await,
    );
    let back = pending.of_another_saga().give_back(pending_id);
    let said = fixture
        .deliver(&[
            back.clone(),
            declined.of_another_saga().give_back(declined_id),
            pending.of_another_saga().give_back(declined_id),
            Order::by_wallet("carol", 5).give_back(declined_id),
        ])
        .await;
    assert_eq!(said.answers(), ["transient"; 4]);
    let told = said.details();
    assert!(told[0].ends_with("is pending"), "{told:?}");
    assert!(told[1].ends_with("is declined"), "{told:?}");
    assert!(told[2].ends_with(&pending_id.to_string()), "{told:?}");
    assert!(told[3].ends_with("has no payment"), "{told:?}");

    // nothing was stored: the same step, asked again when the money is there, gives it back
    let _running = Running::start(fixture.calls(processor.address, quick()));
    assert_eq!(fixture.hear(1).await.answers(), ["done"]);
    fixture.hand_over(&[back]).await;
    assert_eq!(fixture.hear(2).await.answers(), ["pending", "done"]);
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn a_batch_that_takes_and_gives_back_is_decided_in_its_order() {
    let mut fixture = Fixture::with_wallets(&[("alice", 1_000)]).await;
    let (bought, failing, next) = (
        Order::by_wallet("alice", 700),
        Order::by_wallet("alice", 300),
        Order::by_wallet("alice", 1_000),
    );
    fixture.deliver(&[bought.charge(), failing.charge()]).await;
    let payment = fixture.payment(&bought).await;
    let said = fixture
        .deliver(&[
            Order::by_wallet("alice", 1).charge(),
            bought.of_another_saga().give_back(payment),
            failing.refund(),
            next.charge(), // of what came back
            next.of_another_saga().give_back(payment),
        ])
        .await;
    assert_eq!(
        said.answers(),
        ["INSUFFICIENT_FUNDS", "done", "undone", "done", "transient"]
    );
    assert_eq!(fixture.balance("alice").await, 0);
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn the_money_of_a_card_goes_back_under_the_key_of_the_step_that_returns_it() {
    let (mut fixture, processor) = (Fixture::new().await, CardProcessor::up().await);
    let _running = Running::start(fixture.calls(processor.address, quick()));
    let order = Order::by_card("tok_visa", 1_250);
    fixture.hand_over(&[order.charge()]).await;
    fixture.hear(2).await;
    let cancel = order.of_another_saga();
    let payment = fixture.payment(&order).await;
    let back = cancel.give_back(payment);
    fixture.hand_over(std::slice::from_ref(&back)).await;
    let said = fixture.hear(2).await;
    assert_eq!(
        (said.answers(), said.events),
        (names(&["pending", "done"]), names(&["PaymentRefunded"]))
    );
    let mut keys = [
        order.key(Direction::Forward).to_string(),
        step_key(cancel.saga, RETURN_STEP, Direction::Forward).to_string(),
    ];
    keys.sort();
    assert_eq!(processor.keys().await, keys);
    let told = fixture.deliver(&[back, order.refund()]).await;
    assert_eq!(told.answers(), ["done", "undone"]);
    assert_eq!(
        processor.records().await,
        ["charge approved", "refund approved"]
    );
    assert_eq!(
        (
            fixture.state(&order).await.as_str(),
            fixture.intents().await
        ),
        ("refunded", 0)
    );
    assert_eq!(fixture.account("processor").await, 0);
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn a_crash_between_the_call_and_its_settling_gives_back_once() {
    let (mut fixture, processor) = (Fixture::new().await, CardProcessor::up().await);
    let order = Order::by_card("tok_visa", 900);
    let running = Running::start(fixture.calls(processor.address, quick()));
    fixture.hand_over(&[order.charge()]).await;
    fixture.hear(2).await;
    running.crash().await;

    let cancel = order.of_another_saga();
    let payment = fixture.payment(&order).await;
    let back = cancel.give_back(payment);
    let said = fixture.deliver(&[back.clone(), back.clone()]).await;
    assert_eq!(said.answers(), ["pending", "pending"]);
    // the processor has paid back, and whoever called it has not heard
    let key = step_key(cancel.saga, RETURN_STEP, Direction::Forward);
    let charge = order.key(Direction::Forward);
    processor.refund(key, charge, 900).await;
    assert_eq!(fixture.state(&order).await, "refunding");
    let other = order.of_another_saga().give_back(payment);
    let said = fixture.deliver(&[other]).await;
    assert!(said.details()[0].ends_with("is refunding"), "{said:?}");

    let _running = Running::start(fixture.calls(processor.address, quick()));
    assert_eq!(fixture.hear(1).await.answers(), ["done"]);
    assert_eq!(
        processor.records().await,
        ["charge approved", "refund approved"]
    );
    assert_eq!(fixture.deliver(&[back]).await.answers(), ["done"]);
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn money_that_the_processor_will_not_pay_back_is_asked_for_again() {
    let (mut fixture, processor) = (Fixture::new().await, CardProcessor::up().await);
    let _running = Running::start(fixture.calls(processor.address, quick()));
    let order = Order::by_card("tok_closed", 900);
    fixture.hand_over(&[order.charge()]).await;
    fixture.hear(2).await;
    let payment = fixture.payment(&order).await;
    let back = order.of_another_saga().give_back(payment);
    for _ in 0..2 {
        fixture.hand_over(std::slice::from_ref(&back)).await;
        let said = fixture.hear(2).await;
        assert_eq!(said.answers(), ["pending", "transient"]);
        assert!(said.details()[0].ends_with("card_closed"), "{said:?}");
        assert_eq!(
            (
                fixture.state(&order).await.as_str(),
                fixture.intents().await
            ),
            ("captured", 0)
        );
    }
    processor.open_the_cards_again().await;
    fixture.hand_over(&[back]).await;
    let said = fixture.hear(2).await;
    assert_eq!(
        (said.answers(), said.events),
        (names(&["pending", "done"]), names(&["PaymentRefunded"]))
    );
    assert_eq!(
        processor.records().await,
        ["charge approved", "refund approved"]
    );
    fixture.assert_books_are_right().await;
}

/// Two sagas want the same money back, in opposite orders, and so does the saga that took it.
#[tokio::test]
async fn money_is_given_back_once_by_those_who_race_for_it() {
    let mut fixture = Fixture::with_wallets(&[("alice", 4_000), ("bob", 4_000)]).await;
    let mut orders: Vec<Order> = (0..40)
        .map(|n| Order::by_wallet(if n % 2 == 0 { "alice" } else { "bob" }, 200))
        .collect();
    let charges: Vec<Received> = orders.iter().map(Order::charge).collect();
    assert_eq!(fixture.deliver(&charges).await.answers(), ["done"; 40]);
    let mut payments: Vec<PaymentId> = Vec::new();
    for order in &orders {
        payments.push(fixture.payment(order).await);
    }
    let returns = |orders: &[Order], payments: &[PaymentId]| -> Vec<Received> {
        orders
            .iter()
            .zip(payments)
            .map(|(order, payment)| order.of_another_saga().give_back(*payment))
            .collect()
    };
    let forward = returns(&orders, &payments);
    orders.reverse();
    payments.reverse();
    let backward = returns(&orders, &payments);
    let refunds: Vec<Received> = orders.iter().map(Order::refund).collect();
    let racers = [forward, backward, refunds].map(|batch| {
        let mut batches = batches(&fixture.db, &fixture.bell);
        async move { batches.handle(&batch).await.map(drop) }
    });
    for raced in futures_util::future::join_all(racers).await {
        raced.unwrap();
    }
    let said = fixture.said().await;
    let gave = |word: &String| *word == "done" || *word == "undone";
    assert_eq!(said.answers().iter().filter(|word| gave(word)).count(), 120);
    assert_eq!(said.events, ["PaymentRefunded"; 40]);
    assert_eq!(
        (fixture.balance("alice").await, fixture.balance("bob").await),
        (4_000, 4_000)
    );
    fixture.assert_books_are_right().await;
}

/// Many cards at once: the settling of one saga's calls meets the commands of another saga.
#[tokio::test]
async fn cards_are_paid_back_once_whoever_races_for_it() {
    let (mut fixture, processor) = (Fixture::new().await, CardProcessor::up().await);
    let _running = Running::start(fixture.calls(processor.address, quick()));
    let orders: Vec<Order> = (1..=20).map(|n| Order::by_card("tok_visa", n)).collect();
    let charges: Vec<Received> = orders.iter().map(Order::charge).collect();
    fixture.hand_over(&charges).await;
    fixture.hear(40).await;
    let mut racers = Vec::new();
    for order in &orders {
        let payment = fixture.payment(order).await;
        for _ in 0..2 {
            let mut batches = batches(&fixture.db, &fixture.bell);
            let back = order.of_another_saga().give_back(payment);
            racers.push(async move { batches.handle(&[back]).await.map(drop) });
        }
    }
    for raced in futures_util::future::join_all(racers).await {
        raced.unwrap();
    }
    // of each pair one is told to wait and then that it is done, the other one to ask again, or that it is
    let answers = fixture.hear(60).await.answers();
    let count = |word: &str| answers.iter().filter(|answer| *answer == word).count();
    assert_eq!(count("pending"), 20);
    assert_eq!(count("done") + count("transient"), 40, "{answers:?}");
    let refunds = processor.records().await;
    let refunds = refunds.iter().filter(|record| *record == "refund approved");
    assert_eq!(refunds.count(), 20);
    assert_eq!(fixture.account("shop").await, 0);
    fixture.assert_books_are_right().await;
}
