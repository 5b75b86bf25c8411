//! The test kit, as a team uses it for a plan of its own.

use palinode_explore::{
    Fault, Faults, Invariant, World, every_crash_point, explore, fail_each_step, repeat_each_step,
};
use palinode_saga::{Rule, Status, Verb, secs};

use crate::{branches, order};

#[test]
fn every_step_that_fails_is_where_it_failed() {
    for plan in [order(), branches()] {
        let mut failed = std::collections::BTreeSet::new();
        fail_each_step(&plan, |run| {
            run.assert_failed_at_the_step();
            failed.insert(run.step().to_owned());
            if matches!(run.view().status(), Status::Compensated) {
                run.assert_compensated();
            }
        });
        assert_eq!(failed.len(), plan.steps().len() - 1, "{failed:?}");
    }
}

#[test]
fn every_command_that_is_repeated_has_the_same_effects() {
    for plan in [order(), branches()] {
        let mut runs = 0;
        repeat_each_step(&plan, |run| {
            run.assert_same_effects();
            runs += 1;
        });
        assert!(runs > plan.steps().len(), "{runs}");
    }
}

#[test]
fn it_recovers_from_two_crashes_anywhere() {
    for plan in [order(), branches()] {
        let recovered = every_crash_point(&plan, 2);
        println!("{recovered:?}");
        assert!(recovered.moments > 1_000);
    }
}

#[test]
fn the_clock_of_a_world_moves_when_it_is_told_to() {
    let mut world = World::new(&order());
    world.inject("charge/forward/never").unwrap();
    world.advance(secs(1));
    assert_eq!(world.view().elapsed(), secs(1));
    assert_eq!(world.view().status(), Status::Running);
    assert!(world.view().is_there("reserve"));
    world.advance(secs(60));
    assert_eq!(world.view().status(), Status::Compensated);
    world.check("nothing is left", |view| {
        let left = view.residue();
        left.is_empty()
            .then_some(())
            .ok_or_else(|| format!("{left:?}"))
    });
    world.assert_fired();
}

#[test]
fn an_operator_acts_in_a_world() {
    let mut world = World::new(&order());
    world.inject("charge/forward/slow").unwrap();
    world.act(Verb::Cancel).unwrap_err();
    world.advance(secs(0));
    assert_eq!(world.view().status(), Status::Completed);
    assert_eq!(world.act(Verb::Cancel), Err(Rule::SagaEnded));
}

#[test]
fn an_invariant_of_ones_own_is_asked_after_every_event() {
    let plan = order();
    let report = explore(&plan)
        .at_once(1)
        .invariant("never-shipped", |view| {
            if view.is_there("ship") {
                Err("it is shipped".to_owned())
            } else {
                Ok(())
            }
        })
        .run();
    let found = report.violation(Invariant::Own("never-shipped")).unwrap();
    assert_eq!(found.schedule.scenario, "none");
    assert_eq!(report.violations.len(), 1);

    let report = explore(&plan)
        .invariant("pay-before-ship", |view| {
            if view.is_there("ship") && !view.is_there("charge") {
                Err("it is shipped and not paid".to_owned())
            } else {
                Ok(())
            }
        })
        .run();
    assert!(report.is_good(), "{:?}", report.violations);
}

#[test]
fn only_the_chosen_faults_strike() {
    let faults = Faults::only([Fault::Failed, Fault::Never]).at_steps(["charge", "ship"]);
    let report = explore(&order()).faults(faults).run();
    assert_eq!(report.sites, 8);
    assert!(report.is_safe(), "{:?}", report.unreached);
}

#[test]
fn a_fault_that_cannot_be_reached_is_no_pass() {
    let mut world = World::new(&order());
    world.inject("charge/backward/never").unwrap();
    let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
    let words = *run.unwrap_err().downcast::<String>().unwrap();
    assert!(words.contains("injected and not reached"), "{words}");

    // an opening step has nothing that could fail
    let unknown = World::new(&order())
        .inject("open/forward/failed")
        .unwrap_err();
    assert!(
        unknown.to_string().contains("open/backward/failed"),
        "{unknown}"
    );
}
