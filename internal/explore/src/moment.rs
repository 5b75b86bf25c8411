//! What is at one moment, and what can happen next.

use std::time::Duration;

use palinode_saga::{
    Answer, Command, DbTime, Direction, Disposition, Effect, Input, Need, Plan, State, Status,
    StepState, Transition, Unfit, Verb, migrate, millis, next, secs,
};

use crate::fault::{Fault, Leg, Site};
use crate::mutant::{self, Mutant};
use crate::participant::{Mood, Participation, Ruling};
use crate::wire::{Message, What};

mod digest;

/// What holds in a world, whatever happens in it.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) plan: Plan,
    pub(crate) mutant: Option<Mutant>,
    /// By step: whether its participant calls an external system.
    pub(crate) external: Vec<bool>,
    /// Whether participants can be restored.
    pub(crate) remembers: bool,
    /// Whether time may pass although a message could arrive, and equal times are not merged.
    pub(crate) unreduced: bool,
}

/// What is at one moment: the saga, its messages, its participants.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    pub(crate) state: State,
    /// Transitions so far; part of the history, not of what can happen next.
    pub(crate) version: u32,
    pub(crate) now: DbTime,
    /// In the order of their sending; those of one road stay in order.
    pub(crate) wire: Vec<Message>,
    /// What the participants know and did, by step.
    pub(crate) sites: Vec<Participation>,
    mute: Vec<(Leg, Mute)>,
}

/// How a leg is never answered well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Mute {
    /// Nobody answers.
    Silent,
    /// "Ask again", for ever.
    Unwilling,
}

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    /// A message arrives.
    Arrives(usize),
    /// Time passes until something is due.
    TimePasses,
    /// Time passes until something is due, although a message could arrive.
    TimerFirst,
    /// An operator ends the pause.
    Resumes,
    /// Something goes wrong, with the message of that place if it is about one.
    Goes(Site, Option<usize>),
}

/// Who says whether the effect of a step happens: there may be others who work on the same.
pub(crate) type Asks<'a> = dyn FnMut(usize, Direction) -> Ruling + 'a;

/// What an event makes of a moment.
#[derive(Debug)]
pub(crate) struct Stepped {
    pub(crate) after: Moment,
    /// What the engine was asked, and what it did, if it was.
    pub(crate) engine: Option<(Input, Transition)>,
}

/// A promise of an external system.
const PROMISE: Duration = secs(2);
const START: DbTime = DbTime(1_000_000);

impl Moment {
    /// The starter has committed: the opening step is done, and the request is under way.
    pub(crate) fn start(rules: &Rules) -> Self {
        let site = |step: &palinode_saga::Step| match step.action {
            Some(_) => Participation::NEW,
            None => Participation::OPENED,
        };
        Self {
            state: State::new(&rules.plan),
            version: 0,
            now: START,
            wire: vec![Message::new(What::Start)],
            sites: rules.plan.steps().iter().map(site).collect(),
            mute: Vec::new(),
        }
    }

    /// The same, under another version of the plan: everything goes by the names of steps. The
    /// error is why the saga cannot go on under it.
    pub(crate) fn migrate(&self, from: &Rules, to: &Rules) -> Result<Self, Unfit> {
        let transition = migrate(&from.plan, &to.plan, &self.state, self.now)?;
        let moved = |step: usize| to.plan.position(&from.plan.steps()[step].name);
        let mut after = Self::start(to);
        after.now = self.now;
        after.version = self.version + 1;
        for (step, site) in self.sites.iter().enumerate() {
            if let Some(at) = moved(step) {
                after.sites[at] = site.clone();
            }
        }
        let wire = self.wire.iter();
        after.wire = wire.filter_map(|of| of.moved(&moved)).collect();
        let mute = self.mute.iter();
        after.mute = mute
            .filter_map(|(leg, how)| Some((leg.moved(&moved)?, *how)))
            .collect();
        after.state.clone_from(&transition.state);
        after.sends(&transition);
        Ok(after)
    }

    /// How long it has been going on.
    pub(crate) fn elapsed(&self) -> Duration {
        let millis = self.now.0.saturating_sub(START.0);
        Duration::from_millis(u64::try_from(millis).unwrap_or_default())
    }

    /// Everything that may happen now, apart from faults.
    pub(crate) fn free(&self, rules: &Rules) -> Vec<Event> {
        let mut events: Vec<Event> = self.deliverable(&rules.plan).map(Event::Arrives).collect();
        if self.state.hold.is_some() {
            events.push(Event::Resumes);
        }
        // the clock moves when nothing else can
        let waits = self.wire.iter().any(|message| !message.late);
        if !waits && self.due(&rules.plan).is_some() {
            events.push(Event::TimePasses);
        }
        events
    }

    /// When something is due.
    pub(crate) fn due(&self, plan: &Plan) -> Option<DbTime> {
        self.state.wake_at(plan).filter(|at| *at < DbTime::FAR)
    }

    /// Messages that may arrive next: the oldest of each road, and late ones.
    pub(crate) fn deliverable<'w>(&'w self, plan: &'w Plan) -> impl Iterator<Item = usize> + 'w {
        let first = move |(at, message): &(usize, &Message)| {
            message.late
                || !self.wire[..*at]
                    .iter()
                    .any(|before| !before.late && before.road(plan) == message.road(plan))
        };
        self.wire.iter().enumerate().filter(first).map(|(at, _)| at)
    }

    /// A timer that comes before a message, where that is a choice.
    pub(crate) fn race(&self, rules: &Rules) -> Option<Event> {
        let waits = self.wire.iter().any(|message| !message.late);
        let can = rules.unreduced && waits && self.due(&rules.plan).is_some();
        can.then_some(Event::TimerFirst)
    }

    /// Every one of `planned` that may happen now, and with which message.
    pub(crate) fn faults(&self, rules: &Rules, planned: &[Site]) -> Vec<Event> {
        let mut events = Vec::new();
        if planned.is_empty() {
            return events;
        }
        for at in self.deliverable(&rules.plan) {
            let message = &self.wire[at];
            let fits = |site: &&Site| {
                let of_answer = site.fault.is_of_answer() && site.leg != Leg::Start;
                message.leg() == Some(site.leg)
                    && !site.fault.is_lifecycle()
                    && (of_answer == message.is_answer() || site.fault == Fault::CrashBefore)
            };
            let of_message = planned.iter().filter(fits);
            events.extend(of_message.map(|site| Event::Goes(*site, Some(at))));
        }
        for site in planned.iter().filter(|site| site.fault.is_lifecycle()) {
            let Some(step) = site.leg.step() else {
                continue;
            };
            let fits = match (site.fault, site.leg) {
                (Fault::Restored, _) => self.sites[step].before.is_some(),
                (_, Leg::Undo(_)) => matches!(self.state.steps[step], StepState::Undoing(_)),
                (_, _) => matches!(
                    self.state.steps[step],
                    StepState::Sent(_) | StepState::Probing(_)
                ),
            };
            if fits {
                events.push(Event::Goes(*site, None));
            }
        }
        events
    }

    /// What becomes of it. `None`: the fault cannot strike here, because it would change nothing
    /// that is done.
    pub(crate) fn after(&self, rules: &Rules, event: Event) -> Option<Stepped> {
        self.after_asking(rules, event, &mut |_, _| Ruling::Happens)
    }

    /// The same, where an effect that the guard lets happen may still be refused.
    pub(crate) fn after_asking(
        &self,
        rules: &Rules,
        event: Event,
        asks: &mut Asks<'_>,
    ) -> Option<Stepped> {
        let mut after = self.clone();
        let engine = match event {
            Event::Arrives(at) if at < after.wire.len() => {
                let message = after.wire.remove(at);
                after.arrives(rules, message.what, Mood::Well, asks)?
            }
            Event::TimePasses | Event::TimerFirst => {
                after.now = after.now.max(self.due(&rules.plan)?);
                Some(after.input(rules, Input::Due))
            }
            Event::Resumes => {
                after.now = after.now.after(secs(1));
                let verb = Verb::Resume;
                Some(after.input(rules, Input::Verb { verb }))
            }
            Event::Goes(site, None) => after.struck_from_outside(rules, site)?,
            Event::Goes(site, Some(at)) if at < after.wire.len() => {
                after.goes(rules, site, at, asks)?
            }
            Event::Arrives(_) | Event::Goes(_, Some(_)) => return None,
        };
        Some(Stepped { after, engine })
    }

    /// A fault that comes with no message.
    fn struck_from_outside(
        &mut self,
        rules: &Rules,
        site: Site,
    ) -> Option<Option<(Input, Transition)>> {
        let verb = match site.fault {
            Fault::Cancel => Verb::Cancel,
            Fault::Force => Verb::ForceCompensate,
            Fault::Hold => Verb::Pause,
            Fault::Deadline => {
                if let Some(deadline) = self.state.deadline {
                    self.now = self.now.max(deadline);
                }
                return Some(Some(self.input(rules, Input::Due)));
            }
            Fault::Restored => {
                let step = site.leg.step()?;
                return self.sites[step]
                    .restore(rules.external[step])
                    .then_some(None);
            }
            _ => return None,
        };
        Some(Some(self.input(rules, Input::Verb { verb })))
    }

    /// A fault of a message. The inner option is what the engine did.
    fn goes(
        &mut self,
        rules: &Rules,
        site: Site,
        at: usize,
        asks: &mut Asks<'_>,
    ) -> Option<Option<(Input, Transition)>> {
        let what = self.wire[at].what.clone();
        match site.fault {
            Fault::CrashBefore => return Some(self.crash_before(rules, at, asks)),
            Fault::PublishedTwice if rules.mutant == Some(Mutant::DeletedBeforeAck) => {
                self.wire.remove(at);
            }
            Fault::PublishedTwice | Fault::AnsweredTwice => {
                let copy = self.wire[at].clone();
                self.wire.insert(at, copy);
            }
            Fault::HandledTwice | Fault::HeardTwice => {
                return self.arrives(rules, what, Mood::Well, asks);
            }
            Fault::DuplicateLate => {
                self.wire[at].late = true;
                return self.arrives(rules, what, Mood::Well, asks);
            }
            Fault::Paused => {
                self.wire[at].late = true;
                if rules.mutant == Some(Mutant::NoVersion) {
                    self.wire[at].what = self.stale(&what)?;
                }
                return self.arrives(rules, what, Mood::Well, asks);
            }
            Fault::Late | Fault::AnswerLate => self.wire[at].late = true,
            Fault::Never => self.mute(site.leg, Mute::Silent, at)?,
            Fault::TimerCrash => {
                self.mute(site.leg, Mute::Silent, at)?;
                if rules.mutant == Some(Mutant::TimersInMemory) {
                    mutant::forget_timers(&mut self.state);
                }
            }
            Fault::Failed if cannot_fail(rules, site.leg) => {
                self.mute(site.leg, Mute::Unwilling, at)?;
                return self.arrives(rules, what, Mood::Well, asks);
            }
            Fault::Slow => {
                let step = site.leg.step()?;
                let half = rules.plan.steps()[step].attempt_timeout / 2;
                self.now = self.now.after(half);
                // what is due before belongs to a slowness beyond the timeout
                if self.due(&rules.plan).is_some_and(|due| due <= self.now) {
                    return None;
                }
                self.wire.remove(at);
                return self.arrives(rules, what, Mood::Well, asks);
            }
            Fault::Drop if site.leg == Leg::Start => {} // the starter's sweep sends it again
            Fault::Drop | Fault::AnswerDrop => {
                self.wire.remove(at);
            }
            fault => {
                self.wire.remove(at);
                return self.arrives(rules, what, Mood::of(fault), asks);
            }
        }
        Some(None)
    }

    /// Whether a leg is never answered well; true: it is told to ask again, for ever.
    pub(crate) fn is_unwilling(&self, leg: Leg) -> Option<bool> {
        let mute = self.mute.iter().find(|(of, _)| *of == leg)?;
        Some(mute.1 == Mute::Unwilling)
    }

    /// `None`: it is mute already.
    fn mute(&mut self, leg: Leg, how: Mute, at: usize) -> Option<()> {
        let is_mute = self.mute.iter().any(|(of, _)| *of == leg);
        self.mute.push((leg, how));
        self.wire.remove(at);
        (!is_mute).then_some(())
    }

    /// Nothing durable is lost, and whoever comes next does the same again: unless there is a bug.
    fn crash_before(
        &mut self,
        rules: &Rules,
        at: usize,
        asks: &mut Asks<'_>,
    ) -> Option<(Input, Transition)> {
        let message = self.wire[at].what.clone();
        match (rules.mutant?, &message) {
            (Mutant::TimersInMemory, _) => mutant::forget_timers(&mut self.state),
            (Mutant::OffsetFirst, What::Command { .. } | What::Reply { .. }) => {
                self.wire.remove(at);
            }
            (
                Mutant::RowOutsideTx,
                What::Command {
                    leg: Leg::Action(step),
                    ..
                },
            ) => {
                self.sites[*step].acts_without_row();
            }
            (Mutant::PublishBeforeCommit, What::Reply { .. }) => {
                let mut lost = self.clone();
                lost.arrives(rules, message, Mood::Well, asks);
                self.wire = lost.wire;
            }
            (Mutant::OutboxOutsideTx, What::Reply { .. }) => {
                let mut torn = self.clone();
                let engine = torn.arrives(rules, message, Mood::Well, asks).flatten();
                self.state = torn.state;
                self.version = torn.version;
                return engine;
            }
            _ => {}
        }
        None
    }

    /// What an orchestrator has read that is stopped before it writes.
    fn stale(&self, what: &What) -> Option<What> {
        let What::Reply {
            leg,
            attempt,
            answer,
        } = what
        else {
            return None;
        };
        Some(What::Stale {
            leg: *leg,
            attempt: *attempt,
            answer: answer.clone(),
            read: Box::new(self.state.clone()),
            version: self.version,
        })
    }

    /// The outer option: whether the mood made a difference.
    fn arrives(
        &mut self,
        rules: &Rules,
        what: What,
        mood: Mood,
        asks: &mut Asks<'_>,
    ) -> Option<Option<(Input, Transition)>> {
        match what {
            What::Start => return Some(Some(self.input(rules, Input::Start))),
            What::Command { leg, attempt } => self.handle(rules, leg, attempt, mood, asks)?,
            What::Reply {
                leg,
                attempt,
                answer,
            } => {
                let input = reply(leg, attempt, answer)?;
                return Some(Some(self.input(rules, input)));
            }
            What::Stale {
                leg,
                attempt,
                answer,
                read,
                version,
            } => {
                self.state = *read;
                self.version = version;
                let input = reply(leg, attempt, answer)?;
                return Some(Some(self.input(rules, input)));
            }
            What::Call { step, made } => {
                let (leg, attempt, answer) =
                    self.sites[step].settle(step, made, &mut |way| asks(step, way));
                self.answer(leg, attempt, answer);
            }
        }
        Some(None)
    }

    fn handle(
        &mut self,
        rules: &Rules,
        leg: Leg,
        attempt: u32,
        mood: Mood,
        asks: &mut Asks<'_>,
    ) -> Option<()> {
        let mute = self.mute.iter().find(|(of, _)| *of == leg);
        if let Some((_, how)) = mute {
            if *how == Mute::Unwilling {
                self.answer(leg, attempt, Answer::Transient);
            }
            return (mood == Mood::Well).then_some(());
        }
        let step = leg.step()?;
        let promise = self.now.after(PROMISE);
        let site = &mut self.sites[step];
        let before = site.now;
        let handled = site.handle(leg, attempt, mood, promise, rules.mutant, &mut |way| {
            asks(step, way)
        });
        if rules.remembers && site.now != before {
            site.before = Some(before);
        }
        if mood != Mood::Well && !handled.minded {
            return None;
        }
        if let Some(made) = handled.call {
            self.wire.push(Message::new(What::Call { step, made }));
        }
        for answer in handled.answers {
            self.answer(leg, attempt, answer);
        }
        Some(())
    }

    /// Asks the engine, and sends what it says.
    pub(crate) fn input(&mut self, rules: &Rules, input: Input) -> (Input, Transition) {
        let plan = &rules.plan;
        let transition = match rules.mutant {
            None => next(plan, &self.state, &input, self.now),
            Some(mutant) => mutant::next(mutant, plan, &self.state, &input, self.now),
        };
        if transition.state != self.state || !transition.effects.is_empty() {
            self.version += 1;
        }
        self.state.clone_from(&transition.state);
        self.sends(&transition);
        (input, transition)
    }

    fn sends(&mut self, transition: &Transition) {
        for effect in &transition.effects {
            if let Effect::Send(command) = effect {
                self.wire.push(Message::new(What::Command {
                    leg: leg_of(command),
                    attempt: command.attempt,
                }));
            }
        }
    }

    fn answer(&mut self, leg: Leg, attempt: u32, answer: Answer) {
        self.wire.push(Message::new(What::Reply {
            leg,
            attempt,
            answer,
        }));
    }

    /// Whatever was sent is gone. What the starter asked for, and calls that a participant has in
    /// mind, stand in databases.
    pub(crate) fn loses_messages(&mut self) {
        let is_stored = |message: &Message| {
            matches!(message.what, What::Start | What::Call { .. }) && !message.late
        };
        self.wire.retain(is_stored);
    }

    /// Whether nothing happens by itself any more.
    pub(crate) fn rests(&self) -> bool {
        let at_rest = matches!(
            self.state.status,
            Status::Completed | Status::Compensated | Status::NeedsAttention(_)
        );
        at_rest && !self.wire.iter().any(|message| !message.late)
    }

    /// How it ended, in a word.
    pub(crate) fn ending(&self) -> &'static str {
        match (self.state.status, self.state.closed) {
            (Status::Completed, _) => "completed",
            (Status::Compensated, _) => "compensated",
            (_, Some(Disposition::ResidueAccepted)) => "residue-accepted",
            (_, Some(Disposition::Abandoned)) => "abandoned",
            (Status::NeedsAttention(Need::Forward), _) => "needs-attention: forward",
            (Status::NeedsAttention(Need::Undecided), _) => "needs-attention: undecided",
            (Status::NeedsAttention(Need::Backward), _) => "needs-attention: backward",
            (Status::New | Status::Running | Status::Compensating, _) => "under way",
        }
    }
}

pub(crate) fn cannot_fail(rules: &Rules, leg: Leg) -> bool {
    matches!(leg, Leg::Action(step) if !rules.plan.may_fail(step))
}

fn reply(leg: Leg, attempt: u32, answer: Answer) -> Option<Input> {
    Some(Input::Reply {
        step: leg.step()?,
        direction: leg.direction(),
        attempt,
        answer,
    })
}

/// The leg of a command.
pub(crate) fn leg_of(command: &Command) -> Leg {
    match (command.direction, command.probe) {
        (Direction::Forward, false) => Leg::Action(command.step),
        (Direction::Forward, true) => Leg::Probe(command.step),
        (Direction::Backward, false) => Leg::Undo(command.step),
        (Direction::Backward, true) => Leg::UndoProbe(command.step),
    }
}

/// The budgets of a plan, shortened, so that what is given up after a day is given up after a few
/// attempts.
pub(crate) fn shortened(plan: &Plan) -> Plan {
    plan.with_budgets(|step| {
        let pause = secs(1);
        for retry in [&mut step.retry, &mut step.undo_retry] {
            retry.first = pause;
            retry.cap = pause;
            retry.attempts_max = retry.attempts_max.min(2);
            retry.give_up_after = step.attempt_timeout + pause + millis(500);
        }
    })
}
