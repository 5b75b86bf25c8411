//! What an operator, or the owner of a saga, may do with it.

use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::state::{Claim, State, StepState};
use crate::time::DbTime;
use crate::{Input, next};

/// A verb is an input of [`crate::next`] like any other. None of them changes what a command says:
/// that would be another saga.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "v")]
pub enum Verb {
    /// Send nothing new until it is resumed. Answers still count.
    Pause,
    /// End the pause. Deadlines move by its length.
    Resume,
    /// Try everything again now that waits or is stuck, with a new budget.
    Retry,
    /// Go back, if the plan lets its owner say so. While the pivot is out it is asked first.
    Cancel,
    /// Go back, whatever the plan says; what is under way counts as unknown at once.
    ForceCompensate,
    /// Go on without a step that nobody needs.
    Skip {
        /// The step.
        step: usize,
    },
    /// Say what happened, with evidence. The participant is asked first, and its word is taken
    /// over this one.
    Resolve {
        /// The step.
        step: usize,
        /// What happened.
        claim: Claim,
        /// The participant is not asked, because it cannot be.
        unreachable: bool,
    },
    /// Live with what cannot be taken back.
    AcceptResidue {
        /// The steps that left it.
        steps: Vec<usize>,
    },
    /// Close the case as it is.
    Abandon,
}

/// Why a verb is refused: the rule that it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Rule {
    /// The saga has ended.
    SagaEnded,
    /// Its case was closed.
    CaseClosed,
    /// It is paused already.
    AlreadyPaused,
    /// It is not paused.
    NotPaused,
    /// It is held: resume it first.
    SagaHeld,
    /// It needs attention, and sends nothing until somebody acts.
    AtRest,
    /// It goes back already, and never forward again.
    GoesBack,
    /// The plan lets nobody cancel.
    NotCancellable,
    /// The pivot has happened: only a reversing plan takes it back.
    PastPivot,
    /// It is not known whether the pivot has happened.
    PivotUndecided,
    /// Nothing waits and nothing is stuck.
    NothingToRetry,
    /// The plan has no such step.
    NoSuchStep,
    /// The step may not be left out.
    NotSkippable,
    /// A later step needs what this one gives.
    OutputNeeded,
    /// The step is settled.
    StepSettled,
    /// The step has an attempt out: wait for its answer, or for its timeout.
    AttemptOut,
    /// That cannot be said of this step in this direction.
    ClaimDoesNotFit,
    /// Nothing that cannot be taken back was named.
    NoResidue,
    /// Nobody is asked to look at it.
    NoCase,
}

impl Rule {
    /// A constant name for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SagaEnded => "SAGA_ENDED",
            Self::CaseClosed => "CASE_CLOSED",
            Self::AlreadyPaused => "ALREADY_PAUSED",
            Self::NotPaused => "NOT_PAUSED",
            Self::SagaHeld => "SAGA_HELD",
            Self::AtRest => "AT_REST",
            Self::GoesBack => "GOES_BACK",
            Self::NotCancellable => "NOT_CANCELLABLE",
            Self::PastPivot => "PAST_PIVOT",
            Self::PivotUndecided => "PIVOT_UNDECIDED",
            Self::NothingToRetry => "NOTHING_TO_RETRY",
            Self::NoSuchStep => "NO_SUCH_STEP",
            Self::NotSkippable => "NOT_SKIPPABLE",
            Self::OutputNeeded => "OUTPUT_NEEDED",
            Self::StepSettled => "STEP_SETTLED",
            Self::AttemptOut => "ATTEMPT_OUT",
            Self::ClaimDoesNotFit => "CLAIM_DOES_NOT_FIT",
            Self::NoResidue => "NO_RESIDUE",
            Self::NoCase => "NO_CASE",
        }
    }

    /// The rule in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::SagaEnded => "the saga has ended",
            Self::CaseClosed => "its case was closed",
            Self::AlreadyPaused => "it is paused already",
            Self::NotPaused => "it is not paused",
            Self::SagaHeld => "it is held: resume it first",
            Self::AtRest => "it needs attention, and sends nothing until somebody acts",
            Self::GoesBack => "it goes back already, and never forward again",
            Self::NotCancellable => "its plan lets nobody cancel it",
            Self::PastPivot => "its pivot has happened: only a reversing plan takes it back",
            Self::PivotUndecided => "it is not known whether its pivot has happened: resolve it",
            Self::NothingToRetry => "nothing waits and nothing is stuck",
            Self::NoSuchStep => "its plan has no such step",
            Self::NotSkippable => "the plan does not let this step be skipped",
            Self::OutputNeeded => "a later step needs what this one gives",
            Self::StepSettled => "the step is settled",
            Self::AttemptOut => "the step has an attempt out: wait for its answer or its timeout",
            Self::ClaimDoesNotFit => "that cannot be said of this step in this direction",
            Self::NoResidue => "none of these steps has left anything that cannot be taken back",
            Self::NoCase => "nobody is asked to look at it",
        }
    }
}

impl Verb {
    /// One word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Retry => "retry",
            Self::Cancel => "cancel",
            Self::ForceCompensate => "force-compensate",
            Self::Skip { .. } => "skip",
            Self::Resolve { .. } => "resolve",
            Self::AcceptResidue { .. } => "accept-residue",
            Self::Abandon => "abandon",
        }
    }
}

/// Every verb that the saga would accept now, found by trying each.
#[must_use]
pub fn accepted(plan: &Plan, state: &State, now: DbTime) -> Vec<Verb> {
    let steps = 0..state.steps.len();
    let mut verbs = vec![Verb::Pause, Verb::Resume, Verb::Retry];
    verbs.extend([Verb::Cancel, Verb::ForceCompensate]);
    verbs.extend(steps.clone().map(|step| Verb::Skip { step }));
    for claim in [Claim::Done, Claim::NotDone, Claim::Undone] {
        verbs.extend(steps.clone().map(|step| Verb::Resolve {
            step,
            claim,
            unreachable: false,
        }));
    }
    let stuck = |&step: &usize| matches!(state.steps[step], StepState::Stuck { .. });
    verbs.push(Verb::AcceptResidue {
        steps: steps.filter(stuck).collect(),
    });
    verbs.push(Verb::Abandon);
    verbs.retain(|verb| {
        let tried = next(plan, state, &Input::Verb { verb: verb.clone() }, now);
        tried.refused.is_none()
    });
    verbs
}
