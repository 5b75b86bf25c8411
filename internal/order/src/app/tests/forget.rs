use palinode_messaging::{BatchHandler, Committed, Received};
use palinode_participant::Inbox;
use palinode_pb::identity::v1::{UserDeleted, UserRegistered};
use palinode_values::UserId;
use prost::Name;

use super::*;
use crate::app::forget::Forgetting;
use crate::consumers::Users;

pub(super) fn event<M: Message + Name>(event: &M) -> Received {
    let mut headers = Headers::with_capacity(64);
    headers.push("ce_type", M::full_name().as_bytes());
    Received {
        topic: "palinode.identity.events".into(),
        partition: 0,
        offset: 0,
        key: "a user".into(),
        body: event.encode_to_vec().into(),
        headers,
    }
}

fn deleted(user: &str) -> Received {
    let user_id = user.to_owned();
    event(&UserDeleted { user_id })
}

fn confirm(world: &World) -> Decision {
    Decision::Confirm(Fulfilment {
        payment_id: PaymentId::new(&world.clock),
        shipment_id: ShipmentId::new(&world.clock),
    })
}

fn reject() -> Decision {
    Decision::Reject {
        reason: "OUT_OF_STOCK".to_owned(),
        detail: "none left".to_owned(),
    }
}

impl World {
    async fn hear(&self, batch: &[Received]) {
        let mut inbox = Inbox::new(self.db.clone(), Users);
        let Committed = inbox.handle(batch).await.unwrap();
    }

    /// Looks at whom it is time for; says how many orders name nobody any more.
    async fn forget(&self) -> i64 {
        let forgetting = Forgetting {
            db: self.db.clone(),
        };
        forgetting.steps(500).await.unwrap()
    }

    /// What the time until the next look does.
    async fn let_looks_be_due(&self) {
        sqlx::query!("UPDATE deleted_user SET next_look_at = now() WHERE next_look_at IS NOT NULL")
            .execute(self.db.pool())
            .await
            .unwrap();
    }

    async fn placed_by(&self, user: &str, payment: PaymentMethod) -> Order {
        let request = Request {
            user: user.parse().unwrap(),
            payment,
            ..request(&[("mug", 1)])
        };
        match self.place(&request, None).await.unwrap() {
            Placed::New(order) | Placed::Before(order) => order,
        }
    }

    async fn read(&self, order: &Order) -> Order {
        let found = store::order::get(&self.db, order.id).await.unwrap();
        found.unwrap()
    }
}

fn nobody() -> Address {
    Address {
        name: "deleted".to_owned(),
        street: "deleted".to_owned(),
        postal_code: "deleted".to_owned(),
        ..request(&[]).address
    }
}

fn token(token: &str) -> PaymentMethod {
    PaymentMethod::Card {
        token: token.to_owned(),
    }
}

#[tokio::test]
async fn orders_that_are_over_name_a_deleted_user_no_more() {
    let world = World::new().await;
    let confirmed = world.placed_by("alice", token("tok_visa")).await;
    let rejected = world.placed_by("alice", PaymentMethod::Wallet).await;
    let others = world.placed_by("bob", token("tok_visa")).await;
    let decisions = [
        (confirmed.id, confirm(&world)),
        (rejected.id, reject()),
        (others.id, confirm(&world)),
    ];
    world.decide(&decisions).await;
    assert_eq!(world.forget().await, 0);
    let before = world.read(&confirmed).await;

    world.hear(&[deleted("alice"), deleted("alice")]).await;
    assert_eq!(world.forget().await, 2);
    let after = world.read(&confirmed).await;
    assert_eq!(
        (&after.address, &after.payment),
        (&nobody(), &token("deleted"))
    );
    // all else is as it was
    let same = Order {
        address: before.address.clone(),
        payment: before.payment.clone(),
        ..after
    };
    assert_eq!(same, before);
    let after = world.read(&rejected).await;
    assert_eq!(
        (after.address, after.payment),
        (nobody(), PaymentMethod::Wallet)
    );
    let bobs = world.read(&others).await;
    assert_eq!(
        (bobs.address, bobs.payment),
        (others.address, others.payment)
    );

    // once more, at once and when it is time
    world.hear(&[deleted("alice")]).await;
    world.let_looks_be_due().await;
    assert_eq!(world.forget().await, 0);
}

#[tokio::test]
async fn an_order_under_way_keeps_its_address_until_it_is_over() {
    let world = World::new().await;
    let pending = world.placed_by("alice", token("tok_visa")).await;
    let (cancelling, orchestrator, _serving) = world.confirmed(SagaState::Completed).await;
    let cancelled = world
        .cancel(&cancelling, &orchestrator, None)
        .await
        .unwrap();
    world.hear(&[deleted("alice")]).await;
    assert_eq!(world.forget().await, 0);
    for order in [&pending, &cancelling] {
        assert_eq!(world.read(order).await.address, order.address);
    }

    let close = Decision::Close {
        cancellation: cancelled.cancellation.unwrap().id,
    };
    world
        .decide(&[(cancelling.id, close), (pending.id, reject())])
        .await;
    world.let_looks_be_due().await;
    assert_eq!(world.forget().await, 2);
    for order in [&pending, &cancelling] {
        let after = world.read(order).await;
        assert_eq!((after.address, after.payment), (nobody(), token("deleted")));
    }
}

/// A token outlives its user for a while.
#[tokio::test]
async fn an_order_that_comes_after_the_deletion_is_found_too() {
    let world = World::new().await;
    world.hear(&[deleted("alice")]).await;
    assert_eq!(world.forget().await, 0);
    let late = world.placed_by("alice", PaymentMethod::Wallet).await;
    world.decide(&[(late.id, confirm(&world))]).await;
    world.let_looks_be_due().await;
    assert_eq!(world.forget().await, 1);
    assert_eq!(world.read(&late).await.address, nobody());

    let looks = async || {
        let looks = sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM deleted_user WHERE next_look_at IS NOT NULL"#
        );
        looks.fetch_one(world.db.pool()).await.unwrap()
    };
    assert_eq!(looks().await, 1, "tokens live still");
    sqlx::query!("UPDATE deleted_user SET deleted_at = now() - interval '61 minutes'")
        .execute(world.db.pool())
        .await
        .unwrap();
    let abandoned = world.placed_by("alice", PaymentMethod::Wallet).await;
    world.let_looks_be_due().await;
    assert_eq!(world.forget().await, 0);
    assert_eq!(looks().await, 1, "an order is under way");
    world.decide(&[(abandoned.id, reject())]).await;
    world.let_looks_be_due().await;
    assert_eq!((world.forget().await, looks().await), (1, 0));
}

#[tokio::test]
async fn a_deleted_user_has_neither_cart_nor_quotes_also_of_those_that_come_late() {
    let world = World::new().await;
    let left = async || {
        let left = sqlx::query!(
            r#"SELECT (SELECT count(*) FROM cart) AS "carts!", (SELECT count(*) FROM quote) AS "quotes!""#
        );
        let left = left.fetch_one(world.db.pool()).await.unwrap();
        (left.carts, left.quotes)
    };
    for user in ["alice", "bob"] {
        world.put(user, &[("mug", 1)]).await;
    }
    // more than one transaction takes away
    let quotes = (0..501).map(|_| world.quoted(&[("pen", 1)]));
    futures_util::future::join_all(quotes).await;
    world.hear(&[deleted("alice")]).await;
    world.forget().await;
    assert_eq!(left().await, (1, 0));

    // a token outlives its user for a while
    world.put("alice", &[("mug", 1)]).await;
    world.quoted(&[]).await;
    world.let_looks_be_due().await;
    world.forget().await;
    assert_eq!(left().await, (1, 0));
    assert_eq!(world.cart("bob").await.len(), 1);
}

/// Also while somebody else holds some of them, and another instance looks at the same time.
#[tokio::test]
async fn many_orders_are_anonymised_in_bounded_transactions() {
    let world = World::new().await;
    let calls: Vec<Asked> = (0..25)
        .map(|_| asked(&request(&[("pen", 1)]), None))
        .collect();
    let mut orders = Vec::new();
    for placed in place(&world.desk(), &calls).await {
        match placed.unwrap() {
            Placed::New(order) | Placed::Before(order) => orders.push(order),
        }
    }
    orders.sort_by_key(|order| order.id);
    let decisions: Vec<_> = orders.iter().map(|o| (o.id, confirm(&world))).collect();
    world.decide(&decisions).await;
    world.hear(&[deleted("alice")]).await;

    let mut held = world.db.begin().await.unwrap();
    store::order::lock(&mut held, &[orders[3].id])
        .await
        .unwrap();
    let forgetting = Forgetting {
        db: world.db.clone(),
    };
    let mut anonymised = Vec::new();
    while let Some(some) = forgetting.step(10).await.unwrap() {
        anonymised.push(some);
    }
    assert_eq!(anonymised, [9, 10, 5]);
    held.commit().await.unwrap();
    world.let_looks_be_due().await;
    let (one, other) = tokio::join!(forgetting.steps(10), forgetting.steps(10));
    assert_eq!(one.unwrap() + other.unwrap(), 1);
    for order in &orders {
        assert_eq!(world.read(order).await.address, nobody());
    }
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_parked_and_holds_up_nobody() {
    let world = World::new().await;
    let poison = Received {
        body: "poison".into(),
        ..deleted("alice")
    };
    let nameless = Received {
        offset: 1,
        ..deleted("")
    };
    let user_id = "carol".to_owned();
    let registered = event(&UserRegistered { user_id });
    world
        .hear(&[poison, nameless, registered, deleted("bob")])
        .await;
    let counts = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM consumer_parked) AS "parked!",
                  (SELECT array_agg(user_id) FROM deleted_user) AS "deleted!""#
    );
    let counts = counts.fetch_one(world.db.pool()).await.unwrap();
    assert_eq!((counts.parked, counts.deleted), (2, vec!["bob".to_owned()]));
}

/// The next look comes as long after the last as the deletion lies back, and within an hour.
#[tokio::test]
async fn looks_become_rarer_and_stay_within_an_hour() {
    let world = World::new().await;
    world.placed_by("alice", PaymentMethod::Wallet).await;
    world.hear(&[deleted("alice")]).await;
    let user: UserId = "alice".parse().unwrap();
    for (past, pause) in [(0, 1.0), (60, 60.0), (86_400, 3_600.0)] {
        sqlx::query!(
            "UPDATE deleted_user SET next_look_at = now(), deleted_at = now() - make_interval(secs => $2)
              WHERE user_id = $1",
            user.as_str(),
            f64::from(past),
        )
        .execute(world.db.pool())
        .await
        .unwrap();
        world.forget().await;
        let next = sqlx::query_scalar!(
            r#"SELECT extract(epoch FROM next_look_at - now())::float8 AS "secs!" FROM deleted_user"#
        );
        let next = next.fetch_one(world.db.pool()).await.unwrap();
        // some of it has gone by since
        assert!(
            next <= pause + 30.0 && next > pause - 30.0,
            "{past}: {next}"
        );
    }
}
