use palinode_values::{OrderId, SagaId, ShipmentId, Timestamp, UserId};

use super::{Address, Item, Reason, Refusal};

/// What becomes of a shipment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// The carrier is booked, the parcel not handed over. Whoever hands it over or calls it back
    /// moves it on: the first one wins.
    Arranged,
    /// The carrier has the parcel. The end.
    Dispatched,
    /// A saga has called it back before it was handed over. The end.
    Recalled { by: SagaId },
}

/// What happens to a shipment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The parcel is handed over.
    Dispatch,
    /// It is called back by a saga.
    Recall { by: SagaId },
}

impl State {
    /// The state after `event`; the same state where that has happened already.
    ///
    /// # Errors
    /// Why it cannot happen any more.
    pub(crate) fn next(self, event: Event) -> Result<Self, Reason> {
        match (self, event) {
            (Self::Arranged | Self::Dispatched, Event::Dispatch) => Ok(Self::Dispatched),
            (Self::Recalled { .. }, Event::Dispatch) => Err(Reason::ShipmentRecalled),
            (Self::Arranged, Event::Recall { by }) => Ok(Self::Recalled { by }),
            (Self::Dispatched, Event::Recall { .. }) => Err(Reason::ShipmentDispatched),
            (Self::Recalled { by }, Event::Recall { by: asks }) if by == asks => Ok(self),
            (Self::Recalled { .. }, Event::Recall { .. }) => Err(Reason::AlreadyRecalled),
        }
    }

    /// As it is stored.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Arranged => "arranged",
            Self::Dispatched => "dispatched",
            Self::Recalled { .. } => "recalled",
        }
    }

    /// The state of a stored name, and of who has called the parcel back.
    pub(crate) fn from_stored(name: &str, recalled_by: Option<SagaId>) -> Option<Self> {
        match (name, recalled_by) {
            ("arranged", None) => Some(Self::Arranged),
            ("dispatched", None) => Some(Self::Dispatched),
            ("recalled", Some(by)) => Some(Self::Recalled { by }),
            _ => None,
        }
    }

    /// The saga that has called the parcel back.
    pub(crate) fn recalled_by(self) -> Option<SagaId> {
        match self {
            Self::Recalled { by } => Some(by),
            Self::Arranged | Self::Dispatched => None,
        }
    }
}

/// A parcel that a carrier is booked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shipment {
    pub(crate) id: ShipmentId,
    pub(crate) order: OrderId,
    pub(crate) user: UserId,
    pub(crate) saga: SagaId,
    pub(crate) state: State,
    pub(crate) carrier: String,
    pub(crate) address: Address,
    pub(crate) items: Vec<Item>,
    pub(crate) created_at: Timestamp,
}

/// How a shipment stands: what decides about its next state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) id: ShipmentId,
    pub(crate) order: OrderId,
    pub(crate) state: State,
}

impl Standing {
    /// The shipment after `event`; `None`: that has happened already.
    ///
    /// # Errors
    /// It cannot happen any more.
    pub(crate) fn after(self, event: Event) -> Result<Option<Self>, Refusal> {
        let state = self.state.next(event).map_err(|reason| {
            let (id, state) = (self.id, self.state.as_str());
            let detail = match self.state.recalled_by() {
                Some(by) => format!("shipment {id} is {state} by saga {by}"),
                None => format!("shipment {id} is {state}"),
            };
            Refusal { reason, detail }
        })?;
        Ok((state != self.state).then_some(Self { state, ..self }))
    }
}
