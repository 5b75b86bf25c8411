//! Rules of shipments. Pure.
#![warn(clippy::wildcard_enum_match_arm)]

use std::collections::BTreeMap;

use palinode_values::{ErrorCode, OrderId, SagaId, ShipmentId, Sku, Timestamp};

/// Why shipping says no. Each has a page in `docs/errors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    /// No carrier delivers to the country.
    NoCarrier,
    /// The order has a shipment of another saga.
    AlreadyShipped,
    /// No shipment of this id.
    ShipmentNotFound,
    /// To arrange shipping is never taken back.
    NotCompensatable,
}

impl Reason {
    /// Every reason.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 4] = [
        Self::NoCarrier,
        Self::AlreadyShipped,
        Self::ShipmentNotFound,
        Self::NotCompensatable,
    ];

    /// The name that callers see.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoCarrier => "NO_CARRIER",
            Self::AlreadyShipped => "ALREADY_SHIPPED",
            Self::ShipmentNotFound => "SHIPMENT_NOT_FOUND",
            Self::NotCompensatable => "NOT_COMPENSATABLE",
        }
    }

    /// How a caller should react.
    pub(crate) fn code(self) -> ErrorCode {
        match self {
            Self::NoCarrier | Self::AlreadyShipped | Self::NotCompensatable => ErrorCode::Refused,
            Self::ShipmentNotFound => ErrorCode::NotFound,
        }
    }
}

/// A reason, and what it is about in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    /// For people: lowercase, no full stop.
    pub(crate) detail: String,
}

/// A country as an address names it, in capital letters: an ISO 3166-1 alpha-2 code such as `DE`.
///
/// Anything else is a country without a carrier, hence a verdict: a pivot needs an answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Country(String);

impl Country {
    /// The country of a name, in letters of either case.
    pub(crate) fn named(text: &str) -> Self {
        Self(text.trim().to_ascii_uppercase())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a parcel goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) name: String,
    pub(crate) street: String,
    pub(crate) postal_code: String,
    pub(crate) city: String,
    pub(crate) country: Country,
}

/// A number of pieces of one SKU, at least 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) sku: Sku,
    pub(crate) quantity: i32,
}

/// What a saga asks of shipping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrange {
    pub(crate) order: OrderId,
    pub(crate) address: Address,
    /// In the order of the order's lines; not empty.
    pub(crate) items: Vec<Item>,
}

/// What becomes of a shipment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// The carrier is booked, the parcel not handed over. Nothing moves it on yet.
    Arranged,
}

impl State {
    /// As it is stored.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Arranged => "arranged",
        }
    }

    /// The state of a stored name.
    pub(crate) fn from_stored(name: &str) -> Option<Self> {
        (name == Self::Arranged.as_str()).then_some(Self::Arranged)
    }
}

/// A parcel that a carrier is booked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shipment {
    pub(crate) id: ShipmentId,
    pub(crate) order: OrderId,
    pub(crate) saga: SagaId,
    pub(crate) state: State,
    pub(crate) carrier: String,
    pub(crate) address: Address,
    pub(crate) items: Vec<Item>,
    pub(crate) created_at: Timestamp,
}

/// What an order has already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Existing {
    pub(crate) id: ShipmentId,
    pub(crate) saga: SagaId,
}

/// A command, who asks, and the id that a new shipment gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) saga: SagaId,
    pub(crate) new: ShipmentId,
    pub(crate) arrange: &'a Arrange,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A carrier is booked.
    Arranged(Shipment),
    /// It was booked for this saga before.
    Already(ShipmentId),
    /// No.
    Refused(Refusal),
}

/// Decides `commands` in arrival order: each sees what the ones before it arranged.
///
/// Shape: one verdict for each, in the same order. `carriers` by country; `existing` holds what the
/// orders of the commands have already. `now` becomes the time of new shipments.
pub(crate) fn decide(
    carriers: &BTreeMap<Country, String>,
    mut existing: BTreeMap<OrderId, Existing>,
    commands: &[Asked<'_>],
    now: Timestamp,
) -> Vec<Verdict> {
    let mut decide_one = |asked: &Asked<'_>| {
        let Asked {
            saga,
            new: id,
            arrange,
        } = *asked;
        let order = arrange.order;
        if let Some(there) = existing.get(&order) {
            if there.saga == saga {
                return Verdict::Already(there.id);
            }
            let detail = format!("order {order} has the shipment {} already", there.id);
            return Verdict::Refused(Refusal {
                reason: Reason::AlreadyShipped,
                detail,
            });
        }
        let country = &arrange.address.country;
        let Some(carrier) = carriers.get(country) else {
            let detail = format!("no carrier delivers to {:?}", country.as_str());
            return Verdict::Refused(Refusal {
                reason: Reason::NoCarrier,
                detail,
            });
        };
        existing.insert(order, Existing { id, saga });
        Verdict::Arranged(Shipment {
            id,
            order,
            saga,
            state: State::Arranged,
            carrier: carrier.clone(),
            address: arrange.address.clone(),
            items: arrange.items.clone(),
            created_at: now,
        })
    };
    commands.iter().map(&mut decide_one).collect()
}

#[cfg(test)]
mod tests;
