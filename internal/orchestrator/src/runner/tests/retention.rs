use palinode_db::keep_partitions;

use super::*;
use crate::runner::retention;

impl World {
    /// A saga that started that many days ago, in the day of its own.
    async fn started_days_ago(&self, days: i64, key: &str) -> SagaId {
        let at = self.engine.clock.now() - chrono::TimeDelta::days(days);
        for table in ["saga_history", "saga_payload"] {
            self.run(&format!(
                "SELECT partition_make('{table}', '{}')",
                at.date_naive()
            ))
            .await;
        }
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
    assert_eq!(tables, ["saga_history", "saga_payload"]);
    assert!(world.places(old).await.is_empty());
    for id in [open, contradicted, new] {
        assert_eq!(world.places(id).await.len(), 1);
    }
    // a reply that comes after all that is kept aside
    world.replies(vec![reserved(old)]).await;
    assert_eq!(world.late().await, ["contradiction", "unknown-saga"]);
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
