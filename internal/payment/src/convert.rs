use palinode_messaging::{Record, Topic, events_of};
use palinode_participant::{Event, Outcome, Output, decoded};
use palinode_pb::cardprocessor::v1 as processor;
use palinode_pb::google::r#type::Money as PbMoney;
use palinode_pb::identity::v1 as identity;
use palinode_pb::payment::v1 as pb;
use palinode_pb::validate::Validate;
use palinode_rpc::Violations;
use palinode_saga::Direction;
use palinode_telemetry::TraceContext;
use palinode_values::{
    Clock, Currency, EventId, Money, OrderId, PaymentId, RefundId, Timestamp, UserId,
};
use prost::{Message, Name};
use prost_types::Timestamp as PbTimestamp;
use uuid::Uuid;

use crate::clients::Answer;
use crate::domain::{Command, Method, Payment, Reason, RefundState, Source, State, UserEvent};
use crate::store::refunds::Kept;

/// A credit at the most: a million of the currency. A sum of balances stays far from 64 bits.
const CREDIT_MINOR_MAX: i64 = 100_000_000;

/// Reads a command. The words of the error tell what is wrong with the record.
pub(crate) fn command(kind: &str, body: &[u8]) -> Result<Command, String> {
    if kind == pb::ChargePayment::full_name() {
        charge(read(body)?)
    } else if kind == pb::RefundPayment::full_name() {
        let refund: pb::RefundPayment = read(body)?;
        Ok(Command::Refund {
            order_id: parsed(&refund.order_id)?,
            payment_id: None,
        })
    } else if kind == pb::ReturnPayment::full_name() {
        let back: pb::ReturnPayment = read(body)?;
        Ok(Command::Refund {
            order_id: parsed(&back.order_id)?,
            payment_id: Some(parsed(&back.payment_id)?),
        })
    } else {
        Err(format!("{kind} is no command of payment"))
    }
}

fn charge(charge: pb::ChargePayment) -> Result<Command, String> {
    use pb::payment_method::Method as PbMethod;
    let total = money(charge.total.ok_or("the total is missing")?).map_err(|e| e.to_string())?;
    if total.minor < 1 {
        return Err(format!("the total {total} is not more than zero"));
    }
    let method = match charge.payment_method.and_then(|choice| choice.method) {
        Some(PbMethod::Wallet(_)) => Method::Wallet,
        Some(PbMethod::Card(card)) => Method::Card { token: card.token },
        None => return Err("the payment method is missing".to_owned()),
    };
    Ok(Command::Charge {
        order_id: parsed::<OrderId>(&charge.order_id)?,
        user_id: parsed::<UserId>(&charge.user_id)?,
        method,
        total,
    })
}

fn read<M: Message + Default + Validate>(body: &[u8]) -> Result<M, String> {
    decoded(body).map_err(|undecodable| undecodable.0)
}

fn parsed<T: std::str::FromStr<Err: ToString>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// Reads an event of identity; `None`: it is no concern of wallets.
pub(crate) fn user_event(kind: &str, body: &[u8]) -> Result<Option<UserEvent>, String> {
    if kind == identity::UserRegistered::full_name() {
        let event = identity::UserRegistered::decode(body).map_err(|e| e.to_string())?;
        Ok(Some(UserEvent::Registered(parsed(&event.user_id)?)))
    } else if kind == identity::UserDeleted::full_name() {
        let event = identity::UserDeleted::decode(body).map_err(|e| e.to_string())?;
        Ok(Some(UserEvent::Deleted(parsed(&event.user_id)?)))
    } else {
        Ok(None)
    }
}

/// The output of a charge.
pub(crate) fn charge_output(payment: &Payment) -> Output {
    Output::of(&pb::ChargePaymentResult {
        payment_id: payment.id.to_string(),
    })
}

/// The money went back: a compensation, or an action of a saga that takes an order back.
pub(crate) fn given_back(direction: Direction) -> Outcome {
    match direction {
        Direction::Forward => Outcome::Done { output: None },
        Direction::Backward => Outcome::Undone,
    }
}

/// It did not. An action that gives money back may not fail: it is asked for again.
pub(crate) fn not_given_back(direction: Direction, reason: Reason, detail: String) -> Outcome {
    match direction {
        Direction::Forward => Outcome::Transient { detail },
        Direction::Backward => Outcome::CannotUndo {
            reason: reason.as_str().to_owned(),
            detail,
        },
    }
}

pub(crate) fn charged(payment: &Payment) -> Event {
    let event = pb::PaymentCharged {
        payment_id: payment.id.to_string(),
        order_id: payment.order_id.to_string(),
        user_id: payment.user_id.to_string(),
        amount: Some(pb_money(payment.amount)),
    };
    Event::of(events(), payment.id.key(), &event)
}

pub(crate) fn declined(payment: &Payment, reason: Reason) -> Event {
    let event = pb::PaymentDeclined {
        payment_id: payment.id.to_string(),
        order_id: payment.order_id.to_string(),
        reason: reason.as_str().to_owned(),
    };
    Event::of(events(), payment.id.key(), &event)
}

pub(crate) fn refunded(payment: &Payment, refund: RefundId, amount: Money) -> Event {
    let event = pb::PaymentRefunded {
        payment_id: payment.id.to_string(),
        order_id: payment.order_id.to_string(),
        amount: Some(pb_money(amount)),
        refund_id: refund.to_string(),
    };
    Event::of(events(), payment.id.key(), &event)
}

/// An event of a refund that no saga asked for.
pub(crate) fn refunded_for_a_caller(
    payment: &Payment,
    (refund, amount): (RefundId, Money),
    clock: &Clock,
    trace: &TraceContext,
) -> Record {
    let Event {
        topic,
        key,
        kind,
        body,
    } = refunded(payment, refund, amount);
    Record {
        topic,
        key,
        event_id: EventId::new(clock),
        kind,
        body,
        trace: trace.child(),
        saga: None,
    }
}

fn events() -> Topic {
    events_of("payment").expect("payment has a topic of events")
}

/// Reads a user id; `None` when it is empty.
pub(crate) fn user_id(text: &str) -> Result<Option<UserId>, Violations> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse::<UserId>()
        .map(Some)
        .map_err(|error| Violations::of("user_id", "INVALID_ID", error.to_string()))
}

pub(crate) fn payment_id(text: &str) -> Result<PaymentId, Violations> {
    text.parse::<PaymentId>()
        .map_err(|error| Violations::of("payment_id", "INVALID_ID", error.to_string()))
}

/// User and amount of a credit.
pub(crate) fn credit(request: pb::CreditWalletRequest) -> Result<(UserId, Money), Violations> {
    let mut violations = Violations::new();
    let user = violations.check("user_id", "INVALID_ID", request.user_id.parse::<UserId>());
    let amount = match money(request.amount.unwrap_or_default()) {
        Ok(amount) => Some(amount),
        Err(error) => {
            violations.add("amount", "INVALID_MONEY", format!("is malformed: {error}"));
            None
        }
    };
    if let Some(amount) = amount {
        if amount.currency != Currency::EUR {
            violations.add(
                "amount.currency_code",
                "UNSUPPORTED_CURRENCY",
                "must be EUR",
            );
        }
        if !(1..=CREDIT_MINOR_MAX).contains(&amount.minor) {
            violations.add("amount", "OUT_OF_RANGE", "must be 0.01 to 1000000.00");
        }
    }
    match (user, amount) {
        (Some(user), Some(amount)) if violations.is_empty() => Ok((user, amount)),
        _ => Err(violations),
    }
}

pub(crate) fn wallet(user: &UserId, balance: Money) -> pb::Wallet {
    pb::Wallet {
        user_id: user.to_string(),
        balance: Some(pb_money(balance)),
    }
}

pub(crate) fn payment(payment: &Payment, created_at: Timestamp) -> pb::Payment {
    let state = match payment.state {
        State::Pending => pb::PaymentState::Pending,
        State::Captured => pb::PaymentState::Captured,
        State::Declined(_) => pb::PaymentState::Declined,
        State::Refunding => pb::PaymentState::Refunding,
        State::Refunded => pb::PaymentState::Refunded,
    };
    let method = match payment.source {
        Source::Wallet => "wallet",
        Source::Card { .. } => "card",
    };
    pb::Payment {
        payment_id: payment.id.to_string(),
        order_id: payment.order_id.to_string(),
        user_id: payment.user_id.to_string(),
        amount: Some(pb_money(payment.amount)),
        method: method.to_owned(),
        state: state.into(),
        reason: payment
            .state
            .reason()
            .map(Reason::as_str)
            .unwrap_or_default()
            .to_owned(),
        created_at: Some(pb_time(created_at)),
        refunded: Some(pb_money(payment.refunded())),
    }
}

/// A refund that is asked for: amount, if there is one, and reason.
pub(crate) fn refund_asked(
    amount: Option<PbMoney>,
    reason: &str,
) -> Result<(Option<Money>, String), Violations> {
    let amount = match amount.map(money).transpose() {
        Ok(Some(amount)) if amount.minor < 1 => {
            let words = "must be more than zero";
            return Err(Violations::of("amount", "OUT_OF_RANGE", words));
        }
        Ok(amount) => amount,
        Err(error) => {
            let words = format!("is malformed: {error}");
            return Err(Violations::of("amount", "INVALID_MONEY", words));
        }
    };
    Ok((amount, reason.to_owned()))
}

pub(crate) fn refund(kept: &Kept) -> pb::Refund {
    let refund = &kept.refund;
    let state = match refund.state {
        RefundState::Pending => pb::RefundState::Pending,
        RefundState::Done => pb::RefundState::Done,
        RefundState::Declined => pb::RefundState::Declined,
    };
    pb::Refund {
        refund_id: refund.id.to_string(),
        payment_id: refund.payment_id.to_string(),
        amount: Some(pb_money(refund.amount)),
        reason: refund.reason.clone(),
        state: state.into(),
        requested_by: refund.requested_by.to_string(),
        created_at: Some(pb_time(kept.created_at)),
        updated_at: Some(pb_time(kept.updated_at)),
    }
}

/// Where a page of refunds goes on; `None`: at its beginning.
pub(crate) fn refund_page(token: &str) -> Result<Option<RefundId>, Violations> {
    if token.is_empty() {
        return Ok(None);
    }
    token
        .parse::<RefundId>()
        .map(Some)
        .map_err(|error| Violations::of("page_token", "MALFORMED", error.to_string()))
}

fn pb_time(at: Timestamp) -> PbTimestamp {
    PbTimestamp {
        seconds: at.timestamp(),
        nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}

fn money(money: PbMoney) -> Result<Money, palinode_values::MoneyError> {
    let currency = money.currency_code.parse()?;
    Money::from_units_and_nanos(money.units, money.nanos, currency)
}

fn pb_money(money: Money) -> PbMoney {
    let (units, nanos) = money.to_units_and_nanos();
    PbMoney {
        currency_code: money.currency.to_string(),
        units,
        nanos,
    }
}

pub(crate) fn charge_request(key: Uuid, token: &str, amount: Money) -> processor::ChargeRequest {
    processor::ChargeRequest {
        idempotency_key: key.to_string(),
        card_token: token.to_owned(),
        amount_minor: amount.minor,
        currency: amount.currency.to_string(),
    }
}

pub(crate) fn refund_request(
    key: Uuid,
    charge_key: Uuid,
    amount: Money,
) -> processor::RefundRequest {
    processor::RefundRequest {
        idempotency_key: key.to_string(),
        charge_key: charge_key.to_string(),
        amount_minor: amount.minor,
    }
}

pub(crate) fn look_up_request(key: Uuid) -> processor::LookupRequest {
    processor::LookupRequest {
        idempotency_key: key.to_string(),
    }
}

/// `None`: the answer says neither yes nor no.
pub(crate) fn charge_answer(response: processor::ChargeResponse) -> Option<Answer> {
    answer(
        response.outcome(),
        response.charge_id.clone(),
        response.decline_code.clone(),
    )
}

/// `None`: the answer says neither yes nor no.
pub(crate) fn refund_answer(response: processor::RefundResponse) -> Option<Answer> {
    answer(
        response.outcome(),
        response.refund_id.clone(),
        response.decline_code.clone(),
    )
}

/// `None`: the key was never seen, or the answer says neither yes nor no.
pub(crate) fn look_up_answer(response: processor::LookupResponse) -> Option<Answer> {
    let outcome = response.outcome();
    response
        .found
        .then(|| answer(outcome, response.reference, String::new()))
        .flatten()
}

fn answer(outcome: processor::Outcome, reference: String, code: String) -> Option<Answer> {
    match outcome {
        processor::Outcome::Approved => Some(Answer::Approved { reference }),
        processor::Outcome::Declined => Some(Answer::Declined { code }),
        processor::Outcome::Unspecified => None,
    }
}
