use palinode_values::{Money, OrderId, PaymentId, UserId};

/// What a saga asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Take the money of an order.
    Charge {
        order_id: OrderId,
        user_id: UserId,
        method: Method,
        total: Money,
    },
    /// Give it back: what this saga has taken, or this payment, which another saga has taken.
    Refund {
        order_id: OrderId,
        payment_id: Option<PaymentId>,
    },
}

/// How an order is paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Method {
    Wallet,
    Card { token: String },
}
