use palinode_values::ErrorCode;

/// Why inventory says no. Each has a page in `docs/errors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    /// Fewer pieces are free than the order needs.
    OutOfStock,
    /// A SKU that was never in stock.
    UnknownSku,
    /// The order has a reservation already, which is not this saga's.
    AlreadyReserved,
    /// Nothing is held for the order by this saga.
    NotReserved,
    /// The reservation was turned into a sale.
    StockCommitted,
    /// Held pieces cannot be taken out of stock.
    StockHeld,
    /// No reservation of this id.
    ReservationNotFound,
    /// The idempotency key was used with another request.
    IdempotencyKeyReused,
}

impl Reason {
    /// Every reason.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 8] = [
        Self::OutOfStock,
        Self::UnknownSku,
        Self::AlreadyReserved,
        Self::NotReserved,
        Self::StockCommitted,
        Self::StockHeld,
        Self::ReservationNotFound,
        Self::IdempotencyKeyReused,
    ];

    /// The name that callers see.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::OutOfStock => "OUT_OF_STOCK",
            Self::UnknownSku => "UNKNOWN_SKU",
            Self::AlreadyReserved => "ALREADY_RESERVED",
            Self::NotReserved => "NOT_RESERVED",
            Self::StockCommitted => "STOCK_COMMITTED",
            Self::StockHeld => "STOCK_HELD",
            Self::ReservationNotFound => "RESERVATION_NOT_FOUND",
            Self::IdempotencyKeyReused => "IDEMPOTENCY_KEY_REUSED",
        }
    }

    /// How a caller should react.
    pub(crate) fn code(self) -> ErrorCode {
        match self {
            Self::OutOfStock
            | Self::AlreadyReserved
            | Self::NotReserved
            | Self::StockCommitted
            | Self::StockHeld => ErrorCode::Refused,
            Self::UnknownSku | Self::ReservationNotFound => ErrorCode::NotFound,
            Self::IdempotencyKeyReused => ErrorCode::Conflict,
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
