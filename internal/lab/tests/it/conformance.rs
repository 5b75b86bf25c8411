use palinode_db::Area;
use palinode_explore::Explorer;
use palinode_lab::conformance::{Databases, Replay};
use palinode_lab::plans::plan;
use palinode_testkit::database::test_database;

/// Every path that one fault can lead to, and every scenario, is played on the real orchestrator
/// and a real participant: state, history, guard rows, messages and ledger are the simulation's
/// after every single event.
async fn plays_as_simulated(name: &str) {
    let (saga, participant) = (
        test_database(Area::Saga).await,
        test_database(Area::Order).await,
    );
    let databases = Databases {
        saga: saga.url.clone(),
        participant: participant.url.clone(),
    };
    let explorer = Explorer::new(&plan(name).unwrap());
    let scripts = explorer.scripts();
    let mut replay = Replay::new(&databases, explorer.plan()).await.unwrap();
    let mut differences = Vec::new();
    for script in &scripts {
        differences.extend(replay.play(script).await.unwrap());
    }
    let first = differences.first();
    assert!(
        first.is_none(),
        "{} of {} scripts: {first:#?}",
        differences.len(),
        scripts.len()
    );
    assert!(scripts.len() > 100, "{} scripts", scripts.len());
}

#[tokio::test]
async fn place_order_is_played_as_it_is_simulated() {
    plays_as_simulated("place-order").await;
}

#[tokio::test]
async fn cancel_order_is_played_as_it_is_simulated() {
    plays_as_simulated("cancel-order").await;
}
