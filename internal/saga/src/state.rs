//! The state of a saga: one value, stored in its head row.

use serde::{Deserialize, Serialize};

use crate::plan::{Plan, StepKind};
use crate::time::DbTime;

/// The state of a saga. Only [`crate::next`] makes a new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Where the saga is.
    #[serde(rename = "s")]
    pub status: Status,
    /// Why it goes back; `None` while it goes forward.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Before the pivot the saga is rolled back then; `None` before the start, and once it is spent.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<DbTime>,
    /// One for each step of the plan, in its order.
    #[serde(rename = "p")]
    pub steps: Vec<StepState>,
    /// Why it will go back if the pivot, which is out, turns out not to have happened.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub wish: Option<Cause>,
    /// Nothing new is sent as long as there is one.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// How the case of a saga that needs attention was closed; `None` while it is open.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Disposition>,
}

/// Holds a saga: answers count, the direction stays, nothing new is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hold {
    /// Since when. Budgets and the deadline move by its length when it ends.
    pub since: DbTime,
    /// An operator has paused the saga.
    #[serde(rename = "o", default)]
    pub operator: bool,
    /// The breaker before one of its steps is open.
    #[serde(rename = "b", default)]
    pub breaker: bool,
}

/// How the case of a saga was closed. It is never called compensated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disposition {
    /// Everything was taken back but what an operator has accepted.
    ResidueAccepted,
    /// It rests as it is.
    Abandoned,
}

/// What an operator says of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Claim {
    /// Its action happened.
    Done,
    /// Its action did not happen.
    NotDone,
    /// Its effect was taken back.
    Undone,
}

/// Where a saga is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Not started. Only in memory: its first transition is stored with the row.
    New,
    /// Goes forward. Moved on by replies and timers.
    Running,
    /// Goes back, and never forward again. Moved on by replies and timers.
    Compensating,
    /// Every step is done. The end.
    Completed,
    /// Nothing is left of it. The end.
    Compensated,
    /// Nothing else can move; an operator, or a late reply, moves it on.
    NeedsAttention(Need),
}

/// What kind of attention is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// A step after the pivot does not happen.
    Forward,
    /// It is not known whether the pivot happened.
    Undecided,
    /// A compensation does not happen.
    Backward,
}

/// Why a saga goes back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "k")]
pub enum Cause {
    /// A participant's verdict.
    Failed {
        /// The step.
        step: String,
        /// Constant name such as `OUT_OF_STOCK`.
        reason: String,
        /// In words.
        detail: String,
    },
    /// The budget of a step was used up without an answer.
    Unknown {
        /// The step.
        step: String,
    },
    /// The saga's deadline passed before the pivot.
    Deadline,
    /// Its owner, or an operator, cancelled it.
    Cancelled,
    /// An operator forced it back.
    Forced,
}

impl Cause {
    /// A constant name for it.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Failed { reason, .. } => reason,
            Self::Unknown { .. } => "STEP_UNKNOWN",
            Self::Deadline => "DEADLINE_EXCEEDED",
            Self::Cancelled => "CANCELLED",
            Self::Forced => "FORCED",
        }
    }

    /// The cause in words.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Failed {
                step,
                reason,
                detail,
            } if detail.is_empty() => {
                format!("{step} failed: {reason}")
            }
            Self::Failed { step, detail, .. } => format!("{step} failed: {detail}"),
            Self::Unknown { step } => {
                format!("{step} was not answered in time; whatever it did was taken back")
            }
            Self::Deadline => "it took too long; whatever was done was taken back".to_owned(),
            Self::Cancelled => "it was cancelled".to_owned(),
            Self::Forced => "an operator turned it back".to_owned(),
        }
    }
}

/// Where a step is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "k")]
pub enum StepState {
    /// Never sent. Sent when the steps before it are done.
    Idle,
    /// An attempt is out. A reply or `until` moves it on.
    Sent(Attempt),
    /// Not known whether it happened; the next attempt goes out at `until`.
    Backoff(Attempt),
    /// Not known whether it happened, and no longer asked: it is taken back.
    Unknown {
        /// Attempts made.
        n: u32,
    },
    /// A probe of the pivot is out. A reply or `until` moves it on.
    Probing(Attempt),
    /// The probe was not answered; the next goes out at `until`.
    ProbeBackoff(Attempt),
    /// It happened.
    Done,
    /// The participant's verdict: no effect, now or later.
    Failed {
        /// Constant name.
        reason: String,
        /// In words.
        detail: String,
    },
    /// A probe's answer: it has not happened and never will.
    NotDone,
    /// A compensation is out. A reply or `until` moves it on.
    Undoing(Undo),
    /// The compensation was not answered; the next attempt goes out at `until`.
    UndoBackoff(Undo),
    /// It was taken back.
    Undone,
    /// There was nothing to take back, and there never will be.
    UndoneEmpty,
    /// An operator has said what happened, and the participant is asked to shut the door.
    Resolving(Resolve),
    /// Settled by an operator's word, with the door shut where the participant could be reached.
    ByHand(Claim),
    /// An operator has decided that nobody waits for it any more.
    Waived,
    /// Nothing but an operator or a late reply moves it.
    Stuck {
        /// Attempts made.
        #[serde(default)]
        n: u32,
        /// What it was about.
        doing: Doing,
        /// Whether its effect is known to have happened.
        was_done: bool,
        /// Whether the participant has said so, and changed nothing; else its last attempt may
        /// have done what was asked.
        #[serde(default)]
        refused: bool,
        /// Why.
        reason: String,
    },
}

/// What a stuck step was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doing {
    /// Its action.
    Action,
    /// A probe of its action.
    Probe,
    /// Its compensation.
    Compensation,
}

/// An attempt of an action or a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// 1 for the first.
    pub n: u32,
    /// Attempts before those that the budget counts.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub base: u32,
    /// When the first attempt of the budget went out.
    pub since: DbTime,
    /// When something happens by itself.
    pub until: DbTime,
}

/// An attempt of a compensation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    /// 1 for the first.
    pub n: u32,
    /// When the first attempt went out.
    pub since: DbTime,
    /// When something happens by itself.
    pub until: DbTime,
    /// Whether the action is known to have happened; else it is unknown.
    pub was_done: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl Attempt {
    /// The first attempt of a fresh budget, going out now.
    pub(crate) fn first(now: DbTime) -> Self {
        Self {
            n: 1,
            base: 0,
            since: now,
            until: now,
        }
    }

    /// The next attempt of the same budget.
    pub(crate) fn next(self) -> Self {
        Self {
            n: self.n + 1,
            ..self
        }
    }
}

impl Claim {
    /// What a step is stuck in whose claim cannot be asked about.
    pub(crate) fn about(self) -> Doing {
        match self {
            Self::Done | Self::NotDone => Doing::Action,
            Self::Undone => Doing::Compensation,
        }
    }

    /// One word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotDone => "not-done",
            Self::Undone => "undone",
        }
    }
}

/// The participant is asked before an operator's word is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolve {
    /// What the operator says.
    pub claim: Claim,
    /// 1 for the first question.
    pub n: u32,
    /// When the first question went out.
    pub since: DbTime,
    /// When something happens by itself.
    pub until: DbTime,
    /// Whether a question is out; else the next goes out at `until`.
    pub out: bool,
    /// Whether the action is known to have happened.
    pub was_done: bool,
}

/// What a saga waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// The kind.
    pub what: WaitsFor,
    /// The step, if it is one.
    pub step: Option<usize>,
    /// When it is due.
    pub until: DbTime,
}

/// Kinds of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WaitsFor {
    /// A participant's answer.
    Reply,
    /// The next attempt.
    Backoff,
    /// The last attempts in flight, before it goes back.
    Settle,
    /// An operator.
    Operator,
    /// The end of a hold.
    Hold,
}

impl WaitsFor {
    /// One word, as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reply => "reply",
            Self::Backoff => "backoff",
            Self::Settle => "settle",
            Self::Operator => "operator",
            Self::Hold => "hold",
        }
    }
}

impl State {
    /// The state of a saga that has not started.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        Self {
            status: Status::New,
            cause: None,
            deadline: None,
            steps: plan.steps().iter().map(|_| StepState::Idle).collect(),
            wish: None,
            hold: None,
            closed: None,
        }
    }

    /// Whether it ended well: nothing moves it any more.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self.status, Status::Completed | Status::Compensated)
    }

    /// The instant at which something happens by itself; `None` when nothing ever does.
    #[must_use]
    pub fn wake_at(&self, plan: &Plan) -> Option<DbTime> {
        match self.status {
            Status::Running | Status::Compensating => {}
            Status::New | Status::Completed | Status::Compensated | Status::NeedsAttention(_) => {
                return None;
            }
        }
        if self.hold.is_some() {
            // attempts that are out expire; the rest waits for the end of the hold
            let out = self.steps.iter().filter(|step| step.is_out());
            return out.filter_map(StepState::until).min().or(Some(DbTime::FAR));
        }
        let deadline = self.deadline.filter(|_| self.can_flip(plan));
        self.steps
            .iter()
            .filter_map(StepState::until)
            .chain(deadline)
            .min()
    }

    /// What the saga waits for: the earliest thing that is due.
    #[must_use]
    pub fn waits(&self) -> Option<Waits> {
        if let Status::NeedsAttention(_) = self.status {
            let step = self
                .steps
                .iter()
                .position(|s| matches!(s, StepState::Stuck { .. }));
            return Some(Waits {
                what: WaitsFor::Operator,
                step,
                until: DbTime(i64::MAX),
            });
        }
        if self.hold.is_some() {
            return Some(Waits {
                what: WaitsFor::Hold,
                step: None,
                until: DbTime::FAR,
            });
        }
        let compensating = self.status == Status::Compensating;
        let of_step = |(position, step): (usize, &StepState)| {
            let what = match step {
                StepState::Sent(_) | StepState::Probing(_) if compensating => WaitsFor::Settle,
                StepState::Sent(_)
                | StepState::Probing(_)
                | StepState::Undoing(_)
                | StepState::Resolving(Resolve { out: true, .. }) => WaitsFor::Reply,
                StepState::Resolving(_)
                | StepState::Backoff(_)
                | StepState::ProbeBackoff(_)
                | StepState::UndoBackoff(_) => WaitsFor::Backoff,
                StepState::Idle
                | StepState::Unknown { .. }
                | StepState::Done
                | StepState::Failed { .. }
                | StepState::NotDone
                | StepState::Undone
                | StepState::UndoneEmpty
                | StepState::ByHand(_)
                | StepState::Waived
                | StepState::Stuck { .. } => return None,
            };
            Some(Waits {
                what,
                step: Some(position),
                until: step.until()?,
            })
        };
        self.steps
            .iter()
            .enumerate()
            .filter_map(of_step)
            .min_by_key(|waits| waits.until)
    }

    /// Whether the saga may still go back: its pivot, if it has one, was never sent.
    #[must_use]
    pub fn can_flip(&self, plan: &Plan) -> bool {
        self.status == Status::Running
            && plan
                .steps()
                .iter()
                .zip(&self.steps)
                .filter(|(step, _)| step.kind == StepKind::Pivot)
                .all(|(_, state)| *state == StepState::Idle)
    }
}

impl StepState {
    /// When something happens to the step by itself.
    #[must_use]
    pub fn until(&self) -> Option<DbTime> {
        match self {
            Self::Sent(a) | Self::Backoff(a) | Self::Probing(a) | Self::ProbeBackoff(a) => {
                Some(a.until)
            }
            Self::Undoing(u) | Self::UndoBackoff(u) => Some(u.until),
            Self::Resolving(resolve) => Some(resolve.until),
            Self::Idle
            | Self::Unknown { .. }
            | Self::Done
            | Self::Failed { .. }
            | Self::NotDone
            | Self::Undone
            | Self::UndoneEmpty
            | Self::ByHand(_)
            | Self::Waived
            | Self::Stuck { .. } => None,
        }
    }

    /// When the budget of what is under way began.
    pub(crate) fn since_mut(&mut self) -> Option<&mut DbTime> {
        if let Self::Sent(at) | Self::Backoff(at) | Self::Probing(at) | Self::ProbeBackoff(at) =
            self
        {
            Some(&mut at.since)
        } else if let Self::Undoing(undo) | Self::UndoBackoff(undo) = self {
            Some(&mut undo.since)
        } else if let Self::Resolving(resolve) = self {
            Some(&mut resolve.since)
        } else {
            None
        }
    }

    /// Whether a command of the step is out, whose answer may still come.
    #[must_use]
    pub fn is_out(&self) -> bool {
        matches!(
            self,
            Self::Sent(_)
                | Self::Probing(_)
                | Self::Undoing(_)
                | Self::Resolving(Resolve { out: true, .. })
        )
    }

    /// Whether steps after it may go on.
    #[must_use]
    pub fn happened(&self) -> bool {
        matches!(self, Self::Done | Self::ByHand(Claim::Done) | Self::Waived)
    }

    /// Attempts made so far, of whatever it does now.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        match self {
            Self::Sent(a) | Self::Backoff(a) | Self::Probing(a) | Self::ProbeBackoff(a) => a.n,
            Self::Undoing(u) | Self::UndoBackoff(u) => u.n,
            Self::Unknown { n } | Self::Stuck { n, .. } => *n,
            Self::Resolving(resolve) => resolve.n,
            Self::Idle
            | Self::Done
            | Self::Failed { .. }
            | Self::NotDone
            | Self::Undone
            | Self::UndoneEmpty
            | Self::ByHand(_)
            | Self::Waived => 0,
        }
    }

    /// One word for people.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Sent(_) => "sent",
            Self::Backoff(_) => "backoff",
            Self::Unknown { .. } => "unknown",
            Self::Probing(_) => "probing",
            Self::ProbeBackoff(_) => "probe-backoff",
            Self::Done => "done",
            Self::Failed { .. } => "failed",
            Self::NotDone => "not-done",
            Self::Undoing(_) => "undoing",
            Self::UndoBackoff(_) => "undo-backoff",
            Self::Undone => "undone",
            Self::UndoneEmpty => "undone-empty",
            Self::Resolving(_) => "resolving",
            Self::ByHand(Claim::Done) => "done-by-hand",
            Self::ByHand(Claim::NotDone) => "not-done-by-hand",
            Self::ByHand(Claim::Undone) => "undone-by-hand",
            Self::Waived => "waived",
            Self::Stuck { .. } => "stuck",
        }
    }

    /// Why it failed or is stuck; empty for the rest.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Failed { reason, .. } | Self::Stuck { reason, .. } => reason,
            Self::Idle
            | Self::Sent(_)
            | Self::Backoff(_)
            | Self::Unknown { .. }
            | Self::Probing(_)
            | Self::ProbeBackoff(_)
            | Self::Done
            | Self::NotDone
            | Self::Undoing(_)
            | Self::UndoBackoff(_)
            | Self::Undone
            | Self::UndoneEmpty
            | Self::Resolving(_)
            | Self::ByHand(_)
            | Self::Waived => "",
        }
    }
}
