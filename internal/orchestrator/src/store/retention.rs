use palinode_db::{Db, Error};

/// Head rows deleted in a statement at the most.
pub(crate) const HEADS_MAX: i64 = 5_000;

/// Deletes sagas that have ended, in whatever way, and are older than what is kept; at most
/// `limit`. One with an open case stays, and its history with it. Returns how many went.
///
/// Of two processes one works, the other finds nothing to do.
pub(crate) async fn purge_heads(db: &Db, limit: i64) -> Result<u64, Error> {
    db.run_tx("saga.purge", |mut tx| async move {
        let done = sqlx::query!(
            "DELETE FROM saga WHERE id IN (
               SELECT s.id FROM saga s
                WHERE s.id < (SELECT uuid_at(now() - r.keep) FROM retention r
                               WHERE r.parent = 'saga_history')
                  AND (s.state IN ('completed', 'compensated')
                       OR (s.state = 'needs-attention' AND s.closed IS NOT NULL))
                  AND NOT EXISTS (SELECT FROM saga_late l -- an open case
                                   WHERE l.saga_id = s.id AND l.note = 'contradiction'
                                     AND l.acknowledged_at IS NULL
                                     AND l.at > now() - interval '7 days')
                ORDER BY s.id LIMIT $1 FOR UPDATE OF s SKIP LOCKED)",
            limit
        )
        .execute(tx.conn())
        .await?;
        Ok((tx, done.rows_affected()))
    })
    .await
}

/// Archives sagas that have ended, in whatever way, a while ago; at most `limit`. One with an open
/// case stays. Its business key stays too: it is taken as long as the archived saga is kept.
/// Returns how many were archived.
pub(crate) async fn archive(db: &Db, limit: i64) -> Result<u64, Error> {
    db.run_tx("saga.archive", |mut tx| async move {
        let done = sqlx::query!(
            "WITH ended AS (
               DELETE FROM saga WHERE id IN (
                 SELECT s.id FROM saga s, archiving a
                  WHERE s.id < uuid_at(now() - a.after) AND s.progress_at < now() - a.after
                    AND (s.state IN ('completed', 'compensated')
                         OR (s.state = 'needs-attention' AND s.closed IS NOT NULL))
                    AND NOT EXISTS (SELECT FROM saga_late l -- an open case
                                     WHERE l.saga_id = s.id AND l.note = 'contradiction'
                                       AND l.acknowledged_at IS NULL
                                       AND l.at > now() - interval '7 days')
                  ORDER BY s.id LIMIT $1 FOR UPDATE OF s SKIP LOCKED)
               RETURNING *)
             INSERT INTO saga_archive (saga_id, plan_id, plan_name, business_key, version, state,
                                       body, closed, progress_at, started_at, traceparent)
             SELECT id, plan_id, plan_name, business_key, version, state, body, closed,
                    progress_at, started_at, traceparent
               FROM ended",
            limit
        )
        .execute(tx.conn())
        .await?;
        Ok((tx, done.rows_affected()))
    })
    .await
}

/// Frees the business keys of sagas that are kept no longer; at most `limit`.
pub(crate) async fn purge_keys(db: &Db, limit: i64) -> Result<u64, Error> {
    let done = sqlx::query!(
        "DELETE FROM saga_key WHERE id IN (
           SELECT k.id FROM saga_key k
            WHERE k.id < (SELECT uuid_at(now() - r.keep) FROM retention r
                           WHERE r.parent = 'saga_history')
              AND NOT EXISTS (SELECT FROM saga s WHERE s.id = k.id) -- one with an open case
            ORDER BY k.id LIMIT $1 FOR UPDATE SKIP LOCKED)",
        limit
    )
    .execute(db.pool())
    .await?;
    Ok(done.rows_affected())
}

/// Deletes what came too late, and nobody has asked about for as long; at most `limit`.
pub(crate) async fn purge_late(db: &Db, limit: i64) -> Result<u64, Error> {
    let done = sqlx::query!(
        "DELETE FROM saga_late WHERE id IN (
           SELECT l.id FROM saga_late l
            WHERE l.at < (SELECT now() - r.keep FROM retention r
                           WHERE r.parent = 'saga_history')
            ORDER BY l.id LIMIT $1 FOR UPDATE SKIP LOCKED)",
        limit
    )
    .execute(db.pool())
    .await?;
    Ok(done.rows_affected())
}
