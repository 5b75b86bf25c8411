//! Every conversion between the contracts and the domain.

use palinode_messaging::{Record, Topic, events_of};
use palinode_participant::Event;
use palinode_pb::catalog::v1 as catalog;
use palinode_pb::google::r#type::Money as PbMoney;
use palinode_pb::inventory::v1::StockLine;
use palinode_pb::order::v1 as pb;
use palinode_pb::payment::v1::{PaymentMethod as PbMethod, payment_method};
use palinode_pb::saga::v1::StartSaga;
use palinode_pb::shipping::v1::Address as PbAddress;
use palinode_rpc::Violations;
use palinode_telemetry::TraceContext;
use palinode_values::{Clock, EventId, Money, MoneyError, OrderId, SagaId, Sku, Timestamp, UserId};
use prost::{Message, Name};
use sha2::{Digest, Sha256};

use crate::app::{CANCEL_PLAN, PLAN};
use crate::domain::{
    Address, Cancellation, Decision, Fulfilment, Goods, Line, Listing, Order, PaymentMethod, Quote,
    Request, Revised, ShownLine, Sort, Status,
};
use crate::store::order::Standing;

/// Reads a request of a user that keeps the rules of its proto; all else that is wrong with it at once.
pub(crate) fn request(message: pb::PlaceOrderRequest, user: UserId) -> Result<Request, Violations> {
    let mut wrong = Violations::new();
    let goods = match (message.quote_id.as_str(), message.lines.as_slice()) {
        ("", []) => {
            wrong.add(
                "lines",
                "REQUIRED",
                "must have at least one entry, or a quote be named",
            );
            None
        }
        ("", entries) => Some(Goods::Lines(lines(&mut wrong, entries))),
        (id, []) => wrong
            .check("quote_id", "MALFORMED", id.parse())
            .map(Goods::Quote),
        (_, _) => {
            wrong.add(
                "quote_id",
                "EXCLUDED",
                "must be empty where there are lines",
            );
            None
        }
    };
    let terms = (
        message.address,
        message.payment_method,
        message.expected_total,
    );
    ordered(wrong, user, goods, terms)
}

/// Reads what a user says to order his cart; all that is wrong with it at once.
pub(crate) fn check_out(message: pb::CheckOutRequest, user: UserId) -> Result<Request, Violations> {
    let terms = (
        message.address,
        message.payment_method,
        message.expected_total,
    );
    ordered(Violations::new(), user, Some(Goods::Cart), terms)
}

/// Reads what is to be quoted; empty: what is in the cart.
pub(crate) fn quoted(message: &pb::CreateQuoteRequest) -> Result<Vec<(Sku, i32)>, Violations> {
    let mut wrong = Violations::new();
    let lines = lines(&mut wrong, &message.lines);
    wrong.into_result()?;
    Ok(lines)
}

/// Reads where goods go, how they are paid, and what they are to cost.
fn ordered(
    mut wrong: Violations,
    user: UserId,
    goods: Option<Goods>,
    terms: (Option<PbAddress>, Option<PbMethod>, Option<PbMoney>),
) -> Result<Request, Violations> {
    let address = address(&mut wrong, terms.0);
    let payment = payment(&mut wrong, terms.1);
    let expected = terms.2.map(|message| amount(&message)).transpose();
    let expected_total = wrong.check("expected_total", "MALFORMED", expected);
    match (goods, address, payment, expected_total) {
        (Some(goods), Some(address), Some(payment), Some(expected_total)) if wrong.is_empty() => {
            Ok(Request {
                user,
                goods,
                address,
                payment,
                expected_total,
            })
        }
        _ => Err(wrong),
    }
}

/// Reads a SKU that keeps the rules of its proto.
pub(crate) fn sku(text: &str) -> Result<Sku, Violations> {
    text.parse::<Sku>()
        .map_err(|e| Violations::of("sku", "MALFORMED", format!("must be {}", e.rule)))
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

/// Reads which orders are listed: those of `user`, or everybody's.
pub(crate) fn listing(
    message: &pb::ListOrdersRequest,
    user: Option<UserId>,
) -> Result<Listing, Violations> {
    let status = match message.status() {
        pb::OrderStatus::Unspecified => None,
        pb::OrderStatus::Pending => Some("pending"),
        pb::OrderStatus::Confirmed => Some("confirmed"),
        pb::OrderStatus::Rejected => Some("rejected"),
        pb::OrderStatus::Cancelling => Some("cancelling"),
        pb::OrderStatus::Cancelled => Some("cancelled"),
    };
    let sort = match message.sort() {
        pb::OrderSort::Unspecified | pb::OrderSort::Newest => Sort::Newest,
        pb::OrderSort::Oldest => Sort::Oldest,
        pb::OrderSort::Total => Sort::Total,
        pb::OrderSort::TotalDescending => Sort::TotalDescending,
    };
    if user.is_none() && matches!(sort, Sort::Total | Sort::TotalDescending) {
        let rule = "must be given where orders are sorted by their total";
        return Err(Violations::of("user_id", "REQUIRED", rule));
    }
    let mut listing = Listing {
        user,
        status,
        sort,
        after: None,
    };
    if !message.page_token.is_empty() {
        let after = place(&listing, &message.page_token).ok_or_else(|| {
            let rule = "must be that of the answer before, to the same filters and sort";
            Violations::of("page_token", "MALFORMED", rule)
        })?;
        listing.after = Some(after);
    }
    Ok(listing)
}

/// Says where a page of a listing ends: filters and sort, total and id of its last order.
pub(crate) fn page_token(listing: &Listing, last: &Order) -> String {
    format!("{}.{}.{}", name(listing), last.total.minor, last.id)
}

/// Where the page before has ended; `None`: the token is none, or of another listing.
fn place(listing: &Listing, token: &str) -> Option<(i64, OrderId)> {
    let rest = token.strip_prefix(&name(listing))?.strip_prefix('.')?;
    let (total, id) = rest.split_once('.')?;
    Some((total.parse().ok()?, id.parse().ok()?))
}

/// Names filters and sort of a listing, in 16 characters.
fn name(listing: &Listing) -> String {
    let Listing {
        user, status, sort, ..
    } = listing;
    let user = user.as_ref().map_or("*", UserId::as_str);
    // no user id has a slash
    let said = format!("{user}/{}/{sort:?}", status.unwrap_or("*"));
    let digest = Sha256::digest(said);
    let hex = digest.iter().take(8).map(|byte| format!("{byte:02x}"));
    hex.collect()
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

/// What an event says of a product that can be ordered.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn product_sold(product: Option<catalog::Product>) -> Result<Revised, String> {
    let product = product.ok_or("the event has no product")?;
    let price = amount(&product.price.unwrap_or_default()).map_err(|e| format!("price: {e}"))?;
    if price.minor <= 0 {
        return Err(format!("price: {price} is nothing to pay"));
    }
    let mut revised = revised(&product.product_id, &product.sku, product.revision)?;
    revised.sold = Some((product.name, price));
    Ok(revised)
}

/// What an event says of a product that was deleted.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn product_deleted(event: &catalog::ProductDeleted) -> Result<Revised, String> {
    revised(&event.product_id, &event.sku, event.revision)
}

fn revised(product_id: &str, sku: &str, revision: i64) -> Result<Revised, String> {
    if revision < 1 {
        return Err(format!("revision: {revision} is none"));
    }
    Ok(Revised {
        sku: sku.parse().map_err(|e| format!("sku: {e}"))?,
        product_id: product_id.parse().map_err(|e| format!("product_id: {e}"))?,
        revision,
        sold: None,
    })
}

/// Reads an amount.
fn amount(message: &PbMoney) -> Result<Money, MoneyError> {
    let currency = message.currency_code.parse()?;
    Money::from_units_and_nanos(message.units, message.nanos, currency)
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
    pb::Order {
        order_id: order.id.to_string(),
        user_id: order.user.to_string(),
        status: status.into(),
        reason,
        reason_detail,
        lines: order.lines.iter().map(line).collect(),
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

fn line(line: &Line) -> pb::order::Line {
    pb::order::Line {
        sku: line.sku.to_string(),
        name: line.name.clone(),
        quantity: line.quantity,
        unit_price: Some(money(line.price)),
        line_total: line.price.times(i64::from(line.quantity)).ok().map(money),
    }
}

/// A quote on the wire.
pub(crate) fn quote(quote: &Quote) -> pb::Quote {
    pb::Quote {
        quote_id: quote.id.to_string(),
        lines: quote.lines.iter().map(line).collect(),
        total: Some(money(quote.total)),
        created_at: Some(timestamp(quote.created_at)),
        expires_at: Some(timestamp(quote.expires_at)),
        order_id: quote.sold_as.map(|id| id.to_string()).unwrap_or_default(),
    }
}

/// A cart on the wire.
pub(crate) fn cart(lines: &[ShownLine]) -> pb::Cart {
    let times = |line: &ShownLine| {
        let product = line.sold.as_ref()?;
        product.price.times(i64::from(line.quantity)).ok()
    };
    let mut totals = lines.iter().filter(|line| line.sold.is_some()).map(times);
    // missing as a whole where a part of it is no amount
    let total = totals
        .next()
        .flatten()
        .and_then(|first| totals.try_fold(first, |sum, next| sum.plus(next?).ok()));
    let lines = lines.iter().map(|line| pb::cart::Line {
        sku: line.sku.to_string(),
        name: line
            .sold
            .as_ref()
            .map(|product| product.name.clone())
            .unwrap_or_default(),
        quantity: line.quantity,
        unit_price: line.sold.as_ref().map(|product| money(product.price)),
        line_total: times(line).map(money),
        unavailable: line.sold.is_none(),
    });
    pb::Cart {
        lines: lines.collect(),
        total: total.map(money),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ordered_is_said_once_and_at_a_price_that_is_one() {
        let line = StockLine {
            sku: "mug".to_owned(),
            quantity: 1,
        };
        let message = |lines: &[StockLine], quote_id: &str| pb::PlaceOrderRequest {
            lines: lines.to_vec(),
            quote_id: quote_id.to_owned(),
            address: Some(PbAddress::default()),
            payment_method: Some(pb_method(&PaymentMethod::Wallet)),
            expected_total: Some(PbMoney {
                currency_code: "EUR".to_owned(),
                units: 12,
                nanos: 500_000_000,
            }),
        };
        let read = |message| request(message, "alice".parse().unwrap());
        let wrong = |message| {
            let wrong = read(message).unwrap_err();
            let one = wrong.list()[0].clone();
            (wrong.list().len(), one.field, one.reason)
        };
        let id = "0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42";
        let lines = [line];
        let by_lines = read(message(&lines, "")).unwrap();
        assert!(matches!(by_lines.goods, Goods::Lines(lines) if lines.len() == 1));
        assert_eq!(by_lines.expected_total.unwrap().minor, 1_250);
        let by_quote = read(message(&[], id)).unwrap();
        assert_eq!(by_quote.goods, Goods::Quote(id.parse().unwrap()));
        let expected = (1, "lines".to_owned(), "REQUIRED");
        assert_eq!(wrong(message(&[], "")), expected);
        let expected = (1, "quote_id".to_owned(), "EXCLUDED");
        assert_eq!(wrong(message(&lines, id)), expected);
        let mut odd = message(&lines, "");
        odd.expected_total.as_mut().unwrap().nanos = 1;
        let expected = (1, "expected_total".to_owned(), "MALFORMED");
        assert_eq!(wrong(odd), expected);
    }
}
