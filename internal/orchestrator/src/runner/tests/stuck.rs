use super::*;

impl World {
    #[expect(clippy::disallowed_methods, reason = "no query data for tests")]
    pub(super) async fn run(&self, statement: &str) {
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        let pool = self.engine.db.pool();
        sqlx::raw_sql(statement).execute(pool).await.unwrap();
    }

    async fn stuck(&self) -> Vec<(SagaId, String)> {
        let rows = read::list_stuck(&self.engine.db, None, 10).await.unwrap();
        let of = rows
            .into_iter()
            .map(Result::unwrap)
            .map(|row| (row.head.id, row.stuck.unwrap()));
        of.collect()
    }
}

#[tokio::test]
async fn a_saga_is_stuck_when_nothing_will_come_of_it_by_itself() {
    let world = World::new().await;
    let id = world.started("o-1").await;
    let other = world.started("o-2").await;
    assert_eq!(world.stuck().await, [], "both have just started");
    for (change, reason) in [
        ("wake_at = now() - interval '1 min'", "timer_not_fired"),
        (
            "wake_at = now() + interval '1 min', wait_until = now() - interval '1 min'",
            "late",
        ),
        (
            "wait_until = now() + interval '1 min', progress_at = now() - interval '1 h'",
            "no_progress",
        ),
    ] {
        world
            .run(&format!("UPDATE saga SET {change} WHERE id = '{id}'"))
            .await;
        assert_eq!(world.stuck().await, [(id, reason.to_owned())]);
        assert_eq!(world.saga(id).await.stuck.as_deref(), Some(reason));
    }
    // who is held is held on purpose
    world
        .run(&format!(
            "UPDATE saga SET waits_for = 'hold' WHERE id = '{id}'"
        ))
        .await;
    assert_eq!(world.stuck().await, []);
    let park = format!(
        "INSERT INTO outbox_parked (id, lane, topic, event_id, created_at, key, headers, payload, error)
         SELECT id, lane, topic, event_id, created_at, key, headers, payload, 'too large' FROM outbox
          WHERE key = convert_to('{other}', 'UTF8')"
    );
    world.run(&park).await;
    assert_eq!(world.stuck().await, [(other, "message_parked".to_owned())]);
}

#[tokio::test]
async fn retries_are_no_progress() {
    let world = World::new().await;
    let id = world.started("o-1").await;
    let began = world.saga(id).await.progress_at;
    let transient = reply(id, "reserve-stock", Direction::Forward, Answer::Transient);
    world.replies(vec![transient]).await;
    let row = world.saga(id).await;
    assert_eq!((row.head.version, row.progress_at), (2, began));
    world.replies(vec![reserved(id)]).await;
    assert!(world.saga(id).await.progress_at > began);
}
