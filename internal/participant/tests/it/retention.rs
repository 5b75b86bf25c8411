#![expect(clippy::unwrap_used, reason = "a test ends where its fixture fails")]

use chrono::TimeDelta;
use palinode_db::{Partitions, keep_partitions};
use palinode_values::{Clock, SagaId};

use crate::fixture::{Fixture, act, undo};

impl Fixture {
    #[expect(clippy::disallowed_methods, reason = "no query data for tests")]
    async fn run(&self, statement: &'static str) {
        sqlx::query(statement)
            .execute(self.db.pool())
            .await
            .unwrap();
    }

    #[expect(clippy::disallowed_methods, reason = "no query data for tests")]
    async fn place_of(&self, saga: SagaId) -> String {
        sqlx::query_scalar("SELECT tableoid::regclass::text FROM saga_guard WHERE saga_id = $1")
            .bind(saga.0)
            .fetch_one(self.db.pool())
            .await
            .unwrap()
    }

    fn saga_of_days_ago(&self, days: i64) -> SagaId {
        SagaId::new(&Clock::manual(self.clock.now() - TimeDelta::days(days)))
    }
}

const KEEP: &str = "UPDATE retention SET keep = interval '30 days'";
const KEEP_LONGER: &str = "UPDATE retention SET keep = interval '90 days'";
const OLD_DAY: &str =
    "SELECT partition_make('saga_guard', ((now() AT TIME ZONE 'UTC')::date - 40))";

#[tokio::test]
async fn each_saga_lies_in_its_day_and_an_old_day_goes_whole() {
    let mut fixture = Fixture::new().await;
    fixture.run(KEEP_LONGER).await;
    fixture.run(OLD_DAY).await;
    let (old, new) = (fixture.saga_of_days_ago(40), fixture.saga());
    let said = fixture
        .deliver(&[act(old, "old").at(1), act(new, "new").at(2)])
        .await;
    assert_eq!(said.answers(), ["done", "done"]);
    let today = fixture.clock.now().format("saga_guard_%Y%m%d").to_string();
    assert_eq!(fixture.place_of(new).await, today);
    assert_ne!(fixture.place_of(old).await, "saga_guard_default");
    assert_eq!(
        keep_partitions(&fixture.db).await.unwrap(),
        Partitions::default()
    );

    fixture.run(KEEP).await;
    let done = keep_partitions(&fixture.db).await.unwrap();
    assert_eq!((done.made.len(), done.dropped.len()), (0, 1));
    assert_eq!(fixture.count("saga_guard").await, 1);
    // even if they were kept longer again: what was dropped is not forgotten
    fixture.run(KEEP_LONGER).await;
    // a batch learns of it for the next
    let again = fixture.deliver(&[act(new, "new").at(6)]).await;
    assert_eq!((again.answers(), again.events), (vec!["done"], vec![]));
    let late = fixture
        .deliver(&[
            act(old, "old").at(3),
            undo(old, "undo").at(4),
            act(new, "new").at(5),
        ])
        .await;
    assert_eq!(late.answers(), ["expired", "expired", "done"]);
    assert_eq!(late.events, [""; 0], "nothing is run as new");
    assert_eq!(fixture.count("saga_guard_default").await, 0);
}

#[tokio::test]
async fn what_went_astray_is_told_and_moved_into_its_day() {
    let mut fixture = Fixture::new().await;
    fixture.run(KEEP_LONGER).await;
    let saga = fixture.saga_of_days_ago(40);
    fixture.deliver(&[act(saga, "a").at(1)]).await;
    assert_eq!(fixture.place_of(saga).await, "saga_guard_default");
    let told = keep_partitions(&fixture.db).await.unwrap();
    assert_eq!(told.strays, ["saga_guard"]);
    fixture.run(OLD_DAY).await;
    assert_ne!(fixture.place_of(saga).await, "saga_guard_default");
    let again = fixture.deliver(&[act(saga, "a").at(2)]).await;
    assert_eq!((again.answers(), again.events), (vec!["done"], vec![]));
}

#[tokio::test]
async fn a_busy_table_keeps_nobody_waiting() {
    let mut fixture = Fixture::new().await;
    fixture.run("DROP TABLE saga_guard_default").await;
    fixture
        .run("CREATE TABLE saga_guard_default PARTITION OF saga_guard DEFAULT")
        .await;
    fixture.run(KEEP_LONGER).await;
    fixture.run(OLD_DAY).await;
    fixture.run(KEEP).await;
    // somebody reads the table, and does not come to an end
    let mut reader = fixture.db.begin().await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "no query data for tests")]
    sqlx::query("SELECT count(*) FROM saga_guard")
        .execute(reader.conn())
        .await
        .unwrap();
    let error = keep_partitions(&fixture.db).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    let saga = fixture.saga();
    assert_eq!(
        fixture.deliver(&[act(saga, "a").at(1)]).await.answers(),
        ["done"]
    );
    drop(reader);
    assert_eq!(keep_partitions(&fixture.db).await.unwrap().dropped.len(), 1);
}

/// As two migrations do that are started together.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "no query data for tests")]
async fn two_who_make_one_day_make_it_once() {
    let fixture = Fixture::new().await;
    let mut first = fixture.db.begin().await.unwrap();
    sqlx::query(OLD_DAY).execute(first.conn()).await.unwrap();
    let second = async {
        let mut second = fixture.db.begin().await.unwrap();
        sqlx::query("SET LOCAL lock_timeout = '60s'")
            .execute(second.conn())
            .await
            .unwrap();
        let made: bool = sqlx::query_scalar(OLD_DAY)
            .fetch_one(second.conn())
            .await
            .unwrap();
        made
    };
    let waits = async {
        fixture.database.until_locked_out("partition_make").await;
        first.commit().await.unwrap();
    };
    let (made, ()) = tokio::join!(second, waits);
    assert!(made);
}

/// The least that a service may have: one of them is for its hot path.
#[tokio::test]
async fn days_are_kept_over_two_connections() {
    let fixture = Fixture::new().await;
    fixture.run(KEEP_LONGER).await;
    fixture.run(OLD_DAY).await;
    fixture.run(KEEP).await;
    let options = palinode_db::Options {
        url: fixture.database.url.clone(),
        service: "test".to_owned(),
        connections_max: 1,
    };
    let db = palinode_db::Db::connect(&options).await.unwrap();
    assert_eq!(keep_partitions(&db).await.unwrap().dropped.len(), 1);
}
