use palinode_values::{Money, OrderId, PaymentId, SagaId, UserId};
use uuid::Uuid;

use crate::domain::Reason;

/// A charge of a wallet or a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Payment {
    pub(crate) id: PaymentId,
    pub(crate) order_id: OrderId,
    pub(crate) saga_id: SagaId,
    pub(crate) user_id: UserId,
    pub(crate) amount: Money,
    pub(crate) source: Source,
    pub(crate) state: State,
}

/// Where the money comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The user's wallet.
    Wallet,
    /// A card, through the card processor.
    Card {
        /// The processor's token.
        token: String,
        /// Idempotency key of the charge there; a refund names it.
        key: Uuid,
    },
}

/// How a payment stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// The card processor was asked. The sweep of card calls moves it on, also after a crash.
    Pending,
    /// The money is ours. A refund moves it on.
    Captured,
    /// Nothing was taken. The end.
    Declined(Reason),
    /// The card processor was asked to pay back. The sweep moves it on, also after a crash.
    Refunding,
    /// The money is back. The end.
    Refunded,
}

/// What happens to a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The money was taken.
    Taken,
    /// It was not, and will not be.
    Refused(Reason),
    /// The card processor is asked to pay back.
    RefundAsked,
    /// The money was paid back.
    PaidBack,
    /// The card processor will not pay back.
    RefundRefused,
}

/// An event that cannot happen in that state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} cannot happen to a payment that is {state:?}")]
pub(crate) struct IllegalTransition {
    state: State,
    event: Event,
}

impl Payment {
    /// The payment after `event`. A wallet is debited and credited in one transaction: it is never
    /// seen pending or refunding.
    ///
    /// # Errors
    /// The event cannot happen in this state; the payment is as it was.
    pub(crate) fn apply(&mut self, event: Event) -> Result<(), IllegalTransition> {
        self.state = self.state.clone().next(event)?;
        Ok(())
    }
}

impl State {
    /// The state after `event`.
    pub(crate) fn next(self, event: Event) -> Result<Self, IllegalTransition> {
        match (self, event) {
            (Self::Pending, Event::Taken) => Ok(Self::Captured),
            (Self::Pending, Event::Refused(reason)) => Ok(Self::Declined(reason)),
            (Self::Captured, Event::RefundAsked) => Ok(Self::Refunding),
            (Self::Captured | Self::Refunding, Event::PaidBack) => Ok(Self::Refunded),
            (Self::Refunding, Event::RefundRefused) => Ok(Self::Captured),
            (
                state @ (Self::Pending
                | Self::Captured
                | Self::Declined(_)
                | Self::Refunding
                | Self::Refunded),
                event,
            ) => Err(IllegalTransition { state, event }),
        }
    }

    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Captured => "captured",
            Self::Declined(_) => "declined",
            Self::Refunding => "refunding",
            Self::Refunded => "refunded",
        }
    }

    pub(crate) fn reason(&self) -> Option<Reason> {
        match self {
            Self::Declined(reason) => Some(*reason),
            Self::Pending | Self::Captured | Self::Refunding | Self::Refunded => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn every_event_in_every_state_has_an_outcome() {
        let states = [
            State::Pending,
            State::Captured,
            State::Declined(Reason::CardDeclined),
            State::Refunding,
            State::Refunded,
        ];
        let events = [
            Event::Taken,
            Event::Refused(Reason::CardDeclined),
            Event::RefundAsked,
            Event::PaidBack,
            Event::RefundRefused,
        ];
        let mut table = String::new();
        for state in &states {
            for event in events {
                let next = match state.clone().next(event) {
                    Ok(next) => next.as_str(),
                    Err(_illegal) => "illegal",
                };
                writeln!(table, "{} + {event:?} = {next}", state.as_str()).unwrap();
            }
        }
        insta::assert_snapshot!(table);
    }
}
