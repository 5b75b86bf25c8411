use std::collections::HashMap;

use chrono::TimeDelta;
use palinode_db::{Db, Error};
use palinode_messaging::lane_of;
use palinode_telemetry::TraceContext;
use palinode_values::{SagaId, Timestamp};
use uuid::Uuid;

use super::saga::Head;
use crate::runner::encode::{INPUT, Payload, Payloads};

/// A saga as it is shown.
#[derive(Debug, Clone)]
pub(crate) struct SagaRow {
    pub(crate) head: Head,
    pub(crate) wait_until: Option<Timestamp>,
    pub(crate) progress_at: Timestamp,
    /// Why nothing will come of it by itself; `None` when all is well.
    pub(crate) stuck: Option<String>,
    /// Why one of its records cannot be published.
    pub(crate) parked: Option<String>,
    /// How long its oldest record waits to be published; only when one saga is asked for.
    pub(crate) unpublished: Option<TimeDelta>,
    /// What the breaker says that holds it; only when one saga is asked for.
    pub(crate) breaker: Option<String>,
}

/// A saga of a list; of one that cannot be read, its id.
pub(crate) type Listed = Result<SagaRow, SagaId>;

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

/// Sagas, archived or not, newest first, after `before` and in `state` where given.
pub(crate) async fn list(
    db: &Db,
    state: Option<&str>,
    before: Option<SagaId>,
    limit: i64,
) -> Result<Vec<Listed>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT id AS "id!", plan_id AS "plan_id!", business_key AS "business_key!",
                  version AS "version!", body AS "body!", wake_at, held_by,
                  started_at AS "started_at!", wait_until, progress_at AS "progress_at!",
                  traceparent, parked, stuck
             FROM saga_shown
            WHERE ($1::text IS NULL OR state = $1) AND ($2::uuid IS NULL OR id < $2)
            ORDER BY id DESC LIMIT $3"#,
        state,
        before.map(|id| id.0),
        limit
    )
    .fetch_all(db.pool())
    .await?;
    let mut rows: Vec<Row> = rows;
    // two statements: a union of them would read every saga to find the newest
    if !matches!(state, Some("running" | "compensating")) {
        rows.extend(archived(db, state, before, limit).await?);
        rows.sort_unstable_by_key(|row| std::cmp::Reverse(row.id));
        rows.truncate(usize::try_from(limit).unwrap_or_default());
    }
    Ok(rows.into_iter().map(listed).collect())
}

/// Archived sagas, newest first, after `before` and in `state` where given.
async fn archived(
    db: &Db,
    state: Option<&str>,
    before: Option<SagaId>,
    limit: i64,
) -> Result<Vec<Row>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT saga_id AS id, plan_id, business_key, version, body,
                  NULL::timestamptz AS wake_at, NULL::text AS held_by, started_at,
                  NULL::timestamptz AS wait_until, progress_at, traceparent,
                  NULL::text AS parked, NULL::text AS stuck
             FROM saga_archive
            WHERE ($1::text IS NULL OR state = $1) AND ($2::uuid IS NULL OR saga_id < $2)
            ORDER BY saga_id DESC LIMIT $3"#,
        state,
        before.map(|id| id.0),
        limit
    );
    Ok(rows.fetch_all(db.pool()).await?)
}

/// One archived saga.
async fn get_archived(db: &Db, id: SagaId) -> Result<Option<SagaRow>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT saga_id AS id, plan_id, business_key, version, body,
                  NULL::timestamptz AS wake_at, NULL::text AS held_by, started_at,
                  NULL::timestamptz AS wait_until, progress_at, traceparent,
                  NULL::text AS parked, NULL::text AS stuck
             FROM saga_archive WHERE saga_id = $1"#,
        id.0
    );
    let row = row.fetch_optional(db.pool()).await?;
    row.map(SagaRow::try_from).transpose()
}

/// Sagas that are under way and stuck, newest first, after `before`.
pub(crate) async fn list_stuck(
    db: &Db,
    before: Option<SagaId>,
    limit: i64,
) -> Result<Vec<Listed>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT s.id AS "id!", s.plan_id AS "plan_id!", s.business_key AS "business_key!",
                  s.version AS "version!", s.body AS "body!", s.wake_at, s.held_by,
                  s.started_at AS "started_at!", s.wait_until, s.progress_at AS "progress_at!",
                  s.traceparent, s.parked, s.stuck
             FROM (SELECT c.id FROM saga_case c -- few, however many sagas there are
                    WHERE c.class IN ('message_parked', 'no_wake_up', 'timer_not_fired', 'late',
                                      'no_progress')
                      AND ($1::uuid IS NULL OR c.id < $1)
                    ORDER BY c.id DESC LIMIT $2) c
             JOIN saga_shown s ON s.id = c.id
            ORDER BY s.id DESC"#,
        before.map(|id| id.0),
        limit
    )
    .fetch_all(db.pool())
    .await?;
    Ok(rows.into_iter().map(listed).collect())
}

/// One saga, archived or not.
pub(crate) async fn get(db: &Db, id: SagaId) -> Result<Option<SagaRow>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT id AS "id!", plan_id AS "plan_id!", business_key AS "business_key!",
                  version AS "version!", body AS "body!", wake_at, held_by,
                  started_at AS "started_at!", wait_until, progress_at AS "progress_at!",
                  traceparent, parked, stuck
             FROM saga_shown WHERE id = $1"#,
        id.0
    )
    .fetch_optional(db.pool())
    .await?;
    let Some(mut row) = row.map(SagaRow::try_from).transpose()? else {
        return get_archived(db, id).await;
    };
    let key = id.key();
    let told = sqlx::query!(
        r#"SELECT (SELECT extract(epoch FROM clock_timestamp() - min(o.created_at))::float8
                     FROM outbox o WHERE o.lane = $1 AND o.key = $2) AS waits_secs,
                  (SELECT CASE b.state WHEN 'open' THEN 'open since ' ELSE 'closed since ' END
                            || to_char(b.since, 'YYYY-MM-DD HH24:MI:SS UTC') || ': ' || b.why
                     FROM breaker b
                    WHERE b.participant || '/' || b.direction = $3) AS breaker"#,
        lane_of(&key),
        key,
        row.head.held_by
    )
    .fetch_one(db.pool())
    .await?;
    let millis = told.waits_secs.map(|secs| (secs.max(0.0) * 1000.0).round());
    #[expect(clippy::cast_possible_truncation, reason = "an age in milliseconds")]
    let unpublished = millis.map(|millis| TimeDelta::milliseconds(millis as i64));
    row.unpublished = unpublished;
    row.breaker = told.breaker;
    Ok(Some(row))
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

/// The saga of a plan's business key, and its input.
pub(crate) async fn by_key(
    db: &Db,
    plan: &str,
    key: &str,
) -> Result<Option<(SagaId, Payload)>, Error> {
    let row = sqlx::query!(
        r#"SELECT k.id, h.payloads AS "payloads!"
             FROM saga_key k
             JOIN saga_history h ON h.saga_id = k.id AND h.version = 1
            WHERE k.plan_name = $1 AND k.business_key = $2 AND h.payloads IS NOT NULL"#,
        plan,
        key
    )
    .fetch_optional(db.pool())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let mut payloads = Payloads::default();
    let unreadable = |why: &dyn ToString| {
        Error::inconsistent("saga_history", "payloads", row.id, why.to_string())
    };
    let unpacked = payloads.unpack(&row.payloads);
    unpacked.map_err(|error| unreadable(&error))?;
    let input = payloads.get(INPUT).cloned();
    let input = input.ok_or_else(|| unreadable(&"it has no input"))?;
    Ok(Some((SagaId(row.id), input)))
}

/// Those of the ids that are sagas, and the words of their states.
pub(crate) async fn states(db: &Db, ids: &[SagaId]) -> Result<Vec<(SagaId, String)>, Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        r#"SELECT id AS "id!", state AS "state!" FROM saga WHERE id = ANY($1)
           UNION ALL
           SELECT saga_id, state FROM saga_archive WHERE saga_id = ANY($1)"#,
        &ids
    )
    .fetch_all(db.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (SagaId(row.id), row.state))
        .collect())
}

/// A case as it is stored, which is: computed.
#[derive(Debug, Clone)]
pub(crate) struct CaseRow {
    pub(crate) id: SagaId,
    pub(crate) class: String,
    pub(crate) since: Option<Timestamp>,
    pub(crate) plan_name: String,
    pub(crate) business_key: String,
    pub(crate) state: String,
    pub(crate) saga: Listed,
}

/// A page of cases, and how many there are of each class in all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cases {
    pub(crate) page: Vec<CaseRow>,
    pub(crate) counts: Vec<(String, i64)>,
}

/// Plans that are stored, and none of the `known`: nearly always none.
pub(crate) async fn unknown_plans(db: &Db, known: &[i32]) -> Result<Vec<i32>, Error> {
    let unknown = sqlx::query_scalar!("SELECT id FROM plan WHERE id <> ALL($1)", known);
    Ok(unknown.fetch_all(db.pool()).await?)
}

/// Cases, newest saga first, after `before` and of `class` where given. Sagas whose plan is one of
/// the `unknown` are cases too.
pub(crate) async fn cases(
    db: &Db,
    unknown: &[i32],
    class: Option<&str>,
    before: Option<(SagaId, &str)>,
    limit: i64,
) -> Result<Cases, Error> {
    // one look at what is under way: for the page, and for the counts
    let found = sqlx::query!(
        r#"WITH found AS MATERIALIZED (
             SELECT id, class, since FROM saga_case
             UNION ALL
             SELECT id, 'plan_missing', started_at FROM saga
              WHERE cardinality($1::int[]) > 0 AND plan_id = ANY($1)
                AND state IN ('running', 'compensating', 'needs-attention') AND closed IS NULL
           ), page AS (
             SELECT id, class, since FROM found
              WHERE ($2::text IS NULL OR class = $2)
                AND ($3::uuid IS NULL OR (id, class) < ($3, $4))
              ORDER BY id DESC, class DESC LIMIT $5
           ), counted AS (
             SELECT class, count(*) AS count FROM found GROUP BY class
           )
           SELECT ARRAY(SELECT id FROM page ORDER BY id DESC, class DESC) AS "ids!",
                  ARRAY(SELECT class FROM page ORDER BY id DESC, class DESC) AS "classes!",
                  ARRAY(SELECT since FROM page ORDER BY id DESC, class DESC)
                    AS "sinces!: Vec<Option<Timestamp>>",
                  ARRAY(SELECT class FROM counted ORDER BY class) AS "counted!",
                  ARRAY(SELECT count FROM counted ORDER BY class) AS "counts!""#,
        unknown,
        class,
        before.map(|(id, _)| id.0),
        before.map(|(_, class)| class),
        limit
    )
    .fetch_one(db.pool())
    .await?;
    let sagas = shown(db, &found.ids).await?;
    let keys = found.ids.into_iter().zip(found.classes).zip(found.sinces);
    // a saga that went between the two looks is no case any more
    let page = keys.filter_map(|((id, class), since)| {
        let (row, plan_name, state) = sagas.get(&id)?.clone();
        Some(CaseRow {
            id: SagaId(id),
            class,
            since,
            plan_name,
            business_key: row.business_key.clone(),
            state,
            saga: listed(row),
        })
    });
    Ok(Cases {
        page: page.collect(),
        counts: found.counted.into_iter().zip(found.counts).collect(),
    })
}

/// The rows of the sagas, with the names of their plans and their states.
async fn shown(db: &Db, ids: &[Uuid]) -> Result<HashMap<Uuid, (Row, String, String)>, Error> {
    let rows = sqlx::query!(
        r#"SELECT id AS "id!", plan_id AS "plan_id!", plan_name AS "plan_name!",
                  business_key AS "business_key!", version AS "version!", state AS "state!",
                  body AS "body!", wake_at, held_by, started_at AS "started_at!", wait_until,
                  progress_at AS "progress_at!", traceparent, parked, stuck
             FROM saga_shown WHERE id = ANY($1)"#,
        ids
    )
    .fetch_all(db.pool())
    .await?;
    let rows = rows.into_iter().map(|row| {
        let shown = Row {
            id: row.id,
            plan_id: row.plan_id,
            business_key: row.business_key,
            version: row.version,
            body: row.body,
            wake_at: row.wake_at,
            held_by: row.held_by,
            started_at: row.started_at,
            wait_until: row.wait_until,
            progress_at: row.progress_at,
            traceparent: row.traceparent,
            parked: row.parked,
            stuck: row.stuck,
        };
        (row.id, (shown, row.plan_name, row.state))
    });
    Ok(rows.collect())
}

/// Somebody has looked at what contradicts in the saga; returns how much that was.
pub(crate) async fn acknowledge(db: &Db, id: SagaId, principal: &str) -> Result<u64, Error> {
    let done = sqlx::query!(
        "UPDATE saga_late SET acknowledged_at = now(), acknowledged_by = $2
          WHERE saga_id = $1 AND note = 'contradiction' AND acknowledged_at IS NULL",
        id.0,
        principal
    )
    .execute(db.pool())
    .await?;
    Ok(done.rows_affected())
}

#[derive(Debug, Clone)]
struct Row {
    id: Uuid,
    plan_id: i32,
    business_key: String,
    version: i64,
    body: Vec<u8>,
    wake_at: Option<Timestamp>,
    held_by: Option<String>,
    started_at: Timestamp,
    wait_until: Option<Timestamp>,
    progress_at: Timestamp,
    traceparent: Option<String>,
    parked: Option<String>,
    stuck: Option<String>,
}

fn listed(row: Row) -> Listed {
    let id = SagaId(row.id);
    SagaRow::try_from(row).map_err(|error| {
        tracing::error!(saga = %id, %error, "a saga cannot be read");
        id
    })
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
                held_by: row.held_by,
                started_at: row.started_at,
                trace: TraceContext::from_fields(row.traceparent.as_deref(), None, None),
            },
            wait_until: row.wait_until,
            progress_at: row.progress_at,
            stuck: row.stuck,
            parked: row.parked,
            unpublished: None,
            breaker: None,
        })
    }
}
