use palinode_values::{OrderId, ReservationId, SagaId, Sku, Timestamp};

/// What becomes of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum State {
    /// Its pieces are set aside. Its saga moves it on; a crash leaves it to that saga's retries.
    Held,
    /// Its pieces are free again. Final.
    Released,
    /// Its pieces are sold. Only a saga that cancels the order moves it on.
    Committed,
    /// Its pieces were sold, and are free again. Final.
    Restocked,
}

/// How a hold ends, or the sale that came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Ending {
    /// The pieces go back.
    Release,
    /// The pieces are sold.
    Commit,
    /// Sold pieces come back.
    Restock,
}

/// An ending that does not fit the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IllegalTransition {
    /// The state, which stays.
    pub(crate) state: State,
}

impl State {
    /// Every state.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 4] =
        [Self::Held, Self::Released, Self::Committed, Self::Restocked];

    /// The state after `ending`; the same state where it has ended in that way already.
    ///
    /// # Errors
    /// It has ended in another way, or has not come so far.
    pub(crate) fn next(self, ending: Ending) -> Result<Self, IllegalTransition> {
        match (self, ending) {
            (Self::Held | Self::Released, Ending::Release) => Ok(Self::Released),
            (Self::Held | Self::Committed, Ending::Commit) => Ok(Self::Committed),
            (Self::Committed, Ending::Restock) => Ok(Self::Restocked),
            // restocked again: not the same state, for whoever did it hears so from its guard row,
            // and nobody else may believe that it was them
            (
                Self::Held | Self::Released | Self::Committed | Self::Restocked,
                Ending::Release | Ending::Commit | Ending::Restock,
            ) => Err(IllegalTransition { state: self }),
        }
    }

    /// As it is stored.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Released => "released",
            Self::Committed => "committed",
            Self::Restocked => "restocked",
        }
    }

    /// The state of a stored name.
    pub(crate) fn from_stored(name: &str) -> Option<Self> {
        match name {
            "held" => Some(Self::Held),
            "released" => Some(Self::Released),
            "committed" => Some(Self::Committed),
            "restocked" => Some(Self::Restocked),
            _ => None,
        }
    }
}

/// A number of pieces of one SKU, at least 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) sku: Sku,
    pub(crate) quantity: i64,
}

/// A hold on stock for an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reservation {
    pub(crate) id: ReservationId,
    pub(crate) order: OrderId,
    /// The only saga that may end the hold.
    pub(crate) saga: SagaId,
    pub(crate) state: State,
    /// By SKU, each once.
    pub(crate) lines: Vec<Line>,
    pub(crate) created_at: Timestamp,
}
