//! What operators see of an outbox, and what they decide about it.

use palinode_db::{Db, Error};
pub use palinode_outbox::Shape;
use uuid::Uuid;

mod log;
mod parked;

pub use parked::{Parked, ParkedRecord, Record, Refusal, Ruling, Verdict, decide, list, show};

/// Rows that are counted one by one at the most; above it PostgreSQL's own estimate is taken.
const COUNTED_MAX: i64 = 10_000;

/// How an outbox is doing.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// What the table is made for.
    pub shape: Shape,
    /// Rows that wait to be published.
    pub pending: Count,
    /// Age of the oldest of them, in seconds.
    pub oldest_s: Option<f64>,
    /// Lanes under a lease.
    pub lanes_owned: i64,
    /// Lanes that anybody may take.
    pub lanes_free: i64,
    /// Lanes that an operator holds.
    pub lanes_paused: i64,
    /// Relay workers that live.
    pub workers: i64,
    /// Records that can never be published as they are, and those behind them.
    pub outbox_parked: Count,
    /// Records that the consumers of this service cannot handle.
    pub consumer_parked: Count,
    /// Rows that are deleted and not yet vacuumed, as PostgreSQL estimates them.
    pub dead_rows: i64,
    /// What keeps dead rows from being vacuumed, if anything does.
    pub oldest_xmin: Option<OldestXmin>,
}

/// A number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub rows: i64,
    /// Counted, not estimated.
    pub exact: bool,
}

/// The oldest transaction that still sees deleted rows.
#[derive(Debug, Clone, PartialEq)]
pub struct OldestXmin {
    /// Who has it: a backend with its process id, a replication slot, a prepared transaction.
    pub who: String,
    /// How old it is in seconds, where that is known.
    pub age_s: Option<f64>,
    /// How many transactions have begun since.
    pub transactions: i64,
    /// The statement that ends it.
    pub end_by: String,
}

/// One lane of an outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneStatus {
    /// 0 to 63.
    pub lane: i16,
    /// The worker that took it last.
    pub owner: Option<Uuid>,
    /// Raised by each taking.
    pub epoch: i64,
    /// Seconds until the lease ends; none when it has ended.
    pub lease_s: Option<f64>,
    /// An operator holds it.
    pub paused: bool,
    /// Age of its oldest row in seconds.
    pub oldest_s: Option<f64>,
    /// Id of its first row.
    pub head_id: Option<i64>,
}

impl Count {
    fn of(counted: i64, estimate: i64) -> Self {
        Self {
            rows: counted.max(if counted > COUNTED_MAX { estimate } else { 0 }),
            exact: counted <= COUNTED_MAX,
        }
    }
}

/// How the outbox of a database is doing. No table is counted beyond ten thousand rows.
///
/// # Errors
/// `Unavailable`; `Statement`: the database has another schema.
pub async fn status(db: &Db) -> Result<Status, Error> {
    let limit = COUNTED_MAX + 1;
    let row = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM (SELECT FROM outbox LIMIT $1) AS p) AS "pending!",
                  (SELECT count(*) FROM (SELECT FROM outbox_parked LIMIT $1) AS p)
                  AS "outbox_parked!",
                  (SELECT count(*) FROM (SELECT FROM consumer_parked LIMIT $1) AS p)
                  AS "consumer_parked!",
                  (SELECT extract(epoch FROM clock_timestamp() - min(head.created_at))::float8
                     FROM outbox_lane l CROSS JOIN LATERAL (
                          SELECT created_at FROM outbox WHERE lane = l.lane
                           ORDER BY id LIMIT 1) AS head) AS oldest_s,
                  (SELECT count(*) FROM outbox_lane WHERE lease_until >= clock_timestamp())
                  AS "owned!",
                  (SELECT count(*) FROM outbox_lane WHERE lease_until < clock_timestamp())
                  AS "free!",
                  (SELECT count(*) FROM outbox_lane WHERE paused) AS "paused!",
                  (SELECT count(*) FROM outbox_worker WHERE seen_until > clock_timestamp())
                  AS "workers!""#,
        limit,
    )
    .fetch_one(db.pool())
    .await?;
    let estimates = sqlx::query!(
        r#"SELECT coalesce(sum(n_live_tup) FILTER (WHERE relname = 'outbox'), 0)::bigint AS "rows!",
                  coalesce(sum(n_dead_tup) FILTER (WHERE relname = 'outbox'), 0)::bigint AS "dead!",
                  coalesce(sum(n_live_tup) FILTER (WHERE relname = 'outbox_parked'), 0)::bigint
                  AS "outbox_parked!",
                  coalesce(sum(n_live_tup) FILTER (WHERE relname = 'consumer_parked'), 0)::bigint
                  AS "consumer_parked!"
             FROM pg_stat_user_tables"#
    )
    .fetch_one(db.pool())
    .await?;
    let shape = palinode_outbox::shape(&mut *db.pool().acquire().await?).await?;
    let (pending, oldest_s) = match log::heads(db).await? {
        None => (Count::of(row.pending, estimates.rows), row.oldest_s),
        Some(heads) => log::sum(&heads),
    };
    Ok(Status {
        shape,
        pending,
        oldest_s,
        lanes_owned: row.owned,
        lanes_free: row.free,
        lanes_paused: row.paused,
        workers: row.workers,
        outbox_parked: Count::of(row.outbox_parked, estimates.outbox_parked),
        consumer_parked: Count::of(row.consumer_parked, estimates.consumer_parked),
        dead_rows: estimates.dead,
        oldest_xmin: oldest_xmin(db).await?,
    })
}

/// What holds back the vacuum of this database's tables; one's own statement does not count.
async fn oldest_xmin(db: &Db) -> Result<Option<OldestXmin>, Error> {
    let oldest = sqlx::query_as!(
        OldestXmin,
        r#"SELECT who AS "who!", age_s, transactions AS "transactions!", end_by AS "end_by!" FROM (
             SELECT format('backend %s (%s)', pid, application_name) AS who,
                    extract(epoch FROM clock_timestamp() - xact_start)::float8 AS age_s,
                    greatest(age(backend_xid), age(backend_xmin))::bigint AS transactions,
                    format('SELECT pg_terminate_backend(%s)', pid) AS end_by
               FROM pg_stat_activity
              WHERE datname = current_database() AND pid <> pg_backend_pid()
                AND backend_type <> 'autovacuum worker'
             UNION ALL
             SELECT format('replication slot %s', slot_name), NULL, age(xmin)::bigint,
                    format('SELECT pg_drop_replication_slot(%L)', slot_name)
               FROM pg_replication_slots
             UNION ALL
             SELECT format('prepared transaction %s', gid),
                    extract(epoch FROM clock_timestamp() - prepared)::float8,
                    age(transaction)::bigint, format('ROLLBACK PREPARED %L', gid)
               FROM pg_prepared_xacts WHERE database = current_database()) AS holder
            WHERE transactions IS NOT NULL
            ORDER BY age_s DESC NULLS LAST, transactions DESC LIMIT 1"#
    )
    .fetch_optional(db.pool())
    .await?;
    Ok(oldest)
}

/// Every lane, in order.
///
/// # Errors
/// `Unavailable`; `Statement`: the database has another schema.
pub async fn lanes(db: &Db) -> Result<Vec<LaneStatus>, Error> {
    let mut lanes = sqlx::query_as!(
        LaneStatus,
        r#"SELECT l.lane, l.owner, l.epoch, l.paused, head.id AS "head_id?",
                  CASE WHEN l.lease_until >= clock_timestamp() THEN
                    extract(epoch FROM l.lease_until - clock_timestamp())::float8 END AS lease_s,
                  extract(epoch FROM clock_timestamp() - head.created_at)::float8 AS oldest_s
             FROM outbox_lane l LEFT JOIN LATERAL (
                  SELECT id, created_at FROM outbox WHERE lane = l.lane
                   ORDER BY id LIMIT 1) AS head ON true
            ORDER BY l.lane"#
    )
    .fetch_all(db.pool())
    .await?;
    for head in log::heads(db).await?.into_iter().flatten() {
        if let Some(lane) = lanes.iter_mut().find(|lane| lane.lane == head.lane) {
            (lane.head_id, lane.oldest_s) = (head.id, head.oldest_s);
        }
    }
    Ok(lanes)
}

/// Holds lanes, or lets them go on; their owners know it with the next renewal of their leases.
/// Returns those that were not so before.
///
/// # Errors
/// `Unavailable`.
pub async fn set_paused(db: &Db, lanes: &[i16], paused: bool) -> Result<Vec<i16>, Error> {
    let mut changed = sqlx::query_scalar!(
        "UPDATE outbox_lane SET paused = $2 WHERE lane = ANY($1) AND paused <> $2 RETURNING lane",
        lanes,
        paused,
    )
    .fetch_all(db.pool())
    .await?;
    changed.sort_unstable();
    Ok(changed)
}
