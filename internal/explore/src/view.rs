use std::time::Duration;

use palinode_saga::{DbTime, Entry, Plan, State, Status, StepState, ledger, residue};

use crate::moment::Moment;

/// What an invariant of one's own may look at: the saga, and the effects that there are.
///
/// Shape: methods that take the name of a step panic when the plan has no such step.
#[derive(Debug, Clone, Copy)]
pub struct View<'w> {
    pub(crate) plan: &'w Plan,
    pub(crate) moment: &'w Moment,
}

impl<'w> View<'w> {
    /// Where the saga is.
    #[must_use]
    pub fn status(&self) -> Status {
        self.moment.state.status
    }

    /// All that the orchestrator knows of it.
    #[must_use]
    pub fn state(&self) -> &'w State {
        &self.moment.state
    }

    /// Where a step is, as the orchestrator knows it.
    #[must_use]
    pub fn step(&self, name: &str) -> &'w StepState {
        &self.moment.state.steps[self.position(name)]
    }

    /// How often the effect of a step happened.
    #[must_use]
    pub fn times_done(&self, name: &str) -> u8 {
        self.moment.sites[self.position(name)].now.done
    }

    /// How often the effect of a step was taken back.
    #[must_use]
    pub fn times_undone(&self, name: &str) -> u8 {
        self.moment.sites[self.position(name)].now.undone
    }

    /// Whether the effect of a step is there: it happened and was not taken back.
    #[must_use]
    pub fn is_there(&self, name: &str) -> bool {
        self.moment.sites[self.position(name)].is_there()
    }

    /// What the saga says that it left behind; an entry for each step with an effect.
    #[must_use]
    pub fn ledger(&self) -> Vec<Entry> {
        ledger(self.plan, &self.moment.state)
    }

    /// What a saga that goes back still has to take back.
    #[must_use]
    pub fn residue(&self) -> Vec<Entry> {
        residue(self.plan, &self.moment.state)
    }

    /// Whether nothing happens by itself any more.
    #[must_use]
    pub fn rests(&self) -> bool {
        self.moment.rests()
    }

    /// How it ended, in a word; `under way` before.
    #[must_use]
    pub fn ending(&self) -> &'static str {
        self.moment.ending()
    }

    /// The time of the virtual clock.
    #[must_use]
    pub fn now(&self) -> DbTime {
        self.moment.now
    }

    /// How long it has been going on, by the virtual clock.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.moment.elapsed()
    }

    fn position(&self, name: &str) -> usize {
        let position = self.plan.position(name);
        position.unwrap_or_else(|| panic!("{} has no step {name}", self.plan.label()))
    }
}
