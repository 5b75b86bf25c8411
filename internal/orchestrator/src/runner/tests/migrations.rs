use palinode_pb::saga::v1::act_on_saga_request::Verb;
use palinode_pb::saga::v1::create_bulk_request::Verb as BulkVerb;
use palinode_pb::saga::v1::saga_service_server::SagaService;
use palinode_pb::saga::v1::{GetSagaHistoryRequest, Migrate, Pause, Resume};
use palinode_pb::shipping::v1::QuoteShippingResult;
use palinode_values::Coded;

use super::acts::refused;
use super::bulks::{of_plan, told};
use super::*;
use crate::runner::act::ActError;

const TO_2: Migrate = Migrate { to_version: 2 };

impl World {
    async fn of_two_versions() -> Self {
        let plans = [plans::place_order_1(), plans::place_order_2()];
        Self::with(plans.map(Result::unwrap).to_vec()).await
    }

    /// A saga of version 1, whatever newer ones there are.
    async fn started_as_1(&self, key: &str) -> SagaId {
        let start = Start {
            plan: self.engine.registry.version("place-order", 1).unwrap(),
            ..self.start_of("place-order", key)
        };
        let id = start.saga_id;
        self.apply(Inputs {
            starts: vec![start],
            ..Inputs::default()
        })
        .await;
        id
    }

    /// One that is held between two steps.
    async fn held_as_1(&self, key: &str) -> SagaId {
        let id = self.started_as_1(key).await;
        self.act(id, Verb::Pause(Pause {})).await.unwrap();
        self.replies(vec![reserved(id)]).await;
        id
    }

    async fn plan_of(&self, id: SagaId) -> String {
        let plan_id = self.saga(id).await.head.plan_id;
        self.engine.registry.get(plan_id).unwrap().plan.label()
    }
}

#[tokio::test]
async fn a_saga_in_flight_waits_for_its_answer_and_then_ends_under_the_new_version() {
    let world = World::of_two_versions().await;
    let id = world.started_as_1("o-1").await;
    world.act(id, Verb::Pause(Pause {})).await.unwrap();
    let out = world.act(id, Verb::Migrate(TO_2)).await;
    assert_eq!(refused(out).0, "ATTEMPT_OUT");
    assert_eq!(world.plan_of(id).await, "place-order@1");

    world.replies(vec![reserved(id)]).await;
    let preview = world
        .asked(id, Verb::Migrate(TO_2), |request| {
            palinode_pb::saga::v1::ActOnSagaRequest {
                preview: true,
                ..request
            }
        })
        .await
        .unwrap();
    assert_eq!(preview.plan.plan.label(), "place-order@2");
    assert_eq!(world.plan_of(id).await, "place-order@1", "only shown");

    world.act(id, Verb::Migrate(TO_2)).await.unwrap();
    assert_eq!(world.plan_of(id).await, "place-order@2");
    let resumed = world.act(id, Verb::Resume(Resume {})).await.unwrap();
    assert_eq!(resumed.effects, ["send quote-shipping #1"]);

    // what was sent under version 1 is understood by its name, wherever the step stands now
    let version = world.saga(id).await.head.version;
    world.replies(vec![reserved(id)]).await;
    assert_eq!(world.saga(id).await.head.version, version);
    assert!(world.late().await.is_empty());
    world.replies(vec![failed(id, "reserve-stock")]).await;
    assert_eq!(world.late().await, ["contradiction"]);

    let quoted = done(id, "quote-shipping", &QuoteShippingResult::default());
    for reply in [quoted, charged(id), shipped(id)] {
        world.replies(vec![reply]).await;
    }
    let both = ["commit-stock", "confirm-order"]
        .map(|step| reply(id, step, Direction::Forward, Answer::Done));
    world.replies(both.to_vec()).await;
    assert_eq!(world.saga(id).await.head.state.status, Status::Completed);
    let sent = world.outbox().await;
    assert_eq!(
        kinds(&sent),
        [
            "ReserveStock",
            "QuoteShipping",
            "ChargePayment",
            "ArrangeShipping",
            "CommitStock",
            "ConfirmOrder",
            "SagaEnded"
        ]
    );
    let commit = palinode_pb::inventory::v1::CommitStock::decode(&*sent[4].body).unwrap();
    assert_eq!(commit.reservation_id, "r", "answered under version 1");
    assert_eq!(
        refused(world.act(id, Verb::Migrate(TO_2)).await).0,
        "ALREADY_MIGRATED"
    );
}

#[tokio::test]
async fn history_names_the_steps_of_the_version_that_it_was_then() {
    let world = World::of_two_versions().await;
    let id = world.started_as_1("o-1").await;
    world.replies(vec![reserved(id)]).await;
    // charge-payment is another position in version 2
    world.replies(vec![failed(id, "charge-payment")]).await;
    let transient = reply(id, "reserve-stock", Direction::Backward, Answer::Transient);
    world.replies(vec![transient]).await;
    world.act(id, Verb::Migrate(TO_2)).await.unwrap();
    let undone = Reply {
        attempt: 1,
        ..undone(id, "reserve-stock")
    };
    world.replies(vec![undone]).await;
    let sagas = crate::rpc::Sagas {
        engine: world.engine.clone(),
    };
    let request = tonic::Request::new(GetSagaHistoryRequest {
        saga_id: id.to_string(),
    });
    let history = sagas.get_saga_history(request).await.unwrap();
    let entries = history.into_inner().entries;
    let told: Vec<String> = entries
        .iter()
        .map(|entry| format!("{} {} {}", entry.kind, entry.step, entry.input))
        .collect();
    assert_eq!(
        told,
        [
            "start  started",
            "reply reserve-stock done (to the action, attempt 1)",
            "reply charge-payment failed: NO: no (to the action, attempt 1)",
            "reply reserve-stock not yet, ask again (to the compensation, attempt 1)",
            "migrate  moved from version 1 of its plan to version 2",
            "reply reserve-stock undone (to the compensation, attempt 1)",
        ]
    );
    world.replies(vec![self::undone(id, "open-order")]).await;
    assert_eq!(world.saga(id).await.head.state.status, Status::Compensated);
}

#[tokio::test]
async fn what_does_not_fit_stays_and_says_which_step_is_in_the_way() {
    let world = World::of_two_versions().await;
    let id = world.started_as_1("o-1").await;
    world.replies(vec![reserved(id)]).await;
    world.act(id, Verb::Pause(Pause {})).await.unwrap();
    world.replies(vec![charged(id)]).await;
    let error = world.act(id, Verb::Migrate(TO_2)).await.unwrap_err();
    assert_eq!(error.reason(), "PASSED_BY");
    let words = error.to_string();
    assert!(words.contains("quote-shipping"), "{words}");
    assert!(words.contains("accepted now: resume"), "{words}");

    let none = Migrate { to_version: 7 };
    match world.act(id, Verb::Migrate(none)).await.unwrap_err() {
        ActError::Invalid(wrong) => {
            let told = &wrong.list()[0];
            assert_eq!(told.field, "migrate.to_version");
            assert_eq!(told.description, "must be a version of place-order: 1, 2");
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_bulk_moves_what_fits_and_tells_what_does_not() {
    let world = World::of_two_versions().await;
    let held = [world.held_as_1("o-1").await, world.held_as_1("o-2").await];
    let out = world.started_as_1("o-3").await;
    let bulk = world.prepared(of_plan(), BulkVerb::Migrate(TO_2)).await;
    let words = "reserve-stock has an attempt out: wait for its answer or its timeout";
    assert_eq!(
        told(&bulk.preview),
        [
            (2, "go on as place-order@2", String::new()),
            (1, words, "ATTEMPT_OUT".to_owned()),
        ]
    );
    let done = world.run_to_end(bulk.id).await;
    assert_eq!((done.done, done.refused), (2, 1));
    for id in held {
        assert_eq!(world.plan_of(id).await, "place-order@2");
    }
    assert_eq!(world.plan_of(out).await, "place-order@1");
}
