use palinode_db::Db;
use sqlx::AssertSqlSafe;

use crate::stack::{Stack, execute};

/// Statements of the hot path, the types of their arguments, and what their plans have to say.
const STATEMENTS: [(&str, &str, &str); 4] = [
    (
        include_str!("../../src/sql/read_page.sql"),
        "smallint[], bigint, bigint",
        "Index Cond: ((lane = l.lane) AND (id >= $3))",
    ),
    (
        include_str!("../../src/sql/floor_lowest.sql"),
        "smallint[], bigint, bigint",
        "Index Cond: ((lane = l.lane) AND (id >= $2) AND (id <= $3))",
    ),
    (
        include_str!("../../src/sql/read_small_page.sql"),
        "smallint[], bigint",
        "Index Scan using outbox_pkey on outbox",
    ),
    (
        include_str!("../../src/sql/delete_acknowledged.sql"),
        "smallint[], bigint[]",
        "Index Cond: ((lane = a.lane) AND (id = a.id))",
    ),
];

/// The plan that a connection of the relay makes once and keeps.
#[expect(clippy::disallowed_methods, reason = "the macros do not explain")]
async fn plan(db: &Db, sql: &str, types: &str) -> String {
    let prepare = format!("PREPARE it({types}) AS {sql}");
    let lines = db
        .own()
        .run(async |conn| {
            sqlx::raw_sql(AssertSqlSafe(prepare))
                .execute(&mut *conn)
                .await?;
            let nulls = vec!["NULL"; types.split(',').count()].join(", ");
            let explain = AssertSqlSafe(format!("EXPLAIN EXECUTE it({nulls})"));
            let lines: Vec<String> = sqlx::query_scalar(explain).fetch_all(conn).await?;
            Ok(lines)
        })
        .await;
    lines.unwrap().join("\n")
}

/// The plan is made at the first use, on whatever table there is then.
#[tokio::test]
async fn pages_and_acknowledgements_use_the_primary_key() {
    let stack = Stack::in_process(1).await;
    let fill = "INSERT INTO outbox (lane, topic, event_id, key, headers, payload)
                SELECT n % 64, 1, gen_random_uuid(), 'a', '', '' FROM generate_series(1, 20000) n";
    let states = [
        "TRUNCATE outbox",
        fill,
        "ANALYZE outbox",
        "DELETE FROM outbox",
        "VACUUM ANALYZE outbox",
    ];
    for state in states {
        execute(&stack.db, state).await;
        for (sql, types, says) in STATEMENTS {
            let plan = plan(&stack.db, sql, types).await;
            assert!(plan.contains(says), "after {state}: {plan}");
        }
    }
}
