use palinode_db::{Db, Error};
use palinode_telemetry::TraceContext;
use palinode_values::{SagaId, Timestamp};
use uuid::Uuid;

use super::saga::Head;

/// A saga as it is shown.
#[derive(Debug, Clone)]
pub(crate) struct SagaRow {
    pub(crate) head: Head,
    pub(crate) wait_until: Option<Timestamp>,
    pub(crate) progress_at: Timestamp,
    /// Why nothing will come of it by itself; `None` when all is well.
    pub(crate) stuck: Option<String>,
}

/// A history row as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct StoredHistory {
    pub(crate) version: i64,
    pub(crate) at: Timestamp,
    pub(crate) kind: i16,
    pub(crate) body: Vec<u8>,
}

/// History entries of one saga at the most; a saga that has more is cut there.
const HISTORY_MAX: i64 = 10_000;

/// Sagas, newest first, after `before` and in `state` where given.
pub(crate) async fn list(
    db: &Db,
    state: Option<&str>,
    before: Option<SagaId>,
    limit: i64,
) -> Result<Vec<SagaRow>, Error> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, plan_id, business_key, version, body, wake_at, started_at, wait_until,
                progress_at, traceparent, saga_stuck(saga) AS stuck
           FROM saga
          WHERE ($1::text IS NULL OR state = $1) AND ($2::uuid IS NULL OR id < $2)
          ORDER BY id DESC LIMIT $3",
        state,
        before.map(|id| id.0),
        limit
    )
    .fetch_all(db.pool())
    .await?;
    rows.into_iter().map(SagaRow::try_from).collect()
}

/// Sagas that are under way and stuck, newest first, after `before`.
pub(crate) async fn list_stuck(
    db: &Db,
    before: Option<SagaId>,
    limit: i64,
) -> Result<Vec<SagaRow>, Error> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT s.id, s.plan_id, s.business_key, s.version, s.body, s.wake_at, s.started_at,
                s.wait_until, s.progress_at, s.traceparent, saga_stuck(s) AS stuck
           FROM saga s
          WHERE s.state IN ('running', 'compensating') AND ($1::uuid IS NULL OR s.id < $1)
            AND saga_stuck(s) IS NOT NULL
          ORDER BY s.id DESC LIMIT $2",
        before.map(|id| id.0),
        limit
    )
    .fetch_all(db.pool())
    .await?;
    rows.into_iter().map(SagaRow::try_from).collect()
}

/// One saga.
pub(crate) async fn get(db: &Db, id: SagaId) -> Result<Option<SagaRow>, Error> {
    let row = sqlx::query_as!(
        Row,
        "SELECT id, plan_id, business_key, version, body, wake_at, started_at, wait_until,
                progress_at, traceparent, saga_stuck(saga) AS stuck
           FROM saga WHERE id = $1",
        id.0
    )
    .fetch_optional(db.pool())
    .await?;
    row.map(SagaRow::try_from).transpose()
}

/// What happened in a saga, oldest first.
pub(crate) async fn history(db: &Db, id: SagaId) -> Result<Vec<StoredHistory>, Error> {
    let rows = sqlx::query_as!(
        StoredHistory,
        "SELECT version, at, kind, body FROM saga_history
          WHERE saga_id = $1 ORDER BY version LIMIT $2",
        id.0,
        HISTORY_MAX
    )
    .fetch_all(db.pool())
    .await?;
    Ok(rows)
}

/// Those of the ids that are sagas.
pub(crate) async fn known(db: &Db, ids: &[SagaId]) -> Result<Vec<SagaId>, Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_scalar!("SELECT id FROM saga WHERE id = ANY($1)", &ids)
        .fetch_all(db.pool())
        .await?;
    Ok(rows.into_iter().map(SagaId).collect())
}

struct Row {
    id: Uuid,
    plan_id: i32,
    business_key: String,
    version: i64,
    body: Vec<u8>,
    wake_at: Option<Timestamp>,
    started_at: Timestamp,
    wait_until: Option<Timestamp>,
    progress_at: Timestamp,
    traceparent: Option<String>,
    stuck: Option<String>,
}

impl TryFrom<Row> for SagaRow {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            head: Head {
                id: SagaId(row.id),
                plan_id: row.plan_id,
                business_key: row.business_key,
                version: row.version,
                state: serde_json::from_slice(&row.body)
                    .map_err(|e| Error::inconsistent("saga", "body", row.id, e))?,
                wake_at: row.wake_at,
                started_at: row.started_at,
                trace: TraceContext::from_fields(row.traceparent.as_deref(), None, None),
            },
            wait_until: row.wait_until,
            progress_at: row.progress_at,
            stuck: row.stuck,
        })
    }
}
