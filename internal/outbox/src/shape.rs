use palinode_db::{Db, Error};
use sqlx::PgConnection;

/// What the table of an outbox is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// What is published is deleted.
    Queue,
    /// What is published stays for a while, and each lane has a cursor.
    Log,
    /// A log whose cursors mean nothing here: it was restored into another server, or into the past
    /// of this one. [`to_log`] sets a new base.
    Foreign,
}

/// The shape of the outbox.
///
/// # Errors
/// Those of the database.
pub async fn shape(conn: &mut PgConnection) -> Result<Shape, Error> {
    #[expect(
        clippy::disallowed_methods,
        reason = "columns of a log are in no migration: a queue must not pay for them"
    )]
    async fn ask(conn: &mut PgConnection, sql: &'static str) -> Result<bool, Error> {
        Ok(sqlx::query_scalar(sql).fetch_one(conn).await?)
    }
    if !ask(conn, "SELECT to_regclass('outbox_log') IS NOT NULL").await? {
        return Ok(Shape::Queue);
    }
    let fits = "SELECT system_identifier = (SELECT system_identifier FROM pg_control_system())
            AND pg_snapshot_xmax(pg_current_snapshot()) >= (
                SELECT max(greatest(pg_snapshot_xmax(s1), pg_snapshot_xmax(s2))) FROM outbox_lane)
           FROM outbox_log";
    Ok(if ask(conn, fits).await? {
        Shape::Log
    } else {
        Shape::Foreign
    })
}

/// Turns the outbox into a log: rows get the number of their transaction and an index on it, lanes
/// a cursor. Writers wait meanwhile, for as long as it takes to copy what is not published; relays
/// notice by themselves. Of a foreign log every row is published once more; a log stays as it is.
///
/// # Errors
/// `Contended`: a transaction holds the table; nothing is changed then.
pub async fn to_log(db: &Db) -> Result<(), Error> {
    let mut connection = db.pool().acquire().await?;
    if shape(&mut connection).await? == Shape::Log {
        return Ok(());
    }
    run(&mut connection, include_str!("sql/to_log.sql")).await
}

/// Turns a log into a queue; a queue stays as it is. Writers wait meanwhile, and relays notice by
/// themselves. Of a foreign log every row is published once more.
///
/// # Errors
/// `Contended`: a transaction holds the table; nothing is changed then.
pub async fn to_queue(db: &Db) -> Result<(), Error> {
    let mut connection = db.pool().acquire().await?;
    match shape(&mut connection).await? {
        Shape::Queue => return Ok(()),
        Shape::Log => {}
        // its cursors do not tell what is published
        Shape::Foreign => run(&mut connection, include_str!("sql/to_log.sql")).await?,
    }
    run(&mut connection, include_str!("sql/to_queue.sql")).await
}

#[expect(clippy::disallowed_methods, reason = "changes the shape of tables")]
async fn run(connection: &mut PgConnection, sql: &'static str) -> Result<(), Error> {
    let done = sqlx::raw_sql(sql).execute(&mut *connection).await;
    if done.is_err() {
        // the transaction stands open in a failed state
        sqlx::raw_sql("ROLLBACK").execute(connection).await?;
    }
    done?;
    Ok(())
}
