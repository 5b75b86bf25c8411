use std::sync::Arc;

use palinode_messaging::{BatchHandler, Received};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::fixture::{Fixture, Order, batches};

#[tokio::test]
async fn a_batch_is_charged_in_arrival_order_and_refunded() {
    let mut fixture = Fixture::with_wallets(&[("alice", 1_000), ("bob", 50)]).await;
    let orders = [
        Order::by_wallet("alice", 700),
        Order::by_wallet("bob", 50),
        Order::by_wallet("alice", 400), // 300 are left
        Order::by_wallet("alice", 300),
        Order::by_wallet("carol", 1),
    ];
    let charges: Vec<Received> = orders.iter().map(Order::charge).collect();
    let said = fixture.deliver(&charges).await;
    assert_eq!(
        said.answers(),
        ["done", "done", "INSUFFICIENT_FUNDS", "done", "NO_WALLET"]
    );
    assert_eq!(
        said.events,
        [
            "PaymentCharged",
            "PaymentCharged",
            "PaymentDeclined",
            "PaymentCharged",
            "PaymentDeclined"
        ]
    );
    assert_eq!(
        (fixture.balance("alice").await, fixture.balance("bob").await),
        (0, 0)
    );
    assert_eq!(fixture.account("shop").await, 1_050);
    fixture.assert_books_are_right().await;

    let refunds: Vec<Received> = orders.iter().map(Order::refund).collect();
    let said = fixture.deliver(&refunds).await;
    assert_eq!(
        said.answers(),
        ["undone", "undone", "undone empty", "undone", "undone empty"]
    );
    assert_eq!(said.events, ["PaymentRefunded"; 3]);
    assert_eq!(
        (fixture.balance("alice").await, fixture.balance("bob").await),
        (1_000, 50)
    );
    assert_eq!(fixture.account("shop").await, 0);
    assert_eq!(fixture.state(&orders[0]).await, "refunded");
    assert_eq!(fixture.state(&orders[2]).await, "declined");
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn what_is_delivered_twice_is_charged_and_refunded_once() {
    let mut fixture = Fixture::with_wallets(&[("alice", 1_000)]).await;
    let order = Order::by_wallet("alice", 300);
    let twice = [order.charge(), order.charge()];
    assert_eq!(fixture.deliver(&twice).await.answers(), ["done", "done"]);
    assert_eq!(fixture.deliver(&twice).await.answers(), ["done", "done"]);
    assert_eq!(fixture.balance("alice").await, 700);

    let both = [order.charge(), order.refund(), order.refund()];
    assert_eq!(
        fixture.deliver(&both).await.answers(),
        ["done", "undone", "undone"]
    );
    assert_eq!(fixture.balance("alice").await, 1_000);
    assert_eq!(
        fixture.deliver(&[order.charge()]).await.answers(),
        ["refused"]
    );
    assert_eq!(fixture.balance("alice").await, 1_000);
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn charge_and_refund_in_one_batch_leave_a_refunded_payment() {
    let mut fixture = Fixture::with_wallets(&[("alice", 1_000)]).await;
    let order = Order::by_wallet("alice", 300);
    let said = fixture.deliver(&[order.charge(), order.refund()]).await;
    assert_eq!(said.answers(), ["done", "undone"]);
    assert_eq!(fixture.state(&order).await, "refunded");
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn a_charge_after_its_refund_takes_nothing() {
    let mut fixture = Fixture::with_wallets(&[("alice", 1_000)]).await;
    let order = Order::by_wallet("alice", 300);
    assert_eq!(
        fixture.deliver(&[order.refund()]).await.answers(),
        ["undone empty"]
    );
    assert_eq!(
        fixture.deliver(&[order.charge()]).await.answers(),
        ["refused"]
    );
    assert_eq!(fixture.balance("alice").await, 1_000);
}

#[tokio::test]
async fn a_second_saga_cannot_charge_the_order_again() {
    let mut fixture = Fixture::with_wallets(&[("alice", 1_000)]).await;
    let first = Order::by_wallet("alice", 300);
    let second = first.of_another_saga();
    let said = fixture.deliver(&[first.charge(), second.charge()]).await;
    assert_eq!(said.answers(), ["done", "ALREADY_CHARGED"]);
    let third = first.of_another_saga();
    assert_eq!(
        fixture.deliver(&[third.charge()]).await.answers(),
        ["ALREADY_CHARGED"]
    );
    assert_eq!(fixture.balance("alice").await, 700);
}

#[tokio::test]
async fn a_command_that_cannot_be_read_is_parked_and_the_others_are_done() {
    let mut fixture = Fixture::with_wallets(&[("alice", 1_000)]).await;
    let poisoned = [
        Received {
            body: "poison".into(),
            ..Order::by_wallet("alice", 1).charge()
        },
        Received {
            offset: 1,
            ..Order::by_wallet("alice", 0).charge()
        },
        Received {
            offset: 2,
            ..Order::by_wallet("not a user", 1).charge()
        },
        Received {
            offset: 3,
            ..Order::by_card("", 1).charge()
        },
    ];
    let mut batch = poisoned.to_vec();
    batch.push(Order::by_wallet("alice", 300).charge());
    assert_eq!(fixture.deliver(&batch).await.answers(), ["done"]);
    let parked = sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM consumer_parked"#)
        .fetch_one(fixture.db.pool())
        .await
        .unwrap();
    assert_eq!(parked, 4);
    assert_eq!(fixture.balance("alice").await, 700);
}

#[tokio::test]
async fn charges_that_race_for_one_wallet_never_overdraw_it() {
    let fixture = Fixture::with_wallets(&[("alice", 1_000)]).await;
    let racers = (0..8).map(|_| {
        let mut batches = batches(&fixture.db, &fixture.bell);
        let charge = Order::by_wallet("alice", 300).charge();
        async move { batches.handle(&[charge]).await.map(drop) }
    });
    for raced in futures_util::future::join_all(racers).await {
        raced.unwrap();
    }
    let answers = fixture.said().await.answers();
    assert_eq!(answers.iter().filter(|answer| *answer == "done").count(), 3);
    assert_eq!(
        answers
            .iter()
            .filter(|answer| *answer == "INSUFFICIENT_FUNDS")
            .count(),
        5
    );
    assert_eq!(fixture.balance("alice").await, 100);
    fixture.assert_books_are_right().await;
}

/// Random orders of few users, charged and refunded with repeats, by two consumers at once.
#[tokio::test]
async fn money_is_conserved_whatever_is_repeated_and_raced() {
    const USERS: [&str; 3] = ["alice", "bob", "carol"];
    let fixture = Fixture::with_wallets(&USERS.map(|user| (user, 5_000))).await;
    let mut random = StdRng::seed_from_u64(5);
    let orders: Vec<Order> = (0..60)
        .map(|_| {
            Order::by_wallet(
                USERS[random.random_range(0..3)],
                random.random_range(1..900),
            )
        })
        .collect();
    let orders = Arc::new(orders);
    let mut plan = || {
        (0..12)
            .map(|_| {
                (0..random.random_range(1..20))
                    .map(|_| {
                        (
                            random.random_range(0..orders.len()),
                            random.random_bool(0.3),
                        )
                    })
                    .collect::<Vec<_>>()
            })
            .collect::<Vec<_>>()
    };
    let consumers = [plan(), plan()].map(|plan| {
        let mut batches = batches(&fixture.db, &fixture.bell);
        let orders = Arc::clone(&orders);
        async move {
            for batch in plan {
                let batch: Vec<Received> = batch
                    .into_iter()
                    .map(|(at, back)| {
                        if back {
                            orders[at].refund()
                        } else {
                            orders[at].charge()
                        }
                    })
                    .collect();
                batches.handle(&batch).await.unwrap();
            }
        }
    });
    futures_util::future::join_all(consumers).await;

    fixture.assert_books_are_right().await;
    let mut total = fixture.account("shop").await;
    for user in USERS {
        total += fixture.balance(user).await;
    }
    assert_eq!(total, 15_000);
    assert_eq!(fixture.account("funding").await, -15_000);
}

/// The audit is what the test above trusts.
#[tokio::test]
async fn the_audit_sees_what_is_wrong() {
    let mut fixture = Fixture::with_wallets(&[("alice", 1_000)]).await;
    let orders = [
        Order::by_wallet("alice", 100),
        Order::by_wallet("alice", 200),
    ];
    fixture
        .deliver(&[orders[0].charge(), orders[1].charge()])
        .await;
    sqlx::query!("UPDATE wallet SET balance_minor = 701")
        .execute(fixture.db.pool())
        .await
        .unwrap();
    sqlx::query!("UPDATE ledger_entry SET amount_minor = 201 WHERE amount_minor = 200")
        .execute(fixture.db.pool())
        .await
        .unwrap();
    sqlx::query!(
        "UPDATE payment SET state = 'refunded', refunded_minor = 100 WHERE amount_minor = 100"
    )
    .execute(fixture.db.pool())
    .await
    .unwrap();
    let faults = crate::audit(&fixture.db).await.unwrap();
    assert!(faults[0].ends_with("sums to 1"), "{faults:?}");
    assert_eq!(faults[1], "wallet of alice: 701, its entries sum to 700");
    assert!(
        faults
            .iter()
            .any(|f| f.contains("is refunded with 1 charges; 100 went back, by the ledger 0,")),
        "{faults:?}"
    );
    assert!(
        faults
            .iter()
            .any(|f| f.contains("is captured with 0 charges; 0 went back")),
        "{faults:?}"
    );
    sqlx::query!(
        "INSERT INTO refund (id, payment_id, amount_minor, reason, state, requested_by)
         SELECT id, id, 5, 'why', 'done', 'carol' FROM payment WHERE amount_minor = 200"
    )
    .execute(fixture.db.pool())
    .await
    .unwrap();
    let faults = crate::audit(&fixture.db).await.unwrap();
    assert!(
        faults
            .iter()
            .any(|f| f.ends_with("is done with 0 transfers")),
        "{faults:?}"
    );
}
