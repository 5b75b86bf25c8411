//! The rules of a well-formed plan that need no message descriptors.

use std::collections::BTreeSet;
use std::fmt;

use super::{Plan, PlanBuilder, Step, StepKind};

/// Steps of a plan at the most.
const STEPS_MAX: usize = 64;

/// A rule that a plan breaks: which steps, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation")]
pub enum PlanError {
    #[error("the plan has no steps: add one with .step(…)")]
    NoSteps,
    #[error("the plan has {0} steps, more than 64: split it into two plans")]
    TooManySteps(usize),
    #[error("the plan names no input message: add .input::<M>()")]
    NoInput,
    #[error("two steps are called {0:?}: a name identifies a step, give each its own")]
    DuplicateStep(String),
    #[error("step {step:?} comes after {after:?}, which the plan has not: correct the name")]
    UnknownDependency { step: String, after: String },
    #[error("steps {0:?} wait for each other: remove one .after(…)")]
    Cycle(Vec<String>),
    #[error("steps {0:?} hang together with no other step: connect them with .after(…)")]
    NotConnected(Vec<String>),
    #[error("step {0:?} has no participant: add .at(…)")]
    NoParticipant(String),
    #[error("step {0:?} has no action: only the opening step, which is first, has none")]
    NoAction(String),
    #[error(
        "steps {0:?} are both pivots: after the first there is no way back, make one of them \
             compensatable or retriable"
    )]
    TwoPivots(Vec<String>),
    #[error(
        "compensatable step {step:?} is not before the pivot {pivot:?}, so it would be stranded \
             if it succeeds while the pivot fails: put it before the pivot, or make it retriable"
    )]
    CompensatableNotBeforePivot { step: String, pivot: String },
    #[error(
        "retriable step {step:?} is not after the pivot {pivot:?}, so it may happen although \
             the saga goes back: put it after the pivot, or give it a compensation"
    )]
    RetriableNotAfterPivot { step: String, pivot: String },
    #[error("read-only step {step:?} is beside the pivot {pivot:?}: put it before or after it")]
    ReadOnlyBesidePivot { step: String, pivot: String },
    #[error(
        "step {0:?} is retriable in a plan without a pivot: nothing decides that the saga goes \
             forward; make a step before it the pivot, or give it a compensation"
    )]
    RetriableWithoutPivot(String),
    #[error(
        "step {0:?} declares no effect token: add .token(\"stock.hold\") or the like, so that \
             what it leaves behind can be listed"
    )]
    NoToken(String),
    #[error("step {0:?} has a deadline shorter than one attempt: raise .deadline(…)")]
    DeadlineBelowAttempt(String),
    #[error(
        "step {0:?} has a retry without a limit: attempts_max and give_up_after must be above \
             zero"
    )]
    NoLimit(String),
    #[error(
        "the plan's deadline is shorter than the longest path of attempts, {needed_ms} ms: \
             raise .deadline(…)"
    )]
    DeadlineBelowLongestPath { needed_ms: u128 },
    #[error(
        "step {step:?} sends {message}, which is no known message: correct the type, or add it \
             to the contracts"
    )]
    UnknownMessage { step: String, message: String },
    #[error("step {step:?} fills {message}.{field}, which does not exist: correct the name")]
    UnknownField {
        step: String,
        message: String,
        field: String,
    },
    #[error(
        "step {step:?} fills {message}.{field} from {source_field}, which does not exist there"
    )]
    UnknownSource {
        step: String,
        message: String,
        field: String,
        source_field: String,
    },
    #[error(
        "step {step:?} fills {message}.{field} ({field_type}) from a {source_type}: the types \
             must be equal"
    )]
    TypeMismatch {
        step: String,
        message: String,
        field: String,
        field_type: String,
        source_type: String,
    },
    #[error("step {step:?} reads the output of {from:?}, which is not before it")]
    SourceNotBefore { step: String, from: String },
    #[error(
        "step {step:?} leaves {message}.{field} empty: no earlier output and no input has a \
             field of that name and type; add .bind(…)"
    )]
    Unbound {
        step: String,
        message: String,
        field: String,
    },
    #[error("step {0:?} reads the cause of a rollback in its action: only compensations have one")]
    CauseInAction(String),
}

/// Every rule that a plan breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanErrors {
    /// The plan, `place-order@1`.
    pub plan: String,
    /// At least one.
    pub errors: Vec<PlanError>,
}

impl fmt::Display for PlanErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "plan {} breaks {} rule(s):",
            self.plan,
            self.errors.len()
        )?;
        self.errors
            .iter()
            .try_for_each(|error| write!(f, "\n  - {error}"))
    }
}

impl std::error::Error for PlanErrors {}

pub(super) fn build(builder: PlanBuilder) -> Result<Plan, PlanErrors> {
    let mut errors = Vec::new();
    let label = format!("{}@{}", builder.name, builder.version);
    let names: Vec<String> = builder.steps.iter().map(|s| s.step.name.clone()).collect();
    let mut steps = Vec::with_capacity(names.len());
    for collected in builder.steps {
        let mut step = collected.step;
        for after in collected.after {
            match names.iter().position(|name| *name == after) {
                Some(position) => step.after.push(position),
                None => errors.push(PlanError::UnknownDependency {
                    step: step.name.clone(),
                    after,
                }),
            }
        }
        step.after.sort_unstable();
        step.after.dedup();
        steps.push(step);
    }
    shape(&steps, &builder.input, &mut errors);
    if errors.is_empty() {
        kinds(&steps, &mut errors);
        limits(&steps, builder.deadline, &mut errors);
    }
    if !errors.is_empty() {
        return Err(PlanErrors {
            plan: label,
            errors,
        });
    }
    Ok(Plan {
        name: builder.name,
        version: builder.version,
        input: builder.input,
        deadline: builder.deadline,
        cancellable: builder.cancellable,
        steps,
    })
}

fn shape(steps: &[Step], input: &str, errors: &mut Vec<PlanError>) {
    if steps.is_empty() {
        errors.push(PlanError::NoSteps);
        return;
    }
    if steps.len() > STEPS_MAX {
        errors.push(PlanError::TooManySteps(steps.len()));
    }
    if input.is_empty() {
        errors.push(PlanError::NoInput);
    }
    let mut seen = BTreeSet::new();
    for (position, step) in steps.iter().enumerate() {
        if !seen.insert(&step.name) {
            errors.push(PlanError::DuplicateStep(step.name.clone()));
        }
        if step.participant.is_empty() {
            errors.push(PlanError::NoParticipant(step.name.clone()));
        }
        let opening = position == 0 && step.compensation.is_some();
        if step.action.is_none() && !opening {
            errors.push(PlanError::NoAction(step.name.clone()));
        }
    }
    let waiting = cycle(steps);
    if !waiting.is_empty() {
        errors.push(PlanError::Cycle(waiting));
        return;
    }
    let connected = reachable(0, |from| {
        let behind = steps[from].after.iter().copied();
        let ahead = (0..steps.len()).filter(move |&s| steps[s].after.contains(&from));
        behind.chain(ahead).collect()
    });
    let apart = names(steps, (0..steps.len()).filter(|s| !connected.contains(s)));
    if !apart.is_empty() {
        errors.push(PlanError::NotConnected(apart));
    }
}

/// The steps that no order can satisfy.
fn cycle(steps: &[Step]) -> Vec<String> {
    let mut placed = BTreeSet::new();
    loop {
        let before = placed.len();
        for (position, step) in steps.iter().enumerate() {
            if step.after.iter().all(|after| placed.contains(after)) {
                placed.insert(position);
            }
        }
        if placed.len() == before {
            return names(steps, (0..steps.len()).filter(|s| !placed.contains(s)));
        }
    }
}

fn names(steps: &[Step], positions: impl Iterator<Item = usize>) -> Vec<String> {
    positions
        .map(|position| steps[position].name.clone())
        .collect()
}

fn reachable(from: usize, neighbours: impl Fn(usize) -> Vec<usize>) -> BTreeSet<usize> {
    let mut seen = BTreeSet::from([from]);
    let mut todo = vec![from];
    while let Some(step) = todo.pop() {
        todo.extend(neighbours(step).into_iter().filter(|n| seen.insert(*n)));
    }
    seen
}

/// The steps before `step`, near and far, without itself.
pub(super) fn ancestors(steps: &[Step], step: usize) -> BTreeSet<usize> {
    let mut found = reachable(step, |from| steps[from].after.clone());
    found.remove(&step);
    found
}

fn kinds(steps: &[Step], errors: &mut Vec<PlanError>) {
    let pivots: Vec<usize> = (0..steps.len())
        .filter(|&s| steps[s].kind == StepKind::Pivot)
        .collect();
    if pivots.len() > 1 {
        errors.push(PlanError::TwoPivots(names(steps, pivots.iter().copied())));
        return;
    }
    let Some(&pivot) = pivots.first() else {
        let retriable = steps.iter().filter(|s| s.kind == StepKind::Retriable);
        errors.extend(retriable.map(|s| PlanError::RetriableWithoutPivot(s.name.clone())));
        return;
    };
    let before = ancestors(steps, pivot);
    for (position, step) in steps
        .iter()
        .enumerate()
        .filter(|(position, _)| *position != pivot)
    {
        let after = ancestors(steps, position).contains(&pivot);
        let (step_name, pivot_name) = (step.name.clone(), steps[pivot].name.clone());
        let error = match step.kind {
            StepKind::Compensatable if !before.contains(&position) => {
                PlanError::CompensatableNotBeforePivot {
                    step: step_name,
                    pivot: pivot_name,
                }
            }
            StepKind::Retriable if !after => PlanError::RetriableNotAfterPivot {
                step: step_name,
                pivot: pivot_name,
            },
            StepKind::ReadOnly if !after && !before.contains(&position) => {
                PlanError::ReadOnlyBesidePivot {
                    step: step_name,
                    pivot: pivot_name,
                }
            }
            StepKind::Compensatable
            | StepKind::Retriable
            | StepKind::ReadOnly
            | StepKind::Pivot => continue,
        };
        errors.push(error);
    }
}

fn limits(steps: &[Step], deadline: std::time::Duration, errors: &mut Vec<PlanError>) {
    let mut longest = vec![0_u128; steps.len()];
    for _ in steps {
        // after as many rounds as there are steps, every path has been added up
        for (position, step) in steps.iter().enumerate() {
            let own = if step.action.is_some() {
                step.attempt_timeout.as_millis()
            } else {
                0
            };
            let before = step
                .after
                .iter()
                .map(|&after| longest[after])
                .max()
                .unwrap_or_default();
            longest[position] = before + own;
        }
    }
    let needed_ms = longest.into_iter().max().unwrap_or_default();
    if deadline.as_millis() < needed_ms {
        errors.push(PlanError::DeadlineBelowLongestPath { needed_ms });
    }
    for step in steps {
        if step.kind != StepKind::ReadOnly && step.token.is_empty() {
            errors.push(PlanError::NoToken(step.name.clone()));
        }
        if step.deadline < step.attempt_timeout {
            errors.push(PlanError::DeadlineBelowAttempt(step.name.clone()));
        }
        let unlimited = |retry: &super::Retry| {
            retry.attempts_max == 0 || retry.give_up_after.is_zero() || retry.cap.is_zero()
        };
        if unlimited(&step.retry) || unlimited(&step.undo_retry) {
            errors.push(PlanError::NoLimit(step.name.clone()));
        }
    }
}
