//! Messages and requests to the domain, and back.

use bytes::Bytes;
use palinode_messaging::{Topic, events_of};
use palinode_participant::{Event, Output, Undecodable, decoded};
use palinode_pb::catalog::v1 as catalog;
use palinode_pb::inventory::v1 as pb;
use palinode_rpc::Violations;
use palinode_values::{InvalidId, ReservationId, Sku, Timestamp, UserId};
use prost::{Message, Name};

use crate::app::Adjustment;
use crate::domain::{Command, Level, Line, Opening, Reservation, State};

const PAGE_USUAL: u16 = 50;

/// The command of a record.
pub(crate) fn command(kind: &str, body: &Bytes) -> Result<Command, Undecodable> {
    if kind == pb::ReserveStock::full_name() {
        let message: pb::ReserveStock = decoded(body)?;
        Ok(Command::Reserve {
            order: id(&message.order_id)?,
            lines: lines(message.lines)?,
        })
    } else if kind == pb::ReleaseStock::full_name() {
        let message: pb::ReleaseStock = decoded(body)?;
        Ok(Command::Release {
            order: id(&message.order_id)?,
        })
    } else if kind == pb::CommitStock::full_name() {
        let message: pb::CommitStock = decoded(body)?;
        let (order, reservation) = (id(&message.order_id)?, id(&message.reservation_id)?);
        Ok(Command::Commit { order, reservation })
    } else if kind == pb::Restock::full_name() {
        let message: pb::Restock = decoded(body)?;
        Ok(Command::Restock {
            order: id(&message.order_id)?,
        })
    } else {
        Err(Undecodable(format!("{kind} is no command of inventory")))
    }
}

/// What an event of the catalogue asks for; `None`: it is no concern of stock.
pub(crate) fn opening(kind: &str, body: &Bytes) -> Result<Option<Opening>, Undecodable> {
    if kind != catalog::ProductCreated::full_name() {
        return Ok(None);
    }
    let event: catalog::ProductCreated = decoded(body)?;
    let quantity = event.initial_stock;
    if quantity < 0 {
        let words = format!("a product cannot begin with {quantity} pieces");
        return Err(Undecodable(words));
    }
    let sku = id(&event.product.unwrap_or_default().sku)?;
    Ok(Some(Opening { sku, quantity }))
}

fn id<T: std::str::FromStr<Err = InvalidId>>(text: &str) -> Result<T, Undecodable> {
    text.parse()
        .map_err(|error: InvalidId| Undecodable(error.to_string()))
}

fn lines(lines: Vec<pb::StockLine>) -> Result<Vec<Line>, Undecodable> {
    let line = |line: pb::StockLine| {
        Ok(Line {
            sku: id(&line.sku)?,
            quantity: i64::from(line.quantity),
        })
    };
    lines.into_iter().map(line).collect()
}

pub(crate) fn reserve_output(reservation: ReservationId) -> Output {
    Output::of(&pb::ReserveStockResult {
        reservation_id: reservation.to_string(),
    })
}

pub(crate) fn stock_reserved(reservation: &Reservation) -> Event {
    event(
        reservation,
        &pb::StockReserved {
            reservation_id: reservation.id.to_string(),
            order_id: reservation.order.to_string(),
            lines: stock_lines(&reservation.lines),
        },
    )
}

pub(crate) fn stock_released(reservation: &Reservation) -> Event {
    event(
        reservation,
        &pb::StockReleased {
            reservation_id: reservation.id.to_string(),
            order_id: reservation.order.to_string(),
        },
    )
}

pub(crate) fn stock_committed(reservation: &Reservation) -> Event {
    event(
        reservation,
        &pb::StockCommitted {
            reservation_id: reservation.id.to_string(),
            order_id: reservation.order.to_string(),
        },
    )
}

pub(crate) fn stock_restocked(reservation: &Reservation) -> Event {
    event(
        reservation,
        &pb::StockRestocked {
            reservation_id: reservation.id.to_string(),
            order_id: reservation.order.to_string(),
        },
    )
}

fn event<M: Message + Name>(reservation: &Reservation, message: &M) -> Event {
    Event::of(topic(), reservation.id.key(), message)
}

fn topic() -> Topic {
    events_of("inventory").expect("inventory is in the table of topics")
}

fn stock_lines(lines: &[Line]) -> Vec<pb::StockLine> {
    let line = |line: &Line| pb::StockLine {
        sku: line.sku.to_string(),
        // a line is the sum of lines of 32 bits each; one above that was never ordered
        quantity: i32::try_from(line.quantity).unwrap_or(i32::MAX),
    };
    lines.iter().map(line).collect()
}

/// A page that is asked for: what stands after `after`, `size` at the most; of these `among`, unless
/// there are none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) among: Vec<Sku>,
    pub(crate) after: Option<Sku>,
    pub(crate) size: u16,
}

pub(crate) fn page(request: &pb::ListStockRequest) -> Result<Page, Violations> {
    let size = match request.page_size {
        0 => PAGE_USUAL,
        size => u16::try_from(size).unwrap_or(PAGE_USUAL),
    };
    let after = match request.page_token.as_str() {
        "" => None,
        token => {
            let token = token.parse();
            let wrong = |e: InvalidId| Violations::of("page_token", "INVALID_TOKEN", e.to_string());
            Some(token.map_err(wrong)?)
        }
    };
    let skus = request.skus.iter().enumerate();
    let among = skus.map(|(at, text)| {
        let wrong =
            |e: InvalidId| Violations::of(format!("skus[{at}]"), "INVALID_ID", e.to_string());
        text.parse().map_err(wrong)
    });
    Ok(Page {
        among: among.collect::<Result<_, _>>()?,
        after,
        size,
    })
}

pub(crate) fn stock_page(page: &Page, mut stock: Vec<(Sku, Level)>) -> pb::ListStockResponse {
    let more = stock.len() > usize::from(page.size);
    stock.truncate(usize::from(page.size));
    let last = stock
        .last()
        .filter(|_| more)
        .map(|(sku, _)| sku.to_string());
    pb::ListStockResponse {
        stock: stock
            .iter()
            .map(|(sku, level)| self::stock(sku, *level))
            .collect(),
        next_page_token: last.unwrap_or_default(),
    }
}

pub(crate) fn sku(text: &str) -> Result<Sku, Violations> {
    text.parse()
        .map_err(|error: InvalidId| Violations::of("sku", "INVALID_ID", error.to_string()))
}

pub(crate) fn reservation_id(text: &str) -> Result<ReservationId, Violations> {
    let field = "reservation_id";
    text.parse()
        .map_err(|error: InvalidId| Violations::of(field, "INVALID_ID", error.to_string()))
}

pub(crate) fn adjustment(
    request: &pb::AdjustStockRequest,
    caller: UserId,
    key: Option<String>,
) -> Result<Adjustment, Violations> {
    Ok(Adjustment {
        sku: sku(&request.sku)?,
        delta: request.delta,
        reason: request.reason.trim().to_owned(),
        caller: Some(caller),
        request: key,
        opens: false,
    })
}

pub(crate) fn stock(sku: &Sku, level: Level) -> pb::Stock {
    pb::Stock {
        sku: sku.to_string(),
        on_hand: level.on_hand,
        held: level.held,
        available: level.available(),
    }
}

pub(crate) fn reservation(reservation: &Reservation) -> pb::Reservation {
    let state = match reservation.state {
        State::Held => pb::ReservationState::Held,
        State::Released => pb::ReservationState::Released,
        State::Committed => pb::ReservationState::Committed,
        State::Restocked => pb::ReservationState::Restocked,
    };
    pb::Reservation {
        reservation_id: reservation.id.to_string(),
        order_id: reservation.order.to_string(),
        state: state.into(),
        lines: stock_lines(&reservation.lines),
        created_at: Some(timestamp(reservation.created_at)),
    }
}

fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.timestamp(),
        nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}
