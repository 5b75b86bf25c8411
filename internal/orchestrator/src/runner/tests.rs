use std::time::Duration;

use palinode_auth::{Caller, Role};
use palinode_db::{Area, Db, Error, Options};
use palinode_messaging::Headers;
use palinode_outbox::{Doorbell, Rows};
use palinode_pb::inventory::v1::{ReserveStock, ReserveStockResult, StockLine};
use palinode_pb::order::v1::{PlaceOrder, RejectOrder};
use palinode_pb::payment::v1::ChargePaymentResult;
use palinode_pb::shipping::v1::ArrangeShippingResult;
use palinode_rpc::call_of;
use palinode_saga::{Answer, Direction, Plan, Retry, Status, millis, step};
use palinode_telemetry::Tracer;
use palinode_testkit::{database::TestDatabase, database::test_database, eventually};
use palinode_values::{Clock, SagaId, UserId};
use prost::{Message, Name};

use super::batch::{Inputs, Reply, Start, apply};
use super::breaker::{Breakers, Limits};
use super::encode::Payload;
use super::recent::Recent;
use super::registry::Registry;
use super::timers::Soon;
use super::{Engine, timers};
mod acts;
mod breaker;
mod bulks;
mod cases;
mod hot;
mod migrations;
mod retention;
mod seen;
mod stuck;

use crate::plans;
use crate::store::read::{self, SagaRow};
use crate::store::saga::{self as store, HeadChange, WaitColumns};

fn ada() -> UserId {
    "ada".parse().unwrap()
}

/// A call of hers, who looks after sagas.
fn operator<T>(message: T) -> tonic::Request<T> {
    call_of(Caller::customer(ada()).with(Role::Operator), message)
}

/// An orchestrator on a database of its own, without a broker.
struct World {
    engine: Engine,
    _database: TestDatabase,
}

impl World {
    async fn new() -> Self {
        Self::with(vec![plans::place_order_1().unwrap()]).await
    }

    async fn with(plans: Vec<Plan>) -> Self {
        let database = test_database(Area::Saga).await;
        let options = Options {
            url: database.url.clone(),
            service: "orchestrator".to_owned(),
            connections_max: 5,
        };
        let db = Db::connect(&options).await.unwrap();
        let engine = Engine {
            registry: Registry::open(&db, plans).await.unwrap(),
            db,
            breakers: Breakers::new(Limits::default()),
            recent: Recent::default(),
            soon: Soon::default(),
            bulks: Doorbell::new(),
            set: Doorbell::new(),
            doorbell: Doorbell::new(),
            tracer: Tracer::disabled(),
            prefix: "test".into(),
            clock: Clock::system(),
        };
        Self {
            engine,
            _database: database,
        }
    }

    fn start_of(&self, plan: &str, key: &str) -> Start {
        let input = PlaceOrder {
            order_id: key.to_owned(),
            user_id: "alice".to_owned(),
            lines: vec![StockLine {
                sku: "mug".to_owned(),
                quantity: 2,
            }],
            ..PlaceOrder::default()
        };
        Start {
            saga_id: SagaId::new(&self.engine.clock),
            plan: self.engine.registry.current(plan).unwrap(),
            business_key: key.to_owned(),
            input: payload(&input),
            trace: None,
        }
    }

    async fn started(&self, key: &str) -> SagaId {
        let start = self.start_of("place-order", key);
        let id = start.saga_id;
        self.apply(Inputs {
            starts: vec![start],
            ..Inputs::default()
        })
        .await;
        id
    }

    async fn apply(&self, inputs: Inputs) {
        let (engine, inputs) = (&self.engine, &inputs);
        let done = engine
            .db
            .run_tx("test", |tx| apply(engine, tx, inputs))
            .await;
        done.map(|_spans| ()).unwrap();
    }

    async fn replies(&self, replies: Vec<Reply>) {
        self.apply(Inputs {
            replies,
            ..Inputs::default()
        })
        .await;
    }

    async fn saga(&self, id: SagaId) -> SagaRow {
        read::get(&self.engine.db, id).await.unwrap().unwrap()
    }

    /// Outbox rows in order: kind, attempt, probe and body.
    async fn outbox(&self) -> Vec<Sent> {
        let rows = sqlx::query!("SELECT headers, payload FROM outbox ORDER BY id")
            .fetch_all(self.engine.db.pool())
            .await
            .unwrap();
        let sent = rows.into_iter().map(|row| {
            let headers = Headers::decode(row.headers).unwrap();
            Sent {
                kind: headers
                    .text("ce_type")
                    .unwrap()
                    .rsplit('.')
                    .next()
                    .unwrap()
                    .to_owned(),
                attempt: headers.text("saga-attempt").unwrap_or("0").parse().unwrap(),
                body: row.payload,
            }
        });
        sent.collect()
    }

    async fn late(&self) -> Vec<String> {
        sqlx::query_scalar!("SELECT note FROM saga_late ORDER BY id")
            .fetch_all(self.engine.db.pool())
            .await
            .unwrap()
    }
}

struct Sent {
    kind: String,
    attempt: u32,
    body: Vec<u8>,
}

fn kinds(sent: &[Sent]) -> Vec<&str> {
    sent.iter().map(|s| s.kind.as_str()).collect()
}

fn payload<M: Message + Name>(message: &M) -> Payload {
    Payload {
        kind: M::full_name().into(),
        body: message.encode_to_vec().into(),
    }
}

fn reply(id: SagaId, step: &str, direction: Direction, answer: Answer) -> Reply {
    Reply {
        saga_id: id,
        step: step.to_owned(),
        direction,
        attempt: 1,
        answer,
        output: None,
        trace: None,
    }
}

fn done<M: Message + Name>(id: SagaId, step: &str, output: &M) -> Reply {
    Reply {
        output: Some(payload(output)),
        ..reply(id, step, Direction::Forward, Answer::Done)
    }
}

fn reserved(id: SagaId) -> Reply {
    done(
        id,
        "reserve-stock",
        &ReserveStockResult {
            reservation_id: "r".to_owned(),
        },
    )
}

fn charged(id: SagaId) -> Reply {
    done(
        id,
        "charge-payment",
        &ChargePaymentResult {
            payment_id: "p".to_owned(),
        },
    )
}

fn shipped(id: SagaId) -> Reply {
    done(
        id,
        "arrange-shipping",
        &ArrangeShippingResult {
            shipment_id: "s".to_owned(),
        },
    )
}

fn failed(id: SagaId, step: &str) -> Reply {
    let answer = Answer::Failed {
        reason: "NO".to_owned(),
        detail: "no".to_owned(),
    };
    reply(id, step, Direction::Forward, answer)
}

fn undone(id: SagaId, step: &str) -> Reply {
    reply(id, step, Direction::Backward, Answer::Undone)
}

#[tokio::test]
async fn a_saga_runs_to_its_end_with_a_history_without_gaps() {
    let world = World::new().await;
    let id = world.started("o-1").await;
    for one in [reserved(id), charged(id), shipped(id)] {
        world.replies(vec![one]).await;
    }
    // both answers in one batch are two transitions of one saga
    let both = ["commit-stock", "confirm-order"]
        .map(|step| reply(id, step, Direction::Forward, Answer::Done));
    world.replies(both.to_vec()).await;

    let saga = world.saga(id).await;
    assert_eq!(saga.head.state.status, Status::Completed);
    assert_eq!((saga.head.wake_at, saga.wait_until), (None, None));
    let history = read::history(&world.engine.db, id).await.unwrap();
    let versions: Vec<i64> = history.iter().map(|h| h.version).collect();
    assert_eq!(versions, [1, 2, 3, 4, 5, 6]);
    assert_eq!(saga.head.version, 6);
    let sent = world.outbox().await;
    assert_eq!(
        kinds(&sent),
        [
            "ReserveStock",
            "ChargePayment",
            "ArrangeShipping",
            "CommitStock",
            "ConfirmOrder",
            "SagaEnded"
        ]
    );
    let first = ReserveStock::decode(&*sent[0].body).unwrap();
    assert_eq!(
        (first.order_id.as_str(), first.lines[0].quantity),
        ("o-1", 2)
    );
    let confirm = palinode_pb::order::v1::ConfirmOrder::decode(&*sent[4].body).unwrap();
    assert_eq!(
        (confirm.payment_id.as_str(), confirm.shipment_id.as_str()),
        ("p", "s")
    );
}

#[tokio::test]
async fn a_refusal_is_taken_back_with_its_reason() {
    let world = World::new().await;
    let id = world.started("o-1").await;
    world.replies(vec![reserved(id)]).await;
    world.replies(vec![failed(id, "charge-payment")]).await;
    world.replies(vec![undone(id, "reserve-stock")]).await;
    world.replies(vec![undone(id, "open-order")]).await;
    assert_eq!(world.saga(id).await.head.state.status, Status::Compensated);
    let sent = world.outbox().await;
    assert_eq!(
        kinds(&sent),
        [
            "ReserveStock",
            "ChargePayment",
            "ReleaseStock",
            "RejectOrder",
            "SagaEnded"
        ]
    );
    let reject = RejectOrder::decode(&*sent[3].body).unwrap();
    assert_eq!(
        (reject.reason.as_str(), reject.order_id.as_str()),
        ("NO", "o-1")
    );
}

#[tokio::test]
async fn a_repeated_start_changes_nothing_and_a_second_id_is_a_conflict() {
    let world = World::new().await;
    let first = world.start_of("place-order", "o-1");
    let again = Inputs {
        starts: vec![first.clone(), first.clone()],
        ..Inputs::default()
    };
    world.apply(again.clone()).await;
    world.apply(again).await;
    assert_eq!(kinds(&world.outbox().await), ["ReserveStock"]);
    assert!(world.late().await.is_empty());

    let second = world.start_of("place-order", "o-1");
    world
        .apply(Inputs {
            starts: vec![second],
            ..Inputs::default()
        })
        .await;
    assert_eq!(world.late().await, ["start-conflict"]);
    assert_eq!(kinds(&world.outbox().await), ["ReserveStock"]);
}

#[tokio::test]
async fn start_and_reply_in_one_batch_are_two_transitions() {
    let world = World::new().await;
    let start = world.start_of("place-order", "o-1");
    let id = start.saga_id;
    let replies = vec![reserved(id)];
    world
        .apply(Inputs {
            starts: vec![start],
            replies,
            ..Inputs::default()
        })
        .await;
    assert_eq!(world.saga(id).await.head.version, 2);
    assert_eq!(
        kinds(&world.outbox().await),
        ["ReserveStock", "ChargePayment"]
    );
}

#[tokio::test]
async fn two_orchestrators_with_one_reply_make_one_transition() {
    let world = World::new().await;
    let id = world.started("o-1").await;
    let inputs = Inputs {
        replies: vec![reserved(id)],
        ..Inputs::default()
    };
    let run = || async {
        let (engine, inputs) = (&world.engine, &inputs);
        engine
            .db
            .run_tx("test", |tx| apply(engine, tx, inputs))
            .await
            .map(|_spans| ())
    };
    let (a, b) = tokio::join!(run(), run());
    a.and(b).unwrap();
    assert_eq!(world.saga(id).await.head.version, 2);
    assert_eq!(
        kinds(&world.outbox().await),
        ["ReserveStock", "ChargePayment"]
    );
}

#[tokio::test]
async fn batches_over_the_same_sagas_in_opposite_order_do_not_deadlock() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(world.started(&format!("o-{n}")).await);
    }
    let forth = Inputs {
        replies: ids.iter().map(|id| reserved(*id)).collect(),
        ..Inputs::default()
    };
    let back = Inputs {
        replies: ids.iter().rev().map(|id| reserved(*id)).collect(),
        ..Inputs::default()
    };
    for _ in 0..5 {
        tokio::join!(world.apply(forth.clone()), world.apply(back.clone()));
    }
    let sent = world.outbox().await;
    assert_eq!(
        kinds(&sent)
            .iter()
            .filter(|k| **k == "ChargePayment")
            .count(),
        20
    );
}

#[tokio::test]
async fn a_stale_writer_undoes_its_whole_batch() {
    let world = World::new().await;
    let mut heads = Vec::new();
    for n in 0..20 {
        let id = world.started(&format!("o-{n}")).await;
        heads.push(world.saga(id).await.head);
    }
    let changes = heads.iter().enumerate().map(|(n, head)| HeadChange {
        head,
        expected: head.version - i64::from(n == 7),
        waits: WaitColumns::default(),
        owed_since: None,
        progressed: true,
    });
    let changes: Vec<HeadChange<'_>> = changes.collect();
    let mut tx = world.engine.db.begin().await.unwrap();
    let advanced = store::advance(tx.conn(), &changes, &[], &Rows::default()).await;
    assert!(matches!(advanced, Err(Error::Contended(_))), "{advanced:?}");
    drop(tx);
    for before in &heads {
        let saga = world.saga(before.id).await;
        assert_eq!(saga.head.version, before.version);
        assert_eq!(saga.head.state, before.state);
    }
}

#[tokio::test]
async fn what_nobody_waits_for_is_kept_not_dropped() {
    let world = World::new().await;
    let id = world.started("o-1").await;
    let stranger = SagaId::new(&world.engine.clock);
    world.replies(vec![reserved(stranger)]).await;
    world.replies(vec![reserved(id)]).await;
    world.replies(vec![failed(id, "reserve-stock")]).await;
    assert_eq!(world.late().await, ["unknown-saga", "contradiction"]);
    // a duplicate is no news
    world.replies(vec![reserved(id)]).await;
    assert_eq!(world.late().await.len(), 2);
    assert_eq!(world.saga(id).await.head.version, 2);
}

/// place-order's first step, with budgets of milliseconds.
fn impatient() -> Plan {
    use palinode_pb::inventory::v1::ReleaseStock;
    let retry = Retry {
        first: millis(1),
        cap: millis(1),
        attempts_max: 3,
        ..Retry::default()
    };
    Plan::new("impatient", 1)
        .input::<PlaceOrder>()
        .deadline(millis(60_000))
        .step(
            step("reserve-stock")
                .at("inventory")
                .compensatable::<ReserveStock, ReleaseStock>()
                .attempt_timeout(millis(20))
                .deadline(millis(30_000))
                .retry(retry.clone())
                .undo_retry(retry)
                .token("stock.hold"),
        )
        .build()
        .unwrap()
}

#[tokio::test]
async fn timers_ask_again_with_the_same_bytes_and_then_take_back() {
    let world = World::with(vec![impatient()]).await;
    let start = world.start_of("impatient", "o-1");
    let id = start.saga_id;
    world
        .apply(Inputs {
            starts: vec![start],
            ..Inputs::default()
        })
        .await;
    eventually(Duration::from_secs(20), "the saga goes back", async || {
        timers::step(&world.engine).await.unwrap();
        (world.saga(id).await.head.state.status == Status::Compensating).then_some(())
    })
    .await;
    let sent = world.outbox().await;
    let asked: Vec<&Sent> = sent.iter().filter(|s| s.kind == "ReserveStock").collect();
    assert_eq!(
        asked.iter().map(|s| s.attempt).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert!(asked.iter().all(|s| s.body == asked[0].body));
    let empty = reply(
        id,
        "reserve-stock",
        Direction::Backward,
        Answer::UndoneEmpty,
    );
    world.replies(vec![empty]).await;
    assert_eq!(world.saga(id).await.head.state.status, Status::Compensated);
}

#[tokio::test]
async fn one_unreadable_saga_does_not_hold_up_the_others() {
    let world = World::with(vec![impatient()]).await;
    let (bad, good) = (
        world.start_of("impatient", "bad"),
        world.start_of("impatient", "good"),
    );
    let (bad_id, good_id) = (bad.saga_id, good.saga_id);
    world
        .apply(Inputs {
            starts: vec![bad, good],
            ..Inputs::default()
        })
        .await;
    sqlx::query!("UPDATE saga SET body = 'x' WHERE id = $1", bad_id.0)
        .execute(world.engine.db.pool())
        .await
        .unwrap();
    eventually(
        Duration::from_secs(20),
        "the other saga moves",
        async || {
            timers::step(&world.engine).await.unwrap();
            (world.saga(good_id).await.head.version > 2).then_some(())
        },
    )
    .await;
    let wakes_later = sqlx::query_scalar!(
        r#"SELECT wake_at > now() + interval '30 s' AS "later!" FROM saga WHERE id = $1"#,
        bad_id.0
    );
    assert!(wakes_later.fetch_one(world.engine.db.pool()).await.unwrap());
    world.replies(vec![reserved(bad_id)]).await;
    assert_eq!(world.late().await, ["unreadable"]);
}

#[tokio::test]
async fn a_released_plan_cannot_be_edited() {
    let world = World::with(vec![impatient()]).await;
    let edited = Plan::new("impatient", 1)
        .input::<PlaceOrder>()
        .step(
            step("reserve-stock")
                .at("inventory")
                .compensatable::<ReserveStock, palinode_pb::inventory::v1::ReleaseStock>()
                .token("stock.hold"),
        )
        .build()
        .unwrap();
    let error = Registry::open(&world.engine.db, vec![edited])
        .await
        .unwrap_err();
    assert!(error.to_string().contains("raise the version"), "{error}");
}

#[tokio::test]
async fn a_crash_before_the_commit_leaves_nothing() {
    let world = World::new().await;
    let id = world.started("o-1").await;
    let inputs = Inputs {
        replies: vec![reserved(id)],
        ..Inputs::default()
    };
    let tx = world.engine.db.begin().await.unwrap();
    let (tx, _spans) = apply(&world.engine, tx, &inputs).await.unwrap();
    drop(tx);
    assert_eq!(world.saga(id).await.head.version, 1);
    assert_eq!(kinds(&world.outbox().await), ["ReserveStock"]);
    world.replies(inputs.replies).await;
    assert_eq!(world.saga(id).await.head.version, 2);
}

#[tokio::test]
async fn the_database_refuses_a_live_saga_without_a_wake_up() {
    let world = World::new().await;
    let id = world.started("o-1").await;
    let result = sqlx::query!("UPDATE saga SET wake_at = NULL WHERE id = $1", id.0)
        .execute(world.engine.db.pool())
        .await
        .map_err(Error::from);
    assert_eq!(result.unwrap_err().constraint(), Some("saga_has_a_wake_up"));
}
