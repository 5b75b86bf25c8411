//! Rules of shipments. Pure.
#![warn(clippy::wildcard_enum_match_arm)]

mod book;
mod reason;
mod shipment;
#[cfg(test)]
mod tests;

pub(crate) use book::{Asked, Book, Existing, Verdict};
pub(crate) use reason::{Reason, Refusal};
pub(crate) use shipment::{Event, Shipment, Standing, State};

use palinode_values::{OrderId, ShipmentId, Sku, UserId};

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

/// Who delivers to a country.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Carrier {
    pub(crate) name: String,
    /// Of the country's carrier: another one has another version.
    pub(crate) version: i64,
}

/// What a saga asks of shipping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Book a carrier.
    Arrange(Arrange),
    /// Say who would deliver to the country; nothing changes.
    Quote { country: Country },
    /// Call a parcel back before it is handed over.
    Recall {
        order: OrderId,
        shipment: ShipmentId,
    },
}

/// A carrier to be booked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrange {
    pub(crate) order: OrderId,
    /// Whose order it is.
    pub(crate) user: UserId,
    pub(crate) address: Address,
    /// In the order of the order's lines; not empty.
    pub(crate) items: Vec<Item>,
    /// The carrier has to be of this version still; `None`: whichever it is.
    pub(crate) carrier_version: Option<i64>,
}
