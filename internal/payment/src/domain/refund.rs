use std::fmt;

use palinode_values::{Money, PaymentId, RefundId, SagaId, UserId};

/// Money of a payment that goes back: all of it, what is left of it, or a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refund {
    pub(crate) id: RefundId,
    pub(crate) payment_id: PaymentId,
    pub(crate) amount: Money,
    pub(crate) reason: String,
    pub(crate) state: RefundState,
    pub(crate) requested_by: Requester,
}

/// How a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefundState {
    /// The card processor was asked. The sweep of card calls moves it on, also after a crash.
    Pending,
    /// The money is back. The end.
    Done,
    /// It is not, and will not be by this refund. The end.
    Declined,
}

/// Who wants money back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Requester {
    /// Somebody with a role for it.
    User(UserId),
    /// A saga that takes its order back.
    Saga(SagaId),
}

/// A refund as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// What it is to be called.
    pub(crate) id: RefundId,
    /// `None`: all that is left.
    pub(crate) amount: Option<Money>,
    pub(crate) reason: String,
    pub(crate) requested_by: Requester,
}

impl Asked {
    /// The refund of so much of a payment.
    pub(crate) fn over(&self, payment_id: PaymentId, amount: Money, state: RefundState) -> Refund {
        Refund {
            id: self.id,
            payment_id,
            amount,
            reason: self.reason.clone(),
            state,
            requested_by: self.requested_by.clone(),
        }
    }
}

impl RefundState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
            Self::Declined => "declined",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Done, Self::Declined]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// No user is called like that: ids of users have no colon.
const SAGA: &str = "saga:";

impl fmt::Display for Requester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => f.write_str(user.as_str()),
            Self::Saga(saga) => write!(f, "{SAGA}{saga}"),
        }
    }
}

impl Requester {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix(SAGA) {
            Some(saga) => saga.parse().ok().map(Self::Saga),
            None => text.parse().ok().map(Self::User),
        }
    }
}
