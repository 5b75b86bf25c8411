use std::hash::{DefaultHasher, Hash, Hasher};

use palinode_saga::guard::{self, Act, Arrival, Comp, Pending, Row, Verdict};
use palinode_saga::{
    Answer, Command, DbTime, Direction, Disposition, Effect, Input, Plan, Refusal, State, Status,
    StepState, Transition, Verb, millis, next, secs,
};

use crate::fault::{Fault, Leg, Site};
use crate::mutant::{self, Mutant};

/// What is at one moment: the saga, its messages, its participants.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) now: DbTime,
    /// In the order of their sending; those of one sender to one receiver stay in order.
    pub(crate) wire: Vec<Message>,
    /// What the participants know and did, by step.
    pub(crate) sites: Vec<Participation>,
    /// Legs that nobody answers any more.
    silent: Vec<Leg>,
    pub(crate) faults_left: u8,
}

/// What a participant knows of a step, and what it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Participation {
    pub(crate) row: Row,
    /// Whether the stored verdict of the action is that it failed.
    failed: bool,
    /// Times that the effect happened.
    pub(crate) done: u8,
    /// Times that it was taken back.
    pub(crate) undone: u8,
    /// Attempt of the call that is out.
    called: u32,
}

/// Something under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Message {
    pub(crate) what: What,
    /// Out of order: it may come at any time, after the end too.
    pub(crate) late: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum What {
    Command {
        leg: Leg,
        attempt: u32,
    },
    Reply {
        leg: Leg,
        attempt: u32,
        answer: Answer,
    },
    /// A call to an external system, which will be answered.
    Call {
        step: usize,
    },
}

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    /// A message arrives.
    Arrives(usize),
    /// Time passes until something is due.
    TimePasses,
    /// An operator ends the pause.
    Resumes,
    /// Something goes wrong, with the message of that place if it is about one.
    Goes(Site, Option<usize>),
}

/// How a participant treats a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    Fails,
    NotYet,
    Calls,
    ErrsAfter,
}

/// A promise of an external system.
const PROMISE: std::time::Duration = secs(2);

impl World {
    pub(crate) fn start(plan: &Plan, faults: u8, mutant: Option<Mutant>) -> (Self, Transition) {
        let opened = Participation {
            row: Row {
                act: Act::Done,
                comp: Comp::None,
            },
            done: 1,
            ..Participation::NEW
        };
        let site = |step: &palinode_saga::Step| match step.action {
            Some(_) => Participation::NEW,
            None => opened,
        };
        let mut world = Self {
            state: State::new(plan),
            now: DbTime(1_000_000),
            wire: Vec::new(),
            sites: plan.steps().iter().map(site).collect(),
            silent: Vec::new(),
            faults_left: faults,
        };
        let transition = world.input(plan, &Input::Start, mutant);
        (world, transition)
    }

    /// Everything that may happen now, apart from faults.
    pub(crate) fn free(&self, plan: &Plan) -> Vec<Event> {
        let mut events: Vec<Event> = self.deliverable(plan).map(Event::Arrives).collect();
        let waits = self.wire.iter().any(|message| !message.late);
        if self.state.hold.is_some() {
            events.push(Event::Resumes);
        }
        // the clock moves when nothing else can
        let due = self.state.wake_at(plan).filter(|at| *at < DbTime::FAR);
        if !waits && due.is_some() {
            events.push(Event::TimePasses);
        }
        events
    }

    /// Messages that may arrive next: the oldest from each sender to each receiver, and late ones.
    fn deliverable<'w>(&'w self, plan: &'w Plan) -> impl Iterator<Item = usize> + 'w {
        let road = |what: &What| match what {
            What::Command { leg, .. } => (0, participant(plan, leg.step)),
            What::Reply { leg, .. } => (1, participant(plan, leg.step)),
            What::Call { step } => (2, *step),
        };
        let first = move |(at, message): &(usize, &Message)| {
            message.late
                || !self.wire[..*at]
                    .iter()
                    .any(|before| !before.late && road(&before.what) == road(&message.what))
        };
        self.wire.iter().enumerate().filter(first).map(|(at, _)| at)
    }

    /// Every fault that may happen now, and with which message.
    pub(crate) fn faults(&self, plan: &Plan, planned: &[Site]) -> Vec<Event> {
        if self.faults_left == 0 {
            return Vec::new();
        }
        let mut events = Vec::new();
        for at in self.deliverable(plan) {
            let (leg, is_reply) = match &self.wire[at].what {
                What::Command { leg, .. } => (*leg, false),
                What::Reply { leg, .. } => (*leg, true),
                What::Call { .. } => continue,
            };
            let fits = |site: &&Site| {
                site.leg == leg
                    && !site.fault.is_lifecycle()
                    && happens_to_reply(site.fault) == is_reply
            };
            let of_message = planned.iter().filter(fits);
            events.extend(of_message.map(|site| Event::Goes(*site, Some(at))));
        }
        for (step, at) in self
            .state
            .steps
            .iter()
            .enumerate()
            .filter(|(_, at)| at.is_out())
        {
            let direction = match at {
                StepState::Undoing(_) => Direction::Backward,
                _ => Direction::Forward,
            };
            let leg = Leg {
                step,
                direction,
                probe: false,
            };
            let fits = |site: &&Site| site.leg == leg && site.fault.is_lifecycle();
            let lifecycle = planned.iter().filter(fits);
            events.extend(lifecycle.map(|site| Event::Goes(*site, None)));
        }
        events
    }

    /// What becomes of it; and what the engine did, if it was asked. `None`: nothing new, because
    /// whoever comes next does the same again.
    pub(crate) fn after(
        &self,
        plan: &Plan,
        event: Event,
        mutant: Option<Mutant>,
    ) -> Option<(Self, Option<Transition>)> {
        let mut world = self.clone();
        let transition = match event {
            Event::Arrives(at) => {
                let message = world.wire.remove(at);
                world.arrives(plan, message.what, Mood::Well, mutant)
            }
            Event::TimePasses => {
                world.now = world.now.max(self.state.wake_at(plan)?);
                Some(world.input(plan, &Input::Due, mutant))
            }
            Event::Resumes => {
                world.now = world.now.after(secs(1));
                let verb = Verb::Resume;
                Some(world.input(plan, &Input::Verb { verb }, mutant))
            }
            Event::Goes(site, at) => {
                world.faults_left -= 1;
                world.goes(plan, site, at, mutant)?
            }
        };
        Some((world, transition))
    }

    /// A fault. The inner option is what the engine did, the outer whether anything changed.
    fn goes(
        &mut self,
        plan: &Plan,
        site: Site,
        at: Option<usize>,
        mutant: Option<Mutant>,
    ) -> Option<Option<Transition>> {
        let verb = |verb| Some(Input::Verb { verb });
        let input = match site.fault {
            Fault::Cancel => verb(Verb::Cancel),
            Fault::Force => verb(Verb::ForceCompensate),
            Fault::Hold => verb(Verb::Pause),
            Fault::Deadline => {
                self.now = self.now.max(self.state.deadline?);
                Some(Input::Due)
            }
            Fault::CrashBefore
            | Fault::PublishedTwice
            | Fault::HandledTwice
            | Fault::AnsweredTwice
            | Fault::HeardTwice
            | Fault::Transient
            | Fault::Failed
            | Fault::Pending
            | Fault::ErrorAfter
            | Fault::Late
            | Fault::AnswerLate
            | Fault::Never
            | Fault::DuplicateLate
            | Fault::Drop
            | Fault::AnswerDrop => None,
        };
        if let Some(input) = input {
            return Some(Some(self.input(plan, &input, mutant)));
        }
        let at = at?;
        let message = self.wire[at].clone();
        let copy = |late| Message {
            late,
            ..message.clone()
        };
        let mood = match site.fault {
            Fault::Transient => Mood::NotYet,
            Fault::Failed => Mood::Fails,
            Fault::Pending => Mood::Calls,
            Fault::ErrorAfter => Mood::ErrsAfter,
            _ => Mood::Well,
        };
        match site.fault {
            Fault::CrashBefore if mutant == Some(Mutant::TimersInMemory) => {
                mutant::forget_timers(&mut self.state);
            }
            Fault::CrashBefore => return None,
            Fault::PublishedTwice | Fault::AnsweredTwice => self.wire.insert(at, copy(false)),
            Fault::HandledTwice | Fault::HeardTwice => {
                return Some(self.arrives(plan, message.what, Mood::Well, mutant));
            }
            Fault::DuplicateLate => self.wire[at].late = true,
            Fault::Late | Fault::AnswerLate => {
                self.wire[at].late = true;
                return Some(None);
            }
            Fault::Never => {
                self.silent.push(site.leg);
                self.wire.remove(at);
                return Some(None);
            }
            Fault::Drop | Fault::AnswerDrop => {
                self.wire.remove(at);
                return Some(None);
            }
            _ => {
                self.wire.remove(at);
                return Some(self.arrives(plan, message.what, mood, mutant));
            }
        }
        if site.fault == Fault::DuplicateLate {
            return Some(self.arrives(plan, message.what, Mood::Well, mutant));
        }
        Some(None)
    }

    fn arrives(
        &mut self,
        plan: &Plan,
        what: What,
        mood: Mood,
        mutant: Option<Mutant>,
    ) -> Option<Transition> {
        match what {
            What::Command { leg, attempt } => {
                if !self.silent.contains(&leg) {
                    let answer = self.handle(leg, attempt, mood, mutant);
                    self.reply(leg, attempt, answer);
                }
                None
            }
            What::Reply {
                leg,
                attempt,
                answer,
            } => {
                let input = Input::Reply {
                    step: leg.step,
                    direction: leg.direction,
                    attempt,
                    answer,
                };
                Some(self.input(plan, &input, mutant))
            }
            What::Call { step } => {
                self.settle(step);
                None
            }
        }
    }

    fn input(&mut self, plan: &Plan, input: &Input, mutant: Option<Mutant>) -> Transition {
        let transition = match mutant {
            None => next(plan, &self.state, input, self.now),
            Some(mutant) => mutant::next(mutant, plan, &self.state, input, self.now),
        };
        self.state = transition.state.clone();
        for effect in &transition.effects {
            if let Effect::Send(command) = effect {
                self.send(command);
            }
        }
        transition
    }

    fn send(&mut self, command: &Command) {
        let leg = Leg {
            step: command.step,
            direction: command.direction,
            probe: command.probe,
        };
        self.wire.push(Message {
            what: What::Command {
                leg,
                attempt: command.attempt,
            },
            late: false,
        });
    }

    fn reply(&mut self, leg: Leg, attempt: u32, answer: Answer) {
        self.wire.push(Message {
            what: What::Reply {
                leg,
                attempt,
                answer,
            },
            late: false,
        });
    }

    /// The participant's transaction: guard row, effect and answer.
    fn handle(&mut self, leg: Leg, attempt: u32, mood: Mood, mutant: Option<Mutant>) -> Answer {
        let promise = self.now.after(PROMISE);
        let arrival = match (leg.direction, leg.probe) {
            (Direction::Forward, false) => Arrival::Action { same_body: true },
            (Direction::Forward, true) => Arrival::Probe,
            (Direction::Backward, false) => Arrival::Compensation,
            (Direction::Backward, true) => Arrival::UndoProbe,
        };
        let site = &mut self.sites[leg.step];
        let verdict = guard::decide(site.row, arrival);
        let verdict = mutant.map_or(verdict, |mutant| mutant::decide(mutant, site.row, arrival));
        match verdict {
            Verdict::RunAction | Verdict::RunCompensation if mood == Mood::NotYet => {
                Answer::Transient
            }
            Verdict::RunAction if mood == Mood::Fails => {
                if mutant != Some(Mutant::FailedNotStored) {
                    site.row.act = Act::Failed;
                    site.failed = true;
                }
                failed()
            }
            Verdict::RunAction if mood == Mood::Calls => {
                site.row.act = Act::Pending(Pending::Called);
                site.called = attempt;
                self.wire.push(Message {
                    what: What::Call { step: leg.step },
                    late: false,
                });
                Answer::Pending { until: promise }
            }
            Verdict::RunAction => {
                site.row.act = Act::Done;
                site.done += 1;
                unless_error(mood, Answer::Done)
            }
            Verdict::RunCompensation if mood == Mood::Fails => Answer::CannotUndo {
                reason: "CLOSED".to_owned(),
            },
            Verdict::RunCompensation => {
                site.row.comp = Comp::Done;
                if mutant != Some(Mutant::UndoWithoutEffect) {
                    site.undone += 1;
                }
                unless_error(mood, Answer::Undone)
            }
            Verdict::ReplayAction if site.failed || mutant == Some(Mutant::DuplicateFails) => {
                failed()
            }
            Verdict::ReplayAction => Answer::Done,
            Verdict::ReplayCompensation if site.row.act == Act::Done => Answer::Undone,
            Verdict::ReplayCompensation => Answer::UndoneEmpty,
            Verdict::Pending => Answer::Pending { until: promise },
            Verdict::AwaitThenUndo => {
                site.row.comp = Comp::Pending;
                site.called = attempt;
                Answer::Pending { until: promise }
            }
            Verdict::Tombstone(row) => {
                if mutant != Some(Mutant::NoTombstone) {
                    site.row = row;
                }
                Answer::UndoneEmpty
            }
            Verdict::Close(row) => {
                if mutant != Some(Mutant::ProbeLeavesOpen) {
                    site.row = row;
                }
                Answer::NotDone
            }
            Verdict::NotDone => Answer::NotDone,
            Verdict::RefuseClosed => Answer::Refused {
                refusal: Refusal::Closed,
            },
            Verdict::RefuseMismatch => Answer::Refused {
                refusal: Refusal::Mismatch,
            },
        }
    }

    /// The external system has answered: the outcome is written, and what waited for it is done.
    fn settle(&mut self, step: usize) {
        let site = &mut self.sites[step];
        let attempt = site.called;
        site.row.act = Act::Done;
        site.done += 1;
        let leg = |direction| Leg {
            step,
            direction,
            probe: false,
        };
        if site.row.comp == Comp::Pending {
            site.row.comp = Comp::Done;
            site.undone += 1;
            self.reply(leg(Direction::Backward), attempt, Answer::Undone);
        } else {
            self.reply(leg(Direction::Forward), attempt, Answer::Done);
        }
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
            (Status::NeedsAttention(palinode_saga::Need::Forward), _) => "needs-attention: forward",
            (Status::NeedsAttention(palinode_saga::Need::Undecided), _) => {
                "needs-attention: undecided"
            }
            (Status::NeedsAttention(palinode_saga::Need::Backward), _) => {
                "needs-attention: backward"
            }
            (Status::New | Status::Running | Status::Compensating, _) => "under way",
        }
    }

    /// A digest that is equal for worlds with equal futures: times count from now.
    pub(crate) fn digest(&self) -> u128 {
        let half = |salt: u64| {
            let mut hasher = DefaultHasher::new();
            salt.hash(&mut hasher);
            self.hash_relative(&mut hasher);
            u128::from(hasher.finish())
        };
        half(0) << 64 | half(1)
    }

    fn hash_relative(&self, hasher: &mut impl Hasher) {
        // what is overdue is overdue, however long
        let until = |at: DbTime| at.0.saturating_sub(self.now.0).max(-1);
        let since = |at: DbTime| at.0.saturating_sub(self.now.0);
        self.state.status.hash(hasher);
        self.state.cause.hash(hasher);
        self.state.wish.hash(hasher);
        self.state.closed.hash(hasher);
        self.state.deadline.map(until).hash(hasher);
        let hold = self.state.hold;
        hold.map(|hold| (since(hold.since), hold.operator, hold.breaker))
            .hash(hasher);
        for step in &self.state.steps {
            step.word().hash(hasher);
            step.attempts().hash(hasher);
            step.until().map(until).hash(hasher);
            match step {
                StepState::Sent(at)
                | StepState::Backoff(at)
                | StepState::Probing(at)
                | StepState::ProbeBackoff(at) => (since(at.since), at.base).hash(hasher),
                StepState::Undoing(undo) | StepState::UndoBackoff(undo) => {
                    (since(undo.since), undo.was_done).hash(hasher);
                }
                StepState::Stuck {
                    doing, was_done, ..
                } => (doing, was_done).hash(hasher),
                _ => {}
            }
        }
        self.sites.hash(hasher);
        self.silent.hash(hasher);
        self.faults_left.hash(hasher);
        for message in &self.wire {
            message.late.hash(hasher);
            match &message.what {
                What::Reply {
                    leg,
                    attempt,
                    answer: Answer::Pending { until: promised },
                } => (leg, attempt, until(*promised)).hash(hasher),
                what => what.hash(hasher),
            }
        }
    }
}

impl Message {
    /// Whether it will tell something of the step.
    pub(crate) fn is_about(&self, step: usize) -> bool {
        match &self.what {
            What::Command { leg, .. } | What::Reply { leg, .. } => leg.step == step,
            What::Call { step: of } => *of == step,
        }
    }

    /// What its arrival is.
    pub(crate) fn words(&self, plan: &Plan) -> String {
        let late = if self.late { ", late" } else { "" };
        match &self.what {
            What::Command { leg, attempt } => {
                let who = &plan.steps()[leg.step].participant;
                format!("{who} gets {} #{attempt}{late}", leg.words(plan))
            }
            What::Reply {
                leg,
                attempt,
                answer,
            } => format!(
                "the answer to {} #{attempt}{late}: {answer:?}",
                leg.words(plan)
            ),
            What::Call { step } => {
                format!("the external system answers {}", plan.steps()[*step].name)
            }
        }
    }
}

impl Participation {
    const NEW: Self = Self {
        row: Row::NEW,
        failed: false,
        done: 0,
        undone: 0,
        called: 0,
    };
}

fn participant(plan: &Plan, step: usize) -> usize {
    let name = &plan.steps()[step].participant;
    let first = plan.steps().iter().position(|s| s.participant == *name);
    first.unwrap_or(step)
}

fn happens_to_reply(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::AnsweredTwice | Fault::HeardTwice | Fault::AnswerLate | Fault::AnswerDrop
    )
}

fn failed() -> Answer {
    Answer::Failed {
        reason: "REFUSED".to_owned(),
        detail: String::new(),
    }
}

fn unless_error(mood: Mood, answer: Answer) -> Answer {
    if mood == Mood::ErrsAfter {
        Answer::Transient
    } else {
        answer
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
