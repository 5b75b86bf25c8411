use std::time::Duration;

use palinode_db::{Db, Error, Tx};
use palinode_saga::Direction;
use palinode_values::{PaymentId, SagaId};
use uuid::Uuid;

use super::payments::Row;
use crate::domain::Payment;

/// What the card processor is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Charge,
    Refund,
}

/// A call that is owed to the card processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Intent {
    pub(crate) payment_id: PaymentId,
    pub(crate) kind: Kind,
    /// Which way the answer settles the step.
    pub(crate) direction: Direction,
    /// Idempotency key at the processor.
    pub(crate) step_key: Uuid,
    pub(crate) saga_id: SagaId,
    pub(crate) step: String,
}

/// An intent that is due, under a lease.
#[derive(Debug, Clone)]
pub(crate) struct Due {
    pub(crate) intent: Intent,
    pub(crate) payment: Payment,
    /// Calls begun, this one among them.
    pub(crate) attempts: u32,
    /// The processor may have forgotten the key: it may only be looked up.
    pub(crate) is_old: bool,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Refund => "refund",
        }
    }

    fn read(text: &str, id: Uuid) -> Result<Self, Error> {
        match text {
            "charge" => Ok(Self::Charge),
            "refund" => Ok(Self::Refund),
            _ => Err(Error::inconsistent("card_intent", "kind", id, "unknown")),
        }
    }
}

/// Writes intents, due at once.
pub(crate) async fn insert(tx: &mut Tx, intents: &[Intent]) -> Result<(), Error> {
    if intents.is_empty() {
        return Ok(());
    }
    let payments: Vec<Uuid> = intents.iter().map(|i| i.payment_id.0).collect();
    let kinds: Vec<&str> = intents.iter().map(|i| i.kind.as_str()).collect();
    let directions: Vec<&str> = intents.iter().map(|i| i.direction.as_str()).collect();
    let keys: Vec<Uuid> = intents.iter().map(|i| i.step_key).collect();
    let sagas: Vec<Uuid> = intents.iter().map(|i| i.saga_id.0).collect();
    let steps: Vec<&str> = intents.iter().map(|i| i.step.as_str()).collect();
    sqlx::query_file!(
        "src/sql/intent_insert.sql",
        &payments,
        &kinds as &[&str],
        &directions as &[&str],
        &keys,
        &sagas,
        &steps as &[&str],
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Takes up to `limit` due intents, oldest first, and leases them: they are due again after
/// `lease`, so a crash of the taker only delays them. A statement of its own: no lock outlives it.
///
/// Older than `key_age_max` the processor may have forgotten the key.
pub(crate) async fn take_due(
    db: &Db,
    limit: usize,
    lease: Duration,
    key_age_max: Duration,
) -> Result<Vec<Due>, Error> {
    let rows = sqlx::query_file!(
        "src/sql/intent_take.sql",
        i64::try_from(limit).unwrap_or(i64::MAX),
        lease.as_secs_f64(),
        key_age_max.as_secs_f64(),
    )
    .fetch_all(db.pool())
    .await?;
    rows.into_iter()
        .map(|row| {
            let intent = Intent {
                payment_id: PaymentId(row.id),
                kind: Kind::read(&row.kind, row.id)?,
                direction: row.direction.parse().map_err(|error| {
                    Error::inconsistent("card_intent", "direction", row.id, error)
                })?,
                step_key: row.step_key,
                saga_id: SagaId(row.intent_saga_id),
                step: row.step,
            };
            let payment = Row {
                id: row.id,
                order_id: row.order_id,
                saga_id: row.saga_id,
                user_id: row.user_id,
                amount_minor: row.amount_minor,
                currency: row.currency,
                state: row.state,
                reason: row.reason,
                card_token: row.card_token,
                charge_key: row.charge_key,
                created_at: row.created_at,
            };
            Ok(Due {
                intent,
                payment: payment.read()?,
                attempts: u32::try_from(row.attempts).unwrap_or_default(),
                is_old: row.is_old,
            })
        })
        .collect()
}

/// Makes an intent due after `delay`. One that was settled meanwhile stays settled.
pub(crate) async fn postpone(db: &Db, intent: &Intent, delay: Duration) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE card_intent SET next_try_at = now() + make_interval(secs => $3)
          WHERE payment_id = $1 AND kind = $2",
        intent.payment_id.0,
        intent.kind.as_str(),
        delay.as_secs_f64(),
    )
    .execute(db.pool())
    .await?;
    Ok(())
}

/// Locks intents and their payments, and reads these. What another taker has settled is left out.
pub(crate) async fn lock(tx: &mut Tx, intents: &[&Intent]) -> Result<Vec<(Kind, Payment)>, Error> {
    let (payments, kinds) = keys(intents);
    let rows = sqlx::query_file!("src/sql/intent_lock.sql", &payments, &kinds as &[&str])
        .fetch_all(tx.conn())
        .await?;
    rows.into_iter()
        .map(|row| {
            let kind = Kind::read(&row.kind, row.id)?;
            let payment = Row {
                id: row.id,
                order_id: row.order_id,
                saga_id: row.saga_id,
                user_id: row.user_id,
                amount_minor: row.amount_minor,
                currency: row.currency,
                state: row.state,
                reason: row.reason,
                card_token: row.card_token,
                charge_key: row.charge_key,
                created_at: row.created_at,
            };
            Ok((kind, payment.read()?))
        })
        .collect()
}

/// Deletes intents that are settled.
pub(crate) async fn delete(tx: &mut Tx, intents: &[&Intent]) -> Result<(), Error> {
    if intents.is_empty() {
        return Ok(());
    }
    let (payments, kinds) = keys(intents);
    sqlx::query_file!("src/sql/intent_delete.sql", &payments, &kinds as &[&str])
        .execute(tx.conn())
        .await?;
    Ok(())
}

fn keys(intents: &[&Intent]) -> (Vec<Uuid>, Vec<&'static str>) {
    intents
        .iter()
        .map(|i| (i.payment_id.0, i.kind.as_str()))
        .unzip()
}
