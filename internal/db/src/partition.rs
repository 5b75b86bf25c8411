//! Days of the tables that grow with every saga: made ahead, and dropped whole.

use chrono::NaiveDate;
use sqlx::PgConnection;

use crate::{Db, Error, Tx};

/// Days that are made ahead, and days back: ids are drawn by other clocks.
const AHEAD_DAYS: i32 = 3;
const BACK_DAYS: i32 = 1;
/// Days dropped at once at the most: each waits for a lock that traffic wants too.
const DROPS_MAX: usize = 10;

/// What was done about the partitions of a database, and what is not as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partitions {
    /// Made, by name of the table and day.
    pub made: Vec<(String, NaiveDate)>,
    /// Dropped, by name of the table and day.
    pub dropped: Vec<(String, NaiveDate)>,
    /// Wanted, and not made: too many rows of that day are in the default partition.
    pub refused: Vec<(String, NaiveDate)>,
    /// Tables with rows in their default partition.
    pub strays: Vec<String>,
}

/// Makes the days ahead and drops those that are no longer kept, as the table `retention` says.
/// Any number of processes may call it: one works, the others find nothing to do.
///
/// Waits for no lock longer than 100 ms, so that traffic behind it does not either; what could not
/// be locked is left to the next call.
///
/// # Errors
/// `Contended`: a table is busy, call again. `Statement`: the role may not change the tables.
pub async fn keep_partitions(db: &Db) -> Result<Partitions, Error> {
    let mut done = Partitions::default();
    let mut connection = db.pool().acquire().await?;
    let missing = missing(&mut connection).await?;
    let parents = parents(&mut connection).await?;
    drop(connection); // there may be no other
    for (parent, day) in missing {
        let mut tx = db.begin().await?;
        if !lock(&mut tx).await? {
            return Ok(done);
        }
        let made = make(tx.conn(), &parent, day).await?;
        tx.commit().await?;
        let list = if made {
            &mut done.made
        } else {
            &mut done.refused
        };
        list.push((parent, day));
    }
    for parent in parents {
        while done.dropped.len() < DROPS_MAX {
            let mut tx = db.begin().await?;
            if !lock(&mut tx).await? {
                return Ok(done);
            }
            let dropped = drop_oldest(tx.conn(), &parent).await?;
            tx.commit().await?;
            let Some(day) = dropped else { break };
            done.dropped.push((parent.clone(), day));
        }
        let mut connection = db.pool().acquire().await?;
        if has_strays(&mut connection, &parent).await? {
            done.strays.push(parent);
        }
    }
    Ok(done)
}

/// Makes the days ahead, for a database that was just migrated.
pub(crate) async fn make_ahead(connection: &mut PgConnection) -> Result<(), Error> {
    for (parent, day) in missing(connection).await? {
        make(connection, &parent, day).await?;
    }
    Ok(())
}

/// One process works; and nobody waits long for what it locks.
#[expect(
    clippy::disallowed_methods,
    reason = "no table is named: nothing to check"
)]
async fn lock(tx: &mut Tx) -> Result<bool, Error> {
    sqlx::query("SET LOCAL lock_timeout = '100ms'")
        .execute(tx.conn())
        .await?;
    let taken = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock(hashtext('partitions'))")
        .fetch_one(tx.conn())
        .await?;
    Ok(taken)
}

#[expect(clippy::disallowed_methods, reason = "this crate has no query data")]
async fn missing(connection: &mut PgConnection) -> Result<Vec<(String, NaiveDate)>, Error> {
    let rows = sqlx::query_as(
        "SELECT r.parent, d.day
           FROM retention r
          CROSS JOIN LATERAL (SELECT (now() AT TIME ZONE 'UTC')::date + n AS day
                                FROM generate_series(-$1, $2) n) d
          WHERE to_regclass(partition_of(r.parent, d.day)) IS NULL
          ORDER BY d.day, r.parent",
    )
    .bind(BACK_DAYS)
    .bind(AHEAD_DAYS)
    .fetch_all(connection)
    .await?;
    Ok(rows)
}

#[expect(clippy::disallowed_methods, reason = "this crate has no query data")]
async fn parents(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    let rows = sqlx::query_scalar("SELECT parent FROM retention ORDER BY parent")
        .fetch_all(connection)
        .await?;
    Ok(rows)
}

#[expect(clippy::disallowed_methods, reason = "this crate has no query data")]
async fn make(connection: &mut PgConnection, parent: &str, day: NaiveDate) -> Result<bool, Error> {
    let made = sqlx::query_scalar("SELECT partition_make($1, $2)")
        .bind(parent)
        .bind(day)
        .fetch_one(connection)
        .await?;
    Ok(made)
}

#[expect(clippy::disallowed_methods, reason = "this crate has no query data")]
async fn drop_oldest(
    connection: &mut PgConnection,
    parent: &str,
) -> Result<Option<NaiveDate>, Error> {
    let dropped = sqlx::query_scalar("SELECT partition_drop_oldest($1)")
        .bind(parent)
        .fetch_one(connection)
        .await?;
    Ok(dropped)
}

#[expect(clippy::disallowed_methods, reason = "this crate has no query data")]
async fn has_strays(connection: &mut PgConnection, parent: &str) -> Result<bool, Error> {
    let found = sqlx::query_scalar("SELECT partition_has_strays($1)")
        .bind(parent)
        .fetch_one(connection)
        .await?;
    Ok(found)
}
