//! `palinode lab`: plans are explored, and what is found can be played again.

use std::fs;

use crate::tool::run;

#[tokio::test]
async fn a_plan_is_explored_and_its_pages_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let atlas = dir.path().join("atlas");
    let explore = ["lab", "explore", "place-order@1", "--json", "--out"];
    let explored = run(&[&explore[..], &[atlas.to_str().unwrap()]].concat()).await;
    let explored = explored.with(0);
    let last = explored.stdout.lines().last().unwrap();
    let line: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(line["scenarios"], 394);
    assert_eq!(line["violations"], 0);
    for page in ["report.html", "report.json", "junit.xml", "paths.mmd"] {
        assert!(
            fs::metadata(atlas.join(page)).unwrap().len() > 1_000,
            "{page}"
        );
    }
}

#[tokio::test]
async fn a_scenario_is_played_again_and_a_planted_bug_fails_it() {
    let scenario = "reserve-stock/forward/P8/crash";
    let replay = ["lab", "replay", "place-order", scenario];
    let played = run(&replay).await.with(0);
    assert!(played.stdout.contains("completed"), "{played}");
    let bug = run(&[&replay[..], &["--mutant", "no-guard"]].concat()).await;
    assert!(bug.with(1).stdout.contains("VIOLATED one-effect"));
}

#[tokio::test]
async fn what_the_lab_cannot_do_is_told_with_what_it_can() {
    let unknown = ["lab", "replay", "place-order", "charge-payment/forward/lte"];
    run(&unknown)
        .await
        .with(1)
        .complains(&["charge-payment/forward/late"]);
    let plan = run(&["lab", "explore", "nothing"]).await.with(1);
    plan.complains(&["no plan is called nothing", "parallel@1"]);
    let bug = run(&["lab", "mutants", "--only", "nobody"]).await.with(64);
    bug.complains(&["no-tombstone"]);
}
