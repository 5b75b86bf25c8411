use std::time::Duration;

use palinode_auth::{Caller, Role};
use palinode_messaging::BatchHandler;
use palinode_pb::google::r#type::Money as PbMoney;
use palinode_pb::payment::v1 as pb;
use palinode_pb::payment::v1::payment_service_server::PaymentService;
use palinode_rpc::{Failure, call_of};
use palinode_saga::Direction;
use palinode_testkit::eventually;
use palinode_values::{ErrorCode, PaymentId};
use tonic::{Request, Status};

use super::cards::{Running, names};
use super::fixture::{CardProcessor, Fixture, LIMIT, Order, batches, eur, quick, users};
use super::users::deleted;
use crate::rpc::Handlers;

fn staff() -> Caller {
    Caller::customer("carol".parse().unwrap()).with(Role::Staff)
}

/// `minor`: `None` for all that is left.
fn refund(
    payment: PaymentId,
    minor: Option<i64>,
    key: Option<&str>,
) -> Request<pb::RefundPaymentRequest> {
    let message = pb::RefundPaymentRequest {
        payment_id: payment.to_string(),
        amount: minor.map(eur),
        reason: "it came broken".to_owned(),
    };
    let mut request = call_of(staff(), message);
    if let Some(key) = key {
        let metadata = request.metadata_mut();
        metadata.insert("idempotency-key", key.parse().unwrap());
    }
    request
}

async fn give(
    handlers: &Handlers,
    request: Request<pb::RefundPaymentRequest>,
) -> Result<pb::Refund, Status> {
    let answer = handlers.refund_payment(request).await?.into_inner();
    Ok(answer.refund.unwrap())
}

fn refusal<T>(result: Result<T, Status>) -> (ErrorCode, String, String) {
    let Err(status) = result else {
        panic!("it was not refused")
    };
    let words = status.message().to_owned();
    let Failure { code, reason, .. } = Failure::from(status);
    (code, reason, words)
}

fn reason<T>(result: Result<T, Status>) -> String {
    refusal(result).1
}

async fn listed(handlers: &Handlers, payment: PaymentId) -> Vec<pb::Refund> {
    let message = pb::ListRefundsRequest {
        payment_id: payment.to_string(),
        ..pb::ListRefundsRequest::default()
    };
    let answer = handlers.list_refunds(call_of(staff(), message)).await;
    answer.unwrap().into_inner().refunds
}

async fn refunded(handlers: &Handlers, payment: PaymentId) -> PbMoney {
    let payment_id = payment.to_string();
    let request = call_of(staff(), pb::GetPaymentRequest { payment_id });
    let answer = handlers.get_payment(request).await.unwrap().into_inner();
    answer.payment.unwrap().refunded.unwrap()
}

/// A refund, once the card processor has answered.
async fn settled(handlers: &Handlers, refund: &pb::Refund) -> pb::RefundState {
    let payment = refund.payment_id.parse().unwrap();
    eventually(LIMIT, "the processor has answered", async || {
        let all = listed(handlers, payment).await;
        let found = all.iter().find(|r| r.refund_id == refund.refund_id);
        let state = found.unwrap().state();
        (state != pb::RefundState::Pending).then_some(state)
    })
    .await
}

/// A wallet's payment of 10.00, and its order.
async fn paid(fixture: &mut Fixture) -> (Order, PaymentId) {
    let order = Order::by_wallet("alice", 1_000);
    assert_eq!(fixture.deliver(&[order.charge()]).await.answers(), ["done"]);
    let payment = fixture.payment(&order).await;
    (order, payment)
}

/// A card's payment of 10.00, and its order.
async fn paid_by_card(fixture: &mut Fixture, token: &'static str) -> (Order, PaymentId) {
    let order = Order::by_card(token, 1_000);
    fixture.hand_over(&[order.charge()]).await;
    assert_eq!(fixture.hear(2).await.answers(), ["pending", "done"]);
    let payment = fixture.payment(&order).await;
    (order, payment)
}

#[tokio::test]
async fn a_wallet_gets_parts_back_until_nothing_is_left() {
    let mut fixture = Fixture::with_wallets(&[("alice", 1_000)]).await;
    let handlers = fixture.handlers();
    let (order, payment) = paid(&mut fixture).await;
    let first = give(&handlers, refund(payment, Some(250), None)).await;
    let first = first.unwrap();
    assert_eq!(
        (
            first.state(),
            first.amount.clone(),
            first.requested_by.as_str()
        ),
        (pb::RefundState::Done, Some(eur(250)), "carol")
    );
    assert_eq!(fixture.said().await.events, ["PaymentRefunded"]);
    assert_eq!(fixture.state(&order).await, "captured");
    assert_eq!(refunded(&handlers, payment).await, eur(250));
    let (code, why, words) = refusal(give(&handlers, refund(payment, Some(751), None)).await);
    assert_eq!(
        (code, why.as_str()),
        (ErrorCode::Refused, "REFUND_EXCEEDS_CHARGE")
    );
    assert!(
        words.contains("7.50 EUR are left of the 10.00 EUR"),
        "{words}"
    );

    let rest = give(&handlers, refund(payment, None, None)).await.unwrap();
    assert_eq!(rest.amount, Some(eur(750)));
    assert_eq!(fixture.state(&order).await, "refunded");
    for minor in [None, Some(1)] {
        let none = give(&handlers, refund(payment, minor, None)).await;
        assert_eq!(reason(none), "REFUND_EXCEEDS_CHARGE");
    }
    assert_eq!(fixture.balance("alice").await, 1_000);
    assert_eq!(fixture.account("shop").await, 0);
    let all = listed(&handlers, payment).await;
    assert_eq!(all, [rest, first]);
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn what_is_malformed_or_not_taken_is_not_given_back() {
    let mut fixture = Fixture::with_wallets(&[("alice", 1_000)]).await;
    let handlers = fixture.handlers();
    let (_, payment) = paid(&mut fixture).await;
    let amounts = [
        eur(0),
        eur(-1),
        PbMoney {
            nanos: 1,
            ..eur(100)
        },
        PbMoney::default(),
    ];
    for amount in amounts {
        let mut request = refund(payment, None, None);
        request.get_mut().amount = Some(amount);
        assert_eq!(reason(give(&handlers, request).await), "INVALID_REQUEST");
    }
    let mut dollars = refund(payment, Some(100), None);
    dollars.get_mut().amount.as_mut().unwrap().currency_code = "USD".to_owned();
    assert_eq!(reason(give(&handlers, dollars).await), "CURRENCY_MISMATCH");
    let mut nothing = refund(payment, None, None);
    nothing.get_mut().payment_id = Order::by_wallet("alice", 1).id.to_string();
    assert_eq!(reason(give(&handlers, nothing).await), "PAYMENT_NOT_FOUND");

    let (declined, pending) = (Order::by_wallet("alice", 1), Order::by_card("tok_visa", 5));
    fixture
        .deliver(&[declined.charge(), pending.charge()])
        .await;
    for order in [declined, pending] {
        let payment = fixture.payment(&order).await;
        let none = give(&handlers, refund(payment, Some(1), Some("k"))).await;
        assert_eq!(reason(none), "NOT_CAPTURED");
    }
    // a refusal takes no key
    let given = give(&handlers, refund(payment, Some(1), Some("k"))).await;
    assert_eq!(given.unwrap().state(), pb::RefundState::Done);
    assert_eq!(fixture.balance("alice").await, 1);
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn a_key_gives_back_once_and_for_one_request_only() {
    let mut fixture = Fixture::with_wallets(&[("alice", 1_000)]).await;
    let handlers = fixture.handlers();
    let (_, payment) = paid(&mut fixture).await;
    let racers = (0..4).map(|_| give(&handlers, refund(payment, Some(300), Some("k1"))));
    let answers = futures_util::future::join_all(racers).await;
    let first = answers[0].as_ref().unwrap().clone();
    for answer in answers {
        assert_eq!(answer.unwrap(), first);
    }
    assert_eq!(fixture.balance("alice").await, 300);
    assert_eq!(fixture.said().await.events, ["PaymentRefunded"]);
    let mut other_reason = refund(payment, Some(300), Some("k1"));
    other_reason.get_mut().reason = "another one".to_owned();
    let mut other_payment = refund(payment, Some(300), Some("k1"));
    other_payment.get_mut().payment_id = first.refund_id.clone();
    for other in [
        refund(payment, Some(301), Some("k1")),
        refund(payment, None, Some("k1")),
        other_reason,
        other_payment,
    ] {
        let (code, why, _) = refusal(give(&handlers, other).await);
        assert_eq!(
            (code, why.as_str()),
            (ErrorCode::Conflict, "IDEMPOTENCY_KEY_REUSED")
        );
    }
    // of the rest, a repeat does not mean what is left by then
    let rest = give(&handlers, refund(payment, None, Some("k2"))).await;
    let again = give(&handlers, refund(payment, None, Some("k2"))).await;
    assert_eq!(rest.unwrap(), again.unwrap());
    assert_eq!(fixture.balance("alice").await, 1_000);

    let aged = sqlx::query!("UPDATE refund_key SET created_at = now() - interval '8 days'");
    aged.execute(fixture.db.pool()).await.unwrap();
    let week = Duration::from_secs(7 * 24 * 3_600);
    let forget = || crate::store::refunds::forget_keys(&fixture.db, week, 10);
    assert_eq!((forget().await.unwrap(), forget().await.unwrap()), (2, 0));
    let late = give(&handlers, refund(payment, Some(300), Some("k1"))).await;
    assert_eq!(reason(late), "REFUND_EXCEEDS_CHARGE");
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn refunds_that_race_never_exceed_the_charge() {
    let mut fixture = Fixture::with_wallets(&[("alice", 1_000), ("bob", 1_000)]).await;
    let handlers = fixture.handlers();
    let (order, payment) = paid(&mut fixture).await;
    // the saga wants all of it, another one too, and staff wants more than there is in parts
    let cancel = order.of_another_saga().give_back(payment);
    let sagas = [order.refund(), cancel].map(|command| {
        let mut batches = batches(&fixture.db, &fixture.bell);
        async move { batches.handle(&[command]).await.map(drop) }
    });
    let parts = (0..6).map(|n| give(&handlers, refund(payment, Some(200 + n), None)));
    let (sagas, parts) = tokio::join!(
        futures_util::future::join_all(sagas),
        futures_util::future::join_all(parts)
    );
    for done in sagas {
        done.unwrap();
    }
    for part in parts {
        if part.is_err() {
            assert_eq!(reason(part), "REFUND_EXCEEDS_CHARGE");
        }
    }
    let said = fixture.said().await;
    let mut answers = said.answers();
    answers.sort();
    assert_eq!(answers, ["done", "undone"]);
    assert_eq!(fixture.state(&order).await, "refunded");
    assert_eq!(said.events.len(), listed(&handlers, payment).await.len());
    assert_eq!(fixture.balance("alice").await, 1_000);
    assert_eq!(fixture.account("shop").await, 0);
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn a_saga_gives_back_what_staff_has_left() {
    let mut fixture = Fixture::with_wallets(&[("alice", 2_000)]).await;
    let handlers = fixture.handlers();
    let (compensated, part) = paid(&mut fixture).await;
    let (cancelled, whole) = paid(&mut fixture).await;
    give(&handlers, refund(part, Some(400), None))
        .await
        .unwrap();
    give(&handlers, refund(whole, None, None)).await.unwrap();
    fixture.said().await;
    let cancel = cancelled.of_another_saga().give_back(whole);
    let said = fixture.deliver(&[compensated.refund(), cancel]).await;
    // of the second there was nothing left to do, or to tell
    assert_eq!(
        (said.answers(), said.events),
        (names(&["undone", "done"]), names(&["PaymentRefunded"]))
    );
    assert_eq!(fixture.balance("alice").await, 2_000);
    let all = listed(&handlers, part).await;
    let amounts: Vec<_> = all.iter().map(|r| r.amount.clone().unwrap()).collect();
    assert_eq!(amounts, [eur(600), eur(400)]);
    assert_eq!(all[0].requested_by, format!("saga:{}", compensated.saga));
    assert_eq!(all[0].reason, "charge-payment of place-order@1");
    let late = give(&handlers, refund(part, Some(1), None)).await;
    assert_eq!(reason(late), "REFUND_EXCEEDS_CHARGE");
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn a_card_is_paid_back_in_parts_each_under_its_own_key() {
    let (mut fixture, processor) = (Fixture::new().await, CardProcessor::up().await);
    let handlers = fixture.handlers();
    // an idle loop does not poll here: it has to hear the bell after the commit
    let limits = crate::config::CardCalls {
        poll: Duration::from_secs(600),
        ..quick()
    };
    let running = Running::start(fixture.calls(processor.address, limits));
    let (order, payment) = paid_by_card(&mut fixture, "tok_visa").await;
    let first = give(&handlers, refund(payment, Some(300), Some("k1"))).await;
    let first = first.unwrap();
    assert_eq!(first.state(), pb::RefundState::Pending);
    assert_eq!(settled(&handlers, &first).await, pb::RefundState::Done);
    // a repeat is answered with what became of it
    let again = give(&handlers, refund(payment, Some(300), Some("k1"))).await;
    let again = again.unwrap();
    assert_eq!(
        (again.refund_id.as_str(), again.state()),
        (first.refund_id.as_str(), pb::RefundState::Done)
    );
    assert_eq!(fixture.state(&order).await, "captured");
    assert_eq!(fixture.said().await.events, ["PaymentRefunded"]);
    running.crash().await;

    // two at once, neither answered; what they want is not there for anybody else
    let parts = [200, 400].map(|minor| give(&handlers, refund(payment, Some(minor), None)));
    let parts = futures_util::future::join_all(parts).await;
    let (code, _, words) = refusal(give(&handlers, refund(payment, Some(101), None)).await);
    assert_eq!(code, ErrorCode::Refused);
    assert!(words.contains("1.00 EUR are left"), "{words}");
    assert_eq!(
        (
            fixture.state(&order).await.as_str(),
            fixture.intents().await
        ),
        ("refunding", 2)
    );
    assert_eq!(refunded(&handlers, payment).await, eur(300));
    let _running = Running::start(fixture.calls(processor.address, quick()));
    for part in parts {
        let state = settled(&handlers, &part.unwrap()).await;
        assert_eq!(state, pb::RefundState::Done);
    }
    assert_eq!(refunded(&handlers, payment).await, eur(900));
    // the saga takes back the rest
    fixture.said().await;
    fixture.hand_over(&[order.refund()]).await;
    assert_eq!(fixture.hear(2).await.answers(), ["pending", "undone"]);
    assert_eq!(fixture.state(&order).await, "refunded");
    assert_eq!(processor.records().await.len(), 5);
    assert!(processor.keys().await.contains(&first.refund_id));
    assert_eq!(fixture.account("processor").await, 0);
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn a_crash_between_the_call_and_its_settling_gives_a_part_back_once() {
    let (mut fixture, processor) = (Fixture::new().await, CardProcessor::up().await);
    let handlers = fixture.handlers();
    let running = Running::start(fixture.calls(processor.address, quick()));
    let (order, payment) = paid_by_card(&mut fixture, "tok_visa").await;
    running.crash().await;
    let part = give(&handlers, refund(payment, Some(400), None)).await;
    let part = part.unwrap();
    // the processor has paid back, and whoever called it has not heard
    let key = part.refund_id.parse().unwrap();
    processor
        .refund(key, order.key(Direction::Forward), 400)
        .await;
    // meanwhile a saga wants the rest: how much that is, nobody knows yet
    let cancel = order.of_another_saga().give_back(payment);
    let said = fixture.deliver(&[cancel.clone(), order.refund()]).await;
    assert_eq!(said.answers(), ["transient", "transient"]);

    let _running = Running::start(fixture.calls(processor.address, quick()));
    assert_eq!(settled(&handlers, &part).await, pb::RefundState::Done);
    assert_eq!(processor.records().await.len(), 2);
    assert_eq!(fixture.said().await.events, ["PaymentRefunded"]);
    fixture.hand_over(&[cancel]).await;
    assert_eq!(fixture.hear(2).await.answers(), ["pending", "done"]);
    assert_eq!(fixture.account("processor").await, 0);
    assert_eq!(fixture.intents().await, 0);
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn what_a_saga_has_asked_the_processor_for_is_not_given_to_staff() {
    let (mut fixture, processor) = (Fixture::new().await, CardProcessor::up().await);
    let handlers = fixture.handlers();
    let running = Running::start(fixture.calls(processor.address, quick()));
    let (order, payment) = paid_by_card(&mut fixture, "tok_visa").await;
    running.crash().await;
    fixture.deliver(&[order.refund()]).await;
    let (_, why, words) = refusal(give(&handlers, refund(payment, Some(1), None)).await);
    assert_eq!(why, "REFUND_EXCEEDS_CHARGE");
    assert!(words.contains("0.00 EUR are left"), "{words}");
    let _running = Running::start(fixture.calls(processor.address, quick()));
    assert_eq!(fixture.hear(1).await.answers(), ["undone"]);
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn a_refund_that_the_processor_refuses_leaves_the_money_to_the_next() {
    let (mut fixture, processor) = (Fixture::new().await, CardProcessor::up().await);
    let handlers = fixture.handlers();
    let _running = Running::start(fixture.calls(processor.address, quick()));
    let (order, payment) = paid_by_card(&mut fixture, "tok_closed").await;
    let no = give(&handlers, refund(payment, Some(600), Some("k"))).await;
    let no = no.unwrap();
    assert_eq!(settled(&handlers, &no).await, pb::RefundState::Declined);
    assert_eq!(fixture.state(&order).await, "captured");
    assert_eq!(refunded(&handlers, payment).await, eur(0));
    assert!(fixture.said().await.events.is_empty());
    // a saga is refused too, and leaves no refund behind
    let cancel = order.of_another_saga().give_back(payment);
    fixture.hand_over(std::slice::from_ref(&cancel)).await;
    assert_eq!(fixture.hear(2).await.answers(), ["pending", "transient"]);
    assert_eq!(listed(&handlers, payment).await.len(), 1);

    processor.open_the_cards_again().await;
    let repeated = give(&handlers, refund(payment, Some(600), Some("k"))).await;
    assert_eq!(repeated.unwrap().state(), pb::RefundState::Declined);
    let yes = give(&handlers, refund(payment, Some(600), None)).await;
    assert_eq!(
        settled(&handlers, &yes.unwrap()).await,
        pb::RefundState::Done
    );
    // asked for again under the key of its step, over what is left by now
    fixture.said().await;
    fixture.hand_over(&[cancel]).await;
    assert_eq!(fixture.hear(2).await.answers(), ["pending", "done"]);
    assert_eq!(fixture.state(&order).await, "refunded");
    assert_eq!(fixture.account("processor").await, 0);
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn a_refund_of_a_closed_wallet_goes_to_the_house() {
    let mut fixture = Fixture::with_wallets(&[("alice", 1_200)]).await;
    let handlers = fixture.handlers();
    let (order, payment) = paid(&mut fixture).await;
    users(&fixture.db)
        .handle(&[deleted("alice")])
        .await
        .unwrap();
    let part = give(&handlers, refund(payment, Some(300), None)).await;
    assert_eq!(part.unwrap().state(), pb::RefundState::Done);
    assert_eq!(fixture.account("unclaimed").await, 500);
    fixture.deliver(&[order.refund()]).await;
    assert_eq!(fixture.account("unclaimed").await, 1_200);
    assert_eq!(fixture.balance("alice").await, 0);
    fixture.assert_books_are_right().await;
}

#[tokio::test]
async fn refunds_are_shown_page_by_page_to_the_owner_and_to_nobody_else() {
    let mut fixture = Fixture::with_wallets(&[("alice", 1_000)]).await;
    let handlers = fixture.handlers();
    let (_, payment) = paid(&mut fixture).await;
    for minor in 1..=5 {
        give(&handlers, refund(payment, Some(minor), None))
            .await
            .unwrap();
    }
    let page = async |user: &str, page_token: &str| {
        let message = pb::ListRefundsRequest {
            payment_id: payment.to_string(),
            page_size: 2,
            page_token: page_token.to_owned(),
        };
        let caller = Caller::customer(user.parse().unwrap());
        let answer = handlers.list_refunds(call_of(caller, message)).await?;
        Ok::<_, Status>(answer.into_inner())
    };
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let answer = page("alice", &token).await.unwrap();
        seen.extend(answer.refunds.into_iter().map(|r| r.amount.unwrap()));
        token = answer.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, [5, 4, 3, 2, 1].map(eur));
    assert_eq!(reason(page("bob", "").await), "PAYMENT_NOT_FOUND");
    assert_eq!(reason(page("alice", "x").await), "INVALID_REQUEST");
}
