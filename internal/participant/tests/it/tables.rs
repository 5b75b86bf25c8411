//! How the tables of a database were used, by the server's own counters.

use std::collections::BTreeMap;

use palinode_db::Db;
use palinode_testkit::database::TestDatabase;

/// What was done to a table so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Use {
    /// How often it was read from one end to the other.
    pub(crate) read_whole: i64,
    pub(crate) updates: i64,
    /// Of them, those that touched no index.
    pub(crate) hot: i64,
}

/// Closes `db`, for a connection tells what it did at the latest when it ends; then asks.
#[expect(clippy::disallowed_methods, reason = "no query data for tests")]
pub(crate) async fn uses(db: Db, database: &TestDatabase) -> BTreeMap<String, Use> {
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
pub(crate) fn read_whole(
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
