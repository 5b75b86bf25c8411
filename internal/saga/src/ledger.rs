//! What a saga has left behind.

use serde::{Deserialize, Serialize};

use crate::plan::{Plan, StepKind};
use crate::state::{Claim, Doing, State, StepState};

/// What a step left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Position of the step.
    pub step: usize,
    /// What the step leaves behind, such as `stock.hold`.
    pub token: String,
    /// Whether it is there.
    pub standing: Standing,
}

/// Whether the effect of a step is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It never was, and never will be.
    None,
    /// It is.
    Done,
    /// It may be.
    Unknown,
    /// It was, and was taken back; or it was made sure that it never will be.
    Netted,
    /// An operator has accepted that it is, or is not.
    Waived,
    /// It has to be, and is not yet.
    Owed,
}

impl Standing {
    /// One word, as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Done => "done",
            Self::Unknown => "unknown",
            Self::Netted => "netted",
            Self::Waived => "waived",
            Self::Owed => "owed",
        }
    }
}

/// What the saga has left behind: an entry for each step that leaves anything, in plan order.
///
/// Pure, and nothing else decides it: [`crate::Status::Compensated`] means that nothing is `Done`
/// or `Unknown`, [`crate::Status::Completed`] that nothing is `Owed` or `Unknown`.
#[must_use]
pub fn ledger(plan: &Plan, state: &State) -> Vec<Entry> {
    let entries = plan.steps().iter().zip(&state.steps).enumerate();
    entries
        .filter(|(_, (step, _))| step.kind != StepKind::ReadOnly)
        .map(|(position, (step, at))| Entry {
            step: position,
            token: step.token.clone(),
            standing: owed_or(step.kind, state, standing(at)),
        })
        .collect()
}

/// What a saga that goes back still has to take back.
#[must_use]
pub fn residue(plan: &Plan, state: &State) -> Vec<Entry> {
    if state.cause.is_none() {
        return Vec::new();
    }
    let mut entries = ledger(plan, state);
    entries.retain(|entry| matches!(entry.standing, Standing::Done | Standing::Unknown));
    entries
}

/// What comes after the pivot is owed as long as the saga does not go back.
fn owed_or(kind: StepKind, state: &State, standing: Standing) -> Standing {
    let owed = kind == StepKind::Retriable && state.cause.is_none() && standing == Standing::None;
    if owed { Standing::Owed } else { standing }
}

fn standing(step: &StepState) -> Standing {
    match step {
        StepState::Idle | StepState::Failed { .. } | StepState::NotDone => Standing::None,
        StepState::ByHand(Claim::NotDone) => Standing::None,
        StepState::Done | StepState::ByHand(Claim::Done) => Standing::Done,
        StepState::Stuck {
            doing: Doing::Compensation,
            was_done: true,
            refused: true,
            ..
        } => Standing::Done,
        // an undo whose answer is not known may have happened
        StepState::Sent(_)
        | StepState::Backoff(_)
        | StepState::Unknown { .. }
        | StepState::Probing(_)
        | StepState::ProbeBackoff(_)
        | StepState::Undoing(_)
        | StepState::UndoBackoff(_)
        | StepState::Resolving(_)
        | StepState::Stuck { .. } => Standing::Unknown,
        StepState::Undone | StepState::UndoneEmpty | StepState::ByHand(Claim::Undone) => {
            Standing::Netted
        }
        StepState::Waived => Standing::Waived,
    }
}
