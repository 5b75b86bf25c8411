use std::collections::HashSet;
use std::time::Duration;

use palinode_db::{Error, Tx};
use palinode_outbox::Rows;
use palinode_saga::{Disposition, State, Status};
use palinode_telemetry::TraceContext;
use palinode_values::{SagaId, Timestamp};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::runner::encode::Payloads;

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
pub(crate) struct WaitColumns<'h> {
    pub(crate) waits_for: Option<&'static str>,
    pub(crate) waits_step: Option<&'h str>,
    pub(crate) wait_until: Option<Timestamp>,
}

/// A head row as it is to be written.
#[derive(Debug, Clone)]
pub(crate) struct HeadChange<'h> {
    pub(crate) head: &'h Head,
    /// Version that stands in the table.
    pub(crate) expected: i64,
    pub(crate) waits: WaitColumns<'h>,
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
    /// What came with it, or was sent, packed.
    pub(crate) payloads: Option<Vec<u8>>,
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

/// What new sagas send: rows of the outbox, and whose they are.
#[derive(Debug, Default)]
pub(crate) struct Sent<'r> {
    pub(crate) rows: Rows<'r>,
    pub(crate) sagas: Vec<SagaId>,
}

/// Inserts new heads, whole, with their history and what they send; returns the ids that were new.
/// A second id for one business key, or a second start of one id, loses.
///
/// # Errors
/// `Contended`: `all` were to be new, and one of them was not. Nothing was done.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    plan_names: &[&str],
    changes: &[HeadChange<'_>],
    history: &[&HistoryRow],
    sent: &Sent<'_>,
    all: bool,
) -> Result<HashSet<SagaId>, Error> {
    let columns = Columns::of(changes)?;
    let history = HistoryColumns::of(history);
    let keys = changes.iter().map(|c| c.head.business_key.as_str());
    let keys: Vec<&str> = keys.collect();
    let lanes: Vec<i16> = changes.iter().map(|c| lane(c.head.id)).collect();
    let trace = |of: fn(&TraceContext) -> Option<&str>| -> Vec<Option<&str>> {
        let traces = changes.iter().map(|c| c.head.trace.as_ref());
        traces.map(|trace| trace.and_then(of)).collect()
    };
    let parents = changes.iter().map(|c| c.head.trace.as_ref());
    let parents = parents.map(|trace| trace.map(TraceContext::traceparent));
    let parents: Vec<Option<String>> = parents.collect();
    let Sent { rows, sagas } = sent;
    let sagas: Vec<Uuid> = sagas.iter().map(|id| id.0).collect();
    let won = sqlx::query_file_scalar!(
        "src/sql/insert_sagas.sql",
        &columns.ids,
        &lanes,
        &columns.plans,
        plan_names as &[&str],
        &keys as &[&str],
        &columns.versions,
        &columns.states as &[&str],
        &columns.bodies,
        &columns.waits_for as &[Option<&str>],
        &columns.waits_steps as &[Option<&str>],
        &columns.wait_untils as &[Option<Timestamp>],
        &columns.wake_ats as &[Option<Timestamp>],
        &columns.owed_sinces as &[Option<Timestamp>],
        &columns.held_bys as &[Option<&str>],
        &parents as &[Option<String>],
        &trace(|t| t.tracestate.as_deref()) as &[Option<&str>],
        &trace(|t| t.baggage.as_deref()) as &[Option<&str>],
        &history.ids,
        &history.versions,
        &history.kinds,
        &history.bodies as &[&[u8]],
        &history.payloads as &[Option<&[u8]>],
        &rows.lanes,
        &rows.topics,
        &rows.event_ids,
        &rows.keys as &[&[u8]],
        &rows.traceparents,
        &rows.tracestates as &[Option<&str>],
        &rows.baggages as &[Option<&str>],
        &rows.headers,
        &rows.payloads as &[&[u8]],
        &sagas,
        all,
    )
    .fetch_one(connection)
    .await?;
    Ok(won.into_iter().map(SagaId).collect())
}

/// Of sagas that could not be inserted: those that exist under that very id.
pub(crate) async fn existing(
    connection: &mut PgConnection,
    ids: &[SagaId],
) -> Result<Vec<SagaId>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_scalar!("SELECT id FROM saga_key WHERE id = ANY($1)", &ids)
        .fetch_all(connection)
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

    /// Both.
    pub(crate) fn append(&mut self, other: Self) {
        self.heads.extend(other.heads);
        self.unreadable.extend(other.unreadable);
    }
}

/// Loads and locks heads, in id order, or two batches would deadlock.
pub(crate) async fn lock(tx: &mut Tx, ids: &[SagaId]) -> Result<Loaded, Error> {
    if ids.is_empty() {
        return Ok(Loaded::default());
    }
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_file_as!(HeadRow, "src/sql/lock_sagas.sql", &ids);
    Ok(Loaded::of(rows.fetch_all(tx.conn()).await?))
}

/// Like [`lock`], of due sagas: what another batch holds is left to it.
pub(crate) async fn lock_due(tx: &mut Tx, ids: &[SagaId]) -> Result<Loaded, Error> {
    if ids.is_empty() {
        return Ok(Loaded::default());
    }
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_file_as!(HeadRow, "src/sql/lock_due_sagas.sql", &ids);
    Ok(Loaded::of(rows.fetch_all(tx.conn()).await?))
}

/// Like [`lock`], of sagas that a breaker holds: what another batch holds is left to it.
pub(crate) async fn lock_held(tx: &mut Tx, ids: &[SagaId]) -> Result<Loaded, Error> {
    if ids.is_empty() {
        return Ok(Loaded::default());
    }
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_file_as!(HeadRow, "src/sql/lock_held_sagas.sql", &ids);
    Ok(Loaded::of(rows.fetch_all(tx.conn()).await?))
}

/// Sagas whose timer is due, at most `per_lane` of each lane, oldest first: no single queue head.
pub(crate) async fn due(db: &palinode_db::Db, per_lane: i64) -> Result<Vec<SagaId>, Error> {
    let lanes: Vec<i16> = (0..LANES).collect();
    let rows = sqlx::query_file_scalar!("src/sql/due_sagas.sql", &lanes, per_lane);
    let rows = rows.fetch_all(db.pool()).await?;
    Ok(rows.into_iter().map(SagaId).collect())
}

/// Writes heads under the versions that stand in the table, with their history and what they send,
/// in one statement: all of it, or nothing.
///
/// # Errors
/// `Contended`: somebody else has moved one of them on.
pub(crate) async fn advance(
    connection: &mut PgConnection,
    changes: &[HeadChange<'_>],
    history: &[&HistoryRow],
    rows: &Rows<'_>,
) -> Result<(), Error> {
    if changes.is_empty() && rows.event_ids.is_empty() {
        return Ok(());
    }
    let columns = Columns::of(changes)?;
    let history = HistoryColumns::of(history);
    let expected: Vec<i64> = changes.iter().map(|c| c.expected).collect();
    let progressed: Vec<bool> = changes.iter().map(|c| c.progressed).collect();
    let closed = changes.iter().map(|c| c.head.state.closed.map(closed_word));
    let closed: Vec<Option<&str>> = closed.collect();
    sqlx::query_file!(
        "src/sql/advance_sagas.sql",
        &columns.ids,
        &expected,
        &columns.versions,
        &columns.states as &[&str],
        &columns.bodies,
        &columns.waits_for as &[Option<&str>],
        &columns.waits_steps as &[Option<&str>],
        &columns.wait_untils as &[Option<Timestamp>],
        &columns.wake_ats as &[Option<Timestamp>],
        &progressed,
        &columns.plans,
        &columns.owed_sinces as &[Option<Timestamp>],
        &columns.held_bys as &[Option<&str>],
        &closed as &[Option<&str>],
        &history.ids,
        &history.versions,
        &history.kinds,
        &history.bodies as &[&[u8]],
        &history.payloads as &[Option<&[u8]>],
        &rows.lanes,
        &rows.topics,
        &rows.event_ids,
        &rows.keys as &[&[u8]],
        &rows.traceparents,
        &rows.tracestates as &[Option<&str>],
        &rows.baggages as &[Option<&str>],
        &rows.headers,
        &rows.payloads as &[&[u8]],
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

/// Asks about sagas again later, without touching anything else of them.
pub(crate) async fn postpone(tx: &mut Tx, ids: &[SagaId], pause: Duration) -> Result<(), Error> {
    if ids.is_empty() {
        return Ok(());
    }
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

/// What the sagas were given, have answered and have sent; those without any are left out.
pub(crate) async fn payloads(
    tx: &mut Tx,
    ids: &[SagaId],
) -> Result<Vec<(SagaId, Payloads)>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_file!("src/sql/payloads_of_sagas.sql", &ids)
        .fetch_all(tx.conn())
        .await?;
    let mut sagas: Vec<(SagaId, Payloads)> = Vec::with_capacity(ids.len());
    for row in rows {
        let id = SagaId(row.saga_id);
        if sagas.last().is_none_or(|(last, _)| *last != id) {
            sagas.push((id, Payloads::default()));
        }
        let (_, payloads) = sagas.last_mut().expect("one was just pushed");
        let unpacked = payloads.unpack(&row.payloads);
        unpacked.map_err(|e| Error::inconsistent("saga_history", "payloads", id, e))?;
    }
    Ok(sagas)
}

/// Keeps what came too late.
pub(crate) async fn insert_late(tx: &mut Tx, rows: &[LateRow]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
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
struct Columns<'h> {
    ids: Vec<Uuid>,
    plans: Vec<i32>,
    versions: Vec<i64>,
    states: Vec<&'static str>,
    bodies: Vec<Vec<u8>>,
    waits_for: Vec<Option<&'static str>>,
    waits_steps: Vec<Option<&'h str>>,
    wait_untils: Vec<Option<Timestamp>>,
    wake_ats: Vec<Option<Timestamp>>,
    owed_sinces: Vec<Option<Timestamp>>,
    held_bys: Vec<Option<&'h str>>,
}

impl<'h> Columns<'h> {
    fn of(changes: &[HeadChange<'h>]) -> Result<Self, Error> {
        let body = |c: &HeadChange<'_>| {
            serde_json::to_vec(&c.head.state)
                .map_err(|e| Error::inconsistent("saga", "body", c.head.id, e))
        };
        let states = changes.iter().map(|c| state_word(c.head.state.status));
        Ok(Self {
            ids: changes.iter().map(|c| c.head.id.0).collect(),
            plans: changes.iter().map(|c| c.head.plan_id).collect(),
            versions: changes.iter().map(|c| c.head.version).collect(),
            states: states.collect(),
            bodies: changes.iter().map(body).collect::<Result<_, _>>()?,
            waits_for: changes.iter().map(|c| c.waits.waits_for).collect(),
            waits_steps: changes.iter().map(|c| c.waits.waits_step).collect(),
            wait_untils: changes.iter().map(|c| c.waits.wait_until).collect(),
            wake_ats: changes.iter().map(|c| c.head.wake_at).collect(),
            owed_sinces: changes.iter().map(|c| c.owed_since).collect(),
            held_bys: changes.iter().map(|c| c.head.held_by.as_deref()).collect(),
        })
    }
}

/// Rows of history, by column.
struct HistoryColumns<'h> {
    ids: Vec<Uuid>,
    versions: Vec<i64>,
    kinds: Vec<i16>,
    bodies: Vec<&'h [u8]>,
    payloads: Vec<Option<&'h [u8]>>,
}

impl<'h> HistoryColumns<'h> {
    fn of(rows: &[&'h HistoryRow]) -> Self {
        Self {
            ids: rows.iter().map(|r| r.saga_id.0).collect(),
            versions: rows.iter().map(|r| r.version).collect(),
            kinds: rows.iter().map(|r| r.kind).collect(),
            bodies: rows.iter().map(|r| r.body.as_slice()).collect(),
            payloads: rows.iter().map(|r| r.payloads.as_deref()).collect(),
        }
    }
}
