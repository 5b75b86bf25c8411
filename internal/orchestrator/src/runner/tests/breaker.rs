use chrono::TimeDelta;
use palinode_pb::inventory::v1::ReleaseStock;
use palinode_pb::payment::v1::{ChargePayment, RefundPayment};
use palinode_pb::saga::v1::saga_service_server::SagaService;
use palinode_pb::saga::v1::{GetSagaRequest, ListBreakersRequest, SetBreakerRequest};
use tonic::Request;

use super::*;
use crate::rpc::Sagas;
use crate::runner::breaker::{self, Breaker};
use crate::store::breaker as rows;

const LIMITS: Limits = Limits {
    window: TimeDelta::seconds(60),
    sagas_min: 20,
    quiet: TimeDelta::milliseconds(1),
    trial_every: Duration::from_millis(50),
    trial_sagas: 3,
    release_sagas: 50,
};

/// Two steps at two participants, with attempts of milliseconds.
fn plan(attempts_max: u32) -> Plan {
    let retry = Retry {
        first: millis(1),
        cap: millis(1),
        attempts_max,
        ..Retry::default()
    };
    let reserve = step("reserve-stock")
        .at("inventory")
        .compensatable::<ReserveStock, ReleaseStock>()
        .token("stock.hold");
    let charge = step("charge-payment")
        .at("payment")
        .after(["reserve-stock"])
        .compensatable::<ChargePayment, RefundPayment>()
        .token("payment.charge");
    let hasty = |step: palinode_saga::StepBuilder| {
        step.attempt_timeout(millis(1))
            .deadline(millis(30_000))
            .retry(retry.clone())
            .undo_retry(retry.clone())
    };
    Plan::new("hasty", 1)
        .input::<PlaceOrder>()
        .deadline(millis(60_000))
        .step(hasty(reserve))
        .step(hasty(charge))
        .build()
        .unwrap()
}

impl World {
    async fn hasty() -> Self {
        Self::with_attempts(1000).await
    }

    async fn with_attempts(max: u32) -> Self {
        let mut world = Self::with(vec![plan(max)]).await;
        world.engine.breakers = Breakers::new(LIMITS);
        world
    }

    async fn many(&self, count: usize) -> Vec<SagaId> {
        let starts: Vec<Start> = (0..count)
            .map(|_| SagaId::new(&self.engine.clock).to_string())
            .map(|key| self.start_of("hasty", &key))
            .collect();
        let ids = starts.iter().map(|start| start.saga_id).collect();
        self.apply(Inputs {
            starts,
            ..Inputs::default()
        })
        .await;
        ids
    }

    async fn tick(&self) {
        timers::step(&self.engine).await.unwrap();
        breaker::step(&self.engine).await.unwrap();
    }

    async fn is_open(&self, name: &str) -> bool {
        let rows = rows::all(&self.engine.db).await.unwrap();
        rows.iter()
            .any(|row| row.is_open && row.breaker.to_string() == name)
    }

    async fn held(&self, participant: &str, direction: Direction) -> usize {
        let breaker = Breaker {
            participant: participant.to_owned(),
            direction,
        };
        rows::held(&self.engine.db, &breaker, 10_000)
            .await
            .unwrap()
            .len()
    }

    async fn statuses(&self, ids: &[SagaId]) -> Vec<Status> {
        let mut statuses = Vec::new();
        for id in ids {
            statuses.push(self.saga(*id).await.head.state.status);
        }
        statuses
    }

    /// All of `ids` are held before the participant.
    async fn until_held(&self, count: usize, participant: &str, direction: Direction) {
        eventually(Duration::from_secs(30), "all are held", async || {
            self.tick().await;
            (self.held(participant, direction).await == count).then_some(())
        })
        .await;
    }
}

fn released(id: SagaId) -> Reply {
    undone(id, "reserve-stock")
}

#[tokio::test]
async fn sagas_wait_before_a_silent_participant_and_none_goes_back() {
    let world = World::hasty().await;
    let mut ids = world.many(200).await;
    world.until_held(200, "inventory", Direction::Forward).await;
    assert!(world.is_open("inventory/forward").await);
    assert!(!world.is_open("inventory/backward").await);
    let statuses = world.statuses(&ids).await;
    assert!(statuses.iter().all(|status| *status == Status::Running));
    // who starts now does not even ask
    let before = world.outbox().await.len();
    ids.extend(world.many(10).await);
    assert_eq!(world.outbox().await.len(), before);
    assert_eq!(world.held("inventory", Direction::Forward).await, 210);

    // every orchestrator is restarted: nothing of it was in memory
    let mut world = world;
    world.engine.breakers = Breakers::new(LIMITS);
    breaker::step(&world.engine).await.unwrap();
    world.until_held(210, "inventory", Direction::Forward).await;

    let who: Vec<_> = world.versions(ids[0]).await;
    assert!(
        who.iter()
            .any(|(_, input, by)| input == "a breaker has opened"
                && by == "breaker inventory/forward"),
        "{who:?}"
    );

    // the first answer closes it; the others go on by and by
    world.replies(vec![reserved(ids[0])]).await;
    eventually(Duration::from_secs(30), "all complete", async || {
        world.tick().await;
        let sagas = world.running(&ids).await;
        if sagas.is_empty() {
            return Some(());
        }
        let answers = sagas.iter().flat_map(|id| [reserved(*id), charged(*id)]);
        world.replies(answers.collect()).await;
        None
    })
    .await;
    assert!(!world.is_open("inventory/forward").await);
    let statuses = world.statuses(&ids).await;
    assert!(statuses.iter().all(|status| *status == Status::Completed));
}

impl World {
    /// Those that are asked, and may answer.
    async fn running(&self, ids: &[SagaId]) -> Vec<SagaId> {
        let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
        let rows = sqlx::query_scalar!(
            "SELECT id FROM saga WHERE id = ANY($1) AND state = 'running'",
            &ids
        );
        let rows = rows.fetch_all(self.engine.db.pool()).await.unwrap();
        rows.into_iter().map(SagaId).collect()
    }
}

#[tokio::test]
async fn one_sick_saga_opens_nothing() {
    let world = World::hasty().await;
    let ids = world.many(100).await;
    for round in 0..40 {
        world.tick().await;
        // the others are answered, one by one
        world
            .replies(vec![reserved(ids[round + 1]), charged(ids[round + 1])])
            .await;
    }
    // and it alone, for ever
    let rest: Vec<Reply> = ids[1..]
        .iter()
        .flat_map(|id| [reserved(*id), charged(*id)])
        .collect();
    world.replies(rest).await;
    let attempts = world.saga(ids[0]).await.head.state.steps[0].attempts();
    eventually(Duration::from_secs(30), "it was tried often", async || {
        world.tick().await;
        let now = world.saga(ids[0]).await.head.state.steps[0].attempts();
        (now > attempts + 30).then_some(())
    })
    .await;
    assert!(!world.is_open("inventory/forward").await);
    assert_eq!(world.held("inventory", Direction::Forward).await, 0);
}

#[tokio::test]
async fn compensations_go_out_while_the_way_forward_is_barred() {
    let world = World::hasty().await;
    // these have their stock, and are refused by payment later
    let back = world.many(5).await;
    world
        .replies(back.iter().map(|id| reserved(*id)).collect())
        .await;
    let ids = world.many(50).await;
    world.until_held(50, "inventory", Direction::Forward).await;
    world
        .replies(
            back.iter()
                .map(|id| failed(*id, "charge-payment"))
                .collect(),
        )
        .await;
    let released_so_far = world.outbox().await;
    let undos = kinds(&released_so_far);
    assert_eq!(
        undos.iter().filter(|kind| **kind == "ReleaseStock").count(),
        5
    );
    assert!(world.is_open("inventory/forward").await);
    world
        .replies(back.iter().map(|id| released(*id)).collect())
        .await;
    let statuses = world.statuses(&back).await;
    assert!(statuses.iter().all(|status| *status == Status::Compensated));
    // a verdict on the way back says nothing of the way forward
    world.tick().await;
    assert!(world.is_open("inventory/forward").await);
    assert_eq!(world.running(&ids).await.len(), 50);
}

#[tokio::test]
async fn a_breaker_that_was_opened_by_hand_waits_for_a_hand() {
    let world = World::hasty().await;
    let gate = Breaker {
        participant: "inventory".to_owned(),
        direction: Direction::Forward,
    };
    let db = &world.engine.db;
    rows::set(db, &gate, true, "maintenance", "ada")
        .await
        .unwrap();
    world.tick().await;
    let ids = world.many(3).await;
    assert!(world.outbox().await.is_empty());
    world.replies(vec![failed(ids[0], "reserve-stock")]).await;
    for _ in 0..3 {
        world.tick().await;
    }
    assert!(
        world.is_open("inventory/forward").await,
        "no verdict closes it"
    );
    assert!(world.outbox().await.is_empty(), "and there are no trials");
    rows::set(db, &gate, false, "done", "ada").await.unwrap();
    world.tick().await;
    let sent = world.outbox().await;
    assert_eq!(kinds(&sent).len(), ids.len(), "{:?}", kinds(&sent));
}

#[tokio::test]
async fn a_verdict_that_was_under_way_is_heard_behind_the_breaker() {
    let world = World::hasty().await;
    let id = world.many(1).await[0];
    let ids = world.many(30).await;
    world.until_held(31, "inventory", Direction::Forward).await;
    // a verdict that was under way when the breaker opened: it goes back at once
    world.replies(vec![failed(id, "reserve-stock")]).await;
    let row = world.saga(id).await;
    assert_eq!(row.head.state.status, Status::Compensated);
    assert_eq!((row.head.state.hold, row.head.held_by), (None, None));
    world.tick().await;
    assert_eq!(world.running(&ids).await.len(), 30);
}

#[tokio::test]
async fn operators_see_which_breaker_holds_what_and_set_them() {
    let mut world = World::new().await;
    world.engine.breakers = Breakers::new(LIMITS);
    let sagas = Sagas {
        engine: world.engine.clone(),
    };
    let request = |participant: &str, open| {
        operator(SetBreakerRequest {
            participant: participant.to_owned(),
            direction: String::new(),
            open,
            reason: "maintenance".to_owned(),
        })
    };
    let refused = sagas.set_breaker(request("inventroy", true)).await;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::InvalidArgument);
    let set = sagas.set_breaker(request("inventory", true)).await.unwrap();
    let set = set.into_inner().breakers;
    let ways: Vec<_> = set.iter().map(|b| (b.direction.as_str(), b.open)).collect();
    assert_eq!(ways, [("backward", true), ("forward", true)]);
    world.tick().await;
    let id = world.started("o-1").await;
    let list = sagas
        .list_breakers(Request::new(ListBreakersRequest {}))
        .await;
    let held = list.unwrap().into_inner().breakers;
    assert_eq!(held.iter().map(|b| b.held).collect::<Vec<_>>(), [0, 1]);
    let request_of = GetSagaRequest {
        saga_id: id.to_string(),
    };
    let saga = sagas.get_saga(Request::new(request_of)).await.unwrap();
    let words = saga.into_inner().saga.unwrap().held;
    assert!(
        words.contains("by the breaker inventory/forward, open since")
            && words.ends_with(": maintenance"),
        "{words}"
    );
    sagas
        .set_breaker(request("inventory", false))
        .await
        .unwrap();
    world.tick().await;
    assert_eq!(kinds(&world.outbox().await), ["ReserveStock"]);
}

#[tokio::test]
async fn who_is_out_of_attempts_when_it_opens_is_not_turned_back_into_it() {
    let world = World::with_attempts(1).await;
    let ids = world.many(200).await;
    eventually(Duration::from_secs(30), "all are silent", async || {
        world.tick().await;
        let silent = world.statuses(&ids).await.len() - world.running(&ids).await.len();
        let held = world.held("inventory", Direction::Forward).await;
        (silent + held == 200).then_some(())
    })
    .await;
    let turned_back = 200 - world.running(&ids).await.len();
    assert!(
        turned_back <= 20 + 3 * 5,
        "{turned_back}: some before it opened, and trials"
    );
}
