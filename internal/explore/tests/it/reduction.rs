//! What makes the search small takes nothing away from it.

use std::collections::BTreeSet;

use palinode_explore::{Report, explore};
use palinode_saga::{Plan, StepBuilder, secs, step};

use crate::{Do, Start, compensatable, opened};

fn build(steps: impl IntoIterator<Item = StepBuilder>) -> Plan {
    let plan = Plan::new("small", 1)
        .input::<Start>()
        .deadline(secs(60))
        .cancellable();
    steps
        .into_iter()
        .fold(plan, palinode_saga::PlanBuilder::step)
        .build()
        .unwrap()
}

/// Shapes of up to three steps, and the faults at a time with which each is explored.
fn small_plans() -> Vec<(Plan, u8)> {
    let pivot = |after: &str| step("p").at("z").after([after]).pivot::<Do>().token("p");
    let tail = || step("t").at("w").after(["p"]).retriable::<Do>().token("t");
    let parallel = Plan::new("small", 1)
        .input::<Start>()
        .deadline(secs(60))
        .opened_by(opened())
        .step(compensatable("a", "x", ["open"]))
        .step(compensatable("b", "y", ["open"]))
        .build()
        .unwrap();
    vec![
        (build([compensatable("a", "x", []), pivot("a"), tail()]), 2),
        (
            build([compensatable("a", "x", []), compensatable("b", "y", ["a"])]),
            2,
        ),
        (parallel, 1),
    ]
}

fn paths(report: &Report) -> BTreeSet<String> {
    let paths = report.paths.iter();
    let words = |path: &palinode_explore::Path| path.changes.join("; ");
    paths.map(words).collect()
}

#[test]
fn the_clock_as_a_choice_finds_no_other_path() {
    for (plan, faults) in small_plans() {
        let reduced = explore(&plan).at_once(faults).run();
        let full = explore(&plan).at_once(faults).without_reduction().run();
        assert!(full.violations.is_empty(), "{:?}", full.violations);
        assert!(full.states > reduced.states);
        let ends = |report: &Report| -> Vec<&str> { report.endings.keys().copied().collect() };
        assert_eq!(ends(&full), ends(&reduced));
        assert!(paths(&reduced).is_subset(&paths(&full)));
        // a timer that comes first delays everything that is under way: that is one fault, where
        // it takes one for each message else
        let more = explore(&plan).at_once(faults + 1).run();
        let new: Vec<String> = paths(&full).difference(&paths(&more)).cloned().collect();
        assert_eq!(new, [""; 0]);
    }
}
