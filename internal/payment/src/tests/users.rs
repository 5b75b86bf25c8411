use std::sync::Arc;

use palinode_auth::{Caller, Role};
use palinode_messaging::{BatchHandler, Committed, Headers, Received};
use palinode_pb::identity::v1 as identity;
use palinode_pb::payment::v1 as pb;
use palinode_pb::payment::v1::payment_service_server::PaymentService;
use palinode_rpc::{Failure, call_of};
use palinode_values::ErrorCode;
use prost::{Message, Name};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::cards::Running;
use super::fixture::{CardProcessor, Fixture, Order, batches, eur, quick, users};
use crate::store::wallets;

fn event<M: Message + Name>(event: &M) -> Received {
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

fn registered(user: &str) -> Received {
    let user_id = user.to_owned();
    event(&identity::UserRegistered { user_id })
}

pub(super) fn deleted(user: &str) -> Received {
    let user_id = user.to_owned();
    event(&identity::UserDeleted { user_id })
}

/// A wallet in words.
async fn wallet(fixture: &Fixture, user: &str) -> String {
    let found = wallets::find(fixture.db.pool(), &user.parse().unwrap()).await;
    match found.unwrap() {
        None => "none".to_owned(),
        Some(crate::domain::Wallet::Open(balance)) => balance.minor.to_string(),
        Some(crate::domain::Wallet::Closed) => "closed".to_owned(),
    }
}

async fn hear(fixture: &Fixture, batch: &[Received]) {
    let Committed = users(&fixture.db).handle(batch).await.unwrap();
}

#[tokio::test]
async fn whoever_is_registered_has_an_empty_wallet_and_one_only() {
    let fixture = Fixture::with_wallets(&[("bob", 700)]).await;
    let (alice, bob) = (registered("alice"), registered("bob"));
    hear(&fixture, &[alice.clone(), bob, alice.clone()]).await;
    hear(&fixture, &[alice]).await;
    assert_eq!(wallet(&fixture, "alice").await, "0");
    assert_eq!(wallet(&fixture, "bob").await, "700");
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn what_a_deleted_user_had_goes_to_the_house_once() {
    let fixture = Fixture::with_wallets(&[("alice", 700), ("bob", 50)]).await;
    hear(&fixture, &[deleted("alice"), deleted("alice")]).await;
    hear(
        &fixture,
        &[deleted("alice"), registered("carol"), deleted("carol")],
    )
    .await;
    assert_eq!(wallet(&fixture, "alice").await, "closed");
    assert_eq!(wallet(&fixture, "bob").await, "50");
    assert_eq!(wallet(&fixture, "carol").await, "closed");
    assert_eq!(fixture.account("unclaimed").await, 700);
    assert_eq!(fixture.account("wallet:alice").await, 0);
    fixture.assert_books_are_right().await;
}

/// Every order of events, in one batch and one by one, with repeats.
#[tokio::test]
async fn a_deleted_user_stays_without_a_wallet_in_whatever_order_it_is_heard() {
    let fixture = Fixture::new().await;
    let events = |user: &str, kinds: &str| -> Vec<Received> {
        let event = |kind| match kind {
            'r' => registered(user),
            _ => deleted(user),
        };
        kinds.chars().map(event).collect()
    };
    for (number, kinds) in ["d", "rd", "dr", "rdr", "drd", "ddrr"].iter().enumerate() {
        let (together, alone) = (format!("together-{number}"), format!("alone-{number}"));
        hear(&fixture, &events(&together, kinds)).await;
        for one in events(&alone, kinds) {
            hear(&fixture, &[one]).await;
        }
        assert_eq!(wallet(&fixture, &together).await, "closed", "{kinds}");
        assert_eq!(wallet(&fixture, &alone).await, "closed", "{kinds}");
    }
}

#[tokio::test]
async fn a_closed_wallet_is_neither_charged_nor_credited() {
    let mut fixture = Fixture::with_wallets(&[("alice", 700)]).await;
    let handlers = fixture.handlers();
    let credit = async |key: &str| {
        let staff = Caller::customer("ada".parse().unwrap());
        let mut request = call_of(
            staff.with(Role::Staff),
            pb::CreditWalletRequest {
                user_id: "alice".to_owned(),
                amount: Some(eur(5)),
            },
        );
        let metadata = request.metadata_mut();
        metadata.insert("idempotency-key", key.parse().unwrap());
        let answer = handlers.credit_wallet(request).await;
        answer.map_err(|status| {
            let Failure { code, reason, .. } = Failure::from(status);
            (code, reason)
        })
    };
    credit("before").await.unwrap();
    hear(&fixture, &[deleted("alice")]).await;

    let charge = Order::by_wallet("alice", 1).charge();
    for _ in 0..2 {
        let said = fixture.deliver(std::slice::from_ref(&charge)).await;
        assert_eq!(said.answers(), ["WALLET_CLOSED"]);
    }
    let closed = (ErrorCode::Refused, "WALLET_CLOSED".to_owned());
    for key in ["after", "before"] {
        assert_eq!(credit(key).await.unwrap_err(), closed, "{key}");
    }
    // a start with seeds gives him nothing, and does not fail
    let seeds = [("alice".parse().unwrap(), 700)];
    crate::seed(&fixture.db, &seeds).await.unwrap();
    assert_eq!(wallet(&fixture, "alice").await, "closed");
    assert_eq!(fixture.account("unclaimed").await, 705);
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn a_refund_to_a_closed_wallet_succeeds_and_goes_to_the_house() {
    let mut fixture = Fixture::with_wallets(&[("alice", 1_000)]).await;
    let orders = [
        Order::by_wallet("alice", 300),
        Order::by_wallet("alice", 200),
    ];
    fixture.deliver(&orders.each_ref().map(Order::charge)).await;
    hear(&fixture, &[deleted("alice")]).await;
    assert_eq!(fixture.account("unclaimed").await, 500);

    // one is taken back by its own saga, one by another that cancels the order
    let back = orders[1].of_another_saga();
    let back = back.give_back(fixture.payment(&orders[1]).await);
    let said = fixture.deliver(&[orders[0].refund(), back]).await;
    assert_eq!(said.answers(), ["undone", "done"]);
    assert_eq!(said.events, ["PaymentRefunded"; 2]);
    assert_eq!(fixture.state(&orders[0]).await, "refunded");
    assert_eq!(wallet(&fixture, "alice").await, "closed");
    let accounts = ["unclaimed", "shop", "wallet:alice"];
    for (account, sum) in accounts.into_iter().zip([1_000, 0, 0]) {
        assert_eq!(fixture.account(account).await, sum, "{account}");
    }
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn a_card_that_is_asked_while_its_user_goes_is_charged_and_paid_back() {
    let (mut fixture, processor) = (Fixture::new().await, CardProcessor::up().await);
    let order = Order::by_card("tok_visa", 1_250);
    let said = fixture.deliver(&[order.charge()]).await;
    assert_eq!(said.answers(), ["pending"]);
    hear(&fixture, &[deleted("alice")]).await;
    let _running = Running::start(fixture.calls(processor.address, quick()));
    assert_eq!(fixture.hear(1).await.answers(), ["done"]);
    assert_eq!(fixture.account("shop").await, 1_250);

    fixture.hand_over(&[order.refund()]).await;
    assert_eq!(fixture.hear(2).await.answers(), ["pending", "undone"]);
    // to the card, and not to the house
    for account in ["processor", "shop", "unclaimed"] {
        assert_eq!(fixture.account(account).await, 0, "{account}");
    }
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_parked_and_holds_up_nobody() {
    let fixture = Fixture::new().await;
    let at = |offset, record| Received { offset, ..record };
    let poison = Received {
        body: "poison".into(),
        ..registered("alice")
    };
    let nameless = Received {
        headers: Headers::with_capacity(0),
        ..registered("alice")
    };
    let batch = [
        at(0, poison),
        at(1, nameless),
        at(2, registered("not a user")),
        at(3, deleted("")),
        at(4, registered("bob")),
        // of a kind that is no concern of wallets
        at(5, event(&pb::RefundPayment::default())),
    ];
    hear(&fixture, &batch).await;
    hear(&fixture, &batch).await;
    let parked = sqlx::query_scalar!(
        r#"SELECT array_agg(record_offset ORDER BY record_offset) AS "parked!" FROM consumer_parked"#
    );
    let parked = parked.fetch_one(fixture.db.pool()).await.unwrap();
    assert_eq!(parked, [0, 1, 2, 3]);
    assert_eq!(wallet(&fixture, "bob").await, "0");
    assert_eq!(wallet(&fixture, "alice").await, "none");
}

/// Charges and refunds with repeats, by two consumers, while their users are registered and deleted by
/// two others.
#[tokio::test]
async fn money_is_conserved_while_users_come_and_go() {
    const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
    let fixture = Fixture::with_wallets(&USERS.map(|user| (user, 5_000))).await;
    let mut random = StdRng::seed_from_u64(7);
    let orders: Vec<Order> = (0..60)
        .map(|_| {
            Order::by_wallet(
                USERS[random.random_range(0..4)],
                random.random_range(1..400),
            )
        })
        .collect();
    let orders = Arc::new(orders);
    let mut plan = || -> Vec<Vec<Received>> {
        let batch = |random: &mut StdRng| {
            let count = random.random_range(1..20);
            let command = |_| {
                let order = &orders[random.random_range(0..orders.len())];
                match random.random_bool(0.3) {
                    true => order.refund(),
                    false => order.charge(),
                }
            };
            (0..count).map(command).collect()
        };
        (0..12).map(|_| batch(&mut random)).collect()
    };
    let sagas = [plan(), plan()].map(|plan| {
        let mut batches = batches(&fixture.db, &fixture.bell);
        async move {
            for batch in plan {
                batches.handle(&batch).await.unwrap();
            }
        }
    });
    // alice and bob go, carol and dave stay
    let gone = |first: &str, second: &str| {
        vec![
            registered("carol"),
            deleted(first),
            registered(second),
            deleted(second),
        ]
    };
    let follow = [gone("alice", "bob"), gone("bob", "alice")].map(|events| {
        let mut users = users(&fixture.db);
        async move {
            for one in events.chunks(2) {
                users.handle(one).await.unwrap();
            }
        }
    });
    tokio::join!(
        futures_util::future::join_all(sagas),
        futures_util::future::join_all(follow),
    );

    fixture.assert_books_are_right().await;
    for user in ["alice", "bob"] {
        assert_eq!(wallet(&fixture, user).await, "closed");
    }
    let mut total = fixture.account("shop").await + fixture.account("unclaimed").await;
    for user in USERS {
        total += fixture.balance(user).await;
    }
    assert_eq!(total, 20_000);
    assert_eq!(fixture.account("funding").await, -20_000);
}
