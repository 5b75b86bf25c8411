//! Transactions of `palinode-db`, and the connections that they share.

use std::time::Duration;

use palinode_db::{Area, Db, Options, Tx};
use palinode_testkit::database::{TestDatabase, test_database};
use palinode_testkit::eventually;
use palinode_values::Timestamp;
use sqlx::{Executor, Row};

const LIMIT: Duration = Duration::from_secs(10);

/// A handle with one connection for transactions.
async fn one_connection() -> (TestDatabase, Db) {
    let database = test_database(Area::Order).await;
    let options = Options {
        url: database.url.clone(),
        service: "test".to_owned(),
        connections_max: 2,
    };
    let db = Db::connect(&options).await.unwrap();
    (database, db)
}

async fn one<T>(tx: &mut Tx, sql: &'static str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    tx.conn().fetch_one(sql).await.unwrap().get(0)
}

const PID: &str = "SELECT pg_backend_pid()";

#[tokio::test]
async fn a_transaction_knows_the_time_of_the_database() {
    let (_database, db) = one_connection().await;
    for _ in 0..2 {
        let mut tx = db.begin().await.unwrap();
        assert_eq!(one::<Timestamp>(&mut tx, "SELECT now()").await, tx.now());
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn what_was_not_committed_is_gone_and_the_connection_serves_the_next() {
    let (_database, db) = one_connection().await;
    let mut tx = db.begin().await.unwrap();
    let first: i32 = one(&mut tx, PID).await;
    tx.conn().execute("CREATE TABLE t ()").await.unwrap();
    drop(tx);
    let mut tx = db.begin().await.unwrap();
    let gone = "SELECT to_regclass('t') IS NULL";
    assert!(one::<bool>(&mut tx, gone).await);
    assert_eq!(one::<i32>(&mut tx, PID).await, first);
    // the same after an error
    tx.conn().execute("SELECT nothing").await.unwrap_err();
    drop(tx);
    let mut tx = db.begin().await.unwrap();
    assert_eq!(one::<i32>(&mut tx, PID).await, first);
}

#[tokio::test]
async fn a_begin_or_a_statement_that_is_given_up_leaves_no_transaction_open() {
    let (database, db) = one_connection().await;
    for db in [db.clone(), db.with_fixed_plans()] {
        // the connection comes from the pool first, and is one that is kept then
        for _ in 0..2 {
            // given up wherever it stands by then
            {
                let begin = std::pin::pin!(db.begin());
                drop(futures_util::poll!(begin));
            }
            {
                let mut tx = db.begin().await.unwrap();
                let slow = std::pin::pin!(tx.conn().execute("SELECT pg_sleep(0.05)"));
                drop(futures_util::poll!(slow));
            }
            eventually(LIMIT, "no transaction is open", async || {
                let open = "SELECT count(*) FROM pg_stat_activity
                             WHERE datname = current_database() AND pid <> pg_backend_pid()
                               AND xact_start IS NOT NULL";
                let open = database.connect().await.fetch_one(open).await.unwrap();
                (open.get::<i64, _>(0) == 0).then_some(())
            })
            .await;
            db.begin().await.unwrap().commit().await.unwrap();
        }
    }
}

#[tokio::test]
async fn who_waits_for_the_pool_gets_what_comes_free() {
    let (_database, db) = one_connection().await;
    let db = db.with_fixed_plans(); // all of its connections may be kept
    db.begin().await.unwrap().commit().await.unwrap(); // it is kept now
    let holds = db.begin().await.unwrap();
    let mut waits = std::pin::pin!(db.begin());
    assert!(futures_util::poll!(waits.as_mut()).is_pending());
    holds.commit().await.unwrap();
    let mut tx = waits.await.unwrap();
    one::<i32>(&mut tx, PID).await;
}

#[tokio::test]
async fn a_snapshot_sees_one_moment() {
    let database = test_database(Area::Order).await;
    let db = database.db().await;
    db.pool().execute("CREATE TABLE t ()").await.unwrap();
    let mut tx = db.with_snapshots().begin().await.unwrap();
    db.pool()
        .execute("INSERT INTO t DEFAULT VALUES")
        .await
        .unwrap();
    let count = "SELECT count(*) FROM t";
    assert_eq!(one::<i64>(&mut tx, count).await, 0);
    let mut after = db.begin().await.unwrap();
    assert_eq!(one::<i64>(&mut after, count).await, 1);
}
