use std::collections::BTreeSet;
use std::fmt;

use palinode_saga::{Direction, Plan, StepKind};

/// Where faults happen: a command and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Leg {
    /// The message that starts the saga.
    Start,
    /// The action of the step at this position.
    Action(usize),
    /// The question to a pivot: has it happened?
    Probe(usize),
    /// The compensation.
    Undo(usize),
    /// The question before an operator's word is taken for a compensation: was it done?
    UndoProbe(usize),
}

/// What goes wrong. Those with a number are crashes at points of the way from the orchestrator to
/// a participant and back; [`crate::Scenario`] says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// A process dies with nothing durable lost: before its commit, after it and before the bell,
    /// with a page read and not sent, with a record read. Whoever comes next does the same again.
    CrashBefore,
    /// The relay dies after it has published and before it has deleted: published twice.
    PublishedTwice,
    /// The participant dies after it has called outside, before it has stored what came of it: it
    /// calls again, with the same key.
    CalledTwice,
    /// The participant dies after its commit and before its offset: handled twice.
    HandledTwice,
    /// The relay of the participant publishes the answer twice.
    AnsweredTwice,
    /// The orchestrator dies after its commit and before its offset: heard twice.
    HeardTwice,
    /// Nobody ever answers, and the orchestrator dies when the timer is due.
    TimerCrash,
    /// An orchestrator is stopped with the answer in hand; another one takes it; then the first
    /// goes on, at any later time.
    Paused,
    /// "No effect yet, ask again."
    Transient,
    /// The verdict `Failed`. Where there is none: a compensation cannot be undone, what may not
    /// fail says "ask again" for ever, a probe hears that nothing has happened.
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
    /// It takes half of the timeout.
    Slow,
    /// Handled, and a copy of the command arrives at any later time.
    DuplicateLate,
    /// The broker loses the command, or nobody can read it.
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
    /// The external system forgets the key of a call before the participant knows what came of it.
    /// Nobody promises to survive that; see [`Faults::and`].
    Forgotten,
    /// The participant is restored to what it was one transaction ago. Nobody promises to survive
    /// that; see [`Faults::and`].
    Restored,
}

impl Fault {
    /// Every fault that a saga must survive.
    pub const ALL: [Self; 23] = [
        Self::CrashBefore,
        Self::PublishedTwice,
        Self::CalledTwice,
        Self::HandledTwice,
        Self::AnsweredTwice,
        Self::HeardTwice,
        Self::TimerCrash,
        Self::Paused,
        Self::Transient,
        Self::Failed,
        Self::Pending,
        Self::ErrorAfter,
        Self::Late,
        Self::AnswerLate,
        Self::Never,
        Self::Slow,
        Self::DuplicateLate,
        Self::Drop,
        Self::AnswerDrop,
        Self::Cancel,
        Self::Deadline,
        Self::Hold,
        Self::Force,
    ];

    /// Faults that no saga survives unharmed: they are explored only where they are asked for.
    pub const BEYOND: [Self; 2] = [Self::Forgotten, Self::Restored];

    /// The crashes.
    pub const CRASHES: [Self; 8] = [
        Self::CrashBefore,
        Self::PublishedTwice,
        Self::CalledTwice,
        Self::HandledTwice,
        Self::AnsweredTwice,
        Self::HeardTwice,
        Self::TimerCrash,
        Self::Paused,
    ];

    /// One word for it; crashes are named for the last of the points that they stand for.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::CrashBefore => "P1/crash",
            Self::PublishedTwice => "P4b/crash",
            Self::CalledTwice => "P7b/crash",
            Self::HandledTwice => "P8/crash",
            Self::AnsweredTwice => "P9c/crash",
            Self::HeardTwice => "P11/crash",
            Self::TimerCrash => "P12b/crash",
            Self::Paused => "P13o/pause",
            Self::Transient => "transient",
            Self::Failed => "failed",
            Self::Pending => "pending",
            Self::ErrorAfter => "error-after",
            Self::Late => "late",
            Self::AnswerLate => "answer-late",
            Self::Never => "never",
            Self::Slow => "slow",
            Self::DuplicateLate => "duplicate-late",
            Self::Drop => "drop",
            Self::AnswerDrop => "answer-drop",
            Self::Cancel => "cancel",
            Self::Deadline => "deadline",
            Self::Hold => "hold",
            Self::Force => "force-compensate",
            Self::Forgotten => "forgotten",
            Self::Restored => "restored",
        }
    }

    /// Whether it comes from outside, and not with a message.
    pub(crate) fn is_lifecycle(self) -> bool {
        matches!(
            self,
            Self::Cancel | Self::Deadline | Self::Hold | Self::Force | Self::Restored
        )
    }

    /// Whether it happens to the answer, and not to the command.
    pub(crate) fn is_of_answer(self) -> bool {
        matches!(
            self,
            Self::AnsweredTwice
                | Self::HeardTwice
                | Self::Paused
                | Self::AnswerLate
                | Self::AnswerDrop
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
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
        format!("{}/{}", self.leg.words(plan), self.fault)
    }

    /// Faults that it takes at the least, its own included: what happens going back, or to a
    /// probe, takes one before it.
    pub(crate) fn needs(self) -> u8 {
        1 + u8::from(matches!(self.leg, Leg::Probe(_) | Leg::Undo(_)))
    }
}

impl Leg {
    /// Position of the step, if it is one of a step.
    #[must_use]
    pub fn step(self) -> Option<usize> {
        match self {
            Self::Start => None,
            Self::Action(step) | Self::Probe(step) | Self::Undo(step) | Self::UndoProbe(step) => {
                Some(step)
            }
        }
    }

    /// Which way its command goes.
    #[must_use]
    pub fn direction(self) -> Direction {
        match self {
            Self::Start | Self::Action(_) | Self::Probe(_) => Direction::Forward,
            Self::Undo(_) | Self::UndoProbe(_) => Direction::Backward,
        }
    }

    /// The same leg where steps have other positions; `None`: its step is not there.
    pub(crate) fn moved(self, to: &impl Fn(usize) -> Option<usize>) -> Option<Self> {
        match self {
            Self::Start => Some(Self::Start),
            Self::Action(step) => to(step).map(Self::Action),
            Self::Probe(step) => to(step).map(Self::Probe),
            Self::Undo(step) => to(step).map(Self::Undo),
            Self::UndoProbe(step) => to(step).map(Self::UndoProbe),
        }
    }

    /// `charge-payment/forward`.
    #[must_use]
    pub fn words(self, plan: &Plan) -> String {
        let name = |step: usize| &plan.steps()[step].name;
        match self {
            Self::Start => "start".to_owned(),
            Self::Action(step) => format!("{}/forward", name(step)),
            Self::Probe(step) => format!("{}/probe", name(step)),
            Self::Undo(step) => format!("{}/backward", name(step)),
            Self::UndoProbe(step) => format!("{}/undo-probe", name(step)),
        }
    }
}

/// Which faults are explored: all of them, some kinds, or those of some steps.
///
/// ```
/// use palinode_explore::{Fault, Faults};
/// let all_but_operators = Faults::all().without([Fault::Hold, Fault::Force]);
/// let lost = Faults::only([Fault::Drop, Fault::AnswerDrop]).at_steps(["charge-payment"]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    kinds: BTreeSet<Fault>,
    steps: Option<BTreeSet<String>>,
}

impl Faults {
    /// Every fault that a saga must survive.
    #[must_use]
    pub fn all() -> Self {
        Self::only(Fault::ALL)
    }

    /// Every crash.
    #[must_use]
    pub fn crashes() -> Self {
        Self::only(Fault::CRASHES)
    }

    /// These kinds only.
    #[must_use]
    pub fn only(kinds: impl IntoIterator<Item = Fault>) -> Self {
        Self {
            kinds: kinds.into_iter().collect(),
            steps: None,
        }
    }

    /// These kinds too; the way to faults that nobody promises to survive, [`Fault::BEYOND`].
    #[must_use]
    pub fn and(mut self, kinds: impl IntoIterator<Item = Fault>) -> Self {
        self.kinds.extend(kinds);
        self
    }

    /// All but these kinds.
    #[must_use]
    pub fn without(mut self, kinds: impl IntoIterator<Item = Fault>) -> Self {
        for kind in kinds {
            self.kinds.remove(&kind);
        }
        self
    }

    /// At these steps only.
    #[must_use]
    pub fn at_steps<'s>(mut self, names: impl IntoIterator<Item = &'s str>) -> Self {
        self.steps = Some(names.into_iter().map(str::to_owned).collect());
        self
    }

    pub(crate) fn has(&self, kind: Fault) -> bool {
        self.kinds.contains(&kind)
    }

    fn selects(&self, plan: &Plan, site: &Site) -> bool {
        let named = |names: &BTreeSet<String>| {
            let name = site.leg.step().map(|step| &plan.steps()[step].name);
            name.is_some_and(|name| names.contains(name))
        };
        self.has(site.fault) && self.steps.as_ref().is_none_or(named)
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::all()
    }
}

/// Every leg that a saga of the plan may have: its start, an action each, a probe of the pivot,
/// and a compensation where there is one.
pub(crate) fn legs(plan: &Plan) -> Vec<Leg> {
    let mut legs = vec![Leg::Start];
    for (step, spec) in plan.steps().iter().enumerate() {
        if spec.action.is_some() {
            legs.push(Leg::Action(step));
        }
        if spec.kind == StepKind::Pivot {
            legs.push(Leg::Probe(step));
        }
        if spec.compensation.is_some() {
            legs.push(Leg::Undo(step));
        }
    }
    legs
}

/// Every selected fault at every leg that can have it. One that is never reached is an error of
/// the search, or of the plan. `external`: by step, whether its participant calls out.
pub(crate) fn sites(plan: &Plan, faults: &Faults, external: &[bool]) -> Vec<Site> {
    let kinds = || Fault::ALL.into_iter().chain(Fault::BEYOND);
    let of_leg = |leg: Leg| kinds().map(move |fault| Site { leg, fault });
    legs(plan)
        .into_iter()
        .flat_map(of_leg)
        .filter(|site| can_have(plan, *site, external) && faults.selects(plan, site))
        .collect()
}

/// Whether the fault can happen there.
pub(crate) fn can_have(plan: &Plan, site: Site, external: &[bool]) -> bool {
    let Site { leg, fault } = site;
    let Some(step) = leg.step() else {
        return matches!(
            fault,
            Fault::CrashBefore | Fault::PublishedTwice | Fault::HeardTwice | Fault::Drop
        );
    };
    let is_action = matches!(leg, Leg::Action(_));
    let is_probe = matches!(leg, Leg::Probe(_));
    let kind = plan.steps()[step].kind;
    match fault {
        Fault::CalledTwice => external[step] && !is_probe,
        Fault::Force => is_action && !matches!(kind, StepKind::Retriable | StepKind::Pivot),
        Fault::Cancel | Fault::Deadline => is_action,
        Fault::Hold => !is_probe,
        Fault::Forgotten => external[step] && is_action,
        Fault::Restored => is_action,
        Fault::CrashBefore
        | Fault::PublishedTwice
        | Fault::HandledTwice
        | Fault::AnsweredTwice
        | Fault::HeardTwice
        | Fault::TimerCrash
        | Fault::Paused
        | Fault::Transient
        | Fault::Failed
        | Fault::Pending
        | Fault::ErrorAfter
        | Fault::Late
        | Fault::AnswerLate
        | Fault::Never
        | Fault::Slow
        | Fault::DuplicateLate
        | Fault::Drop
        | Fault::AnswerDrop => true,
    }
}
