//! The hot path: what is remembered is never taken for the truth, and the tables stay fast.
#![expect(
    clippy::disallowed_methods,
    reason = "statements about plans and statistics cannot be prepared"
)]

use sqlx::{AssertSqlSafe, PgConnection};

use super::*;
use crate::runner::batch::apply_at_once;
use crate::runner::recent::Recent;

impl World {
    /// Another orchestrator on the same database, which remembers nothing of this one's sagas.
    fn other(&self) -> Engine {
        Engine {
            recent: Recent::default(),
            ..self.engine.clone()
        }
    }
}

async fn take(engine: &Engine, replies: Vec<Reply>) {
    let inputs = Inputs {
        replies,
        ..Inputs::default()
    };
    let inputs = &inputs;
    let written = engine.db.run_tx("test", |tx| apply(engine, tx, inputs));
    written.await.unwrap().committed(engine);
}

async fn start(world: &World, sagas: usize) -> Vec<SagaId> {
    let key = |n| format!("o-{n}");
    let starts: Vec<Start> = (0..sagas)
        .map(|n| world.start_of("place-order", &key(n)))
        .collect();
    let ids = starts.iter().map(|start| start.saga_id).collect();
    let inputs = Inputs {
        starts,
        ..Inputs::default()
    };
    let (engine, inputs) = (&world.engine, &inputs);
    let written = engine.db.run_tx("test", |tx| apply(engine, tx, inputs));
    written.await.unwrap().committed(engine);
    ids
}

/// Whether it could be done in one statement.
async fn at_once(engine: &Engine, inputs: Inputs) -> bool {
    let mut own = engine.db.own();
    let written = apply_at_once(engine, &mut own, &inputs).await.unwrap();
    let done = written.is_some();
    if let Some(written) = written {
        written.committed(engine);
    }
    done
}

fn answers(replies: Vec<Reply>) -> Inputs {
    Inputs {
        replies,
        ..Inputs::default()
    }
}

#[tokio::test]
async fn what_is_remembered_goes_on_in_one_statement() {
    let world = World::new().await;
    let ids = start(&world, 2).await;
    let both = ids.iter().map(|id| reserved(*id)).collect();
    assert!(at_once(&world.engine, answers(both)).await);
    let one = vec![charged(ids[0]), shipped(ids[0])];
    assert!(at_once(&world.engine, answers(one)).await);
    assert_eq!(world.versions(ids[0]).await.len(), 4);
    assert_eq!(world.versions(ids[1]).await.len(), 2);
    let kinds = world.outbox().await.into_iter().map(|sent| sent.kind);
    let mut kinds: Vec<_> = kinds.collect();
    kinds.sort_unstable();
    let expected = [
        ("ArrangeShipping", 1),
        ("ChargePayment", 2),
        ("CommitStock", 1),
        ("ConfirmOrder", 1),
        ("ReserveStock", 2),
    ];
    let expected = expected.map(|(kind, n)| vec![kind.to_owned(); n]).concat();
    assert_eq!(kinds, expected);
}

/// Nothing of a batch is done at once if something of it cannot be.
#[tokio::test]
async fn what_cannot_be_done_in_one_statement_leaves_no_trace_and_is_done_in_a_transaction() {
    let world = World::new().await;
    let ids = start(&world, 3).await;
    let all = || ids.iter().map(|id| reserved(*id)).collect::<Vec<_>>();
    let before = world.outbox().await.len();
    let untouched = async || {
        assert_eq!(world.outbox().await.len(), before);
        assert_eq!(world.versions(ids[0]).await.len(), 1);
    };
    // one is not remembered here: the others still are
    assert!(world.engine.recent.take(ids[2]).is_some());
    assert!(!at_once(&world.engine, answers(all())).await);
    untouched().await;
    let known = vec![charged(ids[0])]; // that changes nothing: the row has to be asked
    assert!(!at_once(&world.engine, answers(known)).await);
    untouched().await;
    // one was moved on by another orchestrator
    let rest = vec![reserved(ids[1]), reserved(ids[2])];
    let two = [ids[1], ids[2]];
    take(&world.engine, vec![reserved(ids[0])]).await;
    let other = world.other();
    take(&other, vec![charged(ids[0])]).await;
    take(&world.engine, rest).await;
    let stale = [shipped(ids[0])].into_iter();
    let stale = stale
        .chain(two.iter().map(|id| charged(*id)))
        .collect::<Vec<_>>();
    let sent = world.outbox().await.len();
    assert!(!at_once(&world.engine, answers(stale.clone())).await);
    assert_eq!(world.outbox().await.len(), sent);
    assert_eq!(world.versions(ids[1]).await.len(), 2);
    take(&world.engine, stale).await;
    assert_eq!(world.versions(ids[0]).await.len(), 4);
    assert_eq!(world.versions(ids[1]).await.len(), 3);
    assert!(world.late().await.is_empty());
}

#[tokio::test]
async fn of_starts_in_one_statement_all_are_new_or_none_is() {
    let world = World::new().await;
    let starts = |keys: &[&str]| Inputs {
        starts: keys
            .iter()
            .map(|key| world.start_of("place-order", key))
            .collect(),
        ..Inputs::default()
    };
    let (first, second) = (starts(&["a", "b"]), starts(&["c", "a"]));
    assert!(
        !at_once(&world.engine, first.clone()).await,
        "the time is not known"
    );
    world
        .engine
        .db
        .begin()
        .await
        .unwrap()
        .commit()
        .await
        .unwrap();
    assert!(at_once(&world.engine, first.clone()).await);
    assert!(!at_once(&world.engine, first).await, "they were started");
    assert!(
        !at_once(&world.engine, second.clone()).await,
        "one key is taken"
    );
    assert_eq!(world.outbox().await.len(), 2);
    world.apply(second).await;
    assert_eq!(world.outbox().await.len(), 3);
    assert_eq!(world.late().await, ["start-conflict"]);
}

#[tokio::test]
async fn an_answer_to_what_another_orchestrator_has_sent_is_taken() {
    let world = World::new().await;
    let id = start(&world, 1).await[0];
    take(&world.other(), vec![reserved(id)]).await;
    // as it is remembered here, its payment was never asked for
    take(&world.engine, vec![charged(id)]).await;
    assert_eq!(world.versions(id).await.len(), 3);
    assert!(world.late().await.is_empty());
}

#[tokio::test]
async fn what_another_orchestrator_has_done_is_not_done_again() {
    let world = World::new().await;
    let ids = start(&world, 3).await;
    take(&world.other(), vec![reserved(ids[1])]).await;
    let replies = ids.iter().map(|id| reserved(*id)).collect();
    take(&world.engine, replies).await;
    for id in &ids {
        assert_eq!(world.versions(*id).await.len(), 2);
    }
    let sent = world.outbox().await;
    let charges = sent.iter().filter(|sent| sent.kind == "ChargePayment");
    assert_eq!(charges.count(), 3);
}

#[tokio::test]
async fn a_remembered_saga_goes_on_like_one_that_is_read() {
    let bodies = async |remembers: bool| {
        let world = World::new().await;
        let id = start(&world, 1).await[0];
        for one in [reserved(id), charged(id), shipped(id)] {
            let other = world.other();
            let engine = if remembers { &world.engine } else { &other };
            take(engine, vec![one]).await;
        }
        assert_eq!(world.versions(id).await.len(), 4);
        let sent = world.outbox().await.into_iter();
        sent.map(|sent| (sent.kind, sent.body)).collect::<Vec<_>>()
    };
    assert_eq!(bodies(true).await, bodies(false).await);
}

/// Waits until no transaction of the cluster, whoever's, still needs what was replaced so far.
async fn everybody_sees(world: &World) {
    let pool = world.engine.db.pool();
    let next: i64 =
        sqlx::query_scalar("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
            .fetch_one(pool)
            .await
            .unwrap();
    eventually(Duration::from_secs(60), "all see it", async || {
        let oldest: i64 =
            sqlx::query_scalar("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
                .fetch_one(pool)
                .await
                .unwrap();
        (oldest >= next).then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_change_of_a_head_but_its_last_leaves_the_indexes_alone() {
    let world = World::new().await;
    // it looks at the table for a while, and what it might see is not removed so long
    world
        .run("ALTER TABLE saga SET (autovacuum_enabled = false)")
        .await;
    let ids = start(&world, 200).await;
    let each = |of: fn(SagaId) -> Reply| ids.iter().map(|id| of(*id)).collect();
    let settled = |step: &'static str| {
        let done = |id: &SagaId| reply(*id, step, Direction::Forward, Answer::Done);
        ids.iter().map(done).collect()
    };
    for replies in [
        each(reserved),
        each(charged),
        each(shipped),
        settled("commit-stock"),
        settled("confirm-order"),
    ] {
        everybody_sees(&world).await;
        take(&world.engine, replies).await;
    }
    // a session counts when it ends
    world.engine.db.close().await;
    let mut connection = world._database.connect().await;
    let counted = eventually(Duration::from_secs(20), "it is counted", async || {
        let row: (i64, i64) = sqlx::query_as(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'saga'",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        (row.0 == 1_000).then_some(row)
    });
    let (updated, hot) = counted.await;
    let before_the_last = updated - 200;
    assert!(
        hot * 100 >= before_the_last * 90,
        "{hot} of {before_the_last}"
    );
}

#[tokio::test]
async fn hot_statements_use_their_indexes_before_and_after_the_first_analyze() {
    let world = World::new().await;
    world
        .run(
            "INSERT INTO saga (id, lane, plan_id, plan_name, business_key, version, state, body,
                               waits_for, waits_step, wait_until, wake_at)
               SELECT md5(n::text)::uuid, n % 16, 1, 'place-order', n, 1, 'running',
                      repeat('x', 250)::bytea, 'reply', 'reserve-stock', now() + interval '1 h',
                      now() + interval '1 h'
                 FROM generate_series(1, 20000) n;
             INSERT INTO saga_key SELECT plan_name, business_key, id FROM saga;
             INSERT INTO saga_history SELECT id, 1, now(), 1, '{}', '{}' FROM saga",
        )
        .await;
    let mut connection = world._database.connect().await;
    for analyzed in [false, true] {
        if analyzed {
            world.run("ANALYZE").await;
        }
        for ((name, sql), fixed) in statements().flat_map(|one| [(one.clone(), false), (one, true)])
        {
            let plan = plan(&mut connection, &sql, fixed).await;
            for table in ["saga", "saga_key", "saga_history_default"] {
                let scan = format!("Seq Scan on {table} ");
                let whole = plan.iter().any(|line| line.contains(&scan));
                assert!(!whole, "{name} reads all of {table}: {plan:#?}");
            }
        }
    }
}

/// Every statement of the hot path, by the name of its file.
fn statements() -> impl Iterator<Item = (String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sql");
    let files = std::fs::read_dir(folder).unwrap().map(|file| {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read_to_string(path).unwrap())
    });
    let statements: Vec<_> = files.collect();
    assert!(statements.len() >= 7, "{folder} is empty");
    statements.into_iter()
}

/// How the statement is run for a batch of 200 sagas, planned for them or, `fixed`, for any.
async fn plan(connection: &mut PgConnection, sql: &str, fixed: bool) -> Vec<String> {
    let count = (1..).find(|n| !sql.contains(&format!("${n}"))).unwrap() - 1;
    let ids = (1..=200).map(|n| format!("{n:032x}")).collect::<Vec<_>>();
    let ids = format!("'{{{}}}'", ids.join(","));
    let argument = |n: usize| match n {
        1 if sql.contains("$1::smallint[]") => "'{0,1,2,3}'",
        1 => ids.as_str(),
        2 if sql.contains("LIMIT $2") => "32",
        _ if sql.contains(&format!("${n}::bool ")) => "true",
        _ if sql.contains(&format!("${n}::uuid[]")) => ids.as_str(),
        _ => "'{}'",
    };
    let arguments = (1..=count).map(argument).collect::<Vec<_>>().join(",");
    let mut run = async |sql: String| -> Vec<String> {
        let sql = AssertSqlSafe(sql);
        let rows = sqlx::query_scalar(sql).fetch_all(&mut *connection);
        rows.await.unwrap()
    };
    let (mode, off) = if fixed {
        ("generic", "off")
    } else {
        ("custom", "on")
    };
    run(format!("SET plan_cache_mode = force_{mode}_plan")).await;
    for way in ["seqscan", "hashjoin", "mergejoin"] {
        run(format!("SET enable_{way} = {off}")).await;
    }
    run(format!("PREPARE hot AS {sql}")).await;
    let plan = run(format!("EXPLAIN EXECUTE hot ({arguments})")).await;
    run("DEALLOCATE hot".to_owned()).await;
    plan
}
