use std::collections::BTreeSet;

use palinode_pb::saga::v1::create_bulk_request::Verb;
use palinode_pb::saga::v1::{
    self as pb, CreateBulkRequest, ForceCompensate, Pause, Resume, SagaFilter, SagaState,
};
use palinode_pb::validate::Validate as _;
use palinode_rpc::Violations;
use palinode_values::{BulkId, Coded};

use super::*;
use crate::convert::{self, WantedBulk};
use crate::runner::bulk::{self, BulkError, SAGAS_MAX};
use crate::store::bulk::{self as bulks, BulkRow, Count};

pub(super) fn of_plan() -> SagaFilter {
    SagaFilter {
        plan: "place-order".to_owned(),
        ..SagaFilter::default()
    }
}

fn of_key(prefix: &str) -> SagaFilter {
    SagaFilter {
        business_key_prefix: prefix.to_owned(),
        ..SagaFilter::default()
    }
}

impl World {
    fn wanted_bulk(&self, filter: SagaFilter, verb: Verb, rate: i32) -> WantedBulk {
        let request = CreateBulkRequest {
            filter: Some(filter),
            verb: Some(verb),
            reason: "the carrier is down".to_owned(),
            rate,
            run: false,
            moved_too: false,
        };
        convert::wanted_bulk(&self.engine.registry, request, &ada(), None).unwrap()
    }

    /// As a caller asks for it, with an idempotency key.
    async fn wanted(
        &self,
        prefix: &str,
        run: bool,
        (by, key): (&str, &str),
    ) -> Result<BulkRow, BulkError> {
        let request = CreateBulkRequest {
            filter: Some(of_key(prefix)),
            verb: Some(PAUSE),
            reason: "the carrier is down".to_owned(),
            rate: 1_000,
            run,
            moved_too: false,
        };
        let (by, key) = (by.parse().unwrap(), Some(key.to_owned()));
        let wanted = convert::wanted_bulk(&self.engine.registry, request, &by, key).unwrap();
        bulk::prepare(&self.engine, &wanted, SAGAS_MAX).await
    }

    pub(super) async fn prepared(&self, filter: SagaFilter, verb: Verb) -> BulkRow {
        let wanted = self.wanted_bulk(filter, verb, 1_000);
        bulk::prepare(&self.engine, &wanted, SAGAS_MAX)
            .await
            .unwrap()
    }

    async fn bulk(&self, id: BulkId) -> BulkRow {
        bulks::get(self.engine.db.pool(), id)
            .await
            .unwrap()
            .unwrap()
    }

    /// Runs the bulk to its end, as an orchestrator does.
    pub(super) async fn run_to_end(&self, id: BulkId) -> BulkRow {
        bulk::run(&self.engine, id).await.unwrap();
        self.ended(id).await
    }

    async fn ended(&self, id: BulkId) -> BulkRow {
        eventually(Duration::from_secs(20), "the bulk is done", async || {
            bulk::step(&self.engine).await.unwrap();
            let row = self.bulk(id).await;
            (row.state == "done").then_some(row)
        })
        .await
    }

    async fn started_all(&self, count: usize) -> Vec<SagaId> {
        let mut ids = Vec::new();
        for n in 0..count {
            ids.push(self.started(&format!("o-{n}")).await);
        }
        ids
    }
}

pub(super) fn told(counts: &[Count]) -> Vec<(i32, &str, String)> {
    let told = counts.iter().map(|count| {
        let sent = count.what.effects.join(", ");
        let sent = if sent.is_empty() {
            count.what.refused.clone()
        } else {
            sent
        };
        (count.count, count.what.words.as_str(), sent)
    });
    told.collect()
}

fn figures(row: &BulkRow) -> [i32; 4] {
    [row.done, row.refused, row.moved, row.failed]
}

const BACK: Verb = Verb::ForceCompensate(ForceCompensate {});
const PAUSE: Verb = Verb::Pause(Pause {});

#[tokio::test]
async fn a_bulk_is_counted_first_and_then_done_with_what_was_found() {
    let world = World::new().await;
    let ids = world.started_all(5).await;
    for reply in [reserved, charged, shipped] {
        world.replies(vec![reply(ids[3]), reply(ids[4])]).await;
    }
    let bulk = world.prepared(of_plan(), BACK).await;
    let rule = "its pivot has happened: only a reversing plan takes it back";
    assert_eq!(
        told(&bulk.preview),
        [
            (3, "go back", "undo reserve-stock".to_owned()),
            (2, rule, "PAST_PIVOT".to_owned()),
        ]
    );
    assert_eq!(bulk.preview[1].examples, ids[3..]);
    assert_eq!(world.saga(ids[0]).await.head.version, 1, "nothing was done");
    assert_eq!(bulk::step(&world.engine).await.unwrap(), 0);

    let done = world.run_to_end(bulk.id).await;
    assert_eq!(figures(&done), [3, 2, 0, 0]);
    for id in &ids[..3] {
        let status = world.saga(*id).await.head.state.status;
        assert_eq!(status, Status::Compensating);
        let history = read::history(&world.engine.db, *id).await.unwrap();
        let plan = world.engine.registry.current("place-order").unwrap();
        let entry = convert::history_entry(&plan.plan, &history[1]).unwrap();
        assert_eq!(
            (entry.principal.as_str(), entry.reason.as_str()),
            ("ada", "the carrier is down")
        );
        assert_eq!(entry.bulk_id, bulk.id.to_string());
    }
    let left = bulks::left(&world.engine.db, bulk.id).await.unwrap();
    assert_eq!(told(&left), [(2, rule, "PAST_PIVOT".to_owned())]);
    let again = bulk::run(&world.engine, bulk.id).await.unwrap_err();
    assert_eq!(again.reason(), "BULK_ENDED");
}

/// Another orchestrator has carried it out before whoever started it could look.
#[tokio::test]
async fn a_bulk_that_is_done_as_soon_as_it_begins_was_begun() {
    let world = World::new().await;
    world.started_all(1).await;
    let bulk = world.prepared(of_plan(), BACK).await;
    world
        .run(
            "CREATE FUNCTION at_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               NEW.state := 'done'; NEW.ended_at := now(); NEW.next_at := NULL; RETURN NEW; END $$",
        )
        .await;
    world
        .run("CREATE TRIGGER at_once BEFORE UPDATE ON bulk FOR EACH ROW EXECUTE FUNCTION at_once()")
        .await;
    let begun = bulk::run(&world.engine, bulk.id).await.unwrap();
    assert_eq!(begun.state, "done");
    let again = bulk::run(&world.engine, bulk.id).await.unwrap_err();
    assert_eq!(again.reason(), "BULK_ENDED");
}

#[tokio::test]
async fn a_saga_that_moved_on_meanwhile_is_left_alone_and_told() {
    let world = World::new().await;
    let ids = world.started_all(3).await;
    let bulk = world.prepared(of_plan(), BACK).await;
    world.replies(vec![reserved(ids[1])]).await;
    let done = world.run_to_end(bulk.id).await;
    assert_eq!(figures(&done), [2, 0, 1, 0]);
    assert_eq!(world.saga(ids[1]).await.head.state.status, Status::Running);
    let left = bulks::left(&world.engine.db, bulk.id).await.unwrap();
    assert_eq!(left[0].what.refused, "SAGA_MOVED_ON");
    assert_eq!(left[0].examples, [ids[1]]);

    let wanted = WantedBulk {
        moved_too: true,
        ..world.wanted_bulk(of_plan(), PAUSE, 1_000)
    };
    let bulk = bulk::prepare(&world.engine, &wanted, SAGAS_MAX).await;
    world.replies(vec![charged(ids[1])]).await;
    let done = world.run_to_end(bulk.unwrap().id).await;
    assert_eq!(figures(&done), [3, 0, 0, 0], "as they are then");
    assert!(world.saga(ids[1]).await.head.state.hold.is_some());
}

#[tokio::test]
async fn one_saga_that_cannot_be_read_does_not_hold_up_a_bulk() {
    let world = World::new().await;
    let ids = world.started_all(3).await;
    sqlx::query!("UPDATE saga SET body = 'x' WHERE id = $1", ids[0].0)
        .execute(world.engine.db.pool())
        .await
        .unwrap();
    let bulk = world.prepared(of_plan(), BACK).await;
    assert_eq!(bulk.preview[1].what.refused, "INTERNAL");
    let done = world.run_to_end(bulk.id).await;
    assert_eq!(figures(&done), [2, 0, 0, 1]);
}

#[tokio::test]
async fn two_orchestrators_act_on_each_saga_once() {
    let world = World::new().await;
    let ids = world.started_all(30).await;
    let wanted = world.wanted_bulk(of_plan(), PAUSE, 100);
    let bulk = bulk::prepare(&world.engine, &wanted, SAGAS_MAX).await;
    let bulk = bulk.unwrap();
    bulk::run(&world.engine, bulk.id).await.unwrap();
    let (a, b) = tokio::join!(world.ended(bulk.id), world.ended(bulk.id));
    assert_eq!(figures(&a), [30, 0, 0, 0]);
    assert_eq!(figures(&b), [30, 0, 0, 0]);
    for id in ids {
        let row = world.saga(id).await;
        assert_eq!(row.head.version, 2, "paused once");
        assert!(row.head.state.hold.is_some());
    }
}

#[tokio::test]
async fn a_crash_before_the_commit_of_a_slice_leaves_it_to_be_run() {
    let world = World::new().await;
    let ids = world.started_all(2).await;
    let bulk = world.prepared(of_plan(), PAUSE).await;
    bulk::run(&world.engine, bulk.id).await.unwrap();
    let tx = world.engine.db.begin().await.unwrap();
    let (tx, (looked, _)) = bulk::transact(&world.engine, tx).await.unwrap();
    assert_eq!(looked, 2);
    drop(tx);
    assert_eq!(world.saga(ids[0]).await.head.version, 1);
    assert_eq!(figures(&world.ended(bulk.id).await), [2, 0, 0, 0]);
}

#[tokio::test]
async fn a_bulk_keeps_its_rate_is_stopped_and_goes_on() {
    let world = World::new().await;
    world.started_all(3).await;
    let wanted = world.wanted_bulk(of_plan(), PAUSE, 1);
    let prepared = bulk::prepare(&world.engine, &wanted, SAGAS_MAX).await;
    let id = prepared.unwrap().id;
    bulk::run(&world.engine, id).await.unwrap();
    assert_eq!(bulk::step(&world.engine).await.unwrap(), 1);
    let waits = sqlx::query_scalar!(
        r#"SELECT next_at >= started_at + interval '1 s' AS "waits!" FROM bulk WHERE id = $1"#,
        id.0
    );
    assert!(waits.fetch_one(world.engine.db.pool()).await.unwrap());

    let stopped = bulk::stop(&world.engine, id).await.unwrap();
    assert_eq!((stopped.state.as_str(), stopped.done), ("stopped", 1));
    assert_eq!(bulk::step(&world.engine).await.unwrap(), 0);
    let done = world.run_to_end(id).await;
    assert_eq!(figures(&done), [3, 0, 0, 0]);
    assert_eq!(
        bulk::stop(&world.engine, id).await.unwrap_err().reason(),
        "BULK_ENDED"
    );
}

#[tokio::test]
async fn a_filter_finds_what_meets_all_of_it_and_has_not_ended() {
    let world = World::new().await;
    let ids = world.started_all(4).await;
    let found = async |filter: SagaFilter| -> BTreeSet<usize> {
        let bulk = world.prepared(filter, PAUSE).await;
        let examples = bulk.preview.iter().flat_map(|count| &count.examples);
        examples
            .map(|id| ids.iter().position(|known| known == id).unwrap())
            .collect()
    };
    // 0 waits for the stock, 1 for the payment, 2 is held, 3 has ended
    world.replies(vec![reserved(ids[1])]).await;
    for reply in [
        failed(ids[3], "reserve-stock"),
        undone(ids[3], "open-order"),
    ] {
        world.replies(vec![reply]).await;
    }
    let pause = world.prepared(of_key("o-2"), PAUSE).await;
    world.run_to_end(pause.id).await;
    sqlx::query!(
        "UPDATE saga SET started_at = now() - interval '1 h' WHERE id = $1",
        ids[0].0
    )
    .execute(world.engine.db.pool())
    .await
    .unwrap();

    assert_eq!(found(of_plan()).await, BTreeSet::from([0, 1, 2]));
    let ever = SagaFilter::default;
    let version = |plan_version| SagaFilter {
        plan_version,
        ..of_plan()
    };
    let state = |state: SagaState| SagaFilter {
        state: state.into(),
        ..ever()
    };
    let held = SagaFilter {
        held: true,
        ..ever()
    };
    let step = |step: &str| SagaFilter {
        step: step.to_owned(),
        ..ever()
    };
    let participant = |participant: &str| SagaFilter {
        participant: participant.to_owned(),
        ..ever()
    };
    let stuck = |stuck: &str| SagaFilter {
        stuck: stuck.to_owned(),
        ..ever()
    };
    let nanos = 0;
    let older_than = |seconds| SagaFilter {
        older_than: Some(prost_types::Duration { seconds, nanos }),
        ..ever()
    };
    let cases: [(SagaFilter, &[usize]); 11] = [
        (version(1), &[0, 1, 2]),
        (state(SagaState::Running), &[0, 1, 2]),
        (state(SagaState::Compensating), &[]),
        (held, &[2]),
        (step("charge-payment"), &[1]),
        (participant("inventory"), &[0]),
        (stuck("any"), &[]),
        (of_key("o-1"), &[1]),
        (older_than(600), &[0]),
        (older_than(7_200), &[]),
        (of_key("nothing"), &[]),
    ];
    for (filter, expected) in cases {
        let words = format!("{filter:?}");
        let expected: BTreeSet<usize> = expected.iter().copied().collect();
        assert_eq!(found(filter).await, expected, "{words}");
    }
    // what finds nothing has nothing to do
    assert_eq!(world.prepared(of_key("nothing"), PAUSE).await.state, "done");
}

#[tokio::test]
async fn too_many_sagas_are_refused_and_nothing_is_left() {
    let world = World::new().await;
    world.started_all(3).await;
    let wanted = world.wanted_bulk(of_plan(), PAUSE, 1);
    let refused = bulk::prepare(&world.engine, &wanted, 2).await.unwrap_err();
    assert!(matches!(refused, BulkError::TooManySagas(2)), "{refused}");
    let all = bulks::list(&world.engine.db, None, 10).await.unwrap();
    assert!(all.is_empty());
}

#[tokio::test]
async fn prepared_bulks_that_nobody_runs_are_forgotten() {
    let world = World::new().await;
    world.started_all(1).await;
    let old = world.prepared(of_plan(), PAUSE).await;
    assert!(!bulks::forget(&world.engine.db).await.unwrap());
    sqlx::query!("UPDATE bulk SET created_at = now() - interval '2 h'")
        .execute(world.engine.db.pool())
        .await
        .unwrap();
    let new = world.prepared(of_plan(), PAUSE).await;
    assert!(bulks::forget(&world.engine.db).await.unwrap());
    let gone = bulk::run(&world.engine, old.id).await.unwrap_err();
    assert_eq!(gone.reason(), "BULK_NOT_FOUND");
    assert_eq!(world.bulk(new.id).await.state, "prepared");
}

#[tokio::test]
async fn what_is_wrong_with_a_bulk_is_told_by_field() {
    let world = World::new().await;
    let fields = |request: CreateBulkRequest| -> Vec<String> {
        // the rules of the proto come first, and refuse alone
        let broken = request.validate().map_err(Violations::from);
        let wrong = broken
            .and_then(|()| convert::wanted_bulk(&world.engine.registry, request, &ada(), None));
        let wrong = wrong.unwrap_err();
        let told = wrong.list().iter();
        told.map(|v| format!("{}: {}", v.field, v.description))
            .collect()
    };
    let request = CreateBulkRequest {
        rate: 5_000,
        ..CreateBulkRequest::default()
    };
    insta::assert_snapshot!(fields(request).join("\n"));
    let filter = SagaFilter {
        state: 9,
        stuck: "slow".to_owned(),
        business_key_prefix: "x".repeat(201),
        ..of_plan()
    };
    let request = |filter: SagaFilter, verb: Verb| CreateBulkRequest {
        filter: Some(filter),
        verb: Some(verb),
        reason: "because".to_owned(),
        ..CreateBulkRequest::default()
    };
    insta::assert_snapshot!(fields(request(filter, Verb::Resume(Resume {}))).join("\n"));
    let filter = SagaFilter {
        plan_version: 7,
        state: SagaState::Completed.into(),
        step: "nothing".to_owned(),
        participant: "nobody".to_owned(),
        older_than: Some(prost_types::Duration::default()),
        ..of_plan()
    };
    insta::assert_snapshot!(fields(request(filter, Verb::Resume(Resume {}))).join("\n"));
    let filter = SagaFilter {
        held: true,
        ..SagaFilter::default()
    };
    let migrate = Verb::Migrate(pb::Migrate { to_version: 2 });
    insta::assert_snapshot!(fields(request(filter, migrate)).join("\n"));
    insta::assert_snapshot!(fields(request(of_plan(), migrate)).join("\n"));
}

#[tokio::test]
async fn a_key_prepares_one_bulk_and_a_repeat_shows_it_as_it_is() {
    let world = World::new().await;
    world.started_all(4).await;
    let ask = || world.wanted("o-", false, ("ada", "k1"));
    let racers = tokio::join!(ask(), ask(), ask(), ask());
    let ids: BTreeSet<BulkId> = [racers.0, racers.1, racers.2, racers.3]
        .map(|row| row.unwrap().id)
        .into();
    let id = *ids.first().unwrap();
    assert_eq!(ids.len(), 1);
    let count = sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM bulk_item"#);
    assert_eq!(count.fetch_one(world.engine.db.pool()).await.unwrap(), 4);

    world.run_to_end(id).await;
    let again = world.wanted("o-", false, ("ada", "k1")).await.unwrap();
    assert_eq!(
        (again.id, again.state.as_str(), again.done),
        (id, "done", 4)
    );
    for (prefix, run) in [("o-1", false), ("o-", true)] {
        let other = world.wanted(prefix, run, ("ada", "k1")).await.unwrap_err();
        assert_eq!(other.reason(), "IDEMPOTENCY_KEY_REUSED");
    }
    // keys are everybody's own
    let of_bob = world.wanted("o-", false, ("bob", "k1")).await.unwrap();
    assert_ne!(of_bob.id, id);
}

#[tokio::test]
async fn the_key_of_a_bulk_is_forgotten_when_it_is_old_or_the_bulk_is() {
    let world = World::new().await;
    world.started_all(1).await;
    let db = world.engine.db.clone();
    let first = world.wanted("o-", true, ("ada", "k1")).await.unwrap();
    world.ended(first.id).await;
    let waiting = world.wanted("o-", false, ("ada", "k2")).await.unwrap();
    assert_eq!(bulks::forget_keys(&db).await.unwrap(), 0);
    let aged = sqlx::query!("UPDATE bulk SET created_at = now() - interval '8 days'");
    aged.execute(db.pool()).await.unwrap();
    assert!(bulks::forget(&db).await.unwrap());
    assert_eq!(bulks::forget_keys(&db).await.unwrap(), 1);
    assert!(bulks::get(db.pool(), waiting.id).await.unwrap().is_none());
    for (key, before) in [("k1", first.id), ("k2", waiting.id)] {
        let other = world.wanted("o-", false, ("ada", key)).await.unwrap();
        assert_ne!(other.id, before);
    }
}
