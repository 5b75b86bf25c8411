//! How the tables of a database were used, by the server's own counters: whether a statement finds
//! its rows by an index is seen from what it did, whatever plan it was given.
#![expect(clippy::disallowed_methods, reason = "asks the server about itself")]

use std::collections::BTreeMap;

use crate::database::TestDatabase;
use palinode_db::Db;

/// What was done to a table so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Use {
    /// How often it was read from one end to the other.
    pub read_whole: i64,
    /// Rows that were updated.
    pub updates: i64,
    /// Of them, those that touched no index.
    pub hot: i64,
}

impl Use {
    /// Whether there were updates, and nine in ten at least touched no index.
    #[must_use]
    pub fn is_mostly_hot(&self) -> bool {
        self.updates > 0 && self.hot * 10 >= self.updates * 9
    }
}

/// Does `work` on the database as it is, again on tables that were filled and never analysed, and
/// again on analysed ones, each time on connections of its own. Nothing else analyses them: what the
/// server would do of itself meanwhile depends on the moment. Returns how the tables were used.
///
/// # Panics
/// A table was read whole that is not among the `small` ones.
pub async fn in_every_state(
    database: &TestDatabase,
    small: &[&str],
    work: impl AsyncFn(&Db),
) -> BTreeMap<String, Use> {
    leave_alone(database).await;
    let mut before = uses(database.db().await, database).await;
    for state in ["as it was", "never analysed", "analysed"] {
        let db = database.db().await;
        work(&db).await;
        let after = uses(db, database).await;
        assert_eq!(read_whole(&before, &after, small), [""; 0], "{state}");
        before = after;
        if state == "never analysed" {
            let mut connection = database.connect().await;
            let analyzed = sqlx::query("ANALYZE").execute(&mut connection).await;
            analyzed.expect("the tables are there");
        }
    }
    before
}

/// Turns autovacuum off for all tables.
async fn leave_alone(database: &TestDatabase) {
    let mut connection = database.connect().await;
    let done = sqlx::raw_sql(
        "DO $$ DECLARE t regclass; BEGIN
           FOR t IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace LOOP
             EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = false)', t);
           END LOOP;
         END $$",
    );
    done.execute(&mut connection)
        .await
        .expect("the tables are there");
}

/// Closes `db`, for a connection tells what it did at the latest when it ends; then asks.
async fn uses(db: Db, database: &TestDatabase) -> BTreeMap<String, Use> {
    db.close().await;
    let mut connection = database.connect().await;
    let ended = || {
        sqlx::query_scalar(
            "SELECT NOT EXISTS (SELECT FROM pg_stat_activity
              WHERE datname = current_database() AND application_name LIKE 'palinode-%')",
        )
    };
    while !ended().fetch_one(&mut connection).await.unwrap_or(false) {
        tokio::task::yield_now().await;
    }
    let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(
        "SELECT relname::text, coalesce(seq_scan, 0), coalesce(n_tup_upd, 0),
                coalesce(n_tup_hot_upd, 0)
           FROM pg_stat_user_tables",
    )
    .fetch_all(&mut connection)
    .await
    .expect("the server tells");
    let tables = rows.into_iter().map(|(table, read_whole, updates, hot)| {
        let used = Use {
            read_whole,
            updates,
            hot,
        };
        (table, used)
    });
    tables.collect()
}

/// The tables that were read whole between the two, but for `small` ones.
fn read_whole(
    before: &BTreeMap<String, Use>,
    after: &BTreeMap<String, Use>,
    small: &[&str],
) -> Vec<String> {
    let is_more = |(table, used): &(&String, &Use)| {
        let before = before.get(*table).copied().unwrap_or_default();
        used.read_whole > before.read_whole
    };
    let whole = after.iter().filter(is_more).map(|(table, _)| table.clone());
    whole
        .filter(|table| !small.contains(&table.as_str()))
        .collect()
}
