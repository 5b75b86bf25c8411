//! Typed ids, money, clock and error codes: values that every layer shares.
//!
//! Purpose: one word for one concept below all services. Pure: no I/O, no runtime.
//! Not here: anything that only one service needs.

mod clock;
mod error_code;
mod ids;
mod money;

pub use clock::{Clock, Timestamp};
pub use error_code::{Coded, ErrorCode};
pub use ids::{
    BulkId, CancellationId, EventId, InvalidId, LedgerEntryId, OrderId, PaymentId, ProductId,
    QuoteId, RefundId, ReservationId, SagaId, SessionId, ShipmentId, Sku, UserId,
};
pub use money::{Currency, Money, MoneyError};
