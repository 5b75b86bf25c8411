use std::path::Path;

use serde_json::Value;

use super::*;
use crate::samples;

fn written(write: impl FnOnce(&mut Vec<u8>) -> anyhow::Result<bool>) -> (bool, String) {
    let mut out = Vec::new();
    let good = write(&mut out).unwrap();
    (good, String::from_utf8(out).unwrap())
}

fn last_line(text: &str) -> Value {
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

#[test]
fn the_scenarios_of_an_order_are_counted_by_part() {
    let plan = samples::plan("place-order@1").unwrap();
    let (_, text) = written(|out| scenarios(&plan, false, out).map(|()| true));
    let table = "place-order@1

part           legs  simulated  on processes
start          1     11         11
forward        5     152        152
backward       6     182        182
probe          1     30         30
end                  4          4
lifecycle      5     15         15
infra                           15
one at a time        394        409
pairs                77421      83436
";
    assert_eq!(text, table);
}

#[test]
fn every_plan_of_this_release_and_of_the_lab_ends_well_under_any_two_faults() {
    for plan in samples::plans().unwrap() {
        let options = ExploreOptions {
            faults: 2,
            json: true,
            ..ExploreOptions::default()
        };
        let (good, text) = written(|out| explore(&plan, &options, out));
        assert!(good, "{text}");
        let line = last_line(&text);
        assert_eq!(line["violations"], 0);
        assert_eq!(line["unreached"], 0);
        assert_eq!(line["transitions_covered"], line["transitions"]);
    }
}

#[test]
fn the_pages_say_what_was_found() {
    let dir = tempfile::tempdir().unwrap();
    let plan = samples::plan("place-order@1").unwrap();
    let options = ExploreOptions {
        faults: 2,
        dir: Some(dir.path().join("atlas")),
        ..ExploreOptions::default()
    };
    let (good, text) = written(|out| explore(&plan, &options, out));
    assert!(good, "{text}");
    let page = |name: &str| read(&dir.path().join("atlas"), name);
    let data: Value = serde_json::from_str(&page("report.json")).unwrap();
    assert_eq!(data["scenarios"].as_array().unwrap().len(), 394);
    let paths = data["paths"].as_array().unwrap();
    assert!(paths.len() > 100, "{}", paths.len());

    let junit = page("junit.xml");
    assert_eq!(junit.matches("<testcase ").count(), 394);
    assert_eq!(junit.matches("<failure").count(), 0);

    let html = page("report.html");
    assert_eq!(html.matches("<details>").count(), paths.len());
    assert_eq!(
        html.matches("title=\"").count(),
        394,
        "a cell for each scenario"
    );
    assert!(!html.contains("{{"), "a part of the page is not filled");
    let outside = ["http://", "https://", "<link", "src="];
    assert!(
        !outside.iter().any(|of| html.contains(of)),
        "the page needs nothing else"
    );

    assert!(page("paths.mmd").starts_with("flowchart LR\n  start((start))\n"));
}

fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap()
}

#[test]
fn a_violation_names_the_command_that_replays_it() {
    let plan = samples::plan("place-order@1").unwrap();
    let mutant = Mutant::NoTombstone;
    let plans = [plan.clone()];
    let (good, text) = written(|out| mutants(&plans, Some(mutant), false, out));
    assert!(good, "{text}");
    let again = text.lines().last().unwrap();
    let words: Vec<&str> = again.split(' ').collect();
    let of = |option: &str| words.iter().position(|word| *word == option).unwrap();
    let options = ReplayOptions {
        scenario: words[of("replay") + 2].to_owned(),
        schedule: Some(words[of("--schedule") + 1].to_owned()),
        mutant: Some(mutant),
        json: true,
    };
    let (good, text) = written(|out| replay(&plan, &options, out));
    assert!(!good, "the bug is played again");
    assert_eq!(last_line(&text)["violated"][0]["invariant"], "ledger");

    // and without the bug nothing is wrong
    let calm = ReplayOptions {
        schedule: None,
        mutant: None,
        ..options
    };
    let (good, text) = written(|out| replay(&plan, &calm, out));
    assert!(good, "{text}");
    assert_eq!(last_line(&text)["ending"], "compensated");
}

#[test]
fn drawn_runs_are_told_in_a_line() {
    let plan = samples::plan("place-order@1").unwrap();
    let options = RandomOptions {
        seeds: 200,
        seed: 7,
        faults: 6,
        json: true,
    };
    let (good, text) = written(|out| random(&plan, &options, out));
    assert!(good, "{text}");
    let line = last_line(&text);
    assert_eq!(line["violations"], 0);
    assert!(line["faults"].as_u64().unwrap() > 200, "{line}");
}

#[test]
fn what_nobody_promises_to_survive_is_told_as_such() {
    let plan = samples::plan("place-order@1").unwrap();
    let (good, text) = written(|out| beyond(&plan, World::Restored, 1, true, out));
    assert!(good, "{text}");
    assert_eq!(last_line(&text)["breaks"][0], "ledger");
    assert!(text.contains("nobody promised otherwise"), "{text}");
    let (good, text) = written(|out| beyond(&plan, World::Forgetful, 2, true, out));
    assert!(good, "{text}");
    assert_eq!(last_line(&text)["breaks"].as_array().unwrap().len(), 0);
}

#[test]
fn a_saga_in_flight_goes_on_under_the_next_version() {
    let of = |name: &str| samples::plan(name).unwrap();
    let (from, to) = (of("place-order@1"), of("place-order@2"));
    let (good, text) = written(|out| migration(&from, &to, 2, true, out));
    assert!(good, "{text}");
    let line = last_line(&text);
    assert!(line["fits"].as_u64().unwrap() > 10, "{line}");
    assert!(text.contains("PASSED_BY"), "{text}");
}
