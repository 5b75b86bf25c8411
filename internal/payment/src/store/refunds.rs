use std::time::Duration;

use palinode_db::{Db, Error, Tx};
use palinode_values::{Currency, Money, PaymentId, RefundId, Timestamp, UserId};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::domain::{Asked, Refund, RefundState, Requester};

/// A refund as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) refund: Refund,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// What became of an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// It is ours: give back.
    New,
    /// This came of the same request before.
    Repeated(RefundId),
    /// It came with another request before.
    Reused,
}

struct Row {
    id: Uuid,
    payment_id: Uuid,
    amount_minor: i64,
    currency: String,
    reason: String,
    state: String,
    requested_by: String,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl Row {
    fn read(self) -> Result<Kept, Error> {
        let bad = |column, why: &str| Error::inconsistent("refund", column, self.id, why);
        let currency: Currency = self
            .currency
            .parse()
            .map_err(|_not_a_code| bad("currency", "is no code"))?;
        let requested_by = Requester::parse(&self.requested_by);
        Ok(Kept {
            refund: Refund {
                id: RefundId(self.id),
                payment_id: PaymentId(self.payment_id),
                amount: Money::new(self.amount_minor, currency),
                state: RefundState::parse(&self.state).ok_or_else(|| bad("state", "unknown"))?,
                requested_by: requested_by.ok_or_else(|| bad("requested_by", "is nobody"))?,
                reason: self.reason,
            },
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

/// A refund, as the database sees it now: on a connection of the pool, or in a transaction.
pub(crate) async fn find(
    on: impl PgExecutor<'_>,
    payment: PaymentId,
    id: RefundId,
) -> Result<Option<Kept>, Error> {
    sqlx::query_as!(
        Row,
        "SELECT r.id, r.payment_id, r.amount_minor, p.currency, r.reason, r.state, r.requested_by,
                r.created_at, r.updated_at
           FROM refund r JOIN payment p ON p.id = r.payment_id
          WHERE r.payment_id = $1 AND r.id = $2",
        payment.0,
        id.0,
    )
    .fetch_optional(on)
    .await?
    .map(Row::read)
    .transpose()
}

/// Refunds of a payment, newest first, older than `before`; `limit` at the most.
pub(crate) async fn list(
    db: &Db,
    payment: PaymentId,
    before: Option<RefundId>,
    limit: i64,
) -> Result<Vec<Kept>, Error> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT r.id, r.payment_id, r.amount_minor, p.currency, r.reason, r.state, r.requested_by,
                r.created_at, r.updated_at
           FROM refund r JOIN payment p ON p.id = r.payment_id
          WHERE r.payment_id = $1 AND r.id < coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
          ORDER BY r.id DESC LIMIT $3",
        payment.0,
        before.map(|id| id.0),
        limit,
    )
    .fetch_all(db.pool())
    .await?;
    rows.into_iter().map(Row::read).collect()
}

/// Deletes refunds that sagas asked for and were refused: they ask again, under another one.
pub(crate) async fn forget(tx: &mut Tx, refunds: &[(PaymentId, RefundId)]) -> Result<(), Error> {
    if refunds.is_empty() {
        return Ok(());
    }
    let payments: Vec<Uuid> = refunds.iter().map(|(payment, _)| payment.0).collect();
    let ids: Vec<Uuid> = refunds.iter().map(|(_, refund)| refund.0).collect();
    sqlx::query!(
        "DELETE FROM refund r USING unnest($1::uuid[], $2::uuid[]) AS n(payment_id, id)
          WHERE r.payment_id = n.payment_id AND r.id = n.id AND r.state = 'pending'",
        &payments,
        &ids,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Takes a key for a refund. A second taker waits here until the first has committed.
pub(crate) async fn take_key(
    tx: &mut Tx,
    (user, key): (&UserId, &str),
    payment: PaymentId,
    asked: &Asked,
) -> Result<Key, Error> {
    let minor = asked.amount.map(|amount| amount.minor);
    let currency = asked
        .amount
        .map(|amount| amount.currency.as_str().to_owned());
    let inserted = sqlx::query!(
        "INSERT INTO refund_key (user_id, key, payment_id, amount_minor, currency, reason, refund_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (user_id, key) DO NOTHING",
        user.as_str(),
        key,
        payment.0,
        minor,
        currency,
        asked.reason,
        asked.id.0,
    )
    .execute(tx.conn())
    .await?
    .rows_affected();
    if inserted == 1 {
        return Ok(Key::New);
    }
    let before = sqlx::query!(
        r#"SELECT refund_id,
                  (payment_id, reason) = ($3, $4::text)
                    AND amount_minor IS NOT DISTINCT FROM $5 AND currency IS NOT DISTINCT FROM $6
                    AS "is_same!"
             FROM refund_key WHERE user_id = $1 AND key = $2"#,
        user.as_str(),
        key,
        payment.0,
        asked.reason,
        minor,
        currency,
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(match before.is_same {
        true => Key::Repeated(RefundId(before.refund_id)),
        false => Key::Reused,
    })
}

/// Forgets keys that are older than `kept`, `limit` at the most; returns how many.
pub(crate) async fn forget_keys(db: &Db, kept: Duration, limit: i64) -> Result<u64, Error> {
    let forgotten = sqlx::query!(
        "DELETE FROM refund_key WHERE (user_id, key) IN (
           SELECT user_id, key FROM refund_key WHERE created_at < now() - make_interval(secs => $1)
            ORDER BY created_at LIMIT $2)",
        kept.as_secs_f64(),
        limit
    )
    .execute(db.pool())
    .await?;
    Ok(forgotten.rows_affected())
}
