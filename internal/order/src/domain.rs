//! Orders and their rules: pure.
#![warn(clippy::wildcard_enum_match_arm)]

use palinode_values::{
    Money, MoneyError, OrderId, PaymentId, SagaId, ShipmentId, Sku, Timestamp, UserId,
};

/// Something that can be ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The thing.
    pub sku: Sku,
    /// Its name.
    pub name: String,
    /// Price of one piece.
    pub price: Money,
}

/// An order as it was asked for: valid in itself, prices unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) user: UserId,
    pub(crate) lines: Vec<(Sku, i32)>,
    pub(crate) address: Address,
    pub(crate) payment: PaymentMethod,
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
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// Where an order is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Status {
    /// Its saga has not decided yet; the sweep makes sure that there is one.
    Pending,
    /// The end: paid and on its way.
    Confirmed {
        payment_id: PaymentId,
        shipment_id: ShipmentId,
    },
    /// The end: nothing of it is left.
    Rejected { reason: String, detail: String },
}

/// What a saga decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    Confirm {
        payment_id: PaymentId,
        shipment_id: ShipmentId,
    },
    Reject {
        reason: String,
        detail: String,
    },
}

/// A decision about an order that is decided otherwise already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the order is {is} already")]
pub(crate) struct AlreadyDecided {
    pub(crate) is: &'static str,
}

impl Status {
    /// One word, as stored.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Confirmed { .. } => "confirmed",
            Self::Rejected { .. } => "rejected",
        }
    }

    /// The status after a decision. Deciding the same again changes nothing.
    pub(crate) fn next(self, decision: Decision) -> Result<Self, AlreadyDecided> {
        match (self, decision) {
            (
                Self::Pending,
                Decision::Confirm {
                    payment_id,
                    shipment_id,
                },
            ) => Ok(Self::Confirmed {
                payment_id,
                shipment_id,
            }),
            (Self::Pending, Decision::Reject { reason, detail }) => {
                Ok(Self::Rejected { reason, detail })
            }
            (decided @ Self::Confirmed { .. }, Decision::Confirm { .. })
            | (decided @ Self::Rejected { .. }, Decision::Reject { .. }) => Ok(decided),
            (decided @ Self::Confirmed { .. }, Decision::Reject { .. })
            | (decided @ Self::Rejected { .. }, Decision::Confirm { .. }) => {
                Err(AlreadyDecided { is: decided.word() })
            }
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

    #[test]
    fn a_decided_order_never_changes() {
        let clock = Clock::system();
        let confirm = Decision::Confirm {
            payment_id: PaymentId::new(&clock),
            shipment_id: ShipmentId::new(&clock),
        };
        let reject = Decision::Reject {
            reason: "OUT_OF_STOCK".to_owned(),
            detail: String::new(),
        };
        let confirmed = Status::Pending.next(confirm.clone()).unwrap();
        let rejected = Status::Pending.next(reject.clone()).unwrap();
        assert_eq!(
            confirmed.clone().next(confirm.clone()),
            Ok(confirmed.clone())
        );
        assert_eq!(
            confirmed.next(reject.clone()),
            Err(AlreadyDecided { is: "confirmed" })
        );
        assert_eq!(rejected.clone().next(reject), Ok(rejected.clone()));
        assert_eq!(
            rejected.next(confirm),
            Err(AlreadyDecided { is: "rejected" })
        );
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
