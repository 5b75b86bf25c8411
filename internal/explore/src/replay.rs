use palinode_saga::guard::{Act, Comp, Pending, Row};
use palinode_saga::{Status, ledger};
use serde::Serialize;

use crate::explorer::Explorer;
use crate::judge::{self, Invariant};
use crate::moment::{Event, Moment, Rules};
use crate::schedule::{Schedule, line};

/// One run, moment by moment.
#[derive(Debug, Clone)]
pub struct Replay {
    /// All that happened.
    pub schedule: Schedule,
    /// The first is before any event; then one for each event.
    pub frames: Vec<Frame>,
    /// How it ended.
    pub ending: &'static str,
    /// What was violated, and after which frame.
    pub violated: Vec<(usize, Invariant, String)>,
}

/// What is at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Frame {
    /// Milliseconds since the start.
    pub at_ms: u128,
    /// What has happened.
    pub event: String,
    /// Where the saga is.
    pub status: Status,
    /// Each step, in plan order.
    pub steps: Vec<FrameStep>,
    /// What is under way, in the order of its sending.
    pub under_way: Vec<String>,
}

/// A step at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FrameStep {
    /// Its name.
    pub step: String,
    /// Where it is, as the orchestrator knows it.
    pub state: &'static str,
    /// The participant's guard row: action/compensation.
    pub guard: String,
    /// Times that its effect happened.
    pub done: u8,
    /// Times that its effect was taken back.
    pub undone: u8,
    /// What the saga says of it.
    pub ledger: &'static str,
}

impl Replay {
    pub(crate) fn of(explorer: &Explorer, events: &[Event]) -> Self {
        let rules = &explorer.rules;
        let mut moment = Moment::start(rules);
        let first = "the starter commits its own row and the request to start";
        let mut frames = vec![frame(rules, &moment, first.to_owned())];
        let mut violated = Vec::new();
        for event in events {
            let words = line(&rules.plan, &moment, *event);
            let Some(stepped) = moment.after(rules, *event) else {
                break;
            };
            let of_event = judge::violated(rules, &explorer.own, &moment, *event, &stepped);
            let at = frames.len();
            violated.extend(of_event.into_iter().map(|(of, words)| (at, of, words)));
            moment = stepped.after;
            frames.push(frame(rules, &moment, words));
        }
        Self {
            schedule: Schedule::of(rules, &Moment::start(rules), events),
            frames,
            ending: moment.ending(),
            violated,
        }
    }
}

fn frame(rules: &Rules, moment: &Moment, event: String) -> Frame {
    let plan = &rules.plan;
    let ledger = ledger(plan, &moment.state);
    let standing = |step: usize| {
        let entry = ledger.iter().find(|entry| entry.step == step);
        entry.map_or("-", |entry| entry.standing.as_str())
    };
    let steps = plan.steps().iter().enumerate();
    let steps = steps.map(|(at, step)| {
        let known = moment.sites[at].now;
        FrameStep {
            step: step.name.clone(),
            state: moment.state.steps[at].word(),
            guard: row(known.row),
            done: known.done,
            undone: known.undone,
            ledger: standing(at),
        }
    });
    let messages = moment.wire.iter();
    Frame {
        at_ms: moment.elapsed().as_millis(),
        event,
        status: moment.state.status,
        steps: steps.collect(),
        under_way: messages.map(|message| message.words(plan)).collect(),
    }
}

fn row(row: Row) -> String {
    let act = match row.act {
        Act::None => "none",
        Act::Pending(Pending::Queued) => "queued",
        Act::Pending(Pending::Called) => "called",
        Act::Done => "done",
        Act::Failed => "failed",
        Act::Closed => "closed",
    };
    let comp = match row.comp {
        Comp::None => "none",
        Comp::Pending => "pending",
        Comp::Done => "done",
        Comp::Closed => "closed",
    };
    format!("{act}/{comp}")
}
