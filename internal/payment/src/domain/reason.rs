use palinode_values::ErrorCode;

/// What went wrong, as callers and sagas read it. Each has a page in `docs/errors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The wallet holds less than the amount.
    InsufficientFunds,
    /// The user has no wallet.
    NoWallet,
    /// The wallet was closed with its user's account.
    WalletClosed,
    /// The card processor said no.
    CardDeclined,
    /// The wallet is kept in another currency.
    CurrencyMismatch,
    /// The order has a payment already, by another saga.
    AlreadyCharged,
    /// The card processor refuses to pay the charge back.
    RefundDeclined,
    /// There is nothing of the order that could be paid back.
    NotCaptured,
    /// More than is left of the charge was to be given back.
    RefundExceedsCharge,
    /// The idempotency key came with another request before.
    KeyReused,
    /// No such payment.
    PaymentNotFound,
}

impl Reason {
    pub(crate) const ALL: [Self; 11] = [
        Self::InsufficientFunds,
        Self::NoWallet,
        Self::WalletClosed,
        Self::CardDeclined,
        Self::CurrencyMismatch,
        Self::AlreadyCharged,
        Self::RefundDeclined,
        Self::NotCaptured,
        Self::RefundExceedsCharge,
        Self::KeyReused,
        Self::PaymentNotFound,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::InsufficientFunds => "INSUFFICIENT_FUNDS",
            Self::NoWallet => "NO_WALLET",
            Self::WalletClosed => "WALLET_CLOSED",
            Self::CardDeclined => "CARD_DECLINED",
            Self::CurrencyMismatch => "CURRENCY_MISMATCH",
            Self::AlreadyCharged => "ALREADY_CHARGED",
            Self::RefundDeclined => "REFUND_DECLINED",
            Self::NotCaptured => "NOT_CAPTURED",
            Self::RefundExceedsCharge => "REFUND_EXCEEDS_CHARGE",
            Self::KeyReused => "IDEMPOTENCY_KEY_REUSED",
            Self::PaymentNotFound => "PAYMENT_NOT_FOUND",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    pub(crate) fn code(self) -> ErrorCode {
        match self {
            Self::InsufficientFunds
            | Self::WalletClosed
            | Self::CardDeclined
            | Self::CurrencyMismatch
            | Self::AlreadyCharged
            | Self::RefundDeclined
            | Self::NotCaptured
            | Self::RefundExceedsCharge => ErrorCode::Refused,
            Self::NoWallet | Self::PaymentNotFound => ErrorCode::NotFound,
            Self::KeyReused => ErrorCode::Conflict,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_reason_has_a_page() {
        let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
        for reason in Reason::ALL {
            let page = pages.join(format!("{}.md", reason.as_str()));
            let text = std::fs::read_to_string(&page).unwrap_or_default();
            assert!(
                text.starts_with(&format!("# {}", reason.as_str())),
                "{}",
                page.display()
            );
            assert_eq!(Reason::parse(reason.as_str()), Some(reason));
        }
    }
}
