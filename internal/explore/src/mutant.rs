//! Planted bugs: what the search must find.

use palinode_saga::guard::{self, Act, Arrival, Row, Verdict};

use crate::fault::{Fault, Faults};
use crate::judge::Invariant;

mod engine;

pub(crate) use engine::{forget_timers, next};

/// A bug that is planted to see whether it is found: the world misbehaves in this one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// The participant runs whatever arrives.
    NoGuard,
    /// A compensation that comes first leaves no trace: the late action runs.
    NoTombstone,
    /// A repeated action is judged again, and told to have failed.
    DuplicateFails,
    /// A verdict is forgotten: a later attempt may succeed.
    FailedNotStored,
    /// A timeout means failed.
    TimeoutIsFailed,
    /// A step is owed an undo only once it has answered.
    ArmedByReply,
    /// Compensations go out in the order of the actions.
    ForwardOrder,
    /// One branch is not taken back.
    BranchForgotten,
    /// An undo is taken as done without being sent.
    UndoSkipped,
    /// A probe answers, and leaves the door open.
    ProbeLeavesOpen,
    /// The saga goes back although its pivot is out.
    BackPastPivot,
    /// A timer is lost with the process that kept it.
    TimersInMemory,
    /// There is no limit to attempts.
    NoBudget,
    /// A timer acts on a saga that has ended.
    TimerAfterEnd,
    /// A compensation is not guarded: its repeat takes back twice.
    UndoTwice,
    /// A compensation answers without acting.
    UndoWithoutEffect,
    /// The saga goes forward again after it has turned back.
    FlipsTwice,
    /// The pivot is repeated until it answers, and never asked.
    NoProbe,
    /// A hold sends on.
    HoldSends,
    /// Every answer of a settled step is taken as new.
    LateReplyCounts,
    /// What comes after the pivot is not waited for.
    EndsEarly,
    /// A command is published, and then the transaction that sends it is not committed.
    PublishBeforeCommit,
    /// The outbox row has a transaction of its own, which a crash prevents.
    OutboxOutsideTx,
    /// The relay deletes the row before the broker has it.
    DeletedBeforeAck,
    /// The offset is stored before the transaction is committed.
    OffsetFirst,
    /// The guard's row is written after the effect, in a transaction of its own.
    RowOutsideTx,
    /// The external system is called without the step's key.
    NoStepKey,
    /// A call is repeated although the external system has forgotten its key.
    CallsAfterForgotten,
    /// The head row is written without a look at its version.
    NoVersion,
    /// Success is told before the end.
    AnswersEarly,
    /// "Nothing to undo" counts, of a step that has said that it was done.
    EmptyNetsDone,
    /// What needs attention refuses every verb.
    Deaf,
}

impl Mutant {
    /// Every one.
    pub const ALL: [Self; 32] = [
        Self::NoGuard,
        Self::NoTombstone,
        Self::DuplicateFails,
        Self::FailedNotStored,
        Self::TimeoutIsFailed,
        Self::ArmedByReply,
        Self::ForwardOrder,
        Self::BranchForgotten,
        Self::UndoSkipped,
        Self::ProbeLeavesOpen,
        Self::BackPastPivot,
        Self::TimersInMemory,
        Self::NoBudget,
        Self::TimerAfterEnd,
        Self::UndoTwice,
        Self::UndoWithoutEffect,
        Self::FlipsTwice,
        Self::NoProbe,
        Self::HoldSends,
        Self::LateReplyCounts,
        Self::EndsEarly,
        Self::PublishBeforeCommit,
        Self::OutboxOutsideTx,
        Self::DeletedBeforeAck,
        Self::OffsetFirst,
        Self::RowOutsideTx,
        Self::NoStepKey,
        Self::CallsAfterForgotten,
        Self::NoVersion,
        Self::AnswersEarly,
        Self::EmptyNetsDone,
        Self::Deaf,
    ];

    /// One word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NoGuard => "no-guard",
            Self::NoTombstone => "no-tombstone",
            Self::DuplicateFails => "duplicate-fails",
            Self::FailedNotStored => "failed-not-stored",
            Self::TimeoutIsFailed => "timeout-is-failed",
            Self::ArmedByReply => "armed-by-reply",
            Self::ForwardOrder => "forward-order",
            Self::BranchForgotten => "branch-forgotten",
            Self::UndoSkipped => "undo-skipped",
            Self::ProbeLeavesOpen => "probe-leaves-open",
            Self::BackPastPivot => "back-past-pivot",
            Self::TimersInMemory => "timers-in-memory",
            Self::NoBudget => "no-budget",
            Self::TimerAfterEnd => "timer-after-end",
            Self::UndoTwice => "undo-twice",
            Self::UndoWithoutEffect => "undo-without-effect",
            Self::FlipsTwice => "flips-twice",
            Self::NoProbe => "no-probe",
            Self::HoldSends => "hold-sends",
            Self::LateReplyCounts => "late-reply-counts",
            Self::EndsEarly => "ends-early",
            Self::PublishBeforeCommit => "publish-before-commit",
            Self::OutboxOutsideTx => "outbox-outside-tx",
            Self::DeletedBeforeAck => "deleted-before-ack",
            Self::OffsetFirst => "offset-first",
            Self::RowOutsideTx => "row-outside-tx",
            Self::NoStepKey => "no-step-key",
            Self::CallsAfterForgotten => "calls-after-forgotten",
            Self::NoVersion => "no-version",
            Self::AnswersEarly => "answers-early",
            Self::EmptyNetsDone => "empty-nets-done",
            Self::Deaf => "deaf",
        }
    }

    /// The bug of that word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mutant| mutant.word() == word)
    }

    /// The faults among which it is looked for.
    #[must_use]
    pub fn faults(self) -> Faults {
        match self {
            Self::CallsAfterForgotten => Faults::all().and([Fault::Forgotten]),
            Self::EmptyNetsDone => Faults::only([Fault::Failed, Fault::Restored]),
            _ => Faults::all(),
        }
    }

    /// The invariant that must find it.
    #[must_use]
    pub fn killed_by(self) -> Invariant {
        match self {
            Self::NoGuard
            | Self::UndoTwice
            | Self::RowOutsideTx
            | Self::NoStepKey
            | Self::CallsAfterForgotten => Invariant::OneEffect,
            Self::NoTombstone
            | Self::DuplicateFails
            | Self::FailedNotStored
            | Self::TimeoutIsFailed
            | Self::ArmedByReply
            | Self::BranchForgotten
            | Self::UndoSkipped
            | Self::ProbeLeavesOpen
            | Self::UndoWithoutEffect
            | Self::LateReplyCounts
            | Self::EndsEarly
            | Self::EmptyNetsDone => Invariant::Ledger,
            Self::ForwardOrder => Invariant::UndoOrder,
            Self::BackPastPivot => Invariant::PastPivot,
            Self::TimersInMemory | Self::NoBudget | Self::NoProbe => Invariant::Liveness,
            Self::TimerAfterEnd => Invariant::Ended,
            Self::FlipsTwice => Invariant::OneFlip,
            Self::HoldSends => Invariant::Hold,
            Self::PublishBeforeCommit
            | Self::OutboxOutsideTx
            | Self::DeletedBeforeAck
            | Self::OffsetFirst => Invariant::Messages,
            Self::NoVersion => Invariant::History,
            Self::AnswersEarly => Invariant::Honest,
            Self::Deaf => Invariant::Verb,
        }
    }
}

/// The guard, with a bug.
pub(crate) fn decide(mutant: Mutant, row: Row, arrival: Arrival) -> Verdict {
    match (mutant, arrival) {
        (Mutant::NoGuard, Arrival::Action { .. }) => Verdict::RunAction,
        (Mutant::UndoTwice, Arrival::Compensation) if row.act == Act::Done => {
            Verdict::RunCompensation
        }
        _ => guard::decide(row, arrival),
    }
}
