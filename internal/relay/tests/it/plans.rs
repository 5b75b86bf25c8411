use palinode_db::Db;
use sqlx::AssertSqlSafe;

use crate::stack::{Stack, execute};

const READ_PAGE: &str = include_str!("../../src/sql/read_page.sql");
const DELETE: &str = include_str!("../../src/sql/delete_acknowledged.sql");

/// The plan of a statement with an array of all lanes and a second argument.
#[expect(clippy::disallowed_methods, reason = "the macros do not explain")]
async fn plan<T>(db: &Db, sql: &str, second: T) -> String
where
    T: for<'q> sqlx::Encode<'q, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + 'static,
{
    let lanes: Vec<i16> = (0..64).collect();
    let lines: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!("EXPLAIN {sql}")))
        .bind(lanes)
        .bind(second)
        .fetch_all(db.pool())
        .await
        .unwrap();
    lines.join("\n")
}

/// Pages come from the primary key even on a table that was never analysed; acknowledgements as
/// soon as it is larger than a few pages.
#[tokio::test]
async fn pages_and_acknowledgements_use_the_primary_key() {
    let stack = Stack::in_process(1).await;
    check("empty", &plan(&stack.db, READ_PAGE, 78_i64).await);
    let fill = "INSERT INTO outbox (lane, topic, event_id, key, headers, payload)
                SELECT n % 64, 1, gen_random_uuid(), 'a', '', '' FROM generate_series(1, 20000) n";
    execute(&stack.db, fill).await;
    for table in ["full", "analysed"] {
        check(table, &plan(&stack.db, READ_PAGE, 78_i64).await);
        let ids: Vec<i64> = (1..=64).collect();
        check(table, &plan(&stack.db, DELETE, ids).await);
        execute(&stack.db, "ANALYZE outbox").await;
    }
}

fn check(table: &str, plan: &str) {
    assert!(plan.contains("outbox_pkey"), "{table}: {plan}");
    assert!(!plan.contains("Seq Scan on outbox"), "{table}: {plan}");
}
