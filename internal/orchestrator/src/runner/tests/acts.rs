use palinode_pb::saga::v1::act_on_saga_request::Verb;
use palinode_pb::saga::v1::{
    AcceptResidue, ActOnSagaRequest, Cancel, Claim, ForceCompensate, Pause, Resolve, Resume, Retry,
};
use palinode_values::Coded;

use super::*;
use crate::convert::{self, wanted};
use crate::runner::act::{ActError, Acted, act};
use crate::runner::retention;
use crate::store::verb_key;

impl World {
    pub(super) async fn act(&self, id: SagaId, verb: Verb) -> Result<Acted, ActError> {
        self.asked(id, verb, |request| request).await
    }

    pub(super) async fn asked(
        &self,
        id: SagaId,
        verb: Verb,
        change: impl FnOnce(ActOnSagaRequest) -> ActOnSagaRequest,
    ) -> Result<Acted, ActError> {
        let request = change(request(id, verb));
        act(&self.engine, id, &wanted(request, &ada(), None)?).await
    }

    /// With an idempotency key of somebody's.
    async fn keyed(
        &self,
        (by, key): (&str, &str),
        id: SagaId,
        request: ActOnSagaRequest,
    ) -> Result<Acted, ActError> {
        let (by, key) = (by.parse().unwrap(), Some(key.to_owned()));
        act(&self.engine, id, &wanted(request, &by, key)?).await
    }

    pub(super) async fn versions(&self, id: SagaId) -> Vec<(i64, String, String)> {
        let row = self.saga(id).await;
        let plan = self.engine.registry.get(row.head.plan_id).unwrap();
        let rows = read::history(&self.engine.db, id).await.unwrap();
        let entries = rows.iter().map(|row| {
            let entry = convert::history_entry(&plan.plan, row).unwrap();
            (entry.version, entry.input, entry.principal)
        });
        entries.collect()
    }
}

fn request(id: SagaId, verb: Verb) -> ActOnSagaRequest {
    ActOnSagaRequest {
        saga_id: id.to_string(),
        verb: Some(verb),
        reason: "asked by the customer".to_owned(),
        ..ActOnSagaRequest::default()
    }
}

pub(super) fn refused(result: Result<Acted, ActError>) -> (&'static str, Vec<&'static str>) {
    match result.unwrap_err() {
        ActError::Refused {
            refusal, accepts, ..
        } => (refusal.rule, accepts),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_held_saga_hears_answers_and_sends_nothing_until_it_is_resumed() {
    let world = World::new().await;
    let id = world.started("o-1").await;
    world.act(id, Verb::Pause(Pause {})).await.unwrap();
    world.replies(vec![reserved(id)]).await;
    assert_eq!(kinds(&world.outbox().await), ["ReserveStock"]);
    let row = world.saga(id).await;
    assert!(row.head.wake_at.is_some(), "a live saga has a wake-up");
    let acted = world.act(id, Verb::Resume(Resume {})).await.unwrap();
    assert_eq!(acted.effects, ["send charge-payment #1"]);
    assert_eq!(
        kinds(&world.outbox().await),
        ["ReserveStock", "ChargePayment"]
    );
    let who: Vec<_> = world.versions(id).await;
    assert_eq!(who[1], (2, "pause".to_owned(), "ada".to_owned()));
    assert_eq!(who[3], (4, "resume".to_owned(), "ada".to_owned()));
}

#[tokio::test]
async fn a_preview_shows_what_would_happen_and_changes_nothing() {
    let world = World::new().await;
    let id = world.started("o-1").await;
    let preview = |request| ActOnSagaRequest {
        preview: true,
        ..request
    };
    let verb = Verb::ForceCompensate(ForceCompensate {});
    let acted = world.asked(id, verb, preview).await.unwrap();
    assert_eq!(acted.effects, ["undo reserve-stock #1"]);
    assert_eq!(acted.head.state.status, palinode_saga::Status::Compensating);
    let row = world.saga(id).await;
    assert_eq!((row.head.version, world.outbox().await.len()), (1, 1));
    assert_eq!(world.versions(id).await.len(), 1);
}

#[tokio::test]
async fn a_refusal_names_the_rule_and_what_would_be_accepted() {
    let world = World::new().await;
    let id = world.started("o-1").await;
    for reply in [reserved(id), charged(id), shipped(id)] {
        world.replies(vec![reply]).await;
    }
    let (rule, accepts) = refused(world.act(id, Verb::Cancel(Cancel {})).await);
    assert_eq!(rule, "PAST_PIVOT");
    assert_eq!(accepts, ["pause", "retry"]);
}

#[tokio::test]
async fn a_verb_upon_an_old_version_does_nothing() {
    let world = World::new().await;
    let id = world.started("o-1").await;
    world.replies(vec![reserved(id)]).await;
    let upon = |request| ActOnSagaRequest {
        expected_version: 1,
        ..request
    };
    let stale = world.asked(id, Verb::Cancel(Cancel {}), upon).await;
    let error = stale.unwrap_err();
    assert_eq!(error.reason(), "SAGA_MOVED_ON");
    assert!(error.to_string().contains("version 2"), "{error}");
    assert_eq!(world.saga(id).await.head.version, 2);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_by_field() {
    let world = World::new().await;
    let id = world.started("o-1").await;
    let fields = |result: Result<Acted, ActError>| match result.unwrap_err() {
        ActError::Invalid(wrong) => {
            let fields = wrong.list().iter().map(|v| v.field.clone());
            fields.collect::<Vec<_>>()
        }
        other => panic!("{other}"),
    };
    let nameless = |request| ActOnSagaRequest {
        reason: " ".to_owned(),
        ..request
    };
    let wrong = world.asked(id, Verb::Pause(Pause {}), nameless).await;
    assert_eq!(fields(wrong), ["reason"]);
    let residue = AcceptResidue {
        steps: vec!["nothing".to_owned()],
    };
    let wrong = world.act(id, Verb::AcceptResidue(residue.clone())).await;
    assert_eq!(fields(wrong), ["expected_version"]);
    let upon = |request| ActOnSagaRequest {
        expected_version: 1,
        ..request
    };
    let wrong = world.asked(id, Verb::AcceptResidue(residue), upon).await;
    assert_eq!(fields(wrong), ["accept_residue.steps"]);
    let unknown = SagaId::new(&world.engine.clock);
    let none = world.act(unknown, Verb::Pause(Pause {})).await;
    assert_eq!(none.unwrap_err().reason(), "SAGA_NOT_FOUND");
}

#[tokio::test]
async fn a_stuck_refund_is_tried_again_or_accepted_and_the_unwind_goes_on() {
    let world = World::new().await;
    let id = world.started("o-1").await;
    for reply in [reserved(id), charged(id), failed(id, "arrange-shipping")] {
        world.replies(vec![reply]).await;
    }
    let cannot = Answer::CannotUndo {
        reason: "CARD_CLOSED".to_owned(),
    };
    let stuck = reply(id, "charge-payment", Direction::Backward, cannot);
    world.replies(vec![stuck.clone()]).await;
    let row = world.saga(id).await;
    assert_eq!(row.head.wake_at, None);
    let retried = world.act(id, Verb::Retry(Retry {})).await.unwrap();
    assert_eq!(retried.effects, ["undo charge-payment #2"]);
    world.replies(vec![stuck]).await;
    let residue = AcceptResidue {
        steps: vec!["charge-payment".to_owned()],
    };
    let version = world.saga(id).await.head.version;
    let upon = |request| ActOnSagaRequest {
        expected_version: version,
        ..request
    };
    let accepted = world.asked(id, Verb::AcceptResidue(residue), upon).await;
    assert_eq!(accepted.unwrap().effects, ["undo reserve-stock #1"]);
}

#[tokio::test]
async fn a_pivot_that_was_done_by_hand_gives_what_later_steps_need() {
    let world = World::new().await;
    let id = world.started("o-1").await;
    for reply in [reserved(id), charged(id)] {
        world.replies(vec![reply]).await;
    }
    let transient = reply(
        id,
        "arrange-shipping",
        Direction::Forward,
        Answer::Transient,
    );
    world.replies(vec![transient]).await;
    let resolve = |output: &str| {
        Verb::Resolve(Resolve {
            step: "arrange-shipping".to_owned(),
            claim: Claim::Done.into(),
            unreachable: false,
            output_json: output.to_owned(),
        })
    };
    for (output, reason) in [("", "REQUIRED"), (r#"{"colour": 3}"#, "INVALID_VALUE")] {
        match world.act(id, resolve(output)).await.unwrap_err() {
            ActError::Invalid(wrong) => assert_eq!(wrong.list()[0].reason, reason),
            other => panic!("{other}"),
        }
    }
    let asked = world.act(id, resolve(r#"{"shipmentId": "by-hand"}"#)).await;
    assert_eq!(asked.unwrap().effects, ["probe arrange-shipping #2"]);
    let answer = reply(id, "arrange-shipping", Direction::Forward, Answer::NotDone);
    world.replies(vec![answer]).await;
    let sent = world.outbox().await;
    let confirm = sent
        .iter()
        .find(|sent| sent.kind == "ConfirmOrder")
        .unwrap();
    let confirm = palinode_pb::order::v1::ConfirmOrder::decode(confirm.body.as_slice()).unwrap();
    assert_eq!(confirm.shipment_id, "by-hand");
}

#[tokio::test]
async fn an_operator_who_corrects_himself_is_believed_the_last_time() {
    let world = World::new().await;
    let id = world.started("o-1").await;
    for reply in [reserved(id), charged(id)] {
        world.replies(vec![reply]).await;
    }
    let step = "arrange-shipping";
    let answer = |answer| reply(id, step, Direction::Forward, answer);
    world.replies(vec![answer(Answer::Transient)]).await;
    let resolve = |shipment: &str, unreachable| {
        Verb::Resolve(Resolve {
            step: step.to_owned(),
            claim: Claim::Done.into(),
            unreachable,
            output_json: format!(r#"{{"shipmentId": "{shipment}"}}"#),
        })
    };
    world.act(id, resolve("wrong", false)).await.unwrap();
    let expired = Answer::Refused {
        refusal: palinode_saga::Refusal::Expired,
    };
    world.replies(vec![answer(expired)]).await;
    world.act(id, resolve("right", true)).await.unwrap();
    let sent = world.outbox().await;
    let confirm = sent.iter().find(|sent| sent.kind == "ConfirmOrder");
    let confirm = confirm.unwrap().body.as_slice();
    let confirm = palinode_pb::order::v1::ConfirmOrder::decode(confirm).unwrap();
    assert_eq!(confirm.shipment_id, "right");
}

#[tokio::test]
async fn a_verb_with_a_key_is_done_once_and_a_repeat_is_told_what_was_done() {
    let world = World::new().await;
    let id = world.started("o-1").await;
    let back = || request(id, Verb::ForceCompensate(ForceCompensate {}));
    let ask = || world.keyed(("ada", "k1"), id, back());
    let racers = tokio::join!(ask(), ask(), ask(), ask());
    let versions = world.versions(id).await;
    for told in [racers.0, racers.1, racers.2, racers.3] {
        let told = told.unwrap();
        assert_eq!(told.effects, ["undo reserve-stock #1"]);
        assert!(!told.changed.is_empty());
    }
    let done: Vec<_> = versions.iter().filter(|(_, _, by)| by == "ada").collect();
    assert_eq!(done.len(), 1, "{versions:?}");

    // once more when it is over, with the saga as it is then, also from the archive
    world.replies(vec![undone(id, "reserve-stock")]).await;
    world.replies(vec![undone(id, "open-order")]).await;
    let over = ask().await.unwrap();
    assert_eq!(over.effects, ["undo reserve-stock #1"]);
    assert_eq!(over.head.state.status, palinode_saga::Status::Compensated);
    world.run("UPDATE archiving SET after = '0'").await;
    assert_eq!(retention::step(&world.engine).await.unwrap(), 1);
    assert_eq!(ask().await.unwrap().effects, ["undo reserve-stock #1"]);

    // another request with the key is a conflict; another's key is another one
    let other = world.keyed(("ada", "k1"), id, request(id, Verb::Pause(Pause {})));
    assert_eq!(other.await.unwrap_err().reason(), "IDEMPOTENCY_KEY_REUSED");
    let of_bob = world.keyed(("bob", "k1"), id, back()).await;
    assert_ne!(of_bob.unwrap_err().reason(), "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test]
async fn a_key_stays_free_where_nothing_was_done_and_is_forgotten_when_it_is_old() {
    let world = World::new().await;
    let id = world.started("o-1").await;
    // refused, or only looked at
    let resume = request(id, Verb::Resume(Resume {}));
    let no = world.keyed(("ada", "k1"), id, resume).await;
    refused(no);
    let look = ActOnSagaRequest {
        preview: true,
        ..request(id, Verb::Pause(Pause {}))
    };
    world.keyed(("ada", "k1"), id, look).await.unwrap();
    let pause = || request(id, Verb::Pause(Pause {}));
    world.keyed(("ada", "k1"), id, pause()).await.unwrap();
    world.keyed(("ada", "k1"), id, pause()).await.unwrap();

    let db = &world.engine.db;
    assert_eq!(verb_key::forget(db, 10).await.unwrap(), 0);
    world
        .run("UPDATE verb_key SET created_at = now() - interval '8 days'")
        .await;
    assert_eq!(verb_key::forget(db, 10).await.unwrap(), 1);
    refused(world.keyed(("ada", "k1"), id, pause()).await);
}
