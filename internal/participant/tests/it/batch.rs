use palinode_messaging::{BatchHandler, Failure, Headers};
use palinode_pb::saga::v1::step_reply::Answer;
use palinode_values::{Clock, SagaId};

use crate::fixture::{Fixture, act, probe, probe_undo, undo};

#[tokio::test]
async fn a_second_delivery_changes_nothing_and_hears_the_same() {
    let mut fixture = Fixture::new().await;
    let saga = fixture.saga();
    let first = fixture.deliver(&[act(saga, "a").at(1)]).await;
    assert_eq!(first.answers(), ["done"]);
    assert_eq!(first.events, ["a"]);
    let second = fixture.deliver(&[act(saga, "a").attempt(2).at(2)]).await;
    assert_eq!(second.replies, first.replies);
    assert_eq!(second.events, [""; 0]);
    assert_eq!(second.headers[0].attempt, 2);
    assert_eq!(second.headers[0].saga_id, saga);
}

#[tokio::test]
async fn two_deliveries_in_one_batch_are_one_effect() {
    let mut fixture = Fixture::new().await;
    let saga = fixture.saga();
    let said = fixture
        .deliver(&[act(saga, "a").at(1), act(saga, "a").at(2)])
        .await;
    assert_eq!(said.answers(), ["done", "done"]);
    assert_eq!(said.events, ["a"]);
}

#[tokio::test]
async fn an_action_after_its_compensation_is_refused() {
    let mut fixture = Fixture::new().await;
    let saga = fixture.saga();
    fixture.deliver(&[act(saga, "a").at(1)]).await;
    let undone = fixture.deliver(&[undo(saga, "undo a").at(2)]).await;
    assert_eq!(
        (undone.answers(), undone.events),
        (vec!["undone"], vec!["undo a".to_owned()])
    );
    let late = fixture
        .deliver(&[act(saga, "a").at(3), undo(saga, "undo a").at(4)])
        .await;
    assert_eq!(late.answers(), ["closed", "undone"]);
    assert_eq!(late.events, [""; 0]);
}

#[tokio::test]
async fn a_compensation_that_comes_first_leaves_a_tombstone() {
    let mut fixture = Fixture::new().await;
    let saga = fixture.saga();
    let first = fixture.deliver(&[undo(saga, "undo a").at(1)]).await;
    assert_eq!(first.answers(), ["undone_empty"]);
    let late = fixture
        .deliver(&[act(saga, "a").at(2), undo(saga, "undo a").at(3)])
        .await;
    assert_eq!(late.answers(), ["closed", "undone_empty"]);
    assert_eq!((first.events, late.events), (vec![], vec![]));
}

/// The row is written ahead as undone: what is not, or not yet, has to be put back.
#[tokio::test]
async fn an_undo_that_does_not_come_about_leaves_the_row_as_it_was() {
    let mut fixture = Fixture::new().await;
    let saga = fixture.saga();
    let first = fixture.deliver(&[act(saga, "a").at(1)]).await;
    let not_undone = fixture
        .deliver(&[undo(saga, "stuck").at(2), undo(saga, "transient").at(3)])
        .await;
    assert_eq!(not_undone.answers(), ["cannot_undo", "transient"]);
    let again = fixture.deliver(&[act(saga, "a").at(4)]).await;
    assert_eq!(again.replies, first.replies);
    let mixed = fixture
        .deliver(&[undo(saga, "transient").at(5), undo(saga, "undo a").at(6)])
        .await;
    assert_eq!(mixed.answers(), ["transient", "undone"]);
    let late = fixture
        .deliver(&[undo(saga, "undo a").at(7), probe(saga, "a").at(8)])
        .await;
    assert_eq!(late.answers(), ["undone", "not_done"]);
    assert_eq!((again.events.len(), late.events.len()), (0, 0));
}

/// One row of each kind, so that some are written ahead and others are locked, or made.
#[tokio::test]
async fn compensations_of_every_kind_of_row_in_one_batch() {
    let mut fixture = Fixture::new().await;
    let [done, failed, called, undone, unheard] = [(); 5].map(|()| fixture.saga());
    fixture
        .deliver(&[
            act(done, "a").at(1),
            act(failed, "fail").at(2),
            act(called, "call").at(3),
            act(undone, "b").at(4),
            undo(undone, "undo b").at(5),
        ])
        .await;
    let known = [done, failed, called, undone];
    let mut batch: Vec<_> = known.map(|saga| undo(saga, "undo").at(6)).into();
    let said = fixture.deliver(&batch).await;
    let answers = ["undone", "undone_empty", "pending", "undone"];
    assert_eq!(said.answers(), answers);
    assert_eq!(said.events, ["undo"]);
    // and once more, with one of which nothing was heard: its row has to be made first
    batch.push(undo(unheard, "undo").at(7));
    let again = fixture.deliver(&batch).await;
    assert_eq!(again.answers()[..4], answers);
    assert_eq!(again.answers()[4], "undone_empty");
    assert_eq!(again.events, [""; 0]);
}

#[tokio::test]
async fn action_and_compensation_in_one_batch_are_done_in_their_order() {
    let mut fixture = Fixture::new().await;
    let (saga, other) = (fixture.saga(), fixture.saga());
    let said = fixture
        .deliver(&[
            act(saga, "a").at(1),
            undo(other, "undo b").at(2),
            undo(saga, "undo a").at(3),
            act(other, "b").at(4),
            act(saga, "c").step("other-step").at(5),
        ])
        .await;
    assert_eq!(
        said.answers(),
        ["done", "undone_empty", "undone", "closed", "done"]
    );
    assert_eq!(said.events, ["a", "undo a", "c"]);
}

#[tokio::test]
async fn another_body_for_the_same_step_is_refused() {
    let mut fixture = Fixture::new().await;
    let saga = fixture.saga();
    let said = fixture
        .deliver(&[act(saga, "a").at(1), act(saga, "b").at(2)])
        .await;
    assert_eq!(said.answers(), ["done", "mismatch"]);
    assert_eq!(said.events, ["a"]);
}

#[tokio::test]
async fn a_probe_shuts_the_door_where_nothing_happened() {
    let mut fixture = Fixture::new().await;
    let (saga, other) = (fixture.saga(), fixture.saga());
    let said = fixture
        .deliver(&[
            probe(saga, "a").at(1),
            act(saga, "a").at(2),
            act(other, "b").at(3),
        ])
        .await;
    assert_eq!(said.answers(), ["not_done", "closed", "done"]);
    let said = fixture
        .deliver(&[probe(other, "b").at(4), probe(saga, "a").at(5)])
        .await;
    assert_eq!(said.answers(), ["done", "not_done"]);
}

#[tokio::test]
async fn a_probe_of_the_compensation_shuts_its_door_and_keeps_what_was_done() {
    let mut fixture = Fixture::new().await;
    let (done, unheard) = (fixture.saga(), fixture.saga());
    let said = fixture
        .deliver(&[
            act(done, "a").at(1),
            probe_undo(done, "a").at(2),
            undo(done, "a").at(3),
            probe(done, "a").at(4),
            probe_undo(unheard, "b").at(5),
            act(unheard, "b").at(6),
        ])
        .await;
    let answers = ["done", "not_done", "closed", "done", "not_done", "closed"];
    assert_eq!(said.answers(), answers);
}

#[tokio::test]
async fn a_refusal_is_stored_only_where_the_step_may_fail() {
    let mut fixture = Fixture::new().await;
    let (may, must) = (fixture.saga(), fixture.saga());
    let said = fixture
        .deliver(&[
            act(may, "fail").at(1),
            act(must, "fail").must_succeed().at(2),
        ])
        .await;
    assert_eq!(said.answers(), ["failed", "transient"]);
    let again = fixture
        .deliver(&[
            act(may, "fail").at(3),
            undo(may, "undo").at(4),
            probe(must, "fail").at(5),
        ])
        .await;
    assert_eq!(again.answers(), ["failed", "undone_empty", "not_done"]);
    let Answer::Failed(failed) = &again.replies[0] else {
        panic!("{again:?}")
    };
    assert_eq!(failed.reason, "NO");
}

#[tokio::test]
async fn what_is_transient_is_run_again() {
    let mut fixture = Fixture::new().await;
    let saga = fixture.saga();
    for offset in 1..=2 {
        let said = fixture.deliver(&[act(saga, "transient").at(offset)]).await;
        assert_eq!(said.answers(), ["transient"]);
    }
    // nothing was stored, not even the hash of the body
    assert_eq!(
        fixture.deliver(&[act(saga, "a").at(3)]).await.answers(),
        ["done"]
    );
    let said = fixture
        .deliver(&[undo(saga, "stuck").at(4), undo(saga, "undo").at(5)])
        .await;
    assert_eq!(said.answers(), ["cannot_undo", "undone"]);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_parked_and_the_rest_goes_on() {
    let mut fixture = Fixture::new().await;
    let (saga, other) = (fixture.saga(), fixture.saga());
    let mut headless = act(other, "b").at(3);
    headless.headers = Headers::default();
    let batch = [
        act(saga, "a").at(1),
        act(other, "b").kind("test.Unknown").at(2),
        headless.clone(),
    ];
    let said = fixture.deliver(&batch).await;
    assert_eq!(said.answers(), ["done"]);
    assert_eq!(fixture.count("consumer_parked").await, 2);
    // repeated by the broker, alone: no second row, no answer
    assert_eq!(fixture.deliver(&[headless]).await.answers(), [""; 0]);
    assert_eq!(fixture.count("consumer_parked").await, 2);
}

#[tokio::test]
async fn a_batch_that_the_handler_cannot_do_leaves_nothing() {
    let mut fixture = Fixture::new().await;
    let (saga, other) = (fixture.saga(), fixture.saga());
    let poison = act(other, "break").at(2);
    let failure = fixture.fail(&[act(saga, "a").at(1), poison.clone()]).await;
    assert!(matches!(failure, Failure::Batch(_)), "{failure:?}");
    let large = act(other, "large").at(3);
    let failure = fixture.fail(&[large]).await;
    assert!(matches!(failure, Failure::Batch(_)), "{failure:?}");
    assert_eq!(fixture.said().await.answers(), [""; 0]);
    assert_eq!(fixture.count("saga_guard").await, 0);

    fixture.participant.park(&poison, "broken").await.unwrap();
    assert_eq!(fixture.count("consumer_parked").await, 1);
}

#[tokio::test]
async fn a_database_that_is_away_is_no_records_fault() {
    let mut fixture = Fixture::new().await;
    fixture.db.close().await;
    let saga = fixture.saga();
    let failure = fixture.fail(&[act(saga, "a").at(1)]).await;
    assert!(matches!(failure, Failure::Unavailable(_)), "{failure:?}");
}

#[tokio::test]
async fn a_saga_beyond_the_horizon_is_refused() {
    let mut fixture = Fixture::new().await;
    let long_ago = fixture.clock.now() - chrono::TimeDelta::days(31);
    let saga = SagaId::new(&Clock::manual(long_ago));
    let said = fixture
        .deliver(&[act(saga, "a").at(1), undo(saga, "undo").at(2)])
        .await;
    assert_eq!(said.answers(), ["expired", "expired"]);
}
