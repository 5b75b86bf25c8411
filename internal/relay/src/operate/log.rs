#![expect(
    clippy::disallowed_methods,
    reason = "the columns of log mode are in no migration: a queue must not pay for them"
)]

use palinode_db::{Db, Error};
use palinode_outbox::{Shape, shape};
use sqlx::FromRow;

use super::Count;

/// Rows of a lane and branch that are looked at.
const ROWS_MAX: i64 = 1_000;

/// What a lane of a log has still to publish.
#[derive(Debug, FromRow)]
pub(super) struct Head {
    pub(super) lane: i16,
    rows: i64,
    pub(super) id: Option<i64>,
    pub(super) oldest_s: Option<f64>,
}

/// Of every lane what its cursor has not passed; none when the outbox is a queue, where each row
/// that is there is still to be published.
pub(super) async fn heads(db: &Db) -> Result<Option<Vec<Head>>, Error> {
    let mut connection = db.pool().acquire().await?;
    if shape(&mut connection).await? == Shape::Queue {
        return Ok(None);
    }
    let heads = sqlx::query_as(
        "SELECT l.lane, count(w.id) AS rows, min(w.id) AS id,
                extract(epoch FROM clock_timestamp() - min(w.created_at))::float8 AS oldest_s
           FROM outbox_lane l LEFT JOIN LATERAL (
                (SELECT id, created_at FROM outbox
                  WHERE lane = l.lane AND xid >= pg_snapshot_xmax(l.s1)
                    AND (l.s2 IS NULL OR id > l.last_id) LIMIT $1)
                UNION ALL
                (SELECT f.id, f.created_at FROM pg_snapshot_xip(l.s1) AS x(xid) CROSS JOIN LATERAL (
                        SELECT id, created_at FROM outbox
                         WHERE lane = l.lane AND xid = x.xid OFFSET 0) AS f
                  WHERE l.s2 IS NULL OR f.id > l.last_id LIMIT $1)) AS w ON true
          GROUP BY l.lane ORDER BY l.lane",
    )
    .bind(ROWS_MAX)
    .fetch_all(&mut *connection)
    .await?;
    Ok(Some(heads))
}

/// How many rows that are, and the age of the oldest.
pub(super) fn sum(heads: &[Head]) -> (Count, Option<f64>) {
    let pending = Count {
        rows: heads.iter().map(|head| head.rows).sum(),
        exact: heads.iter().all(|head| head.rows < ROWS_MAX),
    };
    let oldest_s = heads.iter().filter_map(|head| head.oldest_s);
    (pending, oldest_s.reduce(f64::max))
}
