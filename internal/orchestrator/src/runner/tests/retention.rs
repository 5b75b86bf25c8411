use palinode_db::keep_partitions;
use sqlx::AssertSqlSafe;

use super::*;
use crate::runner::retention;

impl World {
    /// A saga that started that many days ago, in the day of its own.
    async fn started_days_ago(&self, days: i64, key: &str) -> SagaId {
        let at = self.engine.clock.now() - chrono::TimeDelta::days(days);
        let day = at.date_naive();
        self.run(&format!("SELECT partition_make('saga_history', '{day}')"))
            .await;
        let mut start = self.start_of("place-order", key);
        start.saga_id = SagaId::new(&Clock::manual(at));
        let id = start.saga_id;
        self.apply(Inputs {
            starts: vec![start],
            ..Inputs::default()
        })
        .await;
        id
    }

    async fn end(&self, id: SagaId) {
        self.replies(vec![failed(id, "reserve-stock")]).await;
        self.replies(vec![undone(id, "open-order")]).await;
    }

    async fn places(&self, id: SagaId) -> Vec<String> {
        sqlx::query_scalar!(
            r#"SELECT DISTINCT tableoid::regclass::text AS "place!" FROM saga_history
                WHERE saga_id = $1"#,
            id.0
        )
        .fetch_all(self.engine.db.pool())
        .await
        .unwrap()
    }
}

#[tokio::test]
async fn what_ended_long_ago_goes_and_its_day_after_it() {
    let world = World::new().await;
    let old = world.started_days_ago(40, "o-1").await;
    let open = world.started_days_ago(45, "o-2").await;
    let contradicted = world.started_days_ago(50, "o-3").await;
    let new = world.started("o-4").await;
    for id in [old, contradicted, new] {
        world.end(id).await;
    }
    world.replies(vec![reserved(contradicted)]).await;
    assert_eq!(retention::step(&world.engine).await.unwrap(), 1);
    assert!(read::get(&world.engine.db, old).await.unwrap().is_none());
    // of the others one is under way, one has an open case, one is young
    assert_eq!(retention::step(&world.engine).await.unwrap(), 0);
    let done = keep_partitions(&world.engine.db).await.unwrap();
    let tables: Vec<&str> = done
        .dropped
        .iter()
        .map(|(table, _)| table.as_str())
        .collect();
    assert_eq!(tables, ["saga_history"]);
    assert!(world.places(old).await.is_empty());
    for id in [open, contradicted, new] {
        assert_eq!(world.places(id).await.len(), 1);
    }
    // a reply that comes after all that is kept aside
    world.replies(vec![reserved(old)]).await;
    assert_eq!(world.late().await, ["contradiction", "unknown-saga"]);
}

#[tokio::test]
async fn an_archived_saga_is_found_and_its_key_stays_taken() {
    let world = World::new().await;
    let ended = world.started("o-1").await;
    let under_way = world.started("o-2").await;
    let contradicted = world.started("o-3").await;
    for id in [ended, contradicted] {
        world.end(id).await;
    }
    world.replies(vec![reserved(contradicted)]).await;
    assert_eq!(retention::step(&world.engine).await.unwrap(), 0);
    let before = world.saga(ended).await;
    world.run("UPDATE archiving SET after = '0'").await;
    assert_eq!(retention::step(&world.engine).await.unwrap(), 1);
    let here = sqlx::query_scalar!("SELECT id FROM saga ORDER BY id");
    let here = here.fetch_all(world.engine.db.pool()).await.unwrap();
    assert_eq!(here, [under_way.0, contradicted.0]);

    let db = &world.engine.db;
    let after = world.saga(ended).await;
    assert_eq!(after.head.state, before.head.state);
    assert_eq!(read::history(db, ended).await.unwrap().len(), 3);
    let list = async |state, before, limit| -> Vec<SagaId> {
        let rows = read::list(db, state, before, limit).await.unwrap();
        rows.into_iter().map(|row| row.unwrap().head.id).collect()
    };
    let newest = [contradicted, under_way, ended];
    assert_eq!(list(None, None, 10).await, newest);
    assert_eq!(list(None, Some(under_way), 10).await, newest[2..]);
    assert_eq!(list(None, None, 2).await, newest[..2]);
    let back = [contradicted, ended];
    assert_eq!(list(Some("compensated"), None, 10).await, back);
    let states = read::states(db, &newest).await.unwrap();
    assert_eq!(states.len(), 3);

    // its key is another saga's for nobody, and its start a repetition
    let (found, _) = read::by_key(db, "place-order", "o-1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found, ended);
    let mut again = world.start_of("place-order", "o-1");
    let second = again.clone();
    again.saga_id = ended;
    let inputs = Inputs {
        starts: vec![again, second],
        ..Inputs::default()
    };
    world.apply(inputs).await;
    assert_eq!(world.late().await, ["contradiction", "start-conflict"]);
    assert_eq!(list(None, None, 10).await, newest);
}

#[tokio::test]
async fn what_is_kept_no_longer_frees_its_key() {
    let world = World::new().await;
    let old = world.started_days_ago(40, "o-1").await;
    let open = world.started_days_ago(40, "o-2").await;
    world.end(old).await;
    retention::step(&world.engine).await.unwrap();
    let key = async |key| {
        read::by_key(&world.engine.db, "place-order", key)
            .await
            .unwrap()
    };
    assert!(key("o-1").await.is_none());
    assert_eq!(key("o-2").await.unwrap().0, open);
}

#[tokio::test]
async fn the_days_ahead_are_there() {
    let world = World::new().await;
    let id = world.started("o-1").await;
    let today = world
        .engine
        .clock
        .now()
        .format("saga_history_%Y%m%d")
        .to_string();
    assert_eq!(world.places(id).await, [today]);
    let in_two_days = world.engine.clock.now() + chrono::TimeDelta::days(2);
    let mut start = world.start_of("place-order", "o-2");
    start.saga_id = SagaId::new(&Clock::manual(in_two_days));
    let id = start.saga_id;
    world
        .apply(Inputs {
            starts: vec![start],
            ..Inputs::default()
        })
        .await;
    let then = in_two_days.format("saga_history_%Y%m%d").to_string();
    assert_eq!(world.places(id).await, [then]);
    let looked = keep_partitions(&world.engine.db).await.unwrap();
    assert!(looked.strays.is_empty());
}

/// What looks for the old every minute stops where the young begin, however many those are.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a plan cannot be prepared")]
async fn a_table_without_old_rows_costs_nothing() {
    const ROWS_MAX: u64 = 10;
    let world = World::new().await;
    world
        .run(
            "INSERT INTO saga (id, lane, plan_id, plan_name, business_key, version, state, body)
               SELECT uuid_at(now() + n * interval '1 ms'), n % 16, 1, 'place-order', n, 9,
                      'completed', repeat('x', 250)::bytea
                 FROM generate_series(1, 20000) n;
             INSERT INTO saga_key SELECT plan_name, business_key, id FROM saga",
        )
        .await;
    let mut connection = world._database.connect().await;
    for analyzed in [false, true] {
        if analyzed {
            world.run("ANALYZE").await;
        }
        for (name, sql) in [
            (
                "purge_heads",
                include_str!("../../store/sql/purge_heads.sql"),
            ),
            (
                "archive_sagas",
                include_str!("../../store/sql/archive_sagas.sql"),
            ),
            ("purge_keys", include_str!("../../store/sql/purge_keys.sql")),
        ] {
            let sql = sql.replace("$1", "5000");
            let sql = format!("EXPLAIN (ANALYZE, TIMING OFF) {sql}");
            let rows = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut connection);
            let plan: Vec<String> = rows.await.unwrap();
            for line in &plan {
                let seen = [
                    "actual rows=",
                    "Rows Removed by Filter: ",
                    "Rows Removed by Join Filter: ",
                ];
                let seen = seen.iter().filter_map(|words| line.split_once(words));
                let seen = seen.map(|(_, after)| {
                    let digits = after.find(|c: char| !c.is_ascii_digit());
                    after[..digits.unwrap_or(after.len())]
                        .parse::<u64>()
                        .unwrap()
                });
                let most = seen.max().unwrap_or_default();
                assert!(most <= ROWS_MAX, "{name} looks at {most} rows: {plan:#?}");
            }
        }
    }
}
