use palinode_db::{Db, Error};

/// Head rows deleted in a statement at the most.
pub(crate) const HEADS_MAX: i64 = 5_000;

/// Deletes sagas that have ended, in whatever way, and are older than what is kept; at most
/// `limit`. One with an open case stays, and its history with it. Returns how many went.
///
/// Of two processes one works, the other finds nothing to do.
pub(crate) async fn purge_heads(db: &Db, limit: i64) -> Result<u64, Error> {
    db.run_tx("saga.purge", |mut tx| async move {
        let done = sqlx::query_file!("src/store/sql/purge_heads.sql", limit)
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
        let done = sqlx::query_file!("src/store/sql/archive_sagas.sql", limit)
            .execute(tx.conn())
            .await?;
        Ok((tx, done.rows_affected()))
    })
    .await
}

/// Frees the business keys of sagas that are kept no longer; at most `limit`.
pub(crate) async fn purge_keys(db: &Db, limit: i64) -> Result<u64, Error> {
    let done = sqlx::query_file!("src/store/sql/purge_keys.sql", limit)
        .execute(db.pool())
        .await?;
    Ok(done.rows_affected())
}

/// Deletes what came too late, and nobody has asked about for as long; at most `limit`.
pub(crate) async fn purge_late(db: &Db, limit: i64) -> Result<u64, Error> {
    let done = sqlx::query_file!("src/store/sql/purge_late.sql", limit)
        .execute(db.pool())
        .await?;
    Ok(done.rows_affected())
}
