use std::fmt;

use palinode_saga::{Direction, Plan, StepKind};

/// A command of a step and its answer: where faults happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Leg {
    /// Position of the step.
    pub step: usize,
    /// The action or its compensation.
    pub direction: Direction,
    /// Whether it only asks.
    pub probe: bool,
}

/// What goes wrong. Points are numbered as on the way of a command and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// A process dies with nothing durable lost: before its commit, after it and before the bell,
    /// with a page read and not sent, with a record read. Whoever comes next does the same again.
    CrashBefore,
    /// The relay dies after it has published and before it has deleted: published twice.
    PublishedTwice,
    /// The participant dies after its commit and before its offset: handled twice.
    HandledTwice,
    /// The relay of the participant publishes the answer twice.
    AnsweredTwice,
    /// The orchestrator dies after its commit and before its offset: heard twice.
    HeardTwice,
    /// "No effect yet, ask again."
    Transient,
    /// The verdict `Failed`; of a compensation: it cannot be undone.
    Failed,
    /// Taken up; the outcome follows.
    Pending,
    /// The effect happened, and an error was answered.
    ErrorAfter,
    /// The broker is slow: the command arrives at any later time, after the end too.
    Late,
    /// The answer arrives at any later time, after the end too.
    AnswerLate,
    /// Nobody ever answers this leg.
    Never,
    /// Handled, and a copy of the command arrives at any later time.
    DuplicateLate,
    /// The broker loses the command.
    Drop,
    /// The answer is lost, or cannot be read.
    AnswerDrop,
    /// The owner cancels.
    Cancel,
    /// The deadline of the saga passes.
    Deadline,
    /// An operator pauses it, and resumes it later.
    Hold,
    /// An operator forces it back.
    Force,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 19] = [
        Self::CrashBefore,
        Self::PublishedTwice,
        Self::HandledTwice,
        Self::AnsweredTwice,
        Self::HeardTwice,
        Self::Transient,
        Self::Failed,
        Self::Pending,
        Self::ErrorAfter,
        Self::Late,
        Self::AnswerLate,
        Self::Never,
        Self::DuplicateLate,
        Self::Drop,
        Self::AnswerDrop,
        Self::Cancel,
        Self::Deadline,
        Self::Hold,
        Self::Force,
    ];

    /// One word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::CrashBefore => "crash-before",
            Self::PublishedTwice => "published-twice",
            Self::HandledTwice => "handled-twice",
            Self::AnsweredTwice => "answered-twice",
            Self::HeardTwice => "heard-twice",
            Self::Transient => "transient",
            Self::Failed => "failed",
            Self::Pending => "pending",
            Self::ErrorAfter => "error-after",
            Self::Late => "late",
            Self::AnswerLate => "answer-late",
            Self::Never => "never",
            Self::DuplicateLate => "duplicate-late",
            Self::Drop => "drop",
            Self::AnswerDrop => "answer-drop",
            Self::Cancel => "cancel",
            Self::Deadline => "deadline",
            Self::Hold => "hold",
            Self::Force => "force-compensate",
        }
    }

    /// Whether it comes from outside, and not with a message.
    pub(crate) fn is_lifecycle(self) -> bool {
        matches!(
            self,
            Self::Cancel | Self::Deadline | Self::Hold | Self::Force
        )
    }
}

/// A fault at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site {
    /// Where.
    pub leg: Leg,
    /// What.
    pub fault: Fault,
}

impl Site {
    /// `charge-payment/forward/late`.
    #[must_use]
    pub fn id(&self, plan: &Plan) -> String {
        format!("{}/{}", self.leg.words(plan), self.fault.word())
    }
}

impl Leg {
    /// `charge-payment/forward`.
    #[must_use]
    pub fn words(&self, plan: &Plan) -> String {
        let step = &plan.steps()[self.step].name;
        let probe = if self.probe { "/probe" } else { "" };
        format!("{step}/{}{probe}", self.direction)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Every leg that a saga of the plan may have: an action each, a compensation where there is one,
/// and a probe of the pivot.
pub(crate) fn legs(plan: &Plan) -> Vec<Leg> {
    let mut legs = Vec::new();
    for (step, spec) in plan.steps().iter().enumerate() {
        let leg = |direction, probe| Leg {
            step,
            direction,
            probe,
        };
        if spec.action.is_some() {
            legs.push(leg(Direction::Forward, false));
        }
        if spec.kind == StepKind::Pivot {
            legs.push(leg(Direction::Forward, true));
        }
        if spec.compensation.is_some() {
            legs.push(leg(Direction::Backward, false));
        }
    }
    legs
}

/// Every fault at every leg that can have it. One that is never reached is an error of the search,
/// or of the plan.
pub(crate) fn sites(plan: &Plan) -> Vec<Site> {
    let of_leg = |leg: Leg| {
        let faults = Fault::ALL
            .into_iter()
            .filter(move |fault| can_have(plan, leg, *fault));
        faults.map(move |fault| Site { leg, fault })
    };
    legs(plan).into_iter().flat_map(of_leg).collect()
}

fn can_have(plan: &Plan, leg: Leg, fault: Fault) -> bool {
    let forward = leg.direction == Direction::Forward && !leg.probe;
    let kind = plan.steps()[leg.step].kind;
    match fault {
        Fault::Failed => {
            !leg.probe && (leg.direction == Direction::Backward || plan.may_fail(leg.step))
        }
        Fault::Pending => forward,
        // an error after the effect: a probe has no effect
        Fault::ErrorAfter => !leg.probe,
        // after the pivot they change nothing; a test of the engine holds that
        Fault::Cancel => forward && plan.is_cancellable() && kind != StepKind::Retriable,
        Fault::Deadline => forward && kind != StepKind::Retriable,
        Fault::Force => forward && !matches!(kind, StepKind::Retriable | StepKind::Pivot),
        Fault::Hold => !leg.probe,
        Fault::CrashBefore
        | Fault::PublishedTwice
        | Fault::HandledTwice
        | Fault::AnsweredTwice
        | Fault::HeardTwice
        | Fault::Transient
        | Fault::Late
        | Fault::AnswerLate
        | Fault::Never
        | Fault::DuplicateLate
        | Fault::Drop
        | Fault::AnswerDrop => true,
    }
}
