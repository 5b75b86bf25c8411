//! Bulks and their items.

use palinode_db::{Db, Error, Tx};
use palinode_saga::State;
use palinode_values::{BulkId, SagaId, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::convert::{By, Key, WantedBulk};
use crate::runner::deed::StoredDeed;

/// Which sagas: those that meet all of it, and have not ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) plan: Option<String>,
    pub(crate) plan_version: Option<i32>,
    /// As in the column `state`.
    pub(crate) states: Vec<&'static str>,
    /// What `saga_stuck` says; `any` for whatever it says.
    pub(crate) stuck: Option<String>,
    pub(crate) step: Option<String>,
    /// Plans and steps, side by side: it waits for one of these.
    pub(crate) waits_at: Option<(Vec<i32>, Vec<String>)>,
    pub(crate) held: bool,
    pub(crate) older_than_secs: Option<i64>,
    pub(crate) business_key_prefix: Option<String>,
}

/// What happens with a saga of a bulk, or why nothing does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct What {
    /// As after "would"; or why not.
    pub(crate) words: String,
    #[serde(default)]
    pub(crate) effects: Vec<String>,
    /// Constant name of why not; empty where it is done.
    #[serde(default)]
    pub(crate) refused: String,
}

/// Sagas with which the same happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) what: What,
    pub(crate) count: i32,
    /// Some of them.
    pub(crate) examples: Vec<SagaId>,
}

/// A bulk as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct BulkRow {
    pub(crate) id: BulkId,
    pub(crate) deed: StoredDeed,
    /// The filter, protobuf.
    pub(crate) asked: Vec<u8>,
    pub(crate) by: By,
    pub(crate) rate: i32,
    pub(crate) moved_too: bool,
    pub(crate) state: String,
    pub(crate) size: i32,
    pub(crate) preview: Vec<Count>,
    pub(crate) done: i32,
    pub(crate) refused: i32,
    pub(crate) moved: i32,
    pub(crate) failed: i32,
    pub(crate) created_at: Timestamp,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
}

/// A saga of a bulk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item {
    pub(crate) saga_id: SagaId,
    /// The version that was frozen.
    pub(crate) version: i64,
}

/// A saga of a bulk as it was frozen.
pub(crate) struct Candidate {
    pub(crate) saga_id: SagaId,
    pub(crate) plan_id: i32,
    /// Its state, unless it cannot be read.
    pub(crate) state: Option<State>,
}

/// What came of an item.
#[derive(Debug, Clone)]
pub(crate) struct Settled {
    pub(crate) saga_id: SagaId,
    pub(crate) outcome: Outcome,
}

/// The column `outcome`, with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Refused { rule: &'static str, words: String },
    Moved,
    Failed,
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused { .. } => "refused",
            Self::Moved => "moved",
            Self::Failed => "failed",
        }
    }
}

/// Bulks that wait to be run, or run.
pub(crate) async fn count_open(tx: &mut Tx) -> Result<i64, Error> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM bulk WHERE state IN ('prepared', 'running')"#
    );
    Ok(count.fetch_one(tx.conn()).await?)
}

/// Inserts a bulk that has no sagas yet.
pub(crate) async fn insert(tx: &mut Tx, id: BulkId, wanted: &WantedBulk) -> Result<(), Error> {
    let by = &wanted.by;
    let deed = serde_json::to_vec(&wanted.deed);
    let deed = deed.map_err(|e| Error::inconsistent("bulk", "verb", id, e))?;
    let key = wanted.key.as_ref();
    let inserted = sqlx::query!(
        "INSERT INTO bulk (id, verb, filter, reason, principal, rate, moved_too, state, size,
                           preview, key, fingerprint)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'prepared', 0, '[]', $8, $9)
         ON CONFLICT (principal, key) WHERE key IS NOT NULL DO NOTHING",
        id.0,
        deed,
        wanted.asked,
        by.reason,
        by.principal,
        wanted.rate,
        wanted.moved_too,
        key.map(|key| key.key.as_str()),
        key.map(|key| key.fingerprint.as_slice()),
    )
    .execute(tx.conn())
    .await?;
    // who waited here for another one with the key was sent back by the database, to look again
    match inserted.rows_affected() {
        1 => Ok(()),
        _ => Err(Error::inconsistent("bulk", "key", id, "is there already")),
    }
}

/// The bulk that a principal's key stands for, and whether it came of the same request.
pub(crate) async fn of_key(
    tx: &mut Tx,
    principal: &str,
    key: &Key,
) -> Result<Option<(BulkRow, bool)>, Error> {
    let found = sqlx::query!(
        r#"SELECT id, fingerprint = $3 AS "is_same!" FROM bulk WHERE principal = $1 AND key = $2"#,
        principal,
        key.key,
        key.fingerprint,
    )
    .fetch_optional(tx.conn())
    .await?;
    let Some(found) = found else { return Ok(None) };
    let row = get(tx.conn(), BulkId(found.id)).await?;
    Ok(row.map(|row| (row, found.is_same)))
}

/// Forgets keys that nobody sends again.
pub(crate) async fn forget_keys(db: &Db) -> Result<u64, Error> {
    let forgotten = sqlx::query!(
        "UPDATE bulk SET key = NULL, fingerprint = NULL
          WHERE key IS NOT NULL AND created_at < now() - interval '7 d'"
    )
    .execute(db.pool())
    .await?;
    Ok(forgotten.rows_affected())
}

/// Freezes the sagas that the filter finds, oldest first, each with its version; returns how many.
pub(crate) async fn freeze(
    tx: &mut Tx,
    id: BulkId,
    filter: &Filter,
    limit: i64,
) -> Result<u64, Error> {
    let states: Vec<String> = filter.states.iter().map(|&s| s.to_owned()).collect();
    let (plans, steps) = filter.waits_at.clone().unzip();
    let frozen = sqlx::query_file!(
        "src/store/sql/freeze_bulk.sql",
        id.0,
        &states,
        filter.plan,
        filter.plan_version,
        filter.stuck,
        filter.step,
        plans.as_deref(),
        steps.as_deref(),
        filter.held,
        filter.older_than_secs,
        filter.business_key_prefix,
        limit
    )
    .execute(tx.conn())
    .await?;
    Ok(frozen.rows_affected())
}

/// A page of the bulk's sagas, in id order after `after`.
pub(crate) async fn candidates(
    tx: &mut Tx,
    id: BulkId,
    after: Option<SagaId>,
    limit: i64,
) -> Result<Vec<Candidate>, Error> {
    let rows = sqlx::query!(
        "SELECT s.id, s.plan_id, s.body
           FROM bulk_item i JOIN saga s ON s.id = i.saga_id
          WHERE i.bulk_id = $1 AND ($2::uuid IS NULL OR i.saga_id > $2)
          ORDER BY i.saga_id LIMIT $3",
        id.0,
        after.map(|id| id.0),
        limit
    )
    .fetch_all(tx.conn())
    .await?;
    let candidate = rows.into_iter().map(|row| Candidate {
        saga_id: SagaId(row.id),
        plan_id: row.plan_id,
        state: serde_json::from_slice(&row.body).ok(),
    });
    Ok(candidate.collect())
}

/// Writes what was counted. A bulk without sagas is done; else it runs at once, or waits.
pub(crate) async fn prepared(
    tx: &mut Tx,
    id: BulkId,
    size: i32,
    preview: &[Count],
    run: bool,
) -> Result<BulkRow, Error> {
    let preview =
        serde_json::to_vec(preview).map_err(|e| Error::inconsistent("bulk", "preview", id, e))?;
    let state = match (size, run) {
        (0, _) => "done",
        (_, true) => "running",
        (_, false) => "prepared",
    };
    let row = sqlx::query_as!(
        Row,
        "UPDATE bulk
            SET size = $2, preview = $3, state = $4,
                next_at = CASE WHEN $4 = 'running' THEN now() END,
                started_at = CASE WHEN $4 <> 'prepared' THEN now() END,
                ended_at = CASE WHEN $4 = 'done' THEN now() END
          WHERE id = $1
         RETURNING id, verb, filter, reason, principal, rate, moved_too, state, size, preview,
                   done, refused, moved, failed, created_at, started_at, ended_at",
        id.0,
        size,
        preview,
        state
    )
    .fetch_one(tx.conn())
    .await?;
    row.try_into()
}

/// Starts a bulk, or goes on with it; false: it was running, or is done, and nothing was done to it.
pub(crate) async fn run(db: &Db, id: BulkId) -> Result<bool, Error> {
    let changed = sqlx::query!(
        "UPDATE bulk SET state = 'running', next_at = now(), started_at = coalesce(started_at, now())
          WHERE id = $1 AND state IN ('prepared', 'stopped')",
        id.0
    )
    .execute(db.pool())
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Stops a bulk; waits for the slice that is under way.
pub(crate) async fn stop(db: &Db, id: BulkId) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE bulk SET state = 'stopped', next_at = NULL
          WHERE id = $1 AND state IN ('prepared', 'running')",
        id.0
    )
    .execute(db.pool())
    .await?;
    Ok(())
}

/// Takes a bulk whose next slice is due, until the transaction ends. What another orchestrator
/// holds is left to it: so no saga is looked at twice.
pub(crate) async fn take_due(
    tx: &mut Tx,
) -> Result<Option<(BulkId, Result<BulkRow, Error>)>, Error> {
    let row = sqlx::query_as!(
        Row,
        "SELECT id, verb, filter, reason, principal, rate, moved_too, state, size, preview, done,
                refused, moved, failed, created_at, started_at, ended_at
           FROM bulk WHERE next_at <= now()
          ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED"
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| (BulkId(row.id), row.try_into())))
}

/// Sagas of a bulk that nobody has looked at yet, in id order.
pub(crate) async fn open_items(tx: &mut Tx, id: BulkId, limit: i64) -> Result<Vec<Item>, Error> {
    let rows = sqlx::query!(
        "SELECT saga_id, version FROM bulk_item
          WHERE bulk_id = $1 AND outcome IS NULL ORDER BY saga_id LIMIT $2",
        id.0,
        limit
    )
    .fetch_all(tx.conn())
    .await?;
    let item = |saga_id, version| Item { saga_id, version };
    let items = rows.into_iter();
    Ok(items.map(|r| item(SagaId(r.saga_id), r.version)).collect())
}

/// Writes what came of a slice, and when the next one is due; the last one ends the bulk.
pub(crate) async fn settle(tx: &mut Tx, id: BulkId, settled: &[Settled]) -> Result<(), Error> {
    let ids: Vec<Uuid> = settled.iter().map(|s| s.saga_id.0).collect();
    let outcomes: Vec<String> = settled
        .iter()
        .map(|s| s.outcome.word().to_owned())
        .collect();
    let (rules, words): (Vec<_>, Vec<_>) = settled
        .iter()
        .map(|s| match &s.outcome {
            Outcome::Refused { rule, words } => (Some((*rule).to_owned()), Some(words.clone())),
            Outcome::Done | Outcome::Moved | Outcome::Failed => (None, None),
        })
        .unzip();
    sqlx::query_file!(
        "src/store/sql/settle_bulk.sql",
        id.0,
        &ids,
        &outcomes,
        &rules as &[Option<String>],
        &words as &[Option<String>],
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Asks about a bulk again later, because this orchestrator cannot run it.
pub(crate) async fn postpone(tx: &mut Tx, id: BulkId) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE bulk SET next_at = now() + interval '5 s' WHERE id = $1",
        id.0
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Forgets one bulk that nobody ran within the hour, or that ended or stopped long ago.
pub(crate) async fn forget(db: &Db) -> Result<bool, Error> {
    let forgotten = sqlx::query!(
        "DELETE FROM bulk WHERE id IN (
             SELECT id FROM bulk
              WHERE (state = 'prepared' AND created_at < now() - interval '1 h')
                 OR (state IN ('stopped', 'done')
                     AND coalesce(ended_at, started_at, created_at) < now() - interval '30 d')
              ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)"
    )
    .execute(db.pool())
    .await?;
    Ok(forgotten.rows_affected() > 0)
}

/// One bulk: on a connection of the pool, or as a transaction sees it.
pub(crate) async fn get(on: impl PgExecutor<'_>, id: BulkId) -> Result<Option<BulkRow>, Error> {
    let row = sqlx::query_as!(
        Row,
        "SELECT id, verb, filter, reason, principal, rate, moved_too, state, size, preview, done,
                refused, moved, failed, created_at, started_at, ended_at
           FROM bulk WHERE id = $1",
        id.0
    )
    .fetch_optional(on)
    .await?;
    row.map(BulkRow::try_from).transpose()
}

/// Bulks, newest first, after `before`.
pub(crate) async fn list(
    db: &Db,
    before: Option<BulkId>,
    limit: i64,
) -> Result<Vec<BulkRow>, Error> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, verb, filter, reason, principal, rate, moved_too, state, size, preview, done,
                refused, moved, failed, created_at, started_at, ended_at
           FROM bulk WHERE $1::uuid IS NULL OR id < $1 ORDER BY id DESC LIMIT $2",
        before.map(|id| id.0),
        limit
    )
    .fetch_all(db.pool())
    .await?;
    rows.into_iter().map(BulkRow::try_from).collect()
}

/// What was refused or left alone, by reason, the most first.
pub(crate) async fn left(db: &Db, id: BulkId) -> Result<Vec<Count>, Error> {
    let rows = sqlx::query!(
        r#"SELECT outcome AS "outcome!", rule, words, count(*)::int AS "count!",
                  (array_agg(saga_id ORDER BY saga_id))[1:5] AS "examples!"
             FROM bulk_item WHERE bulk_id = $1 AND outcome <> 'done'
            GROUP BY outcome, rule, words ORDER BY count(*) DESC, rule, words LIMIT 50"#,
        id.0
    )
    .fetch_all(db.pool())
    .await?;
    let count = rows.into_iter().map(|row| {
        let what = match (row.outcome.as_str(), row.rule) {
            (_, Some(rule)) => What {
                words: row.words.unwrap_or_default(),
                effects: Vec::new(),
                refused: rule,
            },
            ("moved", None) => What::moved(),
            (_, None) => What::not_interpreted(),
        };
        Count {
            what,
            count: row.count,
            examples: row.examples.into_iter().map(SagaId).collect(),
        }
    });
    Ok(count.collect())
}

impl What {
    /// A saga that has moved on.
    pub(crate) fn moved() -> Self {
        Self {
            words: "it has moved on since it was looked at".to_owned(),
            effects: Vec::new(),
            refused: "SAGA_MOVED_ON".to_owned(),
        }
    }

    /// A saga that cannot be read, or whose plan is missing or fits its messages no more.
    pub(crate) fn not_interpreted() -> Self {
        Self {
            words: "this orchestrator cannot interpret it".to_owned(),
            effects: Vec::new(),
            refused: "INTERNAL".to_owned(),
        }
    }
}

struct Row {
    id: Uuid,
    verb: Vec<u8>,
    filter: Vec<u8>,
    reason: String,
    principal: String,
    rate: i32,
    moved_too: bool,
    state: String,
    size: i32,
    preview: Vec<u8>,
    done: i32,
    refused: i32,
    moved: i32,
    failed: i32,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
}

impl TryFrom<Row> for BulkRow {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let id = BulkId(row.id);
        Ok(Self {
            id,
            deed: serde_json::from_slice(&row.verb)
                .map_err(|e| Error::inconsistent("bulk", "verb", id, e))?,
            asked: row.filter,
            by: By {
                principal: row.principal,
                reason: row.reason,
                bulk: Some(id),
            },
            rate: row.rate,
            moved_too: row.moved_too,
            state: row.state,
            size: row.size,
            preview: serde_json::from_slice(&row.preview)
                .map_err(|e| Error::inconsistent("bulk", "preview", id, e))?,
            done: row.done,
            refused: row.refused,
            moved: row.moved,
            failed: row.failed,
            created_at: row.created_at,
            started_at: row.started_at,
            ended_at: row.ended_at,
        })
    }
}
