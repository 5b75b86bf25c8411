use palinode_db::Area;
use palinode_explore::{Explorer, Mutant};
use palinode_lab::conformance::{Databases, Difference, Replay};
use palinode_lab::plans::plan;
use palinode_testkit::database::test_database;

/// Plays every script until the first that is played otherwise; tells how many were played.
async fn play(explorer: &Explorer) -> (usize, Option<Difference>) {
    let (saga, participant) = (
        test_database(Area::Saga).await,
        test_database(Area::Order).await,
    );
    let databases = Databases {
        saga: saga.url.clone(),
        participant: participant.url.clone(),
    };
    let mut replay = Replay::new(&databases, explorer.plan()).await.unwrap();
    let mut played = 0;
    for script in explorer.scripts() {
        played += 1;
        if let Some(difference) = replay.play(&script).await.unwrap() {
            return (played, Some(difference));
        }
    }
    (played, None)
}

#[tokio::test]
async fn place_order_is_played_as_it_is_simulated() {
    let (played, difference) = play(&Explorer::new(&plan("place-order@1").unwrap())).await;
    assert!(difference.is_none(), "{difference:#?}");
    assert!(played > 200, "{played} scripts");
}

#[tokio::test]
async fn cancel_order_is_played_as_it_is_simulated() {
    let (played, difference) = play(&Explorer::new(&plan("cancel-order@1").unwrap())).await;
    assert!(difference.is_none(), "{difference:#?}");
    assert!(played > 100, "{played} scripts");
}

/// What the comparison is worth: a simulation with a planted bug is not what the real parts do.
#[tokio::test]
async fn a_simulation_with_a_planted_bug_is_played_otherwise() {
    let plan = plan("place-order@1").unwrap();
    for mutant in [
        Mutant::NoTombstone,
        Mutant::TimeoutIsFailed,
        Mutant::UndoSkipped,
        Mutant::FailedNotStored,
    ] {
        let (_, difference) = play(&Explorer::new(&plan).mutant(mutant)).await;
        assert!(difference.is_some(), "{} is not told", mutant.word());
    }
}
