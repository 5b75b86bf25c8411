use std::collections::HashMap;

use palinode_auth::{Caller, Role};
use palinode_pb::payment::v1 as pb;
use palinode_pb::payment::v1::payment_service_server::PaymentService;
use palinode_rpc::{Failure, call_of};
use palinode_values::{ErrorCode, UserId};
use tonic::{Request, Status};

use super::fixture::{Fixture, Order, eur};
use crate::rpc::Handlers;

fn handlers(fixture: &Fixture) -> Handlers {
    fixture.handlers()
}

fn credit(user: &str, minor: i64, key: Option<&str>) -> Request<pb::CreditWalletRequest> {
    credit_by("ada", user, minor, key)
}

fn credit_by(
    staff: &str,
    user: &str,
    minor: i64,
    key: Option<&str>,
) -> Request<pb::CreditWalletRequest> {
    let message = pb::CreditWalletRequest {
        user_id: user.to_owned(),
        amount: Some(eur(minor)),
    };
    let mut request = call_of(customer(staff).with(Role::Staff), message);
    if let Some(key) = key {
        request
            .metadata_mut()
            .insert("idempotency-key", key.parse().unwrap());
    }
    request
}

fn customer(user: &str) -> Caller {
    Caller::customer(user.parse().unwrap())
}

fn wallet_of(user: &str, caller: Caller) -> Request<pb::GetWalletRequest> {
    let user_id = user.to_owned();
    call_of(caller, pb::GetWalletRequest { user_id })
}

fn balance(wallet: Option<pb::Wallet>) -> i64 {
    let money = wallet.unwrap().balance.unwrap();
    money.units * 100 + i64::from(money.nanos) / 10_000_000
}

fn refusal<T>(result: Result<T, Status>) -> (ErrorCode, String) {
    let Err(status) = result else {
        panic!("it was not refused")
    };
    let Failure { code, reason, .. } = Failure::from(status);
    (code, reason)
}

#[tokio::test]
async fn a_credit_opens_a_wallet_and_adds_to_it() {
    let fixture = Fixture::new().await;
    let handlers = handlers(&fixture);
    let get = || wallet_of("alice", customer("alice"));
    assert_eq!(
        refusal(handlers.get_wallet(get()).await),
        (ErrorCode::NotFound, "NO_WALLET".into())
    );
    let first = handlers
        .credit_wallet(credit("alice", 1_050, None))
        .await
        .unwrap();
    assert_eq!(balance(first.into_inner().wallet), 1_050);
    let second = handlers
        .credit_wallet(credit("alice", 5, None))
        .await
        .unwrap();
    assert_eq!(balance(second.into_inner().wallet), 1_055);
    assert_eq!(
        balance(
            handlers
                .get_wallet(get())
                .await
                .unwrap()
                .into_inner()
                .wallet
        ),
        1_055
    );
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn a_wallet_is_its_owners_and_of_those_with_a_role() {
    let fixture = Fixture::with_wallets(&[("alice", 100), ("bob", 5)]).await;
    let handlers = handlers(&fixture);
    let see = async |user: &str, caller: Caller| {
        let answer = handlers.get_wallet(wallet_of(user, caller)).await;
        answer.map(|answer| balance(answer.into_inner().wallet))
    };
    assert_eq!(see("", customer("alice")).await.unwrap(), 100);
    assert_eq!(see("alice", customer("alice")).await.unwrap(), 100);
    let staff = customer("carol").with(Role::Staff);
    assert_eq!(see("bob", staff).await.unwrap(), 5);
    let others = refusal(see("bob", customer("alice")).await);
    assert_eq!(others, (ErrorCode::NotFound, "NO_WALLET".into()));
}

#[tokio::test]
async fn a_key_credits_once_and_for_one_credit_only() {
    let fixture = Fixture::new().await;
    let handlers = handlers(&fixture);
    let racers = (0..4).map(|_| handlers.credit_wallet(credit("alice", 700, Some("k1"))));
    for answer in futures_util::future::join_all(racers).await {
        assert_eq!(balance(answer.unwrap().into_inner().wallet), 700);
    }
    let reused = (ErrorCode::Conflict, "IDEMPOTENCY_KEY_REUSED".to_owned());
    for other in [
        credit("alice", 701, Some("k1")),
        credit("bob", 700, Some("k1")),
    ] {
        assert_eq!(refusal(handlers.credit_wallet(other).await), reused);
    }
    let other_key = handlers
        .credit_wallet(credit("alice", 700, Some("k2")))
        .await
        .unwrap();
    assert_eq!(balance(other_key.into_inner().wallet), 1_400);
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn each_caller_has_keys_of_his_own() {
    let fixture = Fixture::new().await;
    let handlers = handlers(&fixture);
    for (staff, then) in [("ada", 100), ("ben", 200), ("ada", 200), ("ben", 200)] {
        let credited = handlers.credit_wallet(credit_by(staff, "alice", 100, Some("k1")));
        let wallet = credited.await.unwrap().into_inner().wallet;
        assert_eq!(balance(wallet), then, "{staff}");
    }
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn what_was_seeded_once_is_not_seeded_again_however_old_it_is() {
    let fixture = Fixture::new().await;
    let wallets = [("alice".parse().unwrap(), 500)];
    crate::app::seed(&fixture.db, &wallets).await.unwrap();
    let aged = sqlx::query!("UPDATE wallet_credit SET at = now() - interval '8 days'");
    aged.execute(fixture.db.pool()).await.unwrap();
    let week = std::time::Duration::from_secs(7 * 24 * 3_600);
    let forgotten = crate::store::credits::forget_keys(&fixture.db, week, 10).await;
    assert_eq!(forgotten.unwrap(), 0);
    crate::app::seed(&fixture.db, &wallets).await.unwrap();
    let wallet = handlers(&fixture)
        .get_wallet(wallet_of("", customer("alice")))
        .await;
    assert_eq!(balance(wallet.unwrap().into_inner().wallet), 500);
}

#[tokio::test]
async fn a_key_is_forgotten_when_it_is_old_and_not_before() {
    let fixture = Fixture::new().await;
    let handlers = handlers(&fixture);
    for key in ["old", "older", "young"] {
        let credited = handlers.credit_wallet(credit("alice", 100, Some(key)));
        credited.await.unwrap();
    }
    let aged = sqlx::query!(
        "UPDATE wallet_credit SET at = now() - interval '8 days' WHERE key LIKE 'old%'"
    );
    aged.execute(fixture.db.pool()).await.unwrap();
    let forget = async |limit| {
        let week = std::time::Duration::from_secs(7 * 24 * 3_600);
        let forgotten = crate::store::credits::forget_keys(&fixture.db, week, limit);
        forgotten.await.unwrap()
    };
    assert_eq!(
        (forget(1).await, forget(10).await, forget(10).await),
        (1, 1, 0)
    );
    let again = handlers
        .credit_wallet(credit("alice", 100, Some("young")))
        .await;
    assert_eq!(balance(again.unwrap().into_inner().wallet), 300);
    let another = handlers
        .credit_wallet(credit("alice", 100, Some("old")))
        .await;
    assert_eq!(balance(another.unwrap().into_inner().wallet), 400);
}

#[tokio::test]
async fn a_credit_that_is_malformed_is_refused_whole() {
    let fixture = Fixture::new().await;
    let handlers = handlers(&fixture);
    let mut dollars = credit("alice", 1, None);
    dollars.get_mut().amount.as_mut().unwrap().currency_code = "USD".to_owned();
    let mut missing = credit("alice", 1, None);
    missing.get_mut().amount = None;
    let mut below_a_cent = credit("alice", 1, None);
    below_a_cent.get_mut().amount.as_mut().unwrap().nanos = 1;
    for bad in [
        credit("alice", 0, None),
        credit("alice", -5, None),
        credit("alice", 100_000_001, None),
        credit("a b", 5, None),
        dollars,
        missing,
        below_a_cent,
    ] {
        let refused = refusal(handlers.credit_wallet(bad).await);
        assert_eq!(refused, (ErrorCode::Invalid, "INVALID_REQUEST".to_owned()));
    }
    let count = sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM ledger_entry"#);
    assert_eq!(count.fetch_one(fixture.db.pool()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_payment_is_shown_with_its_state_and_reason() {
    let mut fixture = Fixture::with_wallets(&[("alice", 100)]).await;
    let orders = [
        Order::by_wallet("alice", 60),
        Order::by_wallet("alice", 61),
        Order::by_card("tok_visa", 5),
    ];
    fixture.deliver(&orders.each_ref().map(Order::charge)).await;
    let rows = sqlx::query!("SELECT id, order_id FROM payment")
        .fetch_all(fixture.db.pool())
        .await
        .unwrap();
    let ids: HashMap<_, _> = rows.into_iter().map(|row| (row.order_id, row.id)).collect();
    let mut shown = Vec::new();
    for order in &orders {
        let payment_id = ids[&order.id.0].to_string();
        let caller = customer(order.user);
        let request = call_of(caller, pb::GetPaymentRequest { payment_id });
        let payment = handlers(&fixture)
            .get_payment(request)
            .await
            .unwrap()
            .into_inner();
        let payment = payment.payment.unwrap();
        assert_eq!(
            (payment.order_id.clone(), payment.amount.clone()),
            (order.id.to_string(), Some(eur(order.minor)))
        );
        assert!(payment.created_at.is_some());
        shown.push((payment.state(), payment.method, payment.reason));
    }
    assert_eq!(
        shown,
        [
            (pb::PaymentState::Captured, "wallet".into(), String::new()),
            (
                pb::PaymentState::Declined,
                "wallet".into(),
                "INSUFFICIENT_FUNDS".into()
            ),
            (pb::PaymentState::Pending, "card".into(), String::new()),
        ]
    );
    let first = ids[&orders[0].id.0].to_string();
    for (user, payment_id, code) in [
        ("alice", orders[0].id.to_string(), ErrorCode::NotFound),
        ("mallory", first, ErrorCode::NotFound),
        ("alice", "x".to_owned(), ErrorCode::Invalid),
    ] {
        let request = call_of(customer(user), pb::GetPaymentRequest { payment_id });
        assert_eq!(
            refusal(handlers(&fixture).get_payment(request).await).0,
            code
        );
    }
}

#[tokio::test]
async fn seeding_again_adds_nothing() {
    let fixture = Fixture::with_wallets(&[("alice", 100)]).await;
    let alice: UserId = "alice".parse().unwrap();
    crate::seed(&fixture.db, &[(alice.clone(), 100)])
        .await
        .unwrap();
    crate::seed(&fixture.db, &[(alice, 200)]).await.unwrap();
    assert_eq!(fixture.balance("alice").await, 100);
}
