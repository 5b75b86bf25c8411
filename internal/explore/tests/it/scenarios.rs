//! Scenarios by name: listed, counted, replayed.

use std::collections::BTreeSet;
use std::fmt::Write;

use palinode_explore::{Scenario, Unknown, Verdict, count, explore};
use palinode_saga::Plan;

use crate::{branches, order};

fn scenarios(plan: &Plan) -> Vec<Scenario> {
    explore(plan)
        .calls_out([plan.steps()[2].name.as_str()])
        .scenarios()
}

fn table(plan: &Plan) -> String {
    count(&scenarios(plan))
        .iter()
        .fold(String::new(), |mut table, part| {
            let (legs, here, real) = (part.legs, part.simulated, part.real);
            writeln!(
                table,
                "{}: {legs} legs, {here} here, {real} on processes",
                part.part
            )
            .unwrap();
            table
        })
}

#[test]
fn the_scenarios_of_a_plan_are_counted_by_part() {
    insta::assert_snapshot!(table(&order()), @r"
    start: 1 legs, 11 here, 11 on processes
    forward: 5 legs, 152 here, 152 on processes
    backward: 6 legs, 182 here, 182 on processes
    probe: 1 legs, 30 here, 30 on processes
    end: 0 legs, 4 here, 4 on processes
    lifecycle: 5 legs, 15 here, 15 on processes
    infra: 0 legs, 0 here, 15 on processes
    ");
    insta::assert_snapshot!(table(&branches()), @r"
    start: 1 legs, 11 here, 11 on processes
    forward: 3 legs, 92 here, 92 on processes
    backward: 7 legs, 214 here, 214 on processes
    probe: 0 legs, 0 here, 0 on processes
    end: 0 legs, 4 here, 4 on processes
    lifecycle: 3 legs, 9 here, 9 on processes
    infra: 0 legs, 0 here, 15 on processes
    ");
}

#[test]
fn each_scenario_has_a_name_of_its_own() {
    for plan in [order(), branches()] {
        let scenarios = scenarios(&plan);
        let ids: BTreeSet<&str> = scenarios.iter().map(|of| of.id.as_str()).collect();
        assert_eq!(ids.len(), scenarios.len());
        if plan.name() == "order" {
            assert!(ids.contains("charge/forward/P7b/crash"));
            assert!(ids.contains("after-ship/charge/backward/P13p/pause"));
            assert!(ids.contains("ship/probe/never"));
        }
    }
}

#[test]
fn every_scenario_is_forced_and_every_one_can_be_replayed() {
    let explorer = explore(&order()).calls_out(["charge"]);
    let report = explorer.run();
    assert_eq!(report.scenarios.len(), 394);
    for tried in &report.scenarios {
        let id = &tried.scenario.id;
        assert!(tried.verdict() < Verdict::FailInvariant, "{id}: {tried:?}");
        let replay = explorer.replay(id).unwrap();
        assert!(
            tried.endings.contains(replay.ending),
            "{id}: {}",
            replay.ending
        );
        assert_eq!(replay.violated, []);
        let exactly = explorer.replay_exactly(&replay.schedule.scenario, &replay.schedule.events);
        assert_eq!(exactly.unwrap().frames, replay.frames);
    }
    let at_a_path = report
        .paths
        .iter()
        .map(|path| path.scenarios)
        .sum::<usize>();
    assert!(
        at_a_path >= report.scenarios.len(),
        "each goes some way: {at_a_path}"
    );
}

#[test]
fn a_replay_tells_everything_there_is() {
    let replay = explore(&order()).replay("charge/forward/never").unwrap();
    assert_eq!(replay.ending, "compensated");
    assert_eq!(replay.schedule.scenario, "charge/forward/never");
    let last = replay.frames.last().unwrap();
    let charge = last
        .steps
        .iter()
        .find(|step| step.step == "charge")
        .unwrap();
    // it never came, and the door is shut
    assert_eq!((charge.guard.as_str(), charge.done), ("closed/done", 0));
    assert_eq!((charge.state, charge.ledger), ("undone-empty", "netted"));
    assert!(
        last.at_ms > 10_000,
        "two attempts of five seconds: {}",
        last.at_ms
    );
}

#[test]
fn what_cannot_happen_is_not_replayed() {
    let explorer = explore(&order());
    let unknown = |scenario: &str| explorer.replay(scenario).unwrap_err();
    assert!(matches!(
        unknown("fly/forward/never"),
        Unknown::Fault { .. }
    ));
    // nothing calls out there
    assert!(matches!(
        unknown("reserve/forward/P7b/crash"),
        Unknown::Fault { .. }
    ));
    assert!(matches!(unknown("infra/disk_full"), Unknown::NotHere(_)));
    assert!(matches!(
        unknown("charge/backward/never"),
        Unknown::Unreached(_)
    ));
    let torn = explorer.replay_exactly("none", "a0.a9").unwrap_err();
    assert!(matches!(torn, Unknown::Schedule(_)));
}
