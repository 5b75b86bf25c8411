//! Sagas in flight that go on under another version of their plan.

use std::collections::BTreeMap;

use palinode_saga::{Plan, State, StepState};

use crate::explorer::Explorer;
use crate::judge::{self, Violation};
use crate::moment::Moment;
use crate::search::{Goal, Search};

/// What becomes of sagas of one version that go on under another.
#[derive(Debug, Clone)]
pub struct Migration {
    /// The version under which they began.
    pub from: String,
    /// The version under which they go on.
    pub to: String,
    /// Every state that a saga can be in, in words; and whether it fits.
    pub states: Vec<Reachable>,
    /// Distinct moments from there to every rest, under the other version.
    pub moments: usize,
    /// Ways to end under the other version, and the distinct moments that end so.
    pub endings: BTreeMap<&'static str, usize>,
    /// What is violated after the move: the schedule is what happened since; the words say what
    /// happened before.
    pub violations: Vec<Violation>,
    /// True when a search was stopped by its limit.
    pub cut: bool,
}

/// A state that a saga can be in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reachable {
    /// Where it and its steps are.
    pub state: String,
    /// Distinct moments in which it is.
    pub moments: usize,
    /// Why it cannot go on under the other version: a constant name, and words. `None`: it can.
    pub unfit: Option<(&'static str, String)>,
}

type Unfit = Option<(&'static str, String)>;

impl Explorer {
    /// Tries to move the saga to another version of its plan, at every moment that can be
    /// reached; and where it fits, goes on from there with the faults that are left and all
    /// invariants. What participants did, and what is under way, goes by the names of steps.
    #[must_use]
    pub fn migrating_to(&self, to: &Plan) -> Migration {
        let names = to.steps().iter().map(|step| step.name.as_str());
        let external = |name: &&str| {
            let here = self.rules.plan.position(name);
            here.is_some_and(|at| self.rules.external[at])
        };
        let mut other = Self::new(to).calls_out(names.filter(external));
        other.own.clone_from(&self.own);
        let may = self.planned();
        let before = Search::run(Goal {
            keeps: true,
            ..self.goal(&[], &may)
        });
        let mut states: BTreeMap<(String, Unfit), usize> = BTreeMap::new();
        let (mut starts, mut origins, mut violations) = (Vec::new(), Vec::new(), Vec::new());
        for (at, moment) in &before.kept {
            let moved = moment.migrate(&self.rules, &other.rules);
            let unfit = moved.as_ref().err();
            let unfit = unfit.map(|unfit| (unfit.as_str(), unfit.to_string()));
            *states
                .entry((words(self.plan(), &moment.state), unfit))
                .or_default() += 1;
            let Ok(moved) = moved else {
                continue;
            };
            if let Err((invariant, words)) = judge::state(&other.rules, &moved) {
                let schedule = before.schedule(*at);
                violations.push(Violation {
                    invariant,
                    words: format!("as soon as it has moved: {words}"),
                    schedule,
                });
            }
            starts.push((before.nodes[*at as usize].spent, moved));
            origins.push(*at);
        }
        let (starts, origins) = distinct(&other, starts, origins);
        let may = other.planned();
        let goal = Goal {
            at_once: self.at_once,
            ..other.goal(&[], &may)
        };
        let after = Search::from(goal, starts);
        for (root, violation) in after.violation_roots() {
            let origin = before.schedule(origins[root]);
            let words = format!(
                "{}; moved after {} ({})",
                violation.words, origin.scenario, origin.events
            );
            violations.push(Violation {
                words,
                ..violation.clone()
            });
        }
        let mut endings = BTreeMap::new();
        for (_, node) in after.ends() {
            *endings.entry(node.end.unwrap_or_default()).or_default() += 1;
        }
        let reachable = |((state, unfit), moments)| Reachable {
            state,
            moments,
            unfit,
        };
        Migration {
            from: self.plan().label(),
            to: to.label(),
            states: states.into_iter().map(reachable).collect(),
            moments: after.states(),
            endings,
            violations,
            cut: before.cut || after.cut,
        }
    }
}

/// Moments that are equal under the other version are one; the first took the fewest faults.
fn distinct(
    explorer: &Explorer,
    starts: Vec<(u8, Moment)>,
    origins: Vec<u32>,
) -> (Vec<(u8, Moment)>, Vec<u32>) {
    let mut both: Vec<_> = starts.into_iter().zip(origins).collect();
    both.sort_by_key(|((spent, _), at)| (*spent, *at));
    let mut seen = std::collections::HashSet::new();
    both.retain(|((_, moment), _)| seen.insert(moment.digest(&explorer.rules)));
    both.into_iter().unzip()
}

/// Where a saga and its steps are.
fn words(plan: &Plan, state: &State) -> String {
    let steps = plan.steps().iter().zip(&state.steps);
    let moved = steps.filter(|(_, at)| **at != StepState::Idle);
    let moved: Vec<String> = moved
        .map(|(step, at)| format!("{} {}", step.name, at.word()))
        .collect();
    let hold = if state.hold.is_some() { ", held" } else { "" };
    format!("{:?}{hold}: {}", state.status, moved.join(", "))
}
