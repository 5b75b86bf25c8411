//! Every conversion between the contracts and the domain.

use palinode_messaging::{Record, Topic, events_of};
use palinode_participant::Event;
use palinode_pb::google::r#type::Money as PbMoney;
use palinode_pb::inventory::v1::StockLine;
use palinode_pb::order::v1 as pb;
use palinode_pb::payment::v1::{PaymentMethod as PbMethod, payment_method};
use palinode_pb::saga::v1::StartSaga;
use palinode_pb::shipping::v1::Address as PbAddress;
use palinode_rpc::Violations;
use palinode_telemetry::TraceContext;
use palinode_values::{Clock, EventId, Money, SagaId, Sku, Timestamp, UserId};
use prost::{Message, Name};

use crate::app::{CANCEL_PLAN, PLAN};
use crate::domain::{
    Address, Cancellation, Decision, Fulfilment, Offer, Order, PaymentMethod, Request, Status,
};
use crate::store::order::Standing;

/// Reads a request of a user that keeps the rules of its proto; all else that is wrong with it at once.
pub(crate) fn request(message: pb::PlaceOrderRequest, user: UserId) -> Result<Request, Violations> {
    let mut wrong = Violations::new();
    let lines = lines(&mut wrong, &message.lines);
    let address = address(&mut wrong, message.address);
    let payment = payment(&mut wrong, message.payment_method);
    match (address, payment) {
        (Some(address), Some(payment)) if wrong.is_empty() => Ok(Request {
            user,
            lines,
            address,
            payment,
        }),
        _ => Err(wrong),
    }
}

/// Reads a user id; `None` when it is empty.
pub(crate) fn user(text: &str) -> Result<Option<UserId>, Violations> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse::<UserId>()
        .map(Some)
        .map_err(|e| Violations::of("user_id", "MALFORMED", format!("must be {}", e.rule)))
}

fn lines(wrong: &mut Violations, lines: &[StockLine]) -> Vec<(Sku, i32)> {
    let mut read: Vec<(Sku, i32)> = Vec::with_capacity(lines.len());
    for (position, line) in lines.iter().enumerate() {
        let field = format!("lines[{position}].sku");
        match line.sku.parse::<Sku>() {
            Err(e) => wrong.add(field, "MALFORMED", format!("must be {}", e.rule)),
            Ok(sku) if read.iter().any(|(known, _)| *known == sku) => {
                wrong.add(field, "DUPLICATE", "stands in another line already");
            }
            Ok(sku) => read.push((sku, line.quantity)),
        }
    }
    read
}

fn address(wrong: &mut Violations, message: Option<PbAddress>) -> Option<Address> {
    let Some(message) = message else {
        wrong.add("address", "REQUIRED", "must be given");
        return None;
    };
    Some(Address {
        name: message.name,
        street: message.street,
        postal_code: message.postal_code,
        city: message.city,
        country: message.country,
    })
}

fn payment(wrong: &mut Violations, message: Option<PbMethod>) -> Option<PaymentMethod> {
    match message.and_then(|m| m.method) {
        None => {
            wrong.add("payment_method", "REQUIRED", "must be given");
            None
        }
        Some(payment_method::Method::Wallet(_)) => Some(PaymentMethod::Wallet),
        Some(payment_method::Method::Card(card)) => Some(PaymentMethod::Card { token: card.token }),
    }
}

/// The message that starts the saga of an order.
pub(crate) fn start_saga(order: &Order, clock: &Clock, trace: TraceContext) -> Record {
    let input = pb::PlaceOrder {
        order_id: order.id.to_string(),
        user_id: order.user.to_string(),
        lines: order
            .lines
            .iter()
            .map(|line| StockLine {
                sku: line.sku.to_string(),
                quantity: line.quantity,
            })
            .collect(),
        address: Some(pb_address(&order.address)),
        payment_method: Some(pb_method(&order.payment)),
        total: Some(money(order.total)),
    };
    let business_key = order.id.to_string();
    start(order.saga_id, PLAN, business_key, &input, clock, trace)
}

/// The message that starts the saga of a cancellation.
pub(crate) fn start_cancellation(
    order: &Order,
    cancellation: &Cancellation,
    clock: &Clock,
    trace: TraceContext,
) -> Record {
    let fulfilment = fulfilment(&order.status);
    let input = pb::CancelOrder {
        cancellation_id: cancellation.id.to_string(),
        order_id: order.id.to_string(),
        payment_id: fulfilment
            .map(|f| f.payment_id.to_string())
            .unwrap_or_default(),
        shipment_id: fulfilment
            .map(|f| f.shipment_id.to_string())
            .unwrap_or_default(),
    };
    let business_key = cancellation.id.to_string();
    start(
        cancellation.saga_id,
        CANCEL_PLAN,
        business_key,
        &input,
        clock,
        trace,
    )
}

fn start<M: Message + Name>(
    saga: SagaId,
    plan: &str,
    business_key: String,
    input: &M,
    clock: &Clock,
    trace: TraceContext,
) -> Record {
    let start = StartSaga {
        saga_id: saga.to_string(),
        plan: plan.to_owned(),
        business_key,
        input: Some(prost_types::Any {
            type_url: M::type_url(),
            value: input.encode_to_vec(),
        }),
    };
    Record {
        topic: Topic::ORCHESTRATOR_COMMANDS,
        key: saga.key(),
        event_id: EventId::new(clock),
        kind: StartSaga::full_name().into(),
        body: start.encode_to_vec().into(),
        trace,
        saga: None,
    }
}

fn fulfilment(status: &Status) -> Option<Fulfilment> {
    match status {
        Status::Pending | Status::Rejected { .. } => None,
        Status::Confirmed(fulfilment)
        | Status::Cancelling(fulfilment, _)
        | Status::Cancelled(fulfilment) => Some(*fulfilment),
    }
}

/// The event that tells what a saga decided about an order.
pub(crate) fn decided_event(standing: &Standing, decision: &Decision) -> Event {
    let (order_id, user_id) = (standing.id.to_string(), standing.user.to_string());
    let topic = events_of("order").expect("the table of topics has the order service");
    let key = standing.id.key();
    match decision {
        Decision::Confirm(_) => Event::of(topic, key, &pb::OrderConfirmed { order_id, user_id }),
        Decision::Close { .. } => Event::of(topic, key, &pb::OrderCancelled { order_id, user_id }),
        Decision::Reject { reason, .. } => {
            let reason = reason.clone();
            let event = pb::OrderRejected {
                order_id,
                user_id,
                reason,
            };
            Event::of(topic, key, &event)
        }
        Decision::Keep { reason, .. } => {
            let reason = reason.clone();
            let event = pb::OrderKept {
                order_id,
                user_id,
                reason,
            };
            Event::of(topic, key, &event)
        }
    }
}

/// An amount on the wire.
pub(crate) fn money(amount: Money) -> PbMoney {
    let (units, nanos) = amount.to_units_and_nanos();
    PbMoney {
        currency_code: amount.currency.to_string(),
        units,
        nanos,
    }
}

fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.timestamp(),
        nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}

fn pb_address(address: &Address) -> PbAddress {
    PbAddress {
        name: address.name.clone(),
        street: address.street.clone(),
        postal_code: address.postal_code.clone(),
        city: address.city.clone(),
        country: address.country.clone(),
    }
}

fn pb_method(payment: &PaymentMethod) -> PbMethod {
    PbMethod {
        method: Some(match payment {
            PaymentMethod::Wallet => payment_method::Method::Wallet(payment_method::Wallet {}),
            PaymentMethod::Card { token } => payment_method::Method::Card(payment_method::Card {
                token: token.clone(),
            }),
        }),
    }
}

/// An order on the wire.
pub(crate) fn order(order: &Order) -> pb::Order {
    let (mut reason, mut reason_detail) = (String::new(), String::new());
    let status = match &order.status {
        Status::Pending => pb::OrderStatus::Pending,
        Status::Confirmed(_) => pb::OrderStatus::Confirmed,
        Status::Cancelling(..) => pb::OrderStatus::Cancelling,
        Status::Cancelled(_) => pb::OrderStatus::Cancelled,
        Status::Rejected {
            reason: why,
            detail,
        } => {
            (reason, reason_detail) = (why.clone(), detail.clone());
            pb::OrderStatus::Rejected
        }
    };
    let fulfilment = fulfilment(&order.status);
    let lines = order.lines.iter().map(|line| pb::order::Line {
        sku: line.sku.to_string(),
        name: line.name.clone(),
        quantity: line.quantity,
        unit_price: Some(money(line.price)),
        line_total: line.price.times(i64::from(line.quantity)).ok().map(money),
    });
    pb::Order {
        order_id: order.id.to_string(),
        user_id: order.user.to_string(),
        status: status.into(),
        reason,
        reason_detail,
        lines: lines.collect(),
        total: Some(money(order.total)),
        address: Some(pb_address(&order.address)),
        payment_method: Some(pb_method(&order.payment)),
        saga_id: order.saga_id.to_string(),
        payment_id: fulfilment
            .map(|f| f.payment_id.to_string())
            .unwrap_or_default(),
        shipment_id: fulfilment
            .map(|f| f.shipment_id.to_string())
            .unwrap_or_default(),
        cancellation: order.cancellation.as_ref().map(cancellation),
        created_at: Some(timestamp(order.created_at)),
        updated_at: Some(timestamp(order.updated_at)),
    }
}

fn cancellation(cancellation: &Cancellation) -> pb::order::Cancellation {
    let (refused_reason, refused_detail) = cancellation.refused.clone().unwrap_or_default();
    pb::order::Cancellation {
        cancellation_id: cancellation.id.to_string(),
        saga_id: cancellation.saga_id.to_string(),
        refused_reason,
        refused_detail,
        requested_at: Some(timestamp(cancellation.requested_at)),
    }
}

/// An offer on the wire.
pub(crate) fn offer(offer: &Offer) -> pb::Offer {
    pb::Offer {
        sku: offer.sku.to_string(),
        name: offer.name.clone(),
        unit_price: Some(money(offer.price)),
    }
}
