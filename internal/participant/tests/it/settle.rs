use palinode_participant::{Outcome, Settled, Settlement};
use palinode_saga::Direction;
use palinode_values::SagaId;

use crate::fixture::{Fixture, STEP, act, event, probe, undo};

fn settlement(saga: SagaId, direction: Direction, outcome: Outcome) -> Settlement {
    let events = vec![event("settled")];
    Settlement {
        saga_id: saga,
        step: STEP.to_owned(),
        direction,
        outcome,
        events,
    }
}

fn done(saga: SagaId) -> Settlement {
    settlement(saga, Direction::Forward, Outcome::Done { output: None })
}

fn failed(saga: SagaId) -> Settlement {
    let (reason, detail) = ("CARD_DECLINED".to_owned(), String::new());
    settlement(saga, Direction::Forward, Outcome::Failed { reason, detail })
}

fn transient(saga: SagaId) -> Settlement {
    let detail = "ask again".to_owned();
    settlement(saga, Direction::Forward, Outcome::Transient { detail })
}

fn undone(saga: SagaId) -> Settlement {
    settlement(saga, Direction::Backward, Outcome::Undone)
}

#[tokio::test]
async fn the_outcome_of_a_call_is_replied_once() {
    let mut fixture = Fixture::new().await;
    let saga = fixture.saga();
    let taken_up = fixture.deliver(&[act(saga, "call").at(1)]).await;
    assert_eq!(taken_up.answers(), ["pending"]);
    let waiting = fixture
        .deliver(&[act(saga, "call").at(2), probe(saga, "call").at(3)])
        .await;
    assert_eq!(waiting.answers(), ["pending", "pending"]);

    let (settled, said) = fixture.settle(done(saga)).await;
    assert_eq!(settled, Settled::Replied);
    assert_eq!(
        (said.answers(), said.events),
        (vec!["done"], vec!["settled".to_owned()])
    );
    assert_eq!(said.headers, taken_up.headers);
    // the answer stands under the span that took the command up
    assert_eq!(said.traces[0].trace_id, taken_up.traces[0].trace_id);

    let (again, said) = fixture.settle(failed(saga)).await;
    assert_eq!(
        (again, said.answers(), said.events),
        (Settled::AlreadySettled, vec![], vec![])
    );
    assert_eq!(
        fixture.deliver(&[act(saga, "call").at(4)]).await.answers(),
        ["done"]
    );
}

#[tokio::test]
async fn a_refusal_from_outside_is_a_verdict() {
    let mut fixture = Fixture::new().await;
    let saga = fixture.saga();
    fixture.deliver(&[act(saga, "call").at(1)]).await;
    let (settled, said) = fixture.settle(failed(saga)).await;
    assert_eq!(
        (settled, said.answers()),
        (Settled::Replied, vec!["failed"])
    );
    let after = fixture
        .deliver(&[act(saga, "call").at(2), undo(saga, "undo").at(3)])
        .await;
    assert_eq!(after.answers(), ["failed", "undone_empty"]);
}

#[tokio::test]
async fn a_compensation_that_meets_a_call_waits_for_it_and_then_undoes() {
    let mut fixture = Fixture::new().await;
    let saga = fixture.saga();
    let said = fixture
        .deliver(&[act(saga, "call").at(1), undo(saga, "undo").attempt(7).at(2)])
        .await;
    assert_eq!(said.answers(), ["pending", "pending"]);
    let (early, _) = fixture.settle(undone(saga)).await;
    assert_eq!(early, Settled::AlreadySettled);

    let (settled, said) = fixture.settle(done(saga)).await;
    let Settled::UndoWanted { saga: headers } = settled else {
        panic!("{settled:?}")
    };
    assert_eq!(
        (headers.direction, headers.attempt),
        (Direction::Backward, 7)
    );
    assert_eq!(
        (said.answers(), said.events),
        (vec![], vec!["settled".to_owned()])
    );

    let (settled, said) = fixture.settle(undone(saga)).await;
    assert_eq!(
        (settled, said.answers()),
        (Settled::Replied, vec!["undone"])
    );
    assert_eq!(said.headers[0].attempt, 7);
    let after = fixture
        .deliver(&[act(saga, "call").at(3), undo(saga, "undo").at(4)])
        .await;
    assert_eq!(after.answers(), ["closed", "undone"]);
}

#[tokio::test]
async fn a_compensation_that_meets_a_refused_call_has_nothing_to_undo() {
    let mut fixture = Fixture::new().await;
    let saga = fixture.saga();
    fixture
        .deliver(&[act(saga, "call").at(1), undo(saga, "undo").at(2)])
        .await;
    let (settled, said) = fixture.settle(failed(saga)).await;
    assert_eq!(
        (settled, said.answers()),
        (Settled::Replied, vec!["undone_empty"])
    );
    assert_eq!(said.headers[0].direction, Direction::Backward);
    let after = fixture.deliver(&[undo(saga, "undo").at(3)]).await;
    assert_eq!(after.answers(), ["undone_empty"]);
}

#[tokio::test]
async fn a_call_that_came_to_nothing_for_now_may_be_made_again() {
    let mut fixture = Fixture::new().await;
    let saga = fixture.saga();
    fixture.deliver(&[act(saga, "call").at(1)]).await;
    let (settled, said) = fixture.settle(transient(saga)).await;
    assert_eq!(
        (settled, said.answers()),
        (Settled::Replied, vec!["transient"])
    );
    let (again, said) = fixture.settle(transient(saga)).await;
    assert_eq!((again, said.answers()), (Settled::AlreadySettled, vec![]));
    let again = fixture.deliver(&[act(saga, "call").at(2)]).await;
    assert_eq!(again.answers(), ["pending"]);
    let (settled, said) = fixture.settle(done(saga)).await;
    assert_eq!((settled, said.answers()), (Settled::Replied, vec!["done"]));
}

#[tokio::test]
async fn a_compensation_that_meets_a_call_that_came_to_nothing_shuts_the_door() {
    let mut fixture = Fixture::new().await;
    let saga = fixture.saga();
    fixture
        .deliver(&[act(saga, "call").at(1), undo(saga, "undo").at(2)])
        .await;
    let (settled, said) = fixture.settle(transient(saga)).await;
    assert_eq!(
        (settled, said.answers()),
        (Settled::Replied, vec!["undone_empty"])
    );
    let after = fixture
        .deliver(&[act(saga, "call").at(3), undo(saga, "undo").at(4)])
        .await;
    assert_eq!(after.answers(), ["closed", "undone_empty"]);
}

#[tokio::test]
async fn an_undo_that_is_refused_outside_may_be_asked_for_again() {
    let mut fixture = Fixture::new().await;
    let saga = fixture.saga();
    fixture.deliver(&[act(saga, "a").at(1)]).await;
    let said = fixture.deliver(&[undo(saga, "call").at(2)]).await;
    assert_eq!(said.answers(), ["pending"]);
    let (reason, detail) = ("GONE".to_owned(), String::new());
    let cannot = settlement(
        saga,
        Direction::Backward,
        Outcome::CannotUndo { reason, detail },
    );
    let (settled, said) = fixture.settle(cannot).await;
    assert_eq!(
        (settled, said.answers()),
        (Settled::Replied, vec!["cannot_undo"])
    );
    let again = fixture.deliver(&[undo(saga, "undo").at(3)]).await;
    assert_eq!(again.answers(), ["undone"]);
}

#[tokio::test]
async fn what_waits_in_a_queue_leaves_it_for_its_compensation_or_a_probe() {
    let mut fixture = Fixture::new().await;
    let (undo_it, probe_it) = (fixture.saga(), fixture.saga());
    fixture
        .deliver(&[act(undo_it, "queue").at(1), act(probe_it, "queue").at(2)])
        .await;
    let said = fixture
        .deliver(&[undo(undo_it, "undo").at(3), probe(probe_it, "queue").at(4)])
        .await;
    assert_eq!(said.answers(), ["undone_empty", "not_done"]);
    for saga in [undo_it, probe_it, fixture.saga()] {
        let (settled, said) = fixture.settle(done(saga)).await;
        assert_eq!((settled, said.events), (Settled::AlreadySettled, vec![]));
    }
}
