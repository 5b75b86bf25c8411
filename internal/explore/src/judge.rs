use std::fmt;
use std::sync::Arc;

use palinode_saga::{
    Claim, DbTime, Direction, Effect, Plan, Standing, Status, StepKind, StepState, Transition,
    accepted, ledger,
};

use crate::fault::Fault;
use crate::moment::{Event, Moment, Rules, Stepped, leg_of};
use crate::mutant::Mutant;
use crate::schedule::Schedule;
use crate::view::View;
use crate::wire::What;

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Invariant {
    /// Every live saga has a wake-up, and from everywhere a rest can be reached.
    Liveness,
    /// An effect happens once at most, and is taken back once at most, after it.
    OneEffect,
    /// The direction flips once; nothing forward is sent after it.
    OneFlip,
    /// An undo is sent only when every step after its own is settled.
    UndoOrder,
    /// Nothing goes back while the pivot may have happened.
    PastPivot,
    /// What the ledger says is what there is; `Compensated` leaves nothing, `Completed` owes nothing.
    Ledger,
    /// What has ended is never left, and sends nothing.
    Ended,
    /// Under a hold nothing is sent.
    Hold,
    /// Every saga that needs attention accepts a verb.
    Verb,
    /// A message that was committed is under way until somebody has it, and no other is.
    Messages,
    /// The head is written on the version that was read: each transition once, none lost.
    History,
    /// What is told of an end is what the saga is, once.
    Honest,
    /// One of the user's own.
    Own(&'static str),
}

impl Invariant {
    /// Every one that holds for every plan.
    pub const ALL: [Self; 12] = [
        Self::Liveness,
        Self::OneEffect,
        Self::OneFlip,
        Self::UndoOrder,
        Self::PastPivot,
        Self::Ledger,
        Self::Ended,
        Self::Hold,
        Self::Verb,
        Self::Messages,
        Self::History,
        Self::Honest,
    ];

    /// One word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Liveness => "liveness",
            Self::OneEffect => "one-effect",
            Self::OneFlip => "one-flip",
            Self::UndoOrder => "undo-order",
            Self::PastPivot => "past-pivot",
            Self::Ledger => "ledger",
            Self::Ended => "ended",
            Self::Hold => "hold",
            Self::Verb => "verb",
            Self::Messages => "messages",
            Self::History => "history",
            Self::Honest => "honest",
            Self::Own(name) => name,
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// An invariant that does not hold, and how it came to that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub invariant: Invariant,
    /// What was found.
    pub words: String,
    /// Everything that happened, in order.
    pub schedule: Schedule,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.invariant, self.words)?;
        write!(f, "{}", self.schedule)
    }
}

/// An invariant of the user's own, over what is at one moment.
#[derive(Clone)]
pub(crate) struct Own {
    pub(crate) name: &'static str,
    pub(crate) check: Arc<Check>,
}

type Check = dyn Fn(&View<'_>) -> Result<(), String> + Send + Sync;

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

pub(crate) type Verdict = Result<(), (Invariant, String)>;

/// Everything that an event has violated.
pub(crate) fn violated(
    rules: &Rules,
    own: &[Own],
    before: &Moment,
    event: Event,
    stepped: &Stepped,
) -> Vec<(Invariant, String)> {
    let plan = &rules.plan;
    let after = &stepped.after;
    let engine = stepped.engine.as_ref().map(|(_, transition)| transition);
    let of_engine = engine.map_or(Ok(()), |done| transition(plan, before, after, done));
    let verdicts = [
        of_engine,
        messages(plan, before, event, after, engine),
        history(before, after),
        state(rules, after),
    ];
    let mut violated: Vec<_> = verdicts.into_iter().filter_map(Result::err).collect();
    let view = View {
        plan,
        moment: after,
    };
    for own in own {
        if let Err(words) = (own.check)(&view) {
            violated.push((Invariant::Own(own.name), words));
        }
    }
    violated
}

/// What must hold of every moment.
pub(crate) fn state(rules: &Rules, world: &Moment) -> Verdict {
    let plan = &rules.plan;
    let name = |step: usize| &plan.steps()[step].name;
    for (step, site) in world.sites.iter().enumerate() {
        let (done, undone) = (site.now.done, site.now.undone);
        if done > 1 || undone > done {
            let words = format!(
                "{} happened {done} times, was taken back {undone}",
                name(step)
            );
            return Err((Invariant::OneEffect, words));
        }
    }
    let state = &world.state;
    let live = matches!(state.status, Status::Running | Status::Compensating);
    let wakes = state.wake_at(plan).is_some_and(|at| at < DbTime::FAR);
    if live && !wakes && state.hold.is_none() {
        return Err((Invariant::Liveness, "nothing wakes it".to_owned()));
    }
    let there = |step: usize| world.sites[step].is_there();
    let steps = plan.steps().iter().enumerate();
    // a query leaves nothing behind
    for (step, _) in steps.filter(|(_, spec)| spec.kind != StepKind::ReadOnly) {
        let happened = there(step);
        let wrong = match state.status {
            Status::Compensated => happened,
            Status::Completed => !happened && state.steps[step] != StepState::Waived,
            _ => false,
        };
        if wrong {
            let is = if happened { "is there" } else { "is not there" };
            let words = format!("{:?}, and the effect of {} {is}", state.status, name(step));
            return Err((Invariant::Ledger, words));
        }
    }
    if world.rests() {
        rest(rules, world)?;
    }
    Ok(())
}

fn rest(rules: &Rules, world: &Moment) -> Verdict {
    let plan = &rules.plan;
    for entry in ledger(plan, &world.state) {
        let there = world.sites[entry.step].is_there();
        let wrong = match entry.standing {
            Standing::Done => !there && !undone_unheard(world, entry.step),
            Standing::None | Standing::Netted | Standing::Owed => there,
            Standing::Unknown | Standing::Waived => false,
        };
        // an effect whose answer is under way may be there and not known yet
        let pending = world
            .wire
            .iter()
            .any(|message| message.is_about(entry.step));
        if wrong && !pending {
            let step = &plan.steps()[entry.step].name;
            let words = format!(
                "{step} is {}, its effect is there: {there}",
                entry.standing.as_str()
            );
            return Err((Invariant::Ledger, words));
        }
    }
    let open =
        matches!(world.state.status, Status::NeedsAttention(_)) && world.state.closed.is_none();
    let deaf = rules.mutant == Some(Mutant::Deaf);
    if open && (deaf || accepted(plan, &world.state, world.now).is_empty()) {
        return Err((Invariant::Verb, "no verb is accepted".to_owned()));
    }
    Ok(())
}

/// Who refused to undo may have done so for a repeat, whose answer is lost: what is listed is then
/// gone, and whoever looks finds that.
fn undone_unheard(world: &Moment, step: usize) -> bool {
    let refused = matches!(
        world.state.steps[step],
        StepState::Stuck { refused: true, .. }
    );
    refused && world.sites[step].now.undone > 0
}

/// What must hold of every transition of the engine.
fn transition(plan: &Plan, before: &Moment, after: &Moment, transition: &Transition) -> Verdict {
    let name = |step: usize| plan.steps()[step].name.clone();
    let (was, is) = (&before.state, &after.state);
    if was.is_terminal() && (was != is || !transition.effects.is_empty()) {
        return Err((
            Invariant::Ended,
            format!("{:?} became {:?}", was.status, is.status),
        ));
    }
    honest(was.status, is.status, transition)?;
    if was.cause.is_some() && was.cause != is.cause {
        return Err((Invariant::OneFlip, "it goes forward again".to_owned()));
    }
    for effect in &transition.effects {
        let Effect::Send(command) = effect else {
            continue;
        };
        if was.hold.is_some() && is.hold.is_some() {
            return Err((Invariant::Hold, format!("{} is sent", name(command.step))));
        }
        match command.direction {
            Direction::Forward if is.cause.is_some() => {
                return Err((
                    Invariant::OneFlip,
                    format!("{} is sent", name(command.step)),
                ));
            }
            Direction::Forward => {}
            Direction::Backward => {
                undo_is_due(plan, after, command.step)?;
            }
        }
    }
    Ok(())
}

/// An end is told when it is reached, and no other.
fn honest(was: Status, is: Status, transition: &Transition) -> Verdict {
    let told = |effect: &Effect| match effect {
        Effect::Emit(ended) => Some(ended.status),
        Effect::Send(_) => None,
    };
    let told: Vec<Status> = transition.effects.iter().filter_map(told).collect();
    let ended = matches!(
        is,
        Status::Completed | Status::Compensated | Status::NeedsAttention(_)
    );
    if told.iter().any(|status| *status != is) || (ended && was != is && told.is_empty()) {
        return Err((
            Invariant::Honest,
            format!("it is {is:?}, and {told:?} is told"),
        ));
    }
    Ok(())
}

/// The head is written on the version that was read.
fn history(before: &Moment, after: &Moment) -> Verdict {
    if after.version == before.version || after.version == before.version + 1 {
        return Ok(());
    }
    let words = format!(
        "version {} is written over {}",
        after.version, before.version
    );
    Err((Invariant::History, words))
}

/// Nothing that was committed is lost, and nothing is sent that was not.
fn messages(
    plan: &Plan,
    before: &Moment,
    event: Event,
    after: &Moment,
    transition: Option<&Transition>,
) -> Verdict {
    let mut fresh: Vec<&What> = after.wire.iter().map(|message| &message.what).collect();
    let mut gone = Vec::new();
    for message in &before.wire {
        match fresh.iter().position(|what| same(what, &message.what)) {
            Some(at) => {
                fresh.swap_remove(at);
            }
            None => gone.push(message),
        }
    }
    let taken = match event {
        Event::Arrives(at) => Some(at),
        Event::Goes(site, at) => at.filter(|_| takes(site.fault)),
        Event::TimePasses | Event::TimerFirst | Event::Resumes => None,
    };
    let taken = taken.and_then(|at| before.wire.get(at));
    let lost = gone
        .iter()
        .find(|message| !taken.is_some_and(|taken| same(&taken.what, &message.what)));
    if let Some(lost) = lost {
        let words = format!("nobody will hear of this: {}", lost.words(plan));
        return Err((Invariant::Messages, words));
    }
    let effects = transition.map_or(&[][..], |transition| &transition.effects);
    let mut sent: Vec<What> = effects.iter().filter_map(command).collect();
    for what in fresh {
        let is_copy = before.wire.iter().any(|message| same(&message.what, what));
        match sent.iter().position(|sent| sent == what) {
            Some(at) => {
                sent.swap_remove(at);
            }
            None if matches!(what, What::Command { .. }) && !is_copy => {
                return Err((
                    Invariant::Messages,
                    "a command is sent by nobody".to_owned(),
                ));
            }
            None => {}
        }
    }
    if sent.is_empty() {
        Ok(())
    } else {
        Err((Invariant::Messages, "a command is not sent".to_owned()))
    }
}

fn command(effect: &Effect) -> Option<What> {
    match effect {
        Effect::Send(command) => Some(What::Command {
            leg: leg_of(command),
            attempt: command.attempt,
        }),
        Effect::Emit(_) => None,
    }
}

/// Whether two messages are the same; what a stopped orchestrator has read is an answer.
fn same(one: &What, other: &What) -> bool {
    match (one, other) {
        (
            What::Stale {
                leg,
                attempt,
                answer,
                ..
            },
            What::Reply {
                leg: of,
                attempt: number,
                answer: said,
            },
        )
        | (
            What::Reply {
                leg,
                attempt,
                answer,
            },
            What::Stale {
                leg: of,
                attempt: number,
                answer: said,
                ..
            },
        ) => leg == of && attempt == number && answer == said,
        _ => one == other,
    }
}

/// Whether the fault takes its message away.
fn takes(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::TimerCrash
            | Fault::Transient
            | Fault::Failed
            | Fault::Pending
            | Fault::CalledTwice
            | Fault::ErrorAfter
            | Fault::Never
            | Fault::Slow
            | Fault::Drop
            | Fault::AnswerDrop
            | Fault::Forgotten
    )
}

fn undo_is_due(plan: &Plan, world: &Moment, step: usize) -> Verdict {
    let name = |step: usize| plan.steps()[step].name.clone();
    for (other, spec) in plan.steps().iter().enumerate() {
        let settled = is_settled(&world.state.steps[other]);
        let happened = !settled || world.sites[other].is_there();
        if spec.kind == StepKind::Pivot && happened {
            let words = format!(
                "{} is taken back while {} may have happened",
                name(step),
                name(other)
            );
            return Err((Invariant::PastPivot, words));
        }
    }
    for after in plan.descendants(step) {
        let needless = plan.steps()[after].compensation.is_none();
        if !needless && !is_settled(&world.state.steps[after]) {
            let words = format!("{} is taken back before {}", name(step), name(after));
            return Err((Invariant::UndoOrder, words));
        }
    }
    Ok(())
}

/// Whether nothing of it is left to be taken back.
fn is_settled(step: &StepState) -> bool {
    matches!(
        step,
        StepState::Idle
            | StepState::Failed { .. }
            | StepState::NotDone
            | StepState::Undone
            | StepState::UndoneEmpty
            | StepState::Waived
            | StepState::ByHand(Claim::NotDone | Claim::Undone)
    )
}
