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
    pub(crate) back: Back,
}

/// What of a payment goes back, in minor units of its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Back {
    /// It is back.
    pub(crate) done: i64,
    /// The card processor was asked to pay it back.
    pub(crate) asked: i64,
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
    /// The money is ours, or what is left of it. A refund moves it on.
    Captured,
    /// Nothing was taken. The end.
    Declined(Reason),
    /// The card processor was asked to pay back, all or a part. The sweep moves it on, also after a crash.
    Refunding,
    /// All of the money is back. The end.
    Refunded,
}

/// What happens to a payment. Amounts are minor units of its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The money was taken.
    Taken,
    /// It was not, and will not be.
    Refused(Reason),
    /// So much is to go back: the card processor is asked.
    RefundAsked(i64),
    /// So much of what was asked for is back.
    PaidBack(i64),
    /// The card processor will not pay so much back.
    RefundRefused(i64),
}

/// An event that cannot happen in that state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} cannot happen to a payment that is {state:?}, with {back:?}")]
pub(crate) struct IllegalTransition {
    state: State,
    back: Back,
    event: Event,
}

impl Payment {
    /// What could still be given back: taken, and neither back nor asked for.
    pub(crate) fn left(&self) -> Money {
        let minor = match self.state {
            State::Pending | State::Declined(_) => 0,
            State::Captured | State::Refunding | State::Refunded => {
                self.amount.minor - self.back.done - self.back.asked
            }
        };
        Money::new(minor, self.amount.currency)
    }

    /// What is back.
    pub(crate) fn refunded(&self) -> Money {
        Money::new(self.back.done, self.amount.currency)
    }

    /// The payment after `event`. A wallet is debited and credited in one transaction: it is never
    /// seen pending or refunding.
    ///
    /// # Errors
    /// The event cannot happen in this state, or is about more than there is; the payment is as it was.
    pub(crate) fn apply(&mut self, event: Event) -> Result<(), IllegalTransition> {
        let Back { done, asked } = self.back;
        match (&self.state, event) {
            (State::Pending, Event::Taken) => self.state = State::Captured,
            (State::Pending, Event::Refused(reason)) => self.state = State::Declined(reason),
            (State::Captured | State::Refunding, Event::RefundAsked(minor))
                if (1..=self.left().minor).contains(&minor) =>
            {
                self.stands(done, asked + minor);
            }
            (State::Refunding, Event::PaidBack(minor)) if (1..=asked).contains(&minor) => {
                self.stands(done + minor, asked - minor);
            }
            (State::Refunding, Event::RefundRefused(minor)) if (1..=asked).contains(&minor) => {
                self.stands(done, asked - minor);
            }
            (
                State::Pending
                | State::Captured
                | State::Declined(_)
                | State::Refunding
                | State::Refunded,
                event,
            ) => {
                let (state, back) = (self.state.clone(), self.back);
                return Err(IllegalTransition { state, back, event });
            }
        }
        Ok(())
    }

    /// Of money that was taken, the amounts tell the state.
    fn stands(&mut self, done: i64, asked: i64) {
        self.back = Back { done, asked };
        self.state = if asked > 0 {
            State::Refunding
        } else if done == self.amount.minor {
            State::Refunded
        } else {
            State::Captured
        };
    }
}

impl State {
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

    use palinode_values::{Clock, Currency};

    use super::*;

    fn payment(state: State, done: i64, asked: i64) -> Payment {
        let clock = Clock::system();
        Payment {
            id: PaymentId::new(&clock),
            order_id: OrderId::new(&clock),
            saga_id: SagaId::new(&clock),
            user_id: "alice".parse().unwrap(),
            amount: Money::new(10, Currency::EUR),
            source: Source::Wallet,
            state,
            back: Back { done, asked },
        }
    }

    fn told(payment: &Payment) -> String {
        let Back { done, asked } = payment.back;
        format!("{} ({done} back, {asked} asked)", payment.state.as_str())
    }

    #[test]
    fn every_event_in_every_state_has_an_outcome() {
        let payments = [
            payment(State::Pending, 0, 0),
            payment(State::Captured, 0, 0),
            payment(State::Captured, 6, 0),
            payment(State::Declined(Reason::CardDeclined), 0, 0),
            payment(State::Refunding, 0, 10),
            payment(State::Refunding, 0, 4),
            payment(State::Refunding, 3, 4),
            payment(State::Refunding, 6, 4),
            payment(State::Refunded, 10, 0),
        ];
        let events = [
            Event::Taken,
            Event::Refused(Reason::CardDeclined),
            Event::RefundAsked(0),
            Event::RefundAsked(4),
            Event::RefundAsked(5),
            Event::RefundAsked(10),
            Event::RefundAsked(11),
            Event::PaidBack(4),
            Event::PaidBack(5),
            Event::PaidBack(10),
            Event::RefundRefused(4),
            Event::RefundRefused(5),
        ];
        let mut table = String::new();
        for before in &payments {
            for event in events {
                let mut after = before.clone();
                let next = match after.apply(event) {
                    Ok(()) => told(&after),
                    Err(_illegal) => "illegal".to_owned(),
                };
                writeln!(table, "{} + {event:?} = {next}", told(before)).unwrap();
            }
        }
        insta::assert_snapshot!(table);
    }
}
