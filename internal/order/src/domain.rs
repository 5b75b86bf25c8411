//! Orders and their rules: pure.
#![warn(clippy::wildcard_enum_match_arm)]

use palinode_values::{
    CancellationId, Money, MoneyError, OrderId, PaymentId, QuoteId, SagaId, ShipmentId, Sku,
    Timestamp, UserId,
};
use uuid::Uuid;

/// Something that can be ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// The thing.
    pub sku: Sku,
    /// Its name.
    pub name: String,
    /// Price of one piece.
    pub price: Money,
}

/// What the catalogue has said of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revised {
    pub(crate) sku: Sku,
    pub(crate) product_id: Uuid,
    /// Counts its changes: of two the greater holds.
    pub(crate) revision: i64,
    /// Name and price; `None`: it was deleted.
    pub(crate) sold: Option<(String, Money)>,
}

/// An order as it was asked for: valid in itself, prices unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) user: UserId,
    pub(crate) goods: Goods,
    pub(crate) address: Address,
    pub(crate) payment: PaymentMethod,
    /// The total that the user was shown.
    pub(crate) expected_total: Option<Money>,
}

/// What is to be ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Goods {
    /// These, at the prices of now.
    Lines(Vec<(Sku, i32)>),
    /// What a quote has, at its prices.
    Quote(QuoteId),
    /// What is in the user's cart, at the prices of now.
    Cart,
}

/// Lines of a cart at the most.
pub(crate) const CART_LINES_MAX: usize = 100;

/// What a user means to order, in the order in which it was put in: at most [`CART_LINES_MAX`] lines, each
/// SKU once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cart {
    lines: Vec<(Sku, i32)>,
}

/// There are as many lines in a cart as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cart has {CART_LINES_MAX} lines already")]
pub(crate) struct CartFull;

impl Cart {
    /// The cart of these lines.
    pub(crate) fn of(lines: Vec<(Sku, i32)>) -> Self {
        Self { lines }
    }

    pub(crate) fn lines(&self) -> &[(Sku, i32)] {
        &self.lines
    }

    /// Sets how many pieces of a SKU are in it.
    pub(crate) fn set(&mut self, sku: &Sku, quantity: i32) -> Result<(), CartFull> {
        let count = self.lines.len();
        match self.lines.iter_mut().find(|(known, _)| known == sku) {
            Some(line) => line.1 = quantity,
            None if count >= CART_LINES_MAX => return Err(CartFull),
            None => self.lines.push((sku.clone(), quantity)),
        }
        Ok(())
    }

    /// Takes a SKU out; whether it was in it.
    pub(crate) fn remove(&mut self, sku: &Sku) -> bool {
        let count = self.lines.len();
        self.lines.retain(|(known, _)| known != sku);
        self.lines.len() < count
    }
}

/// A line of a cart, with what it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShownLine {
    pub(crate) sku: Sku,
    pub(crate) quantity: i32,
    /// `None`: it can be ordered no more.
    pub(crate) sold: Option<Product>,
}

/// Prices that were promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quote {
    pub(crate) id: QuoteId,
    pub(crate) user: UserId,
    pub(crate) lines: Vec<Line>,
    pub(crate) total: Money,
    pub(crate) created_at: Timestamp,
    /// From then on nothing is sold by it.
    pub(crate) expires_at: Timestamp,
    /// The order that was placed by it.
    pub(crate) sold_as: Option<OrderId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) name: String,
    pub(crate) street: String,
    pub(crate) postal_code: String,
    pub(crate) city: String,
    pub(crate) country: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PaymentMethod {
    Wallet,
    Card { token: String },
}

/// In which order orders are listed. Of equal totals, the id decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Newest,
    Oldest,
    Total,
    TotalDescending,
}

/// Which orders are listed, and in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listing {
    /// Whose; `None`: everybody's, by time alone.
    pub(crate) user: Option<UserId>,
    /// The word of a status; `None`: all.
    pub(crate) status: Option<&'static str>,
    pub(crate) sort: Sort,
    /// The last order of the page before: total in minor units, and id.
    pub(crate) after: Option<(i64, OrderId)>,
}

/// A line as sold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) sku: Sku,
    pub(crate) name: String,
    pub(crate) quantity: i32,
    pub(crate) price: Money,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) id: OrderId,
    pub(crate) saga_id: SagaId,
    pub(crate) user: UserId,
    pub(crate) status: Status,
    pub(crate) lines: Vec<Line>,
    pub(crate) total: Money,
    pub(crate) address: Address,
    pub(crate) payment: PaymentMethod,
    /// The last one that was asked for.
    pub(crate) cancellation: Option<Cancellation>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// How a confirmed order was paid and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fulfilment {
    pub(crate) payment_id: PaymentId,
    pub(crate) shipment_id: ShipmentId,
}

/// Where an order is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Status {
    /// Its saga has not decided yet; the sweep makes sure that there is one.
    Pending,
    /// Paid and on its way. It stays so, or is cancelled.
    Confirmed(Fulfilment),
    /// The end: nothing of it is left.
    Rejected { reason: String, detail: String },
    /// The saga of this cancellation decides whether it is taken back.
    Cancelling(Fulfilment, CancellationId),
    /// The end: it was taken back.
    Cancelled(Fulfilment),
}

/// A try to take an order back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cancellation {
    pub(crate) id: CancellationId,
    pub(crate) saga_id: SagaId,
    /// Why it could not be carried out: constant name and words.
    pub(crate) refused: Option<(String, String)>,
    pub(crate) requested_at: Timestamp,
}

/// What a saga decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    Confirm(Fulfilment),
    Reject {
        reason: String,
        detail: String,
    },
    /// The cancellation came too late: the order stays.
    Keep {
        cancellation: CancellationId,
        reason: String,
        detail: String,
    },
    /// The cancellation was carried out.
    Close {
        cancellation: CancellationId,
    },
}

/// A decision about an order that is decided otherwise already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the order is {is} already")]
pub(crate) struct AlreadyDecided {
    pub(crate) is: &'static str,
}

/// Why an order is not cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotCancelled {
    /// Its saga is still under way.
    NotYet,
    /// There is nothing to take back.
    Rejected,
}

/// Every word that a status is stored as.
pub(crate) const STATUS_WORDS: [&str; 5] = [
    "pending",
    "confirmed",
    "rejected",
    "cancelling",
    "cancelled",
];

impl Status {
    /// One word, as stored.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Confirmed(_) => "confirmed",
            Self::Rejected { .. } => "rejected",
            Self::Cancelling(..) => "cancelling",
            Self::Cancelled(_) => "cancelled",
        }
    }

    /// Nothing is under way: it stays so until somebody asks for something.
    pub(crate) fn is_settled(&self) -> bool {
        match self {
            Self::Pending | Self::Cancelling(..) => false,
            Self::Confirmed(_) | Self::Rejected { .. } | Self::Cancelled(_) => true,
        }
    }

    /// The status after a decision. Deciding the same again changes nothing.
    pub(crate) fn next(self, decision: &Decision) -> Result<Self, AlreadyDecided> {
        match (self, decision) {
            (Self::Pending, Decision::Confirm(fulfilment)) => Ok(Self::Confirmed(*fulfilment)),
            (Self::Pending, Decision::Reject { reason, detail }) => Ok(Self::Rejected {
                reason: reason.clone(),
                detail: detail.clone(),
            }),
            (Self::Cancelling(fulfilment, open), Decision::Keep { cancellation, .. })
                if open == *cancellation =>
            {
                Ok(Self::Confirmed(fulfilment))
            }
            (Self::Cancelling(fulfilment, open), Decision::Close { cancellation })
                if open == *cancellation =>
            {
                Ok(Self::Cancelled(fulfilment))
            }
            (
                decided @ (Self::Confirmed(_) | Self::Cancelling(..) | Self::Cancelled(_)),
                Decision::Confirm(_),
            )
            | (decided @ Self::Rejected { .. }, Decision::Reject { .. })
            | (decided @ Self::Confirmed(_), Decision::Keep { .. })
            | (decided @ Self::Cancelled(_), Decision::Close { .. }) => Ok(decided),
            (
                decided @ (Self::Pending
                | Self::Confirmed(_)
                | Self::Rejected { .. }
                | Self::Cancelling(..)
                | Self::Cancelled(_)),
                Decision::Confirm(_)
                | Decision::Reject { .. }
                | Decision::Keep { .. }
                | Decision::Close { .. },
            ) => Err(AlreadyDecided { is: decided.word() }),
        }
    }

    /// The status after a cancellation was asked for; `None`: one is under way, or was carried out.
    pub(crate) fn cancel(&self, id: CancellationId) -> Result<Option<Self>, NotCancelled> {
        match self {
            Self::Pending => Err(NotCancelled::NotYet),
            Self::Rejected { .. } => Err(NotCancelled::Rejected),
            Self::Confirmed(fulfilment) => Ok(Some(Self::Cancelling(*fulfilment, id))),
            Self::Cancelling(..) | Self::Cancelled(_) => Ok(None),
        }
    }
}

/// The sum of the lines. `None` of no lines.
///
/// # Errors
/// `Overflow`: the sum is no amount any more. `Mixed`: two currencies.
pub(crate) fn total(lines: &[Line]) -> Result<Option<Money>, MoneyError> {
    let mut sum: Option<Money> = None;
    for line in lines {
        let amount = line.price.times(i64::from(line.quantity))?;
        sum = Some(match sum {
            Some(sum) => sum.plus(amount)?,
            None => amount,
        });
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use palinode_values::{Clock, Currency};

    use super::*;

    fn fulfilment() -> Fulfilment {
        let clock = Clock::system();
        Fulfilment {
            payment_id: PaymentId::new(&clock),
            shipment_id: ShipmentId::new(&clock),
        }
    }

    #[test]
    fn a_decided_order_never_changes() {
        let confirm = Decision::Confirm(fulfilment());
        let reject = Decision::Reject {
            reason: "OUT_OF_STOCK".to_owned(),
            detail: String::new(),
        };
        let confirmed = Status::Pending.next(&confirm).unwrap();
        let rejected = Status::Pending.next(&reject).unwrap();
        assert_eq!(confirmed.clone().next(&confirm), Ok(confirmed.clone()));
        assert_eq!(
            confirmed.next(&reject),
            Err(AlreadyDecided { is: "confirmed" })
        );
        assert_eq!(rejected.clone().next(&reject), Ok(rejected.clone()));
        assert_eq!(
            rejected.next(&confirm),
            Err(AlreadyDecided { is: "rejected" })
        );
    }

    #[test]
    fn a_cancellation_is_decided_by_its_own_saga_and_once() {
        let clock = Clock::system();
        let (id, other) = (CancellationId::new(&clock), CancellationId::new(&clock));
        let confirmed = Status::Confirmed(fulfilment());
        let cancelling = confirmed.cancel(id).unwrap().unwrap();
        assert_eq!(cancelling.cancel(other), Ok(None), "one at a time");
        let keep = |cancellation| Decision::Keep {
            cancellation,
            reason: "SHIPMENT_DISPATCHED".to_owned(),
            detail: String::new(),
        };
        let close = |cancellation| Decision::Close { cancellation };
        let is = "cancelling";
        assert_eq!(
            cancelling.clone().next(&keep(other)),
            Err(AlreadyDecided { is })
        );
        assert_eq!(
            cancelling.clone().next(&close(other)),
            Err(AlreadyDecided { is })
        );
        assert_eq!(cancelling.clone().next(&keep(id)), Ok(confirmed.clone()));
        assert_eq!(confirmed.next(&keep(id)).unwrap().word(), "confirmed");
        let cancelled = cancelling.next(&close(id)).unwrap();
        assert_eq!(cancelled.word(), "cancelled");
        assert_eq!(cancelled.clone().next(&close(id)), Ok(cancelled.clone()));
        assert_eq!(cancelled.cancel(other), Ok(None));
        assert_eq!(Status::Pending.cancel(id), Err(NotCancelled::NotYet));
    }

    #[test]
    fn a_total_that_is_no_amount_is_refused() {
        let line = |price, quantity| Line {
            sku: "mug".parse().unwrap(),
            name: "Mug".to_owned(),
            quantity,
            price: Money::new(price, Currency::EUR),
        };
        assert_eq!(
            total(&[line(1250, 2), line(5, 3)]),
            Ok(Some(Money::new(2515, Currency::EUR)))
        );
        assert_eq!(total(&[line(i64::MAX, 2)]), Err(MoneyError::Overflow));
        assert_eq!(total(&[]), Ok(None));
    }
}
