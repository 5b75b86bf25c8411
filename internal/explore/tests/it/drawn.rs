//! Long runs with many faults.

use std::collections::BTreeSet;

use palinode_explore::{Invariant, Mutant, explore};

use crate::{branches, order};

#[test]
fn a_seed_gives_the_same_run_again() {
    let explorer = explore(&order()).calls_out(["charge"]);
    let runs = (0..20).map(|seed| explorer.random(seed, 8));
    for run in runs {
        let again = explorer.random(run.seed, 8);
        assert_eq!(again.schedule, run.schedule);
        let exactly = explorer.replay_exactly(&run.schedule.scenario, &run.schedule.events);
        assert_eq!(exactly.unwrap().ending, run.ending);
    }
}

#[test]
fn whatever_is_drawn_comes_to_rest() {
    for plan in [order(), branches()] {
        let explorer = explore(&plan).calls_out([plan.steps()[2].name.as_str()]);
        let mut endings = BTreeSet::new();
        let mut faults = 0;
        for seed in 0..2_000 {
            let run = explorer.random(seed, 8);
            if let Some(violation) = run.violation {
                panic!("seed {seed}: {violation}");
            }
            endings.insert(run.ending);
            faults += run.schedule.sites.len();
        }
        assert!(faults > 2_000, "{faults}");
        assert!(endings.contains("needs-attention: backward"), "{endings:?}");
    }
}

#[test]
fn a_planted_bug_is_drawn_sooner_or_later() {
    let explorer = explore(&order()).mutant(Mutant::NoGuard);
    let found = (0..1_000).find_map(|seed| explorer.random(seed, 8).violation);
    assert_eq!(found.unwrap().invariant, Invariant::OneEffect);
}
