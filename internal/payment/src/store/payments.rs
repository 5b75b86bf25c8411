use palinode_db::{Db, Error, Tx};
use palinode_values::{Money, OrderId, PaymentId, SagaId, Timestamp};
use uuid::Uuid;

use crate::domain::{Back, Payment, Reason, Source, State};

/// A row of `payment`, as every statement here selects it.
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) order_id: Uuid,
    pub(super) saga_id: Uuid,
    pub(super) user_id: String,
    pub(super) amount_minor: i64,
    pub(super) currency: String,
    pub(super) state: String,
    pub(super) reason: Option<String>,
    pub(super) card_token: Option<String>,
    pub(super) charge_key: Option<Uuid>,
    pub(super) refunded_minor: i64,
    pub(super) refunding_minor: i64,
    pub(super) created_at: Timestamp,
}

impl Row {
    pub(super) fn read(self) -> Result<Payment, Error> {
        let bad = |column, why: &dyn ToString| {
            Error::inconsistent("payment", column, self.id, why.to_string())
        };
        let reason = self.reason.as_deref().and_then(Reason::parse);
        let state = match (self.state.as_str(), reason) {
            ("pending", None) => State::Pending,
            ("captured", None) => State::Captured,
            ("declined", Some(reason)) => State::Declined(reason),
            ("refunding", None) => State::Refunding,
            ("refunded", None) => State::Refunded,
            _ => return Err(bad("state", &"does not fit the reason")),
        };
        let source = match (self.card_token, self.charge_key) {
            (Some(token), Some(key)) => Source::Card { token, key },
            _ => Source::Wallet,
        };
        let currency = self.currency.parse().map_err(|why| bad("currency", &why))?;
        Ok(Payment {
            id: PaymentId(self.id),
            order_id: OrderId(self.order_id),
            saga_id: SagaId(self.saga_id),
            user_id: self.user_id.parse().map_err(|why| bad("user_id", &why))?,
            amount: Money::new(self.amount_minor, currency),
            source,
            state,
            back: Back {
                done: self.refunded_minor,
                asked: self.refunding_minor,
            },
        })
    }
}

/// The order that a payment is of.
pub(crate) async fn order_of(tx: &mut Tx, id: PaymentId) -> Result<Option<OrderId>, Error> {
    let order = sqlx::query_scalar!("SELECT order_id FROM payment WHERE id = $1", id.0)
        .fetch_optional(tx.conn())
        .await?;
    Ok(order.map(OrderId))
}

/// A payment and when it was asked for, on a connection of the pool.
pub(crate) async fn find(db: &Db, id: PaymentId) -> Result<Option<(Payment, Timestamp)>, Error> {
    let row = sqlx::query_as!(
        Row,
        "SELECT id, order_id, saga_id, user_id, amount_minor, currency, state, reason, card_token,
                charge_key, refunded_minor, refunding_minor, created_at
           FROM payment WHERE id = $1",
        id.0,
    )
    .fetch_optional(db.pool())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let created_at = row.created_at;
    Ok(Some((row.read()?, created_at)))
}
