use std::time::Duration;

use palinode_db::{Db, Error, Tx};
use palinode_saga::Direction;
use palinode_telemetry::TraceContext;
use palinode_values::{Money, PaymentId, RefundId, SagaId};
use uuid::Uuid;

use super::payments::Row;
use crate::domain::{Payment, Refund};

/// What the card processor is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// All that the payment is about.
    Charge,
    /// So much of it back.
    Refund { id: RefundId, amount: Money },
}

/// Whom the answer matters to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum For {
    /// A saga, whose step it settles.
    Step {
        saga_id: SagaId,
        step: String,
        /// Which way the answer settles the step.
        direction: Direction,
    },
    /// Whoever asked by a call of his own, in this trace: he looks at the refund.
    Caller(TraceContext),
}

/// A call that is owed to the card processor.
#[derive(Debug, Clone)]
pub(crate) struct Intent {
    /// Idempotency key at the processor.
    pub(crate) key: Uuid,
    pub(crate) payment_id: PaymentId,
    pub(crate) call: Call,
    pub(crate) of: For,
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

impl Call {
    pub(crate) fn of(refund: &Refund) -> Self {
        Self::Refund {
            id: refund.id,
            amount: refund.amount,
        }
    }

    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Refund { .. } => "refund",
        }
    }

    fn refund(&self) -> Option<(RefundId, Money)> {
        match self {
            Self::Charge => None,
            Self::Refund { id, amount } => Some((*id, *amount)),
        }
    }
}

/// Writes intents, due at once.
pub(crate) async fn insert(tx: &mut Tx, intents: &[Intent]) -> Result<(), Error> {
    if intents.is_empty() {
        return Ok(());
    }
    let payments: Vec<Uuid> = intents.iter().map(|i| i.payment_id.0).collect();
    let kinds: Vec<&str> = intents.iter().map(|i| i.call.as_str()).collect();
    let refunds = || intents.iter().map(|i| i.call.refund());
    let refund_ids: Vec<Option<Uuid>> = refunds().map(|r| r.map(|(id, _)| id.0)).collect();
    let amounts: Vec<Option<i64>> = refunds().map(|r| r.map(|(_, a)| a.minor)).collect();
    let (mut directions, mut sagas, mut steps, mut traces) =
        <(Vec<_>, Vec<_>, Vec<_>, Vec<_>)>::default();
    for intent in intents {
        let (step, trace) = match &intent.of {
            For::Step {
                saga_id,
                step,
                direction,
            } => (Some((saga_id.0, step.as_str(), direction.as_str())), None),
            For::Caller(trace) => (None, Some(trace.traceparent())),
        };
        directions.push(step.map(|(.., direction)| direction));
        sagas.push(step.map(|(saga, ..)| saga));
        steps.push(step.map(|(_, step, _)| step));
        traces.push(trace);
    }
    sqlx::query_file!(
        "src/sql/intent_insert.sql",
        &keys(intents),
        &payments,
        &kinds as &[&str],
        &refund_ids as &[Option<Uuid>],
        &amounts as &[Option<i64>],
        &directions as &[Option<&str>],
        &sagas as &[Option<Uuid>],
        &steps as &[Option<&str>],
        &traces as &[Option<String>],
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
            let bad = |column, why: &dyn ToString| {
                Error::inconsistent("card_intent", column, row.call_key, why.to_string())
            };
            let of = match (row.intent_saga_id, row.step, row.direction) {
                (Some(saga), Some(step), Some(direction)) => For::Step {
                    saga_id: SagaId(saga),
                    step,
                    direction: direction.parse().map_err(|why| bad("direction", &why))?,
                },
                _ => For::Caller(trace(row.traceparent.as_deref())),
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
                refunded_minor: row.refunded_minor,
                refunding_minor: row.refunding_minor,
                created_at: row.created_at,
            };
            let payment = payment.read()?;
            let call = match (row.kind.as_str(), row.refund_id, row.refund_minor) {
                ("charge", None, None) => Call::Charge,
                ("refund", Some(id), Some(minor)) => Call::Refund {
                    id: RefundId(id),
                    amount: Money::new(minor, payment.amount.currency),
                },
                _ => return Err(bad("kind", &"does not fit the refund")),
            };
            Ok(Due {
                intent: Intent {
                    key: row.call_key,
                    payment_id: payment.id,
                    call,
                    of,
                },
                payment,
                attempts: u32::try_from(row.attempts).unwrap_or_default(),
                is_old: row.is_old,
            })
        })
        .collect()
}

/// Makes an intent due after `delay`. One that was settled meanwhile stays settled.
pub(crate) async fn postpone(db: &Db, intent: &Intent, delay: Duration) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE card_intent SET next_try_at = now() + make_interval(secs => $2) WHERE call_key = $1",
        intent.key,
        delay.as_secs_f64(),
    )
    .execute(db.pool())
    .await?;
    Ok(())
}

/// Locks intents and their payments, and reads these, each by the intent's key. What another taker has
/// settled is left out.
pub(crate) async fn lock(tx: &mut Tx, intents: &[&Intent]) -> Result<Vec<(Uuid, Payment)>, Error> {
    let refunds = intents.iter().map(|i| i.call.refund().map(|(id, _)| id.0));
    let rows = sqlx::query_file!(
        "src/sql/intent_lock.sql",
        &keys(intents.iter().copied()),
        &refunds.collect::<Vec<_>>() as &[Option<Uuid>],
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|row| {
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
                refunded_minor: row.refunded_minor,
                refunding_minor: row.refunding_minor,
                created_at: row.created_at,
            };
            Ok((row.call_key, payment.read()?))
        })
        .collect()
}

/// Deletes intents that are settled.
pub(crate) async fn delete(tx: &mut Tx, intents: &[&Intent]) -> Result<(), Error> {
    if intents.is_empty() {
        return Ok(());
    }
    sqlx::query_file!("src/sql/intent_delete.sql", &keys(intents.iter().copied()))
        .execute(tx.conn())
        .await?;
    Ok(())
}

fn trace(traceparent: Option<&str>) -> TraceContext {
    let trace = traceparent.and_then(|text| text.parse().ok());
    trace.unwrap_or_else(TraceContext::root)
}

fn keys<'a>(intents: impl IntoIterator<Item = &'a Intent>) -> Vec<Uuid> {
    intents.into_iter().map(|intent| intent.key).collect()
}
