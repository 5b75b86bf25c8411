//! What no saga is promised to survive, what was seen elsewhere, and a plan that changes.

use palinode_explore::{Fault, Faults, Forced, Invariant, SEEN, explore};
use palinode_saga::{Plan, secs, step};

use crate::{Do, Start, branches, compensatable, opened, order};

#[test]
fn an_external_system_that_forgets_leaves_it_to_people() {
    let forgets = Faults::all().and([Fault::Forgotten]);
    let report = explore(&order())
        .calls_out(["charge"])
        .faults(forgets)
        .run();
    assert!(report.is_good(), "{:?}", report.violations);
    let alone = Faults::only([Fault::Forgotten]);
    let report = explore(&order()).calls_out(["charge"]).faults(alone).run();
    let ends: Vec<&str> = report.endings.keys().copied().collect();
    assert_eq!(ends, ["completed", "needs-attention: backward"]);
    let left = report
        .paths
        .iter()
        .find(|path| path.ending.starts_with("needs"));
    assert_eq!(
        left.unwrap().residue,
        [
            "opened: done, it is there",
            "reserve: done, it is there",
            "charge: unknown, it is there",
        ]
    );
}

#[test]
fn a_participant_that_is_restored_breaks_the_ledger_and_what_was_done_outside_happens_again() {
    let broken = |outside: &[&str]| {
        let restored = Faults::all().and([Fault::Restored]);
        let explorer = explore(&order()).calls_out(outside.iter().copied());
        let violations = explorer.faults(restored).run().violations;
        violations.iter().map(|of| of.invariant).collect::<Vec<_>>()
    };
    assert_eq!(broken(&[]), [Invariant::Ledger]);
    assert_eq!(
        broken(&["charge"]),
        [Invariant::OneEffect, Invariant::Ledger]
    );
    // an undo that finds nothing of what was done is no success: people look
    let turned = explore(&order()).replay("ship/forward/failed+charge/forward/restored");
    assert_eq!(turned.unwrap().ending, "needs-attention: backward");
}

#[test]
fn every_class_that_was_seen_and_can_be_forced_here_is() {
    let ids: Vec<String> = (1..=28).map(|n| format!("seen/B{n}")).collect();
    assert_eq!(SEEN.map(|seen| seen.id.to_owned()).to_vec(), ids);
    let mut forced = 0;
    for seen in SEEN {
        if let Forced::Here(..) = seen.forced {
            for plan in [order(), branches()] {
                seen.check(&plan)
                    .unwrap()
                    .unwrap_or_else(|found| panic!("{}: {found}", seen.id));
            }
            forced += 1;
        }
    }
    assert_eq!(forced, 16);
}

/// The plan of an order with one more step before the pivot.
fn longer() -> Plan {
    Plan::new("order", 2)
        .input::<Start>()
        .deadline(secs(60))
        .cancellable()
        .opened_by(opened())
        .step(compensatable("reserve", "stock", ["open"]))
        .step(compensatable("charge", "money", ["reserve"]))
        .step(compensatable("insure", "risk", ["charge"]))
        .step(
            step("ship")
                .at("parcels")
                .after(["insure"])
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

#[test]
fn a_saga_in_flight_goes_on_under_another_version_wherever_it_fits() {
    let migration = explore(&order()).migrating_to(&longer());
    assert!(
        migration.violations.is_empty(),
        "{:?}",
        migration.violations
    );
    assert!(!migration.cut);
    let verdict = |state: &str| {
        let found = migration.states.iter().find(|of| of.state == state);
        found
            .unwrap_or_else(|| panic!("{state}"))
            .unfit
            .as_ref()
            .map(|(code, _)| *code)
    };
    assert_eq!(verdict("Running: open done, reserve backoff"), None);
    assert_eq!(
        verdict("Running: open done, reserve sent"),
        Some("ATTEMPT_OUT")
    );
    let passed = "Running: open done, reserve done, charge done, ship backoff";
    assert_eq!(verdict(passed), Some("PASSED_BY"));
    let ends: Vec<&str> = migration.endings.keys().copied().collect();
    assert!(
        ends.contains(&"completed") && ends.contains(&"compensated"),
        "{ends:?}"
    );
}
