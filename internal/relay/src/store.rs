use std::time::Duration;

use futures_util::{Stream, TryStreamExt};
use palinode_db::{Db, Error};
use palinode_outbox::shape;
use palinode_values::Timestamp;
use sqlx::PgConnection;
use sqlx::postgres::types::PgInterval;
use uuid::Uuid;

use crate::log::{self, Cursor};
use crate::options::Mode;
use crate::page::Park;
use crate::trust::{boot_time, trust_end};

/// A row of the outbox.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) lane: i16,
    pub(crate) id: i64,
    pub(crate) topic: i16,
    pub(crate) event_id: Uuid,
    pub(crate) created_at: Timestamp,
    pub(crate) key: Vec<u8>,
    pub(crate) traceparent: Option<String>,
    pub(crate) tracestate: Option<String>,
    pub(crate) baggage: Option<String>,
    pub(crate) headers: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

/// What to do about leases.
#[derive(Debug)]
pub(crate) struct RoundPlan {
    pub(crate) worker: Uuid,
    pub(crate) ttl: Duration,
    pub(crate) mode: Mode,
    /// To be renewed: lane, epoch, verdicts seen.
    pub(crate) held: Vec<(i16, i64, i64)>,
    /// To be given back.
    pub(crate) excess: Vec<(i16, i64)>,
    /// Lanes that the worker believes to be its share.
    pub(crate) share: usize,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Leased {
    /// The leases are as the round says.
    Round(Round),
    /// The outbox has another shape by now: nothing was leased.
    Reshaped,
}

/// The leases after a round.
#[derive(Debug)]
pub(crate) struct Round {
    /// Workers that live, this one included.
    pub(crate) living: usize,
    pub(crate) renewed: Vec<Renewed>,
    /// Boot time at which the trust in the renewed leases ends.
    pub(crate) renewed_until: Duration,
    pub(crate) taken: Vec<Taken>,
    /// Boot time at which the trust in the taken leases ends.
    pub(crate) taken_until: Duration,
    /// Lane, topic and key of parked records: of lanes just taken, or with new verdicts.
    pub(crate) parked: Vec<(i16, i16, Vec<u8>)>,
    /// Log mode: where the lanes that were taken stand.
    pub(crate) cursors: Vec<(i16, Cursor)>,
}

/// A lease that goes on.
#[derive(Debug)]
pub(crate) struct Renewed {
    pub(crate) lane: i16,
    pub(crate) paused: bool,
    pub(crate) verdict_seq: i64,
}

/// A lease that begins.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) lane: i16,
    pub(crate) epoch: i64,
    pub(crate) paused: bool,
    pub(crate) verdict_seq: i64,
}

/// The heads of some lanes from `floor` on, at most `limit` rows each, in order of lane and id.
///
/// One statement is one snapshot: when a record of a key is visible, the earlier ones of that key
/// are too, or are already deleted. Always from the head: a row that commits late has a small id.
pub(crate) fn read_page<'a>(
    conn: &'a mut PgConnection,
    lanes: &'a [i16],
    limit: i64,
    floor: i64,
) -> impl Stream<Item = Result<Row, Error>> + 'a {
    sqlx::query_file_as!(Row, "src/sql/read_page.sql", lanes, limit, floor)
        .fetch(conn)
        .map_err(Error::from)
}

/// The rows of all lanes but `without`, at most `limit`, in order of lane and id: cheap when there
/// are few, whatever the number of lanes. A lane with many rows keeps those after it waiting.
pub(crate) fn read_small_page<'a>(
    conn: &'a mut PgConnection,
    without: &'a [i16],
    limit: i64,
) -> impl Stream<Item = Result<Row, Error>> + 'a {
    sqlx::query_file_as!(Row, "src/sql/read_small_page.sql", without, limit)
        .fetch(conn)
        .map_err(Error::from)
}

/// Deletes exactly these rows. No fence: they are in the log, whoever owns the lane by now.
pub(crate) async fn delete(
    conn: &mut PgConnection,
    lanes: &[i16],
    ids: &[i64],
) -> Result<(), Error> {
    sqlx::query_file!("src/sql/delete_acknowledged.sql", lanes, ids,)
        .execute(conn)
        .await?;
    Ok(())
}

/// Moves rows to `outbox_parked`, each with its error. Returns the lanes that the worker has; of others
/// nothing is moved: whoever has them looks for parked keys when he takes them, and not later.
pub(crate) async fn park(
    conn: &mut PgConnection,
    worker: Uuid,
    park: &[&Park],
) -> Result<Vec<i16>, Error> {
    let held = sqlx::query_file_scalar!(
        "src/sql/park.sql",
        worker,
        &park.iter().map(|park| park.lane).collect::<Vec<_>>(),
        &park.iter().map(|park| park.epoch).collect::<Vec<_>>(),
        &park.iter().map(|park| park.id).collect::<Vec<_>>(),
        &park
            .iter()
            .map(|park| park.error.clone())
            .collect::<Vec<_>>(),
        &park.iter().map(|park| park.behind).collect::<Vec<_>>(),
    );
    Ok(held.fetch_all(conn).await?)
}

/// Says that the worker lives, renews its leases, gives back the excess and takes free lanes up
/// to its share.
pub(crate) async fn lease_round(
    conn: &mut PgConnection,
    plan: &RoundPlan,
) -> Result<Leased, Error> {
    let living = beat(conn, plan).await?;
    // a log may also have been restored behind the relay's back: then its cursors mean nothing
    if Mode::of(shape(conn).await?) != Some(plan.mode) {
        return Ok(Leased::Reshaped);
    }
    let sent = boot_time();
    let renewed = renew(conn, plan).await?;
    let renewed_until = trust_end(sent, boot_time().saturating_sub(sent), plan.ttl);
    release_lanes(conn, plan.worker, &plan.excess).await?;
    // the share as it was when the excess was taken out: another count would take it back
    let wanted = plan.share.saturating_sub(plan.held.len());
    let sent = boot_time();
    let taken = take(conn, plan, wanted).await?;
    let taken_until = trust_end(sent, boot_time().saturating_sub(sent), plan.ttl);
    let changed: Vec<i16> = renewed
        .iter()
        .filter(|renewed| {
            let seen = plan.held.iter().find(|(lane, ..)| *lane == renewed.lane);
            seen.is_some_and(|(.., verdict_seq)| *verdict_seq != renewed.verdict_seq)
        })
        .map(|renewed| renewed.lane)
        .chain(taken.iter().map(|taken| taken.lane))
        .collect();
    let of_taken: Vec<i16> = taken.iter().map(|taken| taken.lane).collect();
    let cursors = match plan.mode {
        Mode::Log if !of_taken.is_empty() => log::cursors(conn, &of_taken).await?,
        Mode::Log | Mode::Queue => Vec::new(),
    };
    Ok(Leased::Round(Round {
        cursors,
        living,
        renewed,
        renewed_until,
        parked: parked_keys(conn, &changed).await?,
        taken,
        taken_until,
    }))
}

/// The worker's heartbeat; returns how many live, itself included.
async fn beat(conn: &mut PgConnection, plan: &RoundPlan) -> Result<usize, Error> {
    let others = sqlx::query_scalar!(
        r#"WITH me AS (
             INSERT INTO outbox_worker (id, seen_until, session, session_start)
             SELECT $1, clock_timestamp() + $2, pg_backend_pid(), min(a.backend_start)
               FROM pg_stat_get_activity(pg_backend_pid()) a
                 ON CONFLICT (id) DO UPDATE SET seen_until = excluded.seen_until,
                    session = excluded.session, session_start = excluded.session_start)
           SELECT count(*) AS "others!"
             FROM outbox_worker
            WHERE id <> $1 AND seen_until > clock_timestamp()
              AND NOT outbox_worker_is_dead(session, session_start)"#,
        plan.worker,
        interval(plan.ttl),
    )
    .fetch_one(conn)
    .await?;
    Ok(usize::try_from(others).unwrap_or_default() + 1)
}

/// Renews all at once; a lane that does not come back is lost.
async fn renew(conn: &mut PgConnection, plan: &RoundPlan) -> Result<Vec<Renewed>, Error> {
    if plan.held.is_empty() {
        return Ok(Vec::new());
    }
    let lanes: Vec<i16> = plan.held.iter().map(|(lane, ..)| *lane).collect();
    let epochs: Vec<i64> = plan.held.iter().map(|(_, epoch, _)| *epoch).collect();
    let renewed = sqlx::query_as!(
        Renewed,
        "UPDATE outbox_lane l SET lease_until = clock_timestamp() + $2
           FROM unnest($3::smallint[], $4::bigint[]) AS h(lane, epoch)
          WHERE l.lane = h.lane AND l.epoch = h.epoch AND l.owner = $1
         RETURNING l.lane, l.paused, l.verdict_seq",
        plan.worker,
        interval(plan.ttl),
        &lanes,
        &epochs,
    )
    .fetch_all(conn)
    .await?;
    Ok(renewed)
}

/// Takes lanes that are free, or whose owner is dead, or has dropped them: the worker itself, when its
/// session ended. Short row locks, so it is safe behind a pooler of transactions; MATERIALIZED: the
/// subquery must run once.
///
/// A connection ends with its process, long before a lease. Should it end without: both publish for
/// a moment, each in order, until the old owner notices; that repeats records, and the first of each
/// stay in order.
async fn take(
    conn: &mut PgConnection,
    plan: &RoundPlan,
    wanted: usize,
) -> Result<Vec<Taken>, Error> {
    if wanted == 0 {
        return Ok(Vec::new());
    }
    let taken = sqlx::query_as!(
        Taken,
        "WITH free AS MATERIALIZED (
           SELECT lane FROM outbox_lane
            WHERE lease_until < clock_timestamp()
               OR owner = $1 AND lane <> ALL ($4::smallint[])
               OR owner IN (SELECT id FROM outbox_worker
                             WHERE outbox_worker_is_dead(session, session_start))
            ORDER BY lane LIMIT $3 FOR UPDATE SKIP LOCKED)
         UPDATE outbox_lane l
            SET owner = $1, epoch = l.epoch + 1, lease_until = clock_timestamp() + $2
           FROM free WHERE l.lane = free.lane
         RETURNING l.lane, l.epoch, l.paused, l.verdict_seq",
        plan.worker,
        interval(plan.ttl),
        i64::try_from(wanted).unwrap_or(i64::MAX),
        &plan.held.iter().map(|(lane, ..)| *lane).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    Ok(taken)
}

async fn parked_keys(
    conn: &mut PgConnection,
    lanes: &[i16],
) -> Result<Vec<(i16, i16, Vec<u8>)>, Error> {
    if lanes.is_empty() {
        return Ok(Vec::new());
    }
    let keys = sqlx::query!(
        "SELECT DISTINCT lane, topic, key FROM outbox_parked WHERE lane = ANY($1)",
        lanes,
    )
    .fetch_all(conn)
    .await?;
    Ok(keys.into_iter().map(|k| (k.lane, k.topic, k.key)).collect())
}

async fn release_lanes(
    conn: &mut PgConnection,
    worker: Uuid,
    lanes: &[(i16, i64)],
) -> Result<(), Error> {
    if lanes.is_empty() {
        return Ok(());
    }
    let (lanes, epochs): (Vec<i16>, Vec<i64>) = lanes.iter().copied().unzip();
    sqlx::query!(
        "UPDATE outbox_lane l SET lease_until = '-infinity'
           FROM unnest($2::smallint[], $3::bigint[]) AS h(lane, epoch)
          WHERE l.lane = h.lane AND l.epoch = h.epoch AND l.owner = $1",
        worker,
        &lanes,
        &epochs,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives back what the worker still holds and forgets it, and those that died long ago.
pub(crate) async fn leave(db: &Db, worker: Uuid, lanes: &[(i16, i64)]) -> Result<(), Error> {
    let mut connection = db.pool().acquire().await?;
    release_lanes(&mut connection, worker, lanes).await?;
    sqlx::query!(
        "DELETE FROM outbox_worker WHERE id = $1 OR seen_until < clock_timestamp() - interval '1h'",
        worker,
    )
    .execute(&mut *connection)
    .await?;
    Ok(())
}

/// Takes what was deleted out of the table and its index: after a large drain each page would pass
/// over it.
pub(crate) async fn vacuum(db: &Db) -> Result<(), Error> {
    #[expect(
        clippy::disallowed_methods,
        reason = "no table's shape matters: nothing to check"
    )]
    async fn run(conn: &mut PgConnection, sql: &'static str) -> Result<(), Error> {
        sqlx::raw_sql(sql).execute(conn).await?;
        Ok(())
    }
    let mut connection = db.pool().acquire().await?;
    run(&mut connection, "SET statement_timeout = 0").await?;
    let done = run(&mut connection, "VACUUM (INDEX_CLEANUP ON) outbox").await;
    run(&mut connection, "RESET statement_timeout").await?;
    done
}

fn interval(duration: Duration) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX),
    }
}
