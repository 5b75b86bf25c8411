use std::fmt;

use palinode_values::{Currency, Money, PaymentId, RefundId, UserId};

use crate::domain::{Payment, Source};

/// An account of the ledger. More than zero is in its favour.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Account {
    /// A user's money with us.
    Wallet(UserId),
    /// Revenue.
    Shop,
    /// What the card processor owes us: less than zero by that.
    Processor,
    /// Where credits of wallets come from.
    Funding,
    /// What closed wallets held, and what would have gone back to them.
    Unclaimed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransferKind {
    Credit,
    Charge,
    Refund,
    Closure,
}

/// Money on its way from one account to another; its two entries sum to zero by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) kind: TransferKind,
    pub(crate) payment_id: Option<PaymentId>,
    pub(crate) refund_id: Option<RefundId>,
    from: Account,
    to: Account,
    amount: Money,
}

impl Transfer {
    /// Puts `amount`, more than zero, into a wallet.
    pub(crate) fn credit(user: UserId, amount: Money) -> Self {
        let (from, to) = (Account::Funding, Account::Wallet(user));
        Self {
            kind: TransferKind::Credit,
            payment_id: None,
            refund_id: None,
            from,
            to,
            amount,
        }
    }

    /// Takes the money of a payment.
    pub(crate) fn charge(payment: &Payment) -> Self {
        let from = match &payment.source {
            Source::Wallet => Account::Wallet(payment.user_id.clone()),
            Source::Card { .. } => Account::Processor,
        };
        Self {
            kind: TransferKind::Charge,
            payment_id: Some(payment.id),
            refund_id: None,
            from,
            to: Account::Shop,
            amount: payment.amount,
        }
    }

    /// Gives `amount` of it back: the charge, or a part of it, reversed.
    pub(crate) fn refund(payment: &Payment, refund: RefundId, amount: Money) -> Self {
        let charge = Self::charge(payment);
        Self {
            kind: TransferKind::Refund,
            payment_id: charge.payment_id,
            refund_id: Some(refund),
            from: charge.to,
            to: charge.from,
            amount,
        }
    }

    /// The same, of a wallet that was closed meanwhile: the house keeps it.
    pub(crate) fn refund_to_house(payment: &Payment, refund: RefundId, amount: Money) -> Self {
        Self {
            to: Account::Unclaimed,
            ..Self::refund(payment, refund, amount)
        }
    }

    /// Takes out of a wallet that is closed all that it holds, more than zero.
    pub(crate) fn closure(user: UserId, balance: Money) -> Self {
        let (from, to) = (Account::Wallet(user), Account::Unclaimed);
        Self {
            kind: TransferKind::Closure,
            payment_id: None,
            refund_id: None,
            from,
            to,
            amount: balance,
        }
    }

    /// What it is kept in.
    pub(crate) fn currency(&self) -> &Currency {
        &self.amount.currency
    }

    /// The two entries: account and signed minor units.
    pub(crate) fn entries(&self) -> [(&Account, Money); 2] {
        let taken = Money::new(-self.amount.minor, self.amount.currency);
        [(&self.from, taken), (&self.to, self.amount)]
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wallet(user) => write!(f, "wallet:{user}"),
            Self::Shop => f.write_str("shop"),
            Self::Processor => f.write_str("processor"),
            Self::Funding => f.write_str("funding"),
            Self::Unclaimed => f.write_str("unclaimed"),
        }
    }
}

impl TransferKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Credit => "credit",
            Self::Charge => "charge",
            Self::Refund => "refund",
            Self::Closure => "closure",
        }
    }
}
