//! Bug classes that shipped in other engines, as far as they take a real database.
#![expect(
    clippy::disallowed_methods,
    reason = "triggers are no statements that can be prepared"
)]

use palinode_pb::saga::v1::act_on_saga_request::Verb;
use palinode_pb::saga::v1::{ActOnSagaRequest, Pause};
use palinode_values::Coded;
use sqlx::Executor;

use super::*;

/// A statement that fails: on that table, with that error, when it is run or when it is committed.
#[derive(Debug, Clone, Copy)]
struct Broken {
    table: &'static str,
    code: &'static str,
    at_commit: bool,
}

impl Broken {
    /// Every table that a transition writes, with an error that is tried again and one that is not.
    fn all() -> impl Iterator<Item = Self> {
        let tables = ["saga", "saga_history", "outbox"];
        let kinds = [
            ("40001", false),
            ("40001", true),
            ("58030", false),
            ("58030", true),
        ];
        tables.into_iter().flat_map(move |table| {
            kinds.into_iter().map(move |(code, at_commit)| Self {
                table,
                code,
                at_commit,
            })
        })
    }

    async fn plant(self, world: &World) {
        let Self { table, code, .. } = self;
        // a partitioned table cannot have a constraint trigger, its partition can
        let target = match table {
            "saga_history" => "saga_history_default",
            other => other,
        };
        let timing = if self.at_commit {
            format!(
                "CREATE CONSTRAINT TRIGGER breaks AFTER INSERT OR UPDATE ON {target}
                     DEFERRABLE INITIALLY DEFERRED"
            )
        } else {
            format!("CREATE TRIGGER breaks BEFORE INSERT OR UPDATE ON {target}")
        };
        let sql = format!(
            "CREATE OR REPLACE FUNCTION breaks() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'broken' USING ERRCODE = '{code}'; END $$;
             {timing} FOR EACH ROW EXECUTE FUNCTION breaks()"
        );
        run(world, sql).await;
    }

    async fn mend(self, world: &World) {
        run(world, "DROP FUNCTION breaks CASCADE".to_owned()).await;
    }
}

async fn run(world: &World, sql: String) {
    let pool = world.engine.db.pool();
    pool.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql)))
        .await
        .unwrap();
}

/// Days have partitions of their own; what a saga writes goes to the default one without them.
async fn without_days(world: &World) {
    let days = sqlx::query_scalar::<_, String>(
        "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
          WHERE i.inhparent = 'saga_history'::regclass AND c.relname <> 'saga_history_default'",
    );
    for day in days.fetch_all(world.engine.db.pool()).await.unwrap() {
        run(world, format!("DROP TABLE {day}")).await;
    }
}

/// B1: an error in recovery is told and swallowed by nobody; nothing of it is stored, and when the
/// database is well again the saga goes on.
#[tokio::test]
async fn an_error_at_any_statement_of_recovery_loses_nothing() {
    let world = World::with(vec![impatient()]).await;
    without_days(&world).await;
    let start = world.start_of("impatient", "o-1");
    let id = start.saga_id;
    world
        .apply(Inputs {
            starts: vec![start],
            ..Inputs::default()
        })
        .await;
    for broken in Broken::all() {
        let limit = Duration::from_secs(20);
        eventually(limit, "a timer is due", async || {
            let due = store::due(&world.engine.db, 1).await.unwrap();
            (!due.is_empty()).then_some(())
        })
        .await;
        let before = (
            world.saga(id).await.head.version,
            world.outbox().await.len(),
        );
        broken.plant(&world).await;
        let failed = timers::step(&world.engine).await;
        broken.mend(&world).await;
        // a timer that sends nothing does not touch the outbox
        let touches = broken.table != "outbox" || failed.is_err();
        let after = (
            world.saga(id).await.head.version,
            world.outbox().await.len(),
        );
        if touches {
            assert!(failed.is_err(), "{broken:?} was swallowed");
            assert_eq!(after, before, "{broken:?} left something behind");
            let woken = timers::step(&world.engine).await.unwrap();
            assert_eq!(woken, 1, "after {broken:?} nobody wakes it");
        }
    }
    let empty = reply(
        id,
        "reserve-stock",
        Direction::Backward,
        Answer::UndoneEmpty,
    );
    eventually(Duration::from_secs(20), "the saga goes back", async || {
        timers::step(&world.engine).await.unwrap();
        (world.saga(id).await.head.state.status == Status::Compensating).then_some(())
    })
    .await;
    world.replies(vec![empty]).await;
    assert_eq!(world.saga(id).await.head.state.status, Status::Compensated);
}

/// B7: a verb whose commit fails is not acknowledged and did nothing; one whose answer is lost is
/// done, and asking again with the version that was looked at does not do it twice.
#[tokio::test]
async fn a_verb_is_acknowledged_if_and_only_if_it_is_stored() {
    let world = World::new().await;
    without_days(&world).await;
    let id = world.started("o-1").await;
    let upon = |request| ActOnSagaRequest {
        expected_version: 1,
        ..request
    };
    let pause = || Verb::Pause(Pause {});
    for broken in Broken::all().filter(|broken| broken.table != "outbox") {
        broken.plant(&world).await;
        let failed = world.asked(id, pause(), upon).await;
        broken.mend(&world).await;
        assert!(failed.is_err(), "{broken:?} was acknowledged");
        let head = world.saga(id).await.head;
        assert_eq!((head.version, head.state.hold), (1, None), "{broken:?}");
    }
    // its answer never arrives
    drop(world.asked(id, pause(), upon).await.unwrap());
    assert!(world.saga(id).await.head.state.hold.is_some());
    let again = world.asked(id, pause(), upon).await.unwrap_err();
    assert_eq!(again.reason(), "SAGA_MOVED_ON");
    assert_eq!(world.versions(id).await.len(), 2);
}
