//! Rules of stock and reservations. Pure.
#![warn(clippy::wildcard_enum_match_arm)]

mod books;
mod queue;
mod reason;
mod reservation;
#[cfg(test)]
mod tests;

pub(crate) use books::{Asked, Books, Change, Command, Verdict};
pub(crate) use queue::{Fate, WAIT, Wait, fates};
pub(crate) use reason::{Reason, Refusal};
pub(crate) use reservation::{Line, Reservation, State};

use palinode_values::Sku;

/// Pieces of one SKU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Level {
    /// In the warehouse, held ones included.
    pub(crate) on_hand: i64,
    /// Held for orders that are not decided yet.
    pub(crate) held: i64,
    /// Reservations that wait for held pieces.
    pub(crate) waiting: i64,
}

/// A SKU that is new here, and the pieces that its stock begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) sku: Sku,
    /// Not below 0.
    pub(crate) quantity: i64,
}

impl Level {
    /// What a new reservation can take.
    pub(crate) fn available(self) -> i64 {
        self.on_hand - self.held
    }

    /// The level after `delta` pieces were put in, or taken out.
    ///
    /// # Errors
    /// `STOCK_HELD`: what is held would not be there any more.
    pub(crate) fn adjusted(self, sku: &Sku, delta: i64) -> Result<Self, Refusal> {
        let on_hand = self.on_hand.saturating_add(delta);
        if on_hand < self.held {
            let (available, held) = (self.available(), self.held);
            let taken = delta.saturating_neg();
            let detail = format!("{taken} of {sku} cannot go: {available} are free, {held} held");
            return Err(Refusal {
                reason: Reason::StockHeld,
                detail,
            });
        }
        Ok(Self { on_hand, ..self })
    }
}
