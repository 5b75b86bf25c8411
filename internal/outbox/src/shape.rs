use palinode_db::{Db, Error};

/// Turns the outbox into a log: rows get the number of their transaction and an index on it, lanes
/// a cursor. Stop its relays before, and start them in log mode after. Run again on a log that is
/// empty, it sets a new base: the way out after a restore.
///
/// # Errors
/// `Statement`: the outbox is not empty; nothing is changed then.
pub async fn to_log(db: &Db) -> Result<(), Error> {
    run(db, include_str!("sql/to_log.sql")).await
}

/// Turns a log back into a queue. Stop its relays before, and start them in queue mode after.
///
/// # Errors
/// `Statement`: something is not published yet, or it is no log; nothing is changed then.
pub async fn to_queue(db: &Db) -> Result<(), Error> {
    run(db, include_str!("sql/to_queue.sql")).await
}

#[expect(clippy::disallowed_methods, reason = "changes the shape of tables")]
async fn run(db: &Db, sql: &'static str) -> Result<(), Error> {
    let mut connection = db.pool().acquire().await?;
    let done = sqlx::raw_sql(sql).execute(&mut *connection).await;
    if done.is_err() {
        // the transaction stands open in a failed state
        sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await?;
    }
    done?;
    Ok(())
}
