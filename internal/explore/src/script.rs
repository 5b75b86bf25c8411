//! A schedule as actions, for a stack that does what was simulated.

use palinode_saga::guard::Row;
use palinode_saga::{DbTime, State, Verb};

use crate::fault::{Fault, Leg};
use crate::moment::{Event, Moment, Rules, cannot_fail};
use crate::participant::Mood;
use crate::schedule::{Schedule, line};
use crate::wire::What;

/// What happens to one saga, from its start to its rest, and what has to come of it.
#[derive(Debug, Clone)]
pub struct Script {
    /// The faults in it, as one word.
    pub scenario: String,
    /// The events as one word, for an exact replay.
    pub events: String,
    /// The time at which it begins.
    pub begins: DbTime,
    /// In order.
    pub moves: Vec<Move>,
}

/// A move of a script.
#[derive(Debug, Clone)]
pub struct Move {
    /// What it is.
    pub words: String,
    /// What is done, in order.
    pub actions: Vec<Action>,
    /// What is then.
    pub after: Snapshot,
}

/// What is at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The saga; its times are those of the script.
    pub state: State,
    /// Transitions so far.
    pub version: u32,
    /// The guard's rows, by step.
    pub rows: Vec<Row>,
    /// Messages under way.
    pub under_way: usize,
}

/// Something that is done to a stack. Messages are told by their positions among those that are
/// under way, in the order of their sending; whatever an action sends is added at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It is that time now.
    Now(DbTime),
    /// A message arrives.
    Arrive {
        /// Which; it is taken away first, unless it stays.
        at: usize,
        /// Whether it stays where it is, to arrive again.
        stays: bool,
        /// How a participant treats a command.
        mood: Mood,
    },
    /// A command is answered with "ask again", and reaches nobody.
    PutOff(usize),
    /// There is a copy of a message, right before it.
    Copy(usize),
    /// A message is lost.
    Lose(usize),
    /// An external system answers the call at that place.
    Settle(usize),
    /// What is due is fired.
    Fire,
    /// An operator acts.
    Act(Verb),
}

/// The script of a schedule. `None`: one of its faults cannot be forced from outside.
pub(crate) fn script(rules: &Rules, events: &[Event]) -> Option<Script> {
    let schedule = Schedule::of(rules, &Moment::start(rules), events);
    let mut moment = Moment::start(rules);
    let begins = moment.now;
    let mut moves = Vec::with_capacity(events.len());
    for event in events {
        let before = moment;
        moment = before.after(rules, *event)?.after;
        let mut done = Vec::new();
        if moment.now != before.now {
            done.push(Action::Now(moment.now));
        }
        done.extend(actions(rules, &before, *event)?);
        moves.push(Move {
            words: line(&rules.plan, &before, *event),
            actions: done,
            after: Snapshot {
                state: moment.state.clone(),
                version: moment.version,
                rows: moment.sites.iter().map(|site| site.now.row).collect(),
                under_way: moment.wire.len(),
            },
        });
    }
    Some(Script {
        scenario: schedule.scenario,
        events: schedule.events,
        begins,
        moves,
    })
}

fn actions(rules: &Rules, before: &Moment, event: Event) -> Option<Vec<Action>> {
    let arrives = |at: usize, stays, mood| {
        let action = match &before.wire[at].what {
            What::Command { leg, .. } => match before.is_unwilling(*leg) {
                Some(true) => Action::PutOff(at),
                Some(false) => Action::Lose(at),
                None => Action::Arrive { at, stays, mood },
            },
            What::Call { .. } => Action::Settle(at),
            What::Start | What::Reply { .. } | What::Stale { .. } => {
                Action::Arrive { at, stays, mood }
            }
        };
        vec![action]
    };
    Some(match event {
        Event::Arrives(at) => arrives(at, false, Mood::Well),
        Event::TimePasses | Event::TimerFirst => vec![Action::Fire],
        Event::Resumes => vec![Action::Act(Verb::Resume)],
        Event::Goes(site, None) => match site.fault {
            Fault::Cancel => vec![Action::Act(Verb::Cancel)],
            Fault::Force => vec![Action::Act(Verb::ForceCompensate)],
            Fault::Hold => vec![Action::Act(Verb::Pause)],
            Fault::Deadline => vec![Action::Fire],
            _ => return None,
        },
        Event::Goes(site, Some(at)) => match site.fault {
            Fault::CrashBefore | Fault::Late | Fault::AnswerLate => Vec::new(),
            Fault::PublishedTwice | Fault::AnsweredTwice => vec![Action::Copy(at)],
            Fault::HandledTwice | Fault::HeardTwice | Fault::DuplicateLate | Fault::Paused => {
                arrives(at, true, Mood::Well)
            }
            Fault::Never | Fault::TimerCrash => vec![Action::Lose(at)],
            Fault::Drop if site.leg == Leg::Start => Vec::new(),
            Fault::Drop | Fault::AnswerDrop => vec![Action::Lose(at)],
            Fault::Failed if cannot_fail(rules, site.leg) => vec![Action::PutOff(at)],
            Fault::Transient if matches!(site.leg, Leg::Probe(_)) => vec![Action::PutOff(at)],
            Fault::Slow => arrives(at, false, Mood::Well),
            Fault::Restored => return None,
            fault => arrives(at, false, Mood::of(fault)),
        },
    })
}
