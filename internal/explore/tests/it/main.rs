//! Explores plans, and worlds with planted bugs.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, and says what it found"
)]

use std::collections::BTreeSet;

use palinode_explore::{Explorer, Invariant, Mutant, Report, explore};
use palinode_saga::{Plan, StepBuilder, secs, step};

mod beyond;
mod drawn;
mod guide;
mod kit;
mod reduction;
mod scenarios;
mod shared;

macro_rules! messages {
    ($($name:ident)*) => {$(
        #[derive(Clone, PartialEq, prost::Message)]
        struct $name {}
        impl prost::Name for $name {
            const PACKAGE: &'static str = "test";
            const NAME: &'static str = stringify!($name);
        }
    )*};
}
messages! { Start Do Undo }

fn opened() -> StepBuilder {
    step("open").at("starter").undo::<Undo>().token("opened")
}

fn compensatable<const N: usize>(name: &str, at: &str, after: [&str; N]) -> StepBuilder {
    let step = step(name).at(at).after(after);
    step.compensatable::<Do, Undo>().token(name)
}

/// The shape of an order: a chain to its pivot, and two steps after it.
fn order() -> Plan {
    Plan::new("order", 1)
        .input::<Start>()
        .deadline(secs(60))
        .cancellable()
        .opened_by(opened())
        .step(compensatable("reserve", "stock", ["open"]))
        .step(compensatable("charge", "money", ["reserve"]))
        .step(
            step("ship")
                .at("parcels")
                .after(["charge"])
                .pivot::<Do>()
                .token("ship"),
        )
        .step(
            step("commit")
                .at("stock")
                .after(["ship"])
                .retriable::<Do>()
                .token("commit"),
        )
        .step(
            step("confirm")
                .at("starter")
                .after(["ship"])
                .retriable::<Do>()
                .token("confirm"),
        )
        .build()
        .unwrap()
}

/// Two branches at the same time, without a pivot.
fn branches() -> Plan {
    Plan::new("branches", 1)
        .input::<Start>()
        .deadline(secs(60))
        .opened_by(opened())
        .step(compensatable("left", "a", ["open"]))
        .step(compensatable("right", "b", ["open"]))
        .step(compensatable("join", "c", ["left", "right"]))
        .build()
        .unwrap()
}

fn assert_good(report: &Report) {
    for violation in &report.violations {
        println!("{}: {}", violation.invariant, violation.words);
        println!("{}", violation.schedule);
    }
    assert!(report.violations.is_empty(), "violations");
    assert_eq!(report.unreached, [""; 0], "planned and not reached");
    assert!(report.missed.is_empty(), "never made: {:#?}", report.missed);
    assert!(!report.cut, "the search was cut");
}

#[test]
fn no_two_faults_leave_an_order_half_done() {
    let report = explore(&order()).run();
    println!(
        "{} states, {} paths, {} scenarios",
        report.states,
        report.paths.len(),
        report.scenarios.len()
    );
    assert_good(&report);
    let ends: Vec<&str> = report.endings.keys().copied().collect();
    assert_eq!(
        ends,
        [
            "compensated",
            "completed",
            "needs-attention: backward",
            "needs-attention: forward",
            "needs-attention: undecided"
        ]
    );
}

#[test]
fn three_faults_neither() {
    let report = Explorer::new(&order()).at_once(3).run();
    println!(
        "{} states, {} paths, {} scenarios",
        report.states,
        report.paths.len(),
        report.scenarios.len()
    );
    assert_good(&report);
}

#[test]
fn no_two_faults_leave_one_of_two_branches_behind() {
    let report = explore(&branches()).run();
    println!(
        "{} states, {} paths, {} scenarios",
        report.states,
        report.paths.len(),
        report.scenarios.len()
    );
    assert_good(&report);
}

#[test]
fn every_planted_bug_is_found() {
    let plans = [
        explore(&order()).calls_out(["charge"]),
        explore(&branches()),
    ];
    let mut killing = BTreeSet::new();
    for mutant in Mutant::ALL {
        let by = mutant.killed_by();
        let found = (1..=2).find_map(|faults| {
            let mut plans = plans.iter().cloned();
            plans.find_map(|plan| plan.at_once(faults).mutant(mutant).violation(by))
        });
        let found = found.unwrap_or_else(|| panic!("{} survives", mutant.word()));
        assert_eq!(found.invariant, by);
        killing.insert(by);
        // and without the bug, the same faults do no harm
        let calm = plans[0].clone().faults(mutant.faults());
        if mutant == Mutant::CallsAfterForgotten {
            assert_eq!(calm.violation(by), None);
        }
    }
    assert_eq!(
        killing.len(),
        Invariant::ALL.len(),
        "each invariant finds one: {killing:?}"
    );
}
