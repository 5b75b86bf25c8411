use std::time::Duration;

use bytes::Bytes;
use palinode_db::{Error, Tx};
use palinode_saga::{Disposition, State, Status};
use palinode_telemetry::TraceContext;
use palinode_values::{SagaId, Timestamp};
use uuid::Uuid;

use crate::runner::encode::Payload;

/// A head row.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) id: SagaId,
    pub(crate) plan_id: i32,
    pub(crate) business_key: String,
    pub(crate) version: i64,
    pub(crate) state: State,
    pub(crate) wake_at: Option<Timestamp>,
    /// The breaker that holds it.
    pub(crate) held_by: Option<String>,
    pub(crate) started_at: Timestamp,
    pub(crate) trace: Option<TraceContext>,
}

/// What a saga waits for, as columns.
#[derive(Debug, Clone, Default)]
pub(crate) struct WaitColumns {
    pub(crate) waits_for: Option<&'static str>,
    pub(crate) waits_step: Option<String>,
    pub(crate) wait_until: Option<Timestamp>,
}

/// A head row as it is to be written.
#[derive(Debug, Clone)]
pub(crate) struct HeadChange {
    pub(crate) head: Head,
    /// Version that was loaded.
    pub(crate) expected: i64,
    pub(crate) waits: WaitColumns,
    /// Since when the oldest step is tried that may not fail.
    pub(crate) owed_since: Option<Timestamp>,
    /// Whether a step was settled, or the state changed.
    pub(crate) progressed: bool,
}

/// A history row.
#[derive(Debug, Clone)]
pub(crate) struct HistoryRow {
    pub(crate) saga_id: SagaId,
    pub(crate) version: i64,
    pub(crate) kind: i16,
    pub(crate) body: Vec<u8>,
}

/// Something that came too late, or contradicts.
#[derive(Debug, Clone)]
pub(crate) struct LateRow {
    pub(crate) saga_id: SagaId,
    pub(crate) note: &'static str,
    pub(crate) body: Vec<u8>,
}

/// Lanes of the timers.
pub(crate) const LANES: i16 = 16;

/// The timer lane of a saga.
pub(crate) fn lane(id: SagaId) -> i16 {
    // the low bits of a UUIDv7 are random
    i16::from(id.0.as_bytes()[15]) % LANES
}

/// The word of a status in the column `state`.
pub(crate) fn state_word(status: Status) -> &'static str {
    match status {
        Status::New | Status::Running => "running",
        Status::Compensating => "compensating",
        Status::Completed => "completed",
        Status::Compensated => "compensated",
        Status::NeedsAttention(_) => "needs-attention",
    }
}

/// The word of a disposition in the column `closed`.
pub(crate) fn closed_word(disposition: Disposition) -> &'static str {
    match disposition {
        Disposition::ResidueAccepted => "residue-accepted",
        Disposition::Abandoned => "abandoned",
    }
}

/// Database time of the transaction.
pub(crate) async fn now(tx: &mut Tx) -> Result<Timestamp, Error> {
    Ok(sqlx::query_scalar!(r#"SELECT now() AS "now!""#)
        .fetch_one(tx.conn())
        .await?)
}

/// Inserts new heads, whole; returns the ids that were new. A second id for one business key, or a
/// second start of one id, loses.
pub(crate) async fn insert(
    tx: &mut Tx,
    plan_names: &[String],
    changes: &[HeadChange],
) -> Result<Vec<SagaId>, Error> {
    let columns = Columns::of(changes)?;
    let keys: Vec<String> = changes
        .iter()
        .map(|c| c.head.business_key.clone())
        .collect();
    let plans: Vec<i32> = changes.iter().map(|c| c.head.plan_id).collect();
    let lanes: Vec<i16> = changes.iter().map(|c| lane(c.head.id)).collect();
    let trace = |of: fn(&TraceContext) -> Option<String>| -> Vec<Option<String>> {
        changes
            .iter()
            .map(|c| c.head.trace.as_ref().and_then(of))
            .collect()
    };
    let rows = sqlx::query_scalar!(
        r#"INSERT INTO saga (id, lane, plan_id, plan_name, business_key, version, state, body,
                             waits_for, waits_step, wait_until, wake_at, owed_since, held_by,
                             traceparent, tracestate, baggage)
           SELECT n.id, n.lane, n.plan_id, n.plan_name, n.business_key, n.version, n.state, n.body,
                  n.waits_for, n.waits_step, n.wait_until, n.wake_at, n.owed_since, n.held_by,
                  n.traceparent, n.tracestate, n.baggage
             FROM unnest($1::uuid[], $2::smallint[], $3::int[], $4::text[], $5::text[],
                         $6::bigint[], $7::text[], $8::bytea[], $9::text[], $10::text[],
                         $11::timestamptz[], $12::timestamptz[], $13::text[], $14::text[],
                         $15::text[], $16::timestamptz[], $17::text[])
               AS n(id, lane, plan_id, plan_name, business_key, version, state, body, waits_for,
                    waits_step, wait_until, wake_at, traceparent, tracestate, baggage, owed_since,
                    held_by)
            ORDER BY n.plan_name, n.business_key -- one order of locks for all batches
               ON CONFLICT DO NOTHING
           RETURNING id"#,
        &columns.ids,
        &lanes,
        &plans,
        plan_names,
        &keys,
        &columns.versions,
        &columns.states,
        &columns.bodies,
        &columns.waits_for as &[Option<String>],
        &columns.waits_steps as &[Option<String>],
        &columns.wait_untils as &[Option<Timestamp>],
        &columns.wake_ats as &[Option<Timestamp>],
        &trace(|t| Some(t.traceparent())) as &[Option<String>],
        &trace(|t| t.tracestate.as_deref().map(str::to_owned)) as &[Option<String>],
        &trace(|t| t.baggage.as_deref().map(str::to_owned)) as &[Option<String>],
        &columns.owed_sinces as &[Option<Timestamp>],
        &columns.held_bys as &[Option<String>],
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(SagaId).collect())
}

/// Of sagas that could not be inserted: those that exist under that very id.
pub(crate) async fn existing(tx: &mut Tx, ids: &[SagaId]) -> Result<Vec<SagaId>, Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_scalar!("SELECT id FROM saga WHERE id = ANY($1)", &ids)
        .fetch_all(tx.conn())
        .await?;
    Ok(rows.into_iter().map(SagaId).collect())
}

/// Heads as they were loaded, and the ids of rows that cannot be read: one bad row must not hold up
/// the others.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) heads: Vec<Head>,
    pub(crate) unreadable: Vec<SagaId>,
}

impl Loaded {
    fn of(rows: Vec<HeadRow>) -> Self {
        let mut loaded = Self::default();
        for row in rows {
            let id = SagaId(row.id);
            match Head::try_from(row) {
                Ok(head) => loaded.heads.push(head),
                Err(error) => {
                    tracing::error!(saga = %id, %error, "a saga cannot be read");
                    loaded.unreadable.push(id);
                }
            }
        }
        loaded
    }
}

/// Loads and locks heads, in id order, or two batches would deadlock.
pub(crate) async fn lock(tx: &mut Tx, ids: &[SagaId]) -> Result<Loaded, Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        HeadRow,
        "SELECT id, plan_id, business_key, version, body, wake_at, held_by, started_at,
                traceparent, tracestate, baggage
           FROM saga WHERE id = ANY($1) ORDER BY id FOR UPDATE",
        &ids
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(Loaded::of(rows))
}

/// Like [`lock`], of due sagas: what another batch holds is left to it.
pub(crate) async fn lock_due(tx: &mut Tx, ids: &[SagaId]) -> Result<Loaded, Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        HeadRow,
        "SELECT id, plan_id, business_key, version, body, wake_at, held_by, started_at,
                traceparent, tracestate, baggage
           FROM saga WHERE id = ANY($1) AND wake_at <= now()
          ORDER BY id FOR UPDATE SKIP LOCKED",
        &ids
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(Loaded::of(rows))
}

/// Like [`lock`], of sagas that a breaker holds: what another batch holds is left to it.
pub(crate) async fn lock_held(tx: &mut Tx, ids: &[SagaId]) -> Result<Loaded, Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        HeadRow,
        "SELECT id, plan_id, business_key, version, body, wake_at, held_by, started_at,
                traceparent, tracestate, baggage
           FROM saga WHERE id = ANY($1) AND held_by IS NOT NULL
          ORDER BY id FOR UPDATE SKIP LOCKED",
        &ids
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(Loaded::of(rows))
}

/// Sagas whose timer is due, at most `per_lane` of each lane, oldest first: no single queue head.
pub(crate) async fn due(db: &palinode_db::Db, per_lane: i64) -> Result<Vec<SagaId>, Error> {
    let lanes: Vec<i16> = (0..LANES).collect();
    let rows = sqlx::query_scalar!(
        r#"SELECT d.id AS "id!" FROM unnest($1::smallint[]) AS l(lane) CROSS JOIN LATERAL (
               SELECT id FROM saga
                WHERE lane = l.lane AND wake_at <= now() -- now(), not clock_timestamp(): indexable
                ORDER BY wake_at LIMIT $2) AS d"#,
        &lanes,
        per_lane
    )
    .fetch_all(db.pool())
    .await?;
    Ok(rows.into_iter().map(SagaId).collect())
}

/// Writes heads under the version they were loaded with; returns the ids that won.
pub(crate) async fn save(tx: &mut Tx, changes: &[HeadChange]) -> Result<Vec<SagaId>, Error> {
    let columns = Columns::of(changes)?;
    let expected: Vec<i64> = changes.iter().map(|c| c.expected).collect();
    let progressed: Vec<bool> = changes.iter().map(|c| c.progressed).collect();
    let closed = |c: &HeadChange| c.head.state.closed.map(closed_word).map(str::to_owned);
    let closed: Vec<Option<String>> = changes.iter().map(closed).collect();
    let plans: Vec<i32> = changes.iter().map(|c| c.head.plan_id).collect();
    let rows = sqlx::query_scalar!(
        "UPDATE saga s
            SET plan_id = n.plan_id, version = n.version, state = n.state, body = n.body,
                waits_for = n.waits_for, waits_step = n.waits_step, wait_until = n.wait_until,
                wake_at = n.wake_at, owed_since = n.owed_since, held_by = n.held_by, closed = n.closed,
                progress_at = CASE WHEN n.progressed THEN now() ELSE s.progress_at END
           FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::bytea[],
                       $6::text[], $7::text[], $8::timestamptz[], $9::timestamptz[],
                       $10::bool[], $11::int[], $12::timestamptz[], $13::text[], $14::text[])
             AS n(id, expected, version, state, body, waits_for, waits_step, wait_until, wake_at,
                  progressed, plan_id, owed_since, held_by, closed)
          WHERE s.id = n.id AND s.version = n.expected -- the fence: a stale writer changes nothing
         RETURNING s.id",
        &columns.ids,
        &expected,
        &columns.versions,
        &columns.states,
        &columns.bodies,
        &columns.waits_for as &[Option<String>],
        &columns.waits_steps as &[Option<String>],
        &columns.wait_untils as &[Option<Timestamp>],
        &columns.wake_ats as &[Option<Timestamp>],
        &progressed,
        &plans,
        &columns.owed_sinces as &[Option<Timestamp>],
        &columns.held_bys as &[Option<String>],
        &closed as &[Option<String>],
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(SagaId).collect())
}

/// Asks about sagas again later, without touching anything else of them.
pub(crate) async fn postpone(tx: &mut Tx, ids: &[SagaId], pause: Duration) -> Result<(), Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    sqlx::query!(
        "UPDATE saga SET wake_at = now() + make_interval(secs => $2)
          WHERE id = ANY($1) AND wake_at IS NOT NULL",
        &ids,
        pause.as_secs_f64()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Writes history rows; `at` is the transaction's time.
pub(crate) async fn insert_history(
    tx: &mut Tx,
    at: Timestamp,
    rows: &[HistoryRow],
) -> Result<(), Error> {
    let ids: Vec<Uuid> = rows.iter().map(|r| r.saga_id.0).collect();
    let versions: Vec<i64> = rows.iter().map(|r| r.version).collect();
    let kinds: Vec<i16> = rows.iter().map(|r| r.kind).collect();
    let bodies: Vec<Vec<u8>> = rows.iter().map(|r| r.body.clone()).collect();
    sqlx::query!(
        "INSERT INTO saga_history (saga_id, version, at, kind, body)
         SELECT n.id, n.version, $5, n.kind, n.body
           FROM unnest($1::uuid[], $2::bigint[], $3::smallint[], $4::bytea[])
             AS n(id, version, kind, body)",
        &ids,
        &versions,
        &kinds,
        &bodies,
        at
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Writes payloads once; what is stored already stays as it is.
pub(crate) async fn insert_payloads(
    tx: &mut Tx,
    rows: &[(SagaId, String, Payload)],
) -> Result<(), Error> {
    let ids: Vec<Uuid> = rows.iter().map(|(id, ..)| id.0).collect();
    let slots: Vec<String> = rows.iter().map(|(_, slot, _)| slot.clone()).collect();
    let kinds: Vec<String> = rows.iter().map(|(.., p)| p.kind.clone()).collect();
    let bodies: Vec<Vec<u8>> = rows.iter().map(|(.., p)| p.body.to_vec()).collect();
    sqlx::query!(
        "INSERT INTO saga_payload (saga_id, slot, kind, body)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[])
         ON CONFLICT DO NOTHING",
        &ids,
        &slots,
        &kinds,
        &bodies
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Every payload of the sagas.
pub(crate) async fn payloads(
    tx: &mut Tx,
    ids: &[SagaId],
) -> Result<Vec<(SagaId, String, Payload)>, Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        // joined, not ANY: partitions are pruned row by row
        "SELECT p.saga_id, p.slot, p.kind, p.body
           FROM unnest($1::uuid[]) AS n(id) JOIN saga_payload p ON p.saga_id = n.id",
        &ids
    )
    .fetch_all(tx.conn())
    .await?;
    let payload = |kind, body| Payload {
        kind,
        body: Bytes::from(body),
    };
    Ok(rows
        .into_iter()
        .map(|r| (SagaId(r.saga_id), r.slot, payload(r.kind, r.body)))
        .collect())
}

/// Keeps what came too late.
pub(crate) async fn insert_late(tx: &mut Tx, rows: &[LateRow]) -> Result<(), Error> {
    let ids: Vec<Uuid> = rows.iter().map(|r| r.saga_id.0).collect();
    let notes: Vec<String> = rows.iter().map(|r| r.note.to_owned()).collect();
    let bodies: Vec<Vec<u8>> = rows.iter().map(|r| r.body.clone()).collect();
    sqlx::query!(
        "INSERT INTO saga_late (saga_id, note, body)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[])",
        &ids,
        &notes,
        &bodies
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

struct HeadRow {
    id: Uuid,
    plan_id: i32,
    business_key: String,
    version: i64,
    body: Vec<u8>,
    wake_at: Option<Timestamp>,
    held_by: Option<String>,
    started_at: Timestamp,
    traceparent: Option<String>,
    tracestate: Option<String>,
    baggage: Option<String>,
}

impl TryFrom<HeadRow> for Head {
    type Error = Error;

    fn try_from(row: HeadRow) -> Result<Self, Error> {
        Ok(Self {
            id: SagaId(row.id),
            plan_id: row.plan_id,
            business_key: row.business_key,
            version: row.version,
            state: serde_json::from_slice(&row.body)
                .map_err(|e| Error::inconsistent("saga", "body", row.id, e))?,
            wake_at: row.wake_at,
            held_by: row.held_by,
            started_at: row.started_at,
            trace: TraceContext::from_fields(
                row.traceparent.as_deref(),
                row.tracestate.as_deref(),
                row.baggage.as_deref(),
            ),
        })
    }
}

/// The columns that insert and save share.
struct Columns {
    ids: Vec<Uuid>,
    versions: Vec<i64>,
    states: Vec<String>,
    bodies: Vec<Vec<u8>>,
    waits_for: Vec<Option<String>>,
    waits_steps: Vec<Option<String>>,
    wait_untils: Vec<Option<Timestamp>>,
    wake_ats: Vec<Option<Timestamp>>,
    owed_sinces: Vec<Option<Timestamp>>,
    held_bys: Vec<Option<String>>,
}

impl Columns {
    fn of(changes: &[HeadChange]) -> Result<Self, Error> {
        let body = |c: &HeadChange| {
            serde_json::to_vec(&c.head.state)
                .map_err(|e| Error::inconsistent("saga", "body", c.head.id, e))
        };
        Ok(Self {
            ids: changes.iter().map(|c| c.head.id.0).collect(),
            versions: changes.iter().map(|c| c.head.version).collect(),
            states: changes
                .iter()
                .map(|c| state_word(c.head.state.status).to_owned())
                .collect(),
            bodies: changes.iter().map(body).collect::<Result<_, _>>()?,
            waits_for: changes
                .iter()
                .map(|c| c.waits.waits_for.map(str::to_owned))
                .collect(),
            waits_steps: changes.iter().map(|c| c.waits.waits_step.clone()).collect(),
            wait_untils: changes.iter().map(|c| c.waits.wait_until).collect(),
            wake_ats: changes.iter().map(|c| c.head.wake_at).collect(),
            owed_sinces: changes.iter().map(|c| c.owed_since).collect(),
            held_bys: changes.iter().map(|c| c.head.held_by.clone()).collect(),
        })
    }
}
