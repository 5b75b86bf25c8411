use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use palinode_saga::{Plan, Standing, State, ledger};
use serde::Serialize;

use crate::judge::{Invariant, Violation};
use crate::moment::{Event, Moment, Rules};
use crate::scenario::Scenario;
use crate::schedule::Schedule;

/// What an exploration found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Name and version of the plan.
    pub plan: String,
    /// Faults at the same time, at the most.
    pub at_once: u8,
    /// Faults at places that were planned.
    pub sites: usize,
    /// Those that no schedule reached.
    pub unreached: Vec<String>,
    /// Every scenario of the plan that so many faults can force, and what came of it.
    pub scenarios: Vec<Tried>,
    /// Distinct moments.
    pub states: usize,
    /// Distinct sequences of states of the saga, from its start to a rest; fewest faults first.
    pub paths: Vec<Path>,
    /// Moves that steps of such kinds can make, from one state to another.
    pub transitions: usize,
    /// Those that no schedule made, by step.
    pub missed: BTreeMap<String, BTreeSet<String>>,
    /// Those that were made, by step.
    pub made: BTreeMap<String, BTreeSet<String>>,
    /// Ways to end, with what leads there.
    pub endings: BTreeMap<&'static str, Ending>,
    /// The first violation of each invariant: fewest faults, shortest schedule.
    pub violations: Vec<Violation>,
    /// True when the search was stopped by its limit.
    pub cut: bool,
}

/// A way to end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ending {
    /// Distinct moments that end so.
    pub states: usize,
    /// The shortest schedule with the fewest faults that leads there.
    pub example: Schedule,
}

/// A sequence of states of the saga.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// How it ends.
    pub ending: &'static str,
    /// Each change of the saga, in words.
    pub changes: Vec<String>,
    /// The least that causes it.
    pub example: Schedule,
    /// Scenarios that can go this way.
    pub scenarios: usize,
    /// What it leaves behind, though it goes back; and what is owed.
    pub residue: Vec<String>,
}

/// A scenario, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// What went wrong, and where.
    pub scenario: Scenario,
    /// Each way to end.
    pub endings: BTreeSet<&'static str>,
    /// What was violated.
    pub violated: BTreeSet<Invariant>,
}

/// What is to be thought of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub enum Verdict {
    /// It went through.
    PassCompleted,
    /// All was taken back; or, in other schedules, it went through.
    PassCompensated,
    /// In some schedules people have to look, and are told what is left.
    PassNeedsAttention,
    /// Something is violated.
    FailInvariant,
    /// No schedule meets its faults.
    Unreached,
}

impl Tried {
    /// The worst of its endings.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let of_ending = |ending: &&'static str| match *ending {
            "completed" => Verdict::PassCompleted,
            "compensated" => Verdict::PassCompensated,
            _ => Verdict::PassNeedsAttention,
        };
        if !self.violated.is_empty() {
            return Verdict::FailInvariant;
        }
        let worst = self.endings.iter().map(of_ending).max();
        worst.unwrap_or(Verdict::Unreached)
    }
}

impl Verdict {
    /// One word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::PassCompleted => "PASS-COMPLETED",
            Self::PassCompensated => "PASS-COMPENSATED",
            Self::PassNeedsAttention => "PASS-NEEDS-ATTENTION",
            Self::FailInvariant => "FAIL-INVARIANT",
            Self::Unreached => "UNREACHED",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Report {
    /// How many of [`Report::transitions`] were made.
    #[must_use]
    pub fn transitions_covered(&self) -> usize {
        self.transitions - self.missed.values().map(BTreeSet::len).sum::<usize>()
    }

    /// Nothing is violated, everything planned was reached, every move was made, and the search
    /// was complete.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.is_safe() && self.missed.is_empty()
    }

    /// As [`Report::is_good`], for a search with so few faults that not every move can be made.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        let unreached = |tried: &Tried| tried.verdict() == Verdict::Unreached;
        self.violations.is_empty()
            && self.unreached.is_empty()
            && !self.scenarios.iter().any(unreached)
            && !self.cut
    }

    /// The violation of this invariant, if it is violated.
    #[must_use]
    pub fn violation(&self, of: Invariant) -> Option<&Violation> {
        self.violations.iter().find(|found| found.invariant == of)
    }
}

/// Each change of the saga on the way of these events, in words, and what is left at the end.
pub(crate) fn told(rules: &Rules, events: &[Event]) -> (Vec<String>, Vec<String>) {
    let plan = &rules.plan;
    let mut changes = Vec::new();
    let mut moment = Moment::start(rules);
    for event in events {
        let Some(stepped) = moment.after(rules, *event) else {
            break;
        };
        changes.extend(change(plan, &moment.state, &stepped.after.state));
        moment = stepped.after;
    }
    (changes, left(plan, &moment))
}

fn change(plan: &Plan, was: &State, is: &State) -> Option<String> {
    let steps = was.steps.iter().zip(&is.steps).zip(plan.steps());
    let moved = steps.filter(|((was, is), _)| was.word() != is.word());
    let mut words: Vec<String> = moved
        .map(|((_, is), step)| format!("{} {}", step.name, is.word()))
        .collect();
    if was.cause.is_none()
        && let Some(cause) = &is.cause
    {
        words.insert(0, format!("turns back ({})", cause.reason()));
    }
    (!words.is_empty()).then(|| words.join(", "))
}

/// What is left behind, or owed, by step.
fn left(plan: &Plan, moment: &Moment) -> Vec<String> {
    let goes_back = moment.state.cause.is_some();
    let entries = ledger(plan, &moment.state).into_iter();
    let left = entries.filter(|entry| match entry.standing {
        Standing::Done => goes_back,
        Standing::Unknown | Standing::Owed => true,
        Standing::None | Standing::Netted | Standing::Waived => false,
    });
    left.map(|entry| {
        let is_there = if moment.sites[entry.step].is_there() {
            "it is there"
        } else {
            "it is not there"
        };
        format!("{}: {}, {is_there}", entry.token, entry.standing.as_str())
    })
    .collect()
}
