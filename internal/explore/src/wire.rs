//! What is under way.

use palinode_saga::{Answer, Plan, State};

use crate::fault::Leg;

/// Something under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) what: What,
    /// Out of order: it may come at any time, after the end too.
    pub(crate) late: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// The request for the saga.
    Start,
    Command {
        leg: Leg,
        attempt: u32,
    },
    Reply {
        leg: Leg,
        attempt: u32,
        answer: Answer,
    },
    /// A call to an external system, which will be answered; `made`: it has acted already.
    Call {
        step: usize,
        made: bool,
    },
    /// What an orchestrator that was stopped read before. Only in a world in which nothing
    /// refuses its stale write.
    Stale {
        leg: Leg,
        attempt: u32,
        answer: Answer,
        read: Box<State>,
        version: u32,
    },
}

impl Message {
    pub(crate) fn new(what: What) -> Self {
        Self { what, late: false }
    }

    pub(crate) fn leg(&self) -> Option<Leg> {
        match &self.what {
            What::Start => Some(Leg::Start),
            What::Command { leg, .. } | What::Reply { leg, .. } | What::Stale { leg, .. } => {
                Some(*leg)
            }
            What::Call { .. } => None,
        }
    }

    /// The same message where steps have other positions; `None`: its step is not there.
    pub(crate) fn moved(&self, to: &impl Fn(usize) -> Option<usize>) -> Option<Self> {
        let mut moved = self.clone();
        match &mut moved.what {
            What::Start => {}
            What::Call { step, .. } => *step = to(*step)?,
            What::Command { leg, .. } | What::Reply { leg, .. } | What::Stale { leg, .. } => {
                *leg = leg.moved(to)?;
            }
        }
        Some(moved)
    }

    /// Whether it is on its way to the orchestrator.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self.what, What::Reply { .. } | What::Stale { .. })
    }

    /// Whether it will tell something of the step.
    pub(crate) fn is_about(&self, step: usize) -> bool {
        match &self.what {
            What::Call { step: of, .. } => *of == step,
            _ => self.leg().and_then(Leg::step) == Some(step),
        }
    }

    /// From whom to whom: messages of one road stay in order.
    pub(crate) fn road(&self, plan: &Plan) -> (u8, usize) {
        let participant = |leg: Leg| leg.step().map_or(0, |step| participant(plan, step));
        match &self.what {
            What::Start => (0, usize::MAX),
            What::Command { leg, .. } => (0, participant(*leg)),
            What::Reply { leg, .. } | What::Stale { leg, .. } => (1, participant(*leg)),
            What::Call { step, .. } => (2, *step),
        }
    }

    /// What its arrival is.
    pub(crate) fn words(&self, plan: &Plan) -> String {
        let late = if self.late { ", late" } else { "" };
        let name = |step: usize| &plan.steps()[step].name;
        match &self.what {
            What::Start => format!("the orchestrator gets the request to start{late}"),
            What::Command { leg, attempt } => {
                let who = leg
                    .step()
                    .map(|step| plan.steps()[step].participant.as_str());
                let who = who.unwrap_or_default();
                format!("{who} gets {} #{attempt}{late}", leg.words(plan))
            }
            What::Reply {
                leg,
                attempt,
                answer,
            } => format!(
                "the answer to {} #{attempt}{late}: {}",
                leg.words(plan),
                said(answer)
            ),
            What::Call { step, .. } => format!("the external system answers {}", name(*step)),
            What::Stale { leg, attempt, .. } => format!(
                "a stopped orchestrator goes on with {} #{attempt}",
                leg.words(plan)
            ),
        }
    }
}

fn said(answer: &Answer) -> &'static str {
    match answer {
        Answer::Done => "done",
        Answer::Failed { .. } => "failed",
        Answer::Pending { .. } => "pending",
        Answer::Transient => "ask again",
        Answer::Refused { .. } => "refused",
        Answer::Undone => "undone",
        Answer::UndoneEmpty => "nothing to undo",
        Answer::CannotUndo { .. } => "cannot be undone",
        Answer::NotDone => "not done, and never will be",
    }
}

fn participant(plan: &Plan, step: usize) -> usize {
    let name = &plan.steps()[step].participant;
    let first = plan.steps().iter().position(|s| s.participant == *name);
    first.unwrap_or(step)
}
