use std::collections::HashMap;

use palinode_db::{Error, Tx};
use palinode_telemetry::TraceContext;
use palinode_values::{CancellationId, OrderId, SagaId, Timestamp};
use uuid::Uuid;

use crate::domain::Cancellation;

/// What a saga decided about a cancellation.
#[derive(Debug, Clone)]
pub(crate) struct Decided {
    pub(crate) id: CancellationId,
    /// Why it could not be carried out: constant name and words.
    pub(crate) refused: Option<(String, String)>,
}

/// Writes a new cancellation, and turns its order, which is locked and confirmed, to it.
pub(crate) async fn open(
    tx: &mut Tx,
    order: OrderId,
    cancellation: &Cancellation,
    trace: &TraceContext,
) -> Result<(), Error> {
    let turned = sqlx::query!(
        "WITH made AS (
             INSERT INTO cancellation (id, order_id, saga_id, state, requested_at, traceparent)
             VALUES ($1, $2, $3, 'open', $4, $5))
         UPDATE orders SET status = 'cancelling', cancellation_id = $1, updated_at = $4
          WHERE id = $2 AND status = 'confirmed'",
        cancellation.id.0,
        order.0,
        cancellation.saga_id.0,
        cancellation.requested_at,
        trace.traceparent(),
    )
    .execute(tx.conn())
    .await?;
    if turned.rows_affected() != 1 {
        let why = "a locked order was not confirmed any more";
        return Err(Error::inconsistent("orders", "status", order, why));
    }
    Ok(())
}

/// Writes what became of cancellations that were open; their orders are locked.
pub(crate) async fn save_decisions(tx: &mut Tx, decided: &[Decided]) -> Result<(), Error> {
    if decided.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = decided.iter().map(|d| d.id.0).collect();
    let refused = |of: fn(&(String, String)) -> String| -> Vec<Option<String>> {
        decided.iter().map(|d| d.refused.as_ref().map(of)).collect()
    };
    let saved = sqlx::query!(
        "UPDATE cancellation c
            SET state = CASE WHEN n.reason IS NULL THEN 'carried-out' ELSE 'refused' END,
                reason = n.reason, reason_detail = n.detail
           FROM unnest($1::uuid[], $2::text[], $3::text[]) AS n(id, reason, detail)
          WHERE c.id = n.id AND c.state = 'open'",
        &ids,
        &refused(|(reason, _)| reason.clone()) as &[Option<String>],
        &refused(|(_, detail)| detail.clone()) as &[Option<String>],
    )
    .execute(tx.conn())
    .await?;
    if saved.rows_affected() != decided.len() as u64 {
        let why = "a cancellation of a locked order was not open any more";
        return Err(Error::inconsistent("cancellation", "state", "batch", why));
    }
    Ok(())
}

/// Cancellations by their ids.
pub(crate) async fn of_ids<'c>(
    from: impl sqlx::PgExecutor<'c>,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, Cancellation>, Error> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, saga_id, reason, reason_detail, requested_at FROM cancellation
          WHERE id = ANY($1)",
        ids
    )
    .fetch_all(from)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.into())).collect())
}

/// Locks those of the sagas that belong to open cancellations, for another start; what somebody
/// else holds is left to him. With each the order it is about.
pub(crate) async fn lock_unstarted(
    tx: &mut Tx,
    sagas: &[SagaId],
) -> Result<Vec<(OrderId, Cancellation, TraceContext)>, Error> {
    let ids: Vec<Uuid> = sagas.iter().map(|id| id.0).collect();
    let locked = sqlx::query!(
        "WITH free AS MATERIALIZED (
             SELECT id FROM cancellation
              WHERE saga_id = ANY($1) AND state = 'open' AND NOT saga_known
              ORDER BY id FOR UPDATE SKIP LOCKED)
         UPDATE cancellation c SET start_sent_at = now() FROM free WHERE c.id = free.id
         RETURNING c.id, c.order_id, c.saga_id, c.requested_at, c.traceparent",
        &ids
    )
    .fetch_all(tx.conn())
    .await?;
    let unstarted = locked.into_iter().map(|row| {
        let cancellation = Cancellation {
            id: CancellationId(row.id),
            saga_id: SagaId(row.saga_id),
            refused: None,
            requested_at: row.requested_at,
        };
        let trace = TraceContext::from_fields(Some(&row.traceparent), None, None);
        let trace = trace.unwrap_or_else(TraceContext::root);
        (OrderId(row.order_id), cancellation, trace)
    });
    Ok(unstarted.collect())
}

struct Row {
    id: Uuid,
    saga_id: Uuid,
    reason: Option<String>,
    reason_detail: Option<String>,
    requested_at: Timestamp,
}

impl From<Row> for Cancellation {
    fn from(row: Row) -> Self {
        Self {
            id: CancellationId(row.id),
            saga_id: SagaId(row.saga_id),
            refused: row
                .reason
                .map(|reason| (reason, row.reason_detail.unwrap_or_default())),
            requested_at: row.requested_at,
        }
    }
}
