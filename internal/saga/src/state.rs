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
}

impl Cause {
    /// A constant name for it.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Failed { reason, .. } => reason,
            Self::Unknown { .. } => "STEP_UNKNOWN",
            Self::Deadline => "DEADLINE_EXCEEDED",
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
    /// Nothing but an operator or a late reply moves it.
    Stuck {
        /// What it was about.
        doing: Doing,
        /// Whether its effect is known to have happened.
        was_done: bool,
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
    /// When the first attempt went out; budgets count from there.
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
        let compensating = self.status == Status::Compensating;
        let of_step = |(position, step): (usize, &StepState)| {
            let what = match step {
                StepState::Sent(_) | StepState::Probing(_) if compensating => WaitsFor::Settle,
                StepState::Sent(_) | StepState::Probing(_) | StepState::Undoing(_) => {
                    WaitsFor::Reply
                }
                StepState::Backoff(_) | StepState::ProbeBackoff(_) | StepState::UndoBackoff(_) => {
                    WaitsFor::Backoff
                }
                StepState::Idle
                | StepState::Unknown { .. }
                | StepState::Done
                | StepState::Failed { .. }
                | StepState::NotDone
                | StepState::Undone
                | StepState::UndoneEmpty
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
            Self::Idle
            | Self::Unknown { .. }
            | Self::Done
            | Self::Failed { .. }
            | Self::NotDone
            | Self::Undone
            | Self::UndoneEmpty
            | Self::Stuck { .. } => None,
        }
    }

    /// Attempts made so far, of whatever it does now.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        match self {
            Self::Sent(a) | Self::Backoff(a) | Self::Probing(a) | Self::ProbeBackoff(a) => a.n,
            Self::Undoing(u) | Self::UndoBackoff(u) => u.n,
            Self::Unknown { n } => *n,
            Self::Idle
            | Self::Done
            | Self::Failed { .. }
            | Self::NotDone
            | Self::Undone
            | Self::UndoneEmpty
            | Self::Stuck { .. } => 0,
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
            | Self::UndoneEmpty => "",
        }
    }
}
