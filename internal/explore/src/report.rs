use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::judge::Violation;

/// What an exploration found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Name and version of the plan.
    pub plan: String,
    /// Faults at the same time, at the most.
    pub faults: u8,
    /// Faults at places that were planned.
    pub scenarios: usize,
    /// Those that no schedule reached.
    pub unreached: Vec<String>,
    /// Distinct worlds.
    pub states: usize,
    /// Distinct sequences of states of the saga, from its start to a rest.
    pub paths: usize,
    /// Moves that steps of such kinds can make, from one state to another.
    pub transitions: usize,
    /// Those that no schedule made, by step.
    pub missed: BTreeMap<String, BTreeSet<String>>,
    /// Ways to end, with what leads there.
    pub endings: BTreeMap<String, Ending>,
    /// The first violation of each invariant: fewest faults, shortest schedule.
    pub violations: Vec<Violation>,
    /// True when the search was stopped by its limit.
    pub cut: bool,
}

/// A way to end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ending {
    /// Distinct worlds that end so.
    pub worlds: usize,
    /// Fewest faults that lead there.
    pub faults: u8,
    /// The shortest schedule with so many faults.
    pub example: Vec<String>,
}

impl Report {
    /// How many of [`Report::transitions`] were made.
    #[must_use]
    pub fn transitions_covered(&self) -> usize {
        self.transitions - self.missed.values().map(BTreeSet::len).sum::<usize>()
    }

    /// Nothing is violated, everything planned was reached, and the search was complete.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
            && self.unreached.is_empty()
            && self.missed.is_empty()
            && !self.cut
    }
}
