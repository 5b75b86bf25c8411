//! Messages and requests to the domain, and back.

use bytes::Bytes;
use palinode_messaging::{Record, Topic, events_of};
use palinode_participant::{Event, Output, Undecodable};
use palinode_pb::inventory::v1::StockLine;
use palinode_pb::shipping::v1 as pb;
use palinode_rpc::Violations;
use palinode_telemetry::TraceContext;
use palinode_values::{Clock, EventId, InvalidId, ShipmentId};
use prost::{Message, Name};

use crate::domain::{Address, Arrange, Carrier, Command, Country, Item, Shipment, Standing, State};

/// Lines of one command at the most.
const LINES_MAX: usize = 200;
/// Characters of a field of an address at the most.
const TEXT_CHARS_MAX: usize = 1_000;

/// The command of a record.
pub(crate) fn command(kind: &str, body: &Bytes) -> Result<Command, Undecodable> {
    let body = body.clone();
    if kind == pb::ArrangeShipping::full_name() {
        arrange(pb::ArrangeShipping::decode(body)?).map(Command::Arrange)
    } else if kind == pb::QuoteShipping::full_name() {
        let Address { country, .. } = address(pb::QuoteShipping::decode(body)?.address)?;
        Ok(Command::Quote { country })
    } else if kind == pb::RecallShipment::full_name() {
        let message = pb::RecallShipment::decode(body)?;
        let (order, shipment) = (id(&message.order_id)?, id(&message.shipment_id)?);
        Ok(Command::Recall { order, shipment })
    } else {
        Err(Undecodable(format!("{kind} is no command of shipping")))
    }
}

fn arrange(message: pb::ArrangeShipping) -> Result<Arrange, Undecodable> {
    if !(1..=LINES_MAX).contains(&message.lines.len()) {
        let count = message.lines.len();
        return Err(Undecodable(format!("{count} lines, not 1 to {LINES_MAX}")));
    }
    Ok(Arrange {
        order: id(&message.order_id)?,
        user: id(&message.user_id)?,
        address: address(message.address)?,
        items: message
            .lines
            .into_iter()
            .map(item)
            .collect::<Result<_, _>>()?,
        carrier_version: (message.carrier_version != 0).then_some(message.carrier_version),
    })
}

fn id<T: std::str::FromStr<Err = InvalidId>>(text: &str) -> Result<T, Undecodable> {
    text.parse()
        .map_err(|error: InvalidId| Undecodable(error.to_string()))
}

fn address(address: Option<pb::Address>) -> Result<Address, Undecodable> {
    let address = address.ok_or_else(|| Undecodable("no address".to_owned()))?;
    let text = |field: &str, text: String| {
        if text.chars().count() > TEXT_CHARS_MAX || text.contains('\0') {
            return Err(Undecodable(format!(
                "the {field} of the address is too long or no text"
            )));
        }
        Ok(text)
    };
    Ok(Address {
        name: text("name", address.name)?,
        street: text("street", address.street)?,
        postal_code: text("postal code", address.postal_code)?,
        city: text("city", address.city)?,
        country: Country::named(&text("country", address.country)?),
    })
}

fn item(line: StockLine) -> Result<Item, Undecodable> {
    if line.quantity < 1 {
        return Err(Undecodable(format!(
            "{} pieces of {}",
            line.quantity, line.sku
        )));
    }
    Ok(Item {
        sku: id(&line.sku)?,
        quantity: line.quantity,
    })
}

pub(crate) fn arranged_output(shipment: ShipmentId) -> Output {
    Output::of(&pb::ArrangeShippingResult {
        shipment_id: shipment.to_string(),
    })
}

pub(crate) fn quoted_output(carrier: Carrier) -> Output {
    Output::of(&pb::QuoteShippingResult {
        carrier: carrier.name,
        carrier_version: carrier.version,
    })
}

pub(crate) fn shipment_arranged(shipment: &Shipment) -> Event {
    let message = pb::ShipmentArranged {
        shipment_id: shipment.id.to_string(),
        order_id: shipment.order.to_string(),
        carrier: shipment.carrier.clone(),
    };
    Event::of(topic(), shipment.id.key(), &message)
}

pub(crate) fn shipment_recalled(standing: Standing) -> Event {
    let message = pb::ShipmentRecalled {
        shipment_id: standing.id.to_string(),
        order_id: standing.order.to_string(),
    };
    Event::of(topic(), standing.id.key(), &message)
}

/// The record of an event that no command has caused, but the request of `trace`.
pub(crate) fn shipment_dispatched(
    standing: Standing,
    clock: &Clock,
    trace: &TraceContext,
) -> Record {
    let message = pb::ShipmentDispatched {
        shipment_id: standing.id.to_string(),
        order_id: standing.order.to_string(),
    };
    Record {
        topic: topic(),
        key: standing.id.key(),
        event_id: EventId::new(clock),
        kind: pb::ShipmentDispatched::full_name().into(),
        body: message.encode_to_vec().into(),
        trace: trace.clone(),
        saga: None,
    }
}

fn topic() -> Topic {
    events_of("shipping").expect("shipping is in the table of topics")
}

pub(crate) fn shipment_id(text: &str) -> Result<ShipmentId, Violations> {
    let field = "shipment_id";
    text.parse()
        .map_err(|error: InvalidId| Violations::of(field, "INVALID_ID", error.to_string()))
}

pub(crate) fn shipment(shipment: Shipment) -> pb::Shipment {
    let state = match shipment.state {
        State::Arranged => pb::ShipmentState::Arranged,
        State::Dispatched => pb::ShipmentState::Dispatched,
        State::Recalled { .. } => pb::ShipmentState::Recalled,
    };
    let line = |item: Item| StockLine {
        sku: item.sku.to_string(),
        quantity: item.quantity,
    };
    let (address, at) = (shipment.address, shipment.created_at);
    pb::Shipment {
        shipment_id: shipment.id.to_string(),
        order_id: shipment.order.to_string(),
        user_id: shipment.user.to_string(),
        state: state.into(),
        carrier: shipment.carrier,
        address: Some(pb::Address {
            country: address.country.as_str().to_owned(),
            name: address.name,
            street: address.street,
            postal_code: address.postal_code,
            city: address.city,
        }),
        lines: shipment.items.into_iter().map(line).collect(),
        created_at: Some(prost_types::Timestamp {
            seconds: at.timestamp(),
            nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap_or_default(),
        }),
    }
}
