//! Plans: what is to be done, in which order, and how each step is taken back.

use std::time::Duration;

use prost::Name;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::time::{millis, secs};

mod check;
mod draw;
mod resolve;
#[cfg(test)]
mod tests;

pub use check::{PlanError, PlanErrors};

/// A plan is data: it is checked when it is built, and again, with its messages, by
/// [`Plan::resolve`]. Running sagas are pinned to the hash of their plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    name: String,
    version: u32,
    input: String,
    deadline: Duration,
    cancellable: bool,
    steps: Vec<Step>,
}

/// What a step promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// May fail; can be taken back.
    Compensatable,
    /// May fail; once it has happened the saga only goes forward.
    Pivot,
    /// Cannot fail; is repeated until it has happened.
    Retriable,
    /// Has no effect.
    ReadOnly,
}

/// A step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Identifies the step over versions of the plan.
    pub name: String,
    /// Who does it.
    pub participant: String,
    /// What it promises.
    pub kind: StepKind,
    /// Positions of the steps that must be done before it.
    pub after: Vec<usize>,
    /// The command; none for the opening step, which the starter has done already.
    pub action: Option<Message>,
    /// The command that takes it back; compensatable steps have one.
    pub compensation: Option<Message>,
    /// Budget of the action.
    pub retry: Retry,
    /// Budget of the compensation.
    pub undo_retry: Retry,
    /// An attempt without an answer is unknown after that.
    pub attempt_timeout: Duration,
    /// From the first attempt to the last answer, going forward.
    pub deadline: Duration,
    /// What the step leaves behind until it is taken back, such as `stock.hold`; empty for
    /// read-only steps.
    pub token: String,
    /// Whether an operator may go on without it. Retriable steps only.
    #[serde(default, skip_serializing_if = "is_false")]
    pub skippable: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// A command, and where its fields come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Full protobuf name.
    pub name: String,
    /// One for each field that is filled.
    pub bindings: Vec<Binding>,
    /// Fields that are left empty on purpose. No part of what is stored, so that a field which is
    /// added to a command changes no plan that was released before it.
    #[serde(skip)]
    pub empty: Vec<String>,
}

/// A field of a command, and what it is copied from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Field of the command.
    pub field: String,
    /// Where its value comes from.
    pub source: Source,
}

/// Where the value of a field comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A field of the saga's input.
    Input {
        /// Its name.
        field: String,
    },
    /// A field of a step's output; absent where the outcome of the step is unknown.
    Output {
        /// The step.
        step: String,
        /// Its name.
        field: String,
    },
    /// Why the saga goes back, as a constant name. Compensations only.
    CauseReason,
    /// Why the saga goes back, in words. Compensations only.
    CauseDetail,
}

/// How often, and at which pace, a command is sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Pause before the second attempt.
    pub first: Duration,
    /// Each pause is that many times the one before.
    pub factor: u32,
    /// No pause is longer.
    pub cap: Duration,
    /// Attempts in all; for what may not fail (compensations, retriable steps, probes) the limit
    /// is `give_up_after` alone.
    pub attempts_max: u32,
    /// Commands that may not fail rest after that, and the saga needs attention.
    pub give_up_after: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first: millis(100),
            factor: 2,
            cap: secs(5),
            attempts_max: 5,
            give_up_after: secs(24 * 60 * 60),
        }
    }
}

impl Retry {
    /// The pause after attempt `attempt` (1 for the first).
    #[must_use]
    pub fn pause(&self, attempt: u32) -> Duration {
        let factor = self.factor.max(1).saturating_pow(attempt.saturating_sub(1));
        self.first.saturating_mul(factor).min(self.cap)
    }
}

impl Plan {
    /// Begins a plan. Its name and version identify it to people, its hash to the engine.
    #[expect(
        clippy::new_ret_no_self,
        reason = "a plan exists only once it is checked"
    )]
    #[must_use]
    pub fn new(name: &str, version: u32) -> PlanBuilder {
        PlanBuilder {
            name: name.to_owned(),
            version,
            input: String::new(),
            deadline: secs(120),
            cancellable: false,
            steps: Vec::new(),
        }
    }

    /// The name, such as `place-order`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its owner may cancel it before the pivot.
    #[must_use]
    pub fn is_cancellable(&self) -> bool {
        self.cancellable
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Name and version, `place-order@1`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// Full name of the input message.
    #[must_use]
    pub fn input(&self) -> &str {
        &self.input
    }

    /// How long a saga may take before its pivot.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The steps; each comes after those it depends on.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Position of the step of that name.
    #[must_use]
    pub fn position(&self, step: &str) -> Option<usize> {
        self.steps.iter().position(|s| s.name == step)
    }

    /// Whether the output of `step` is bound by any other.
    #[must_use]
    pub fn is_bound(&self, step: usize) -> bool {
        let name = &self.steps[step].name;
        let messages = |s: &Step| {
            s.action
                .iter()
                .chain(&s.compensation)
                .cloned()
                .collect::<Vec<_>>()
        };
        self.steps
            .iter()
            .enumerate()
            .filter(|(position, _)| *position != step)
            .flat_map(|(_, s)| messages(s))
            .flat_map(|message| message.bindings)
            .any(|binding| matches!(&binding.source, Source::Output { step, .. } if step == name))
    }

    /// The same plan with other budgets. For simulations only: nothing is checked again, and the
    /// hash is another.
    #[must_use]
    pub fn with_budgets(&self, change: impl FnMut(&mut Step)) -> Self {
        let mut plan = self.clone();
        plan.steps.iter_mut().for_each(change);
        plan
    }

    /// Positions of all steps that come after `step`, directly or not.
    #[must_use]
    pub fn descendants(&self, step: usize) -> Vec<usize> {
        let mut found = vec![false; self.steps.len()];
        // each step comes after those that it depends on, so once through is enough
        for (position, other) in self.steps.iter().enumerate().skip(step + 1) {
            found[position] = other.after.iter().any(|&at| at == step || found[at]);
        }
        let positions = found.iter().enumerate().filter(|(_, is)| **is);
        positions.map(|(position, _)| position).collect()
    }

    /// Content hash: SHA-256 over the plan's stored form, 64 hex digits.
    #[must_use]
    pub fn hash(&self) -> String {
        use std::fmt::Write;
        let stored = serde_json::to_vec(self).expect("a plan has only named fields and strings");
        Sha256::digest(stored)
            .iter()
            .fold(String::with_capacity(64), |mut hex, byte| {
                // writing to a string cannot fail
                write!(hex, "{byte:02x}").ok();
                hex
            })
    }
}

/// Collects a plan; [`PlanBuilder::build`] checks it.
#[derive(Debug, Clone)]
pub struct PlanBuilder {
    name: String,
    version: u32,
    input: String,
    deadline: Duration,
    cancellable: bool,
    steps: Vec<StepBuilder>,
}

impl PlanBuilder {
    /// The input message.
    #[must_use]
    pub fn input<M: Name>(mut self) -> Self {
        self.input = M::full_name();
        self
    }

    /// How long a saga may take before its pivot; then it is rolled back.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Allows its owner to cancel it before the pivot.
    #[must_use]
    pub fn cancellable(mut self) -> Self {
        self.cancellable = true;
        self
    }

    /// The step that the starter has done in the transaction that starts the saga.
    #[must_use]
    pub fn opened_by(mut self, step: StepBuilder) -> Self {
        self.steps.push(step);
        self
    }

    /// Adds a step.
    #[must_use]
    pub fn step(mut self, step: StepBuilder) -> Self {
        self.steps.push(step);
        self
    }

    /// Checks the shape of the plan.
    ///
    /// # Errors
    /// Every rule that is violated, with the steps, and how to mend it.
    pub fn build(self) -> Result<Plan, PlanErrors> {
        check::build(self)
    }
}

/// Collects a step.
#[derive(Debug, Clone)]
pub struct StepBuilder {
    after: Vec<String>,
    step: Step,
}

/// Begins a step.
#[must_use]
pub fn step(name: &str) -> StepBuilder {
    StepBuilder {
        after: Vec::new(),
        step: Step {
            name: name.to_owned(),
            participant: String::new(),
            kind: StepKind::ReadOnly,
            after: Vec::new(),
            action: None,
            compensation: None,
            retry: Retry::default(),
            undo_retry: Retry::default(),
            attempt_timeout: secs(5),
            deadline: secs(30),
            token: String::new(),
            skippable: false,
        },
    }
}

fn message<M: Name>() -> Message {
    Message {
        name: M::full_name(),
        bindings: Vec::new(),
        empty: Vec::new(),
    }
}

impl StepBuilder {
    /// Who does it.
    #[must_use]
    pub fn at(mut self, participant: &str) -> Self {
        participant.clone_into(&mut self.step.participant);
        self
    }

    /// The steps that must be done before it.
    #[must_use]
    pub fn after<const N: usize>(mut self, steps: [&str; N]) -> Self {
        self.after.extend(steps.map(str::to_owned));
        self
    }

    /// Action `A`, taken back by `C`.
    #[must_use]
    pub fn compensatable<A: Name, C: Name>(mut self) -> Self {
        self.step.kind = StepKind::Compensatable;
        self.step.action = Some(message::<A>());
        self.step.compensation = Some(message::<C>());
        self
    }

    /// For the opening step: only what takes it back.
    #[must_use]
    pub fn undo<C: Name>(mut self) -> Self {
        self.step.kind = StepKind::Compensatable;
        self.step.compensation = Some(message::<C>());
        self
    }

    /// Action `A`, after which there is no way back.
    #[must_use]
    pub fn pivot<A: Name>(mut self) -> Self {
        self.step.kind = StepKind::Pivot;
        self.step.action = Some(message::<A>());
        self
    }

    /// Action `A`, repeated until it has happened.
    #[must_use]
    pub fn retriable<A: Name>(mut self) -> Self {
        self.step.kind = StepKind::Retriable;
        self.step.action = Some(message::<A>());
        self
    }

    /// Query `A`, without an effect.
    #[must_use]
    pub fn read_only<A: Name>(mut self) -> Self {
        self.step.kind = StepKind::ReadOnly;
        self.step.action = Some(message::<A>());
        self
    }

    /// Fills a field of the action. Fields that are not bound are filled by name and type, from
    /// the nearest step before or from the input.
    #[must_use]
    pub fn bind(mut self, field: &str, source: Source) -> Self {
        if let Some(action) = &mut self.step.action {
            action.bindings.push(Binding {
                field: field.to_owned(),
                source,
            });
        }
        self
    }

    /// Fills a field of the compensation.
    #[must_use]
    pub fn bind_undo(mut self, field: &str, source: Source) -> Self {
        if let Some(compensation) = &mut self.step.compensation {
            compensation.bindings.push(Binding {
                field: field.to_owned(),
                source,
            });
        }
        self
    }

    /// Leaves a field of the action empty: one that was added to the command for a later version
    /// of the plan.
    #[must_use]
    pub fn without(mut self, field: &str) -> Self {
        if let Some(action) = &mut self.step.action {
            action.empty.push(field.to_owned());
        }
        self
    }

    /// What the step leaves behind until it is taken back.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        token.clone_into(&mut self.step.token);
        self
    }

    /// Lets an operator go on without this retriable step, if no later step needs its output.
    #[must_use]
    pub fn skippable(mut self) -> Self {
        self.step.skippable = true;
        self
    }

    /// Budget of the action.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.step.retry = retry;
        self
    }

    /// Budget of the compensation.
    #[must_use]
    pub fn undo_retry(mut self, retry: Retry) -> Self {
        self.step.undo_retry = retry;
        self
    }

    /// An attempt without an answer is unknown after that.
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.step.attempt_timeout = timeout;
        self
    }

    /// From the first attempt to the last answer.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.step.deadline = deadline;
        self
    }
}

/// A field of the saga's input.
#[must_use]
pub fn input(field: &str) -> Source {
    Source::Input {
        field: field.to_owned(),
    }
}

/// A field of a step's output.
#[must_use]
pub fn output(step: &str, field: &str) -> Source {
    Source::Output {
        step: step.to_owned(),
        field: field.to_owned(),
    }
}

/// Why the saga goes back, as a constant name.
#[must_use]
pub fn cause_reason() -> Source {
    Source::CauseReason
}

/// Why the saga goes back, in words.
#[must_use]
pub fn cause_detail() -> Source {
    Source::CauseDetail
}
