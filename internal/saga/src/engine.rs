//! The engine: one pure, total function.

use serde::{Deserialize, Serialize};

use crate::Direction;
use crate::plan::{Plan, Retry, Step, StepKind};
use crate::state::{
    Attempt, Cause, Claim, Disposition, Doing, Need, Resolve, State, Status, StepState, Undo,
};
use crate::time::DbTime;
use crate::verb::{Rule, Verb};

mod reply;
mod verb;

/// What happens to a saga.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "k")]
pub enum Input {
    /// It starts; its opening step, if it has one, was done by the starter.
    Start,
    /// A participant answered.
    Reply {
        /// Position of the step.
        step: usize,
        /// Of the command that is answered.
        direction: Direction,
        /// Of the command that is answered.
        attempt: u32,
        /// What it said.
        answer: Answer,
    },
    /// Time has passed. Early, late or twice, it is harmless.
    Due,
    /// An operator, or the owner of the saga, acts.
    Verb {
        /// What is to be done.
        verb: Verb,
    },
    /// The breaker before one of its steps has opened or closed.
    Breaker {
        /// Whether it is open: then the saga is held.
        open: bool,
    },
    /// It goes on under another version of its plan; see [`crate::migrate`].
    Migrate {
        /// The version that it leaves.
        from: u32,
        /// The version that it has now.
        to: u32,
    },
}

/// What a participant may answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "a")]
pub enum Answer {
    /// The effect happened.
    Done,
    /// A verdict: no effect, now or later.
    Failed {
        /// Constant name.
        reason: String,
        /// In words.
        detail: String,
    },
    /// Taken up; the real answer follows.
    Pending {
        /// At the latest then, as the participant sees it.
        until: DbTime,
    },
    /// No effect yet; ask again.
    Transient,
    /// The guard does not let it through.
    Refused {
        /// Why.
        refusal: Refusal,
    },
    /// The effect was taken back.
    Undone,
    /// There was nothing to take back.
    UndoneEmpty,
    /// The effect cannot be taken back.
    CannotUndo {
        /// Why.
        reason: String,
    },
    /// To a probe: it was not done, and never will be.
    NotDone,
}

/// Why the guard refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The door is shut: the compensation came first.
    Closed,
    /// The saga is older than what the participant remembers.
    Expired,
    /// The same step with another body.
    Mismatch,
}

/// What a transition brings about: each is one outbox row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a command to a participant.
    Send(Command),
    /// Tell the world.
    Emit(Ended),
}

/// A command of a step. Its message and bindings stand in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command {
    /// Position of the step.
    pub step: usize,
    /// The action or its compensation.
    pub direction: Direction,
    /// Whether it only asks, and shuts the door if nothing has happened.
    pub probe: bool,
    /// 1 for the first.
    pub attempt: u32,
    /// Nobody waits for the answer after that.
    pub until: DbTime,
}

/// The saga reached a state that it does not leave by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// That state.
    pub status: Status,
}

/// What one input made of a saga.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The state after it.
    pub state: State,
    /// In the order in which they are to be written.
    pub effects: Vec<Effect>,
    /// For an input that changed nothing: why.
    pub note: Option<Note>,
    /// For a verb that is refused: the rule that it breaks. Nothing changed then.
    pub refused: Option<Rule>,
}

/// Why an input changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Note {
    /// It was heard before, or its attempt is over.
    Duplicate,
    /// It contradicts what is settled: worth a look.
    Contradiction,
    /// Nothing was due.
    Early,
}

/// What becomes of a saga on an input. Pure and total: the only place where a saga changes.
///
/// Shape: `state` has one entry for each step of `plan`. Effects come in plan order.
/// Units: `now` is database time.
#[must_use]
pub fn next(plan: &Plan, state: &State, input: &Input, now: DbTime) -> Transition {
    debug_assert_eq!(
        plan.steps().len(),
        state.steps.len(),
        "a state belongs to its plan"
    );
    let mut run = Run {
        plan,
        state: state.clone(),
        now,
        effects: Vec::new(),
        note: None,
    };
    match input {
        Input::Start => run.start(),
        Input::Reply {
            step,
            direction,
            attempt,
            answer,
        } => {
            run.reply(*step, *direction, *attempt, answer);
        }
        Input::Due => run.due(),
        Input::Breaker { open } => run.breaker(*open),
        Input::Migrate { .. } => {} // the state was moved; what it allows now is done below
        Input::Verb { verb } => {
            if let Err(rule) = run.verb(verb) {
                return Transition {
                    state: state.clone(),
                    effects: Vec::new(),
                    note: None,
                    refused: Some(rule),
                };
            }
        }
    }
    run.advance();
    let unchanged = run.state == *state && run.effects.is_empty();
    let note = run
        .note
        .or((unchanged && *input == Input::Due).then_some(Note::Early));
    Transition {
        state: run.state,
        effects: run.effects,
        note: note.filter(|_| unchanged),
        refused: None,
    }
}

struct Run<'p> {
    plan: &'p Plan,
    state: State,
    now: DbTime,
    effects: Vec<Effect>,
    note: Option<Note>,
}

impl<'p> Run<'p> {
    fn step(&self, step: usize) -> &'p Step {
        &self.plan.steps()[step]
    }

    fn start(&mut self) {
        if self.state.status != Status::New {
            self.note = Some(Note::Duplicate);
            return;
        }
        self.state.status = Status::Running;
        self.state.deadline = Some(self.now.after(self.plan.deadline()));
        for (step, state) in self.plan.steps().iter().zip(&mut self.state.steps) {
            if step.action.is_none() {
                *state = StepState::Done;
            }
        }
    }

    /// Fires what is due.
    fn due(&mut self) {
        if self.state.closed.is_some() {
            return;
        }
        // first, so that nothing forward is sent by what turns the saga back
        let deadline = self.state.deadline.filter(|_| self.state.hold.is_none());
        if deadline.is_some_and(|deadline| deadline <= self.now) {
            if self.state.can_flip(self.plan) {
                self.flip(Cause::Deadline);
            } else if self.state.status == Status::Running {
                self.hurry_pivot(Cause::Deadline);
            }
            self.state.deadline = None;
        }
        // what would send forward comes last: a step beside it may turn the saga back
        for sends in [false, true] {
            for step in 0..self.state.steps.len() {
                let until = self.state.steps[step].until();
                if until.is_some_and(|until| until <= self.now) && self.sends(step) == sends {
                    self.fire(step);
                }
            }
        }
    }

    /// Whether the step would be sent again if it were due.
    fn sends(&self, step: usize) -> bool {
        if let StepState::Backoff(attempt) = self.state.steps[step] {
            !self.is_spent(step, attempt)
        } else {
            false
        }
    }

    /// The saga is to go back while the pivot is out: ask at once what became of it.
    fn hurry_pivot(&mut self, wish: Cause) {
        let is_pivot = |step: &Step| step.kind == StepKind::Pivot;
        let Some(pivot) = self.plan.steps().iter().position(is_pivot) else {
            return;
        };
        let is_out = matches!(
            self.state.steps[pivot],
            StepState::Sent(_)
                | StepState::Backoff(_)
                | StepState::Probing(_)
                | StepState::ProbeBackoff(_)
        );
        if !is_out {
            return; // it has happened, or somebody else is deciding whether it has
        }
        self.state.wish = Some(wish);
        // under a hold it is asked when its attempt is over, or the hold
        if let StepState::Sent(at) | StepState::Backoff(at) = self.state.steps[pivot]
            && self.state.hold.is_none()
        {
            let fresh = Attempt {
                since: self.now,
                base: at.n,
                ..at
            };
            self.probe(pivot, fresh.next());
        }
    }

    fn fire(&mut self, step: usize) {
        if self.state.hold.is_some() {
            self.expire(step);
            return;
        }
        match self.state.steps[step].clone() {
            StepState::Sent(attempt) => self.unanswered(step, attempt),
            StepState::Backoff(attempt) if self.is_spent(step, attempt) => {
                self.spent(step, attempt);
            }
            StepState::Backoff(attempt) => self.send(step, attempt.next()),
            StepState::Probing(attempt) => self.probe_unanswered(step, attempt),
            StepState::ProbeBackoff(attempt) => self.probe(step, attempt.next()),
            StepState::Undoing(undo) => self.undo_unanswered(step, undo),
            StepState::Resolving(resolve) if resolve.out => {
                self.resolve_unanswered(step, resolve);
            }
            StepState::Resolving(resolve) => self.ask(step, resolve),
            StepState::UndoBackoff(undo) => {
                self.undo(
                    step,
                    Undo {
                        n: undo.n + 1,
                        ..undo
                    },
                );
            }
            StepState::Idle
            | StepState::Unknown { .. }
            | StepState::Done
            | StepState::Failed { .. }
            | StepState::NotDone
            | StepState::Undone
            | StepState::UndoneEmpty
            | StepState::ByHand(_)
            | StepState::Waived
            | StepState::Stuck { .. } => {}
        }
    }

    /// Under a hold an attempt that is out expires, and nothing is sent in its place. Whether the
    /// budget is used up is asked when the hold has ended.
    fn expire(&mut self, step: usize) {
        let goes_back = self.state.cause.is_some();
        let at = &mut self.state.steps[step];
        if let StepState::Sent(attempt) = *at {
            *at = if goes_back {
                StepState::Unknown { n: attempt.n }
            } else {
                StepState::Backoff(attempt)
            };
        } else if let StepState::Probing(attempt) = *at {
            *at = StepState::ProbeBackoff(attempt);
        } else if let StepState::Undoing(undo) = *at {
            *at = StepState::UndoBackoff(undo);
        } else if let StepState::Resolving(resolve) = at {
            resolve.out = false;
        }
    }

    /// An attempt ended without a verdict: its outcome is unknown.
    fn unanswered(&mut self, step: usize, attempt: Attempt) {
        if self.state.status == Status::Compensating {
            self.state.steps[step] = StepState::Unknown { n: attempt.n };
            return;
        }
        if self.state.hold.is_some() {
            self.expire(step);
            return;
        }
        let spec = self.step(step);
        let retry = &spec.retry;
        let next_at = self.now.after(retry.pause(attempt.n - attempt.base));
        let again = StepState::Backoff(Attempt {
            until: next_at,
            ..attempt
        });
        let within = if self.endless(step) {
            next_at < attempt.since.after(retry.give_up_after)
        } else {
            !self.is_spent(step, attempt) && next_at < attempt.since.after(spec.deadline)
        };
        if within {
            self.state.steps[step] = again;
        } else {
            self.spent(step, attempt);
        }
    }

    /// Whether the action has had all its attempts.
    fn is_spent(&self, step: usize, attempt: Attempt) -> bool {
        let made = attempt.n.saturating_sub(attempt.base);
        let spec = self.step(step);
        let wish = spec.kind == StepKind::Pivot && self.state.wish.is_some();
        !self.endless(step) && (wish || made >= spec.retry.attempts_max)
    }

    /// The budget of an action is used up.
    fn spent(&mut self, step: usize, attempt: Attempt) {
        let spec = self.step(step);
        if self.endless(step) {
            self.state.steps[step] = stuck(attempt.n, Doing::Action, false, "GAVE_UP");
        } else if spec.kind == StepKind::Pivot {
            let since = self.now;
            self.probe(
                step,
                Attempt {
                    since,
                    base: attempt.n,
                    ..attempt
                }
                .next(),
            );
        } else {
            self.state.steps[step] = StepState::Unknown { n: attempt.n };
            self.flip(Cause::Unknown {
                step: spec.name.clone(),
            });
        }
    }

    /// Whether the action is repeated until it has happened.
    fn endless(&self, step: usize) -> bool {
        match self.step(step).kind {
            StepKind::Retriable => true,
            StepKind::ReadOnly => !self.plan.may_fail(step),
            StepKind::Compensatable | StepKind::Pivot => false,
        }
    }

    fn probe_unanswered(&mut self, step: usize, attempt: Attempt) {
        let retry = &self.step(step).retry;
        self.state.steps[step] = match self.again(retry, attempt.n - attempt.base, attempt.since) {
            Some(until) => StepState::ProbeBackoff(Attempt { until, ..attempt }),
            None => stuck(attempt.n, Doing::Probe, false, "GAVE_UP"),
        };
    }

    fn undo_unanswered(&mut self, step: usize, undo: Undo) {
        let retry = &self.step(step).undo_retry;
        self.state.steps[step] = match self.again(retry, undo.n, undo.since) {
            Some(until) => StepState::UndoBackoff(Undo { until, ..undo }),
            None => stuck(undo.n, Doing::Compensation, undo.was_done, "GAVE_UP"),
        };
    }

    fn resolve_unanswered(&mut self, step: usize, resolve: Resolve) {
        let retry = &self.step(step).undo_retry;
        self.state.steps[step] = match self.again(retry, resolve.n, resolve.since) {
            Some(until) => StepState::Resolving(Resolve {
                until,
                out: false,
                ..resolve
            }),
            None => stuck(
                resolve.n,
                resolve.claim.about(),
                resolve.was_done,
                "GAVE_UP",
            ),
        };
    }

    /// When what may not fail is tried again; `None` when it is given up.
    fn again(&self, retry: &Retry, attempt: u32, since: DbTime) -> Option<DbTime> {
        let until = self.now.after(retry.pause(attempt));
        (until < since.after(retry.give_up_after)).then_some(until)
    }

    fn send(&mut self, step: usize, attempt: Attempt) {
        let until = self.now.after(self.step(step).attempt_timeout);
        self.state.steps[step] = StepState::Sent(Attempt { until, ..attempt });
        self.command(step, Direction::Forward, false, attempt.n, until);
    }

    fn probe(&mut self, step: usize, attempt: Attempt) {
        let until = self.now.after(self.step(step).attempt_timeout);
        self.state.steps[step] = StepState::Probing(Attempt { until, ..attempt });
        self.command(step, Direction::Forward, true, attempt.n, until);
    }

    /// Asks the participant about an operator's claim, and to shut the door.
    fn ask(&mut self, step: usize, resolve: Resolve) {
        let until = self.now.after(self.step(step).attempt_timeout);
        let n = resolve.n + 1;
        self.state.steps[step] = StepState::Resolving(Resolve {
            n,
            until,
            out: true,
            ..resolve
        });
        let direction = match resolve.claim {
            Claim::Done | Claim::NotDone => Direction::Forward,
            Claim::Undone => Direction::Backward,
        };
        self.command(step, direction, true, n, until);
    }

    fn undo(&mut self, step: usize, undo: Undo) {
        let until = self.now.after(self.step(step).attempt_timeout);
        self.state.steps[step] = StepState::Undoing(Undo { until, ..undo });
        self.command(step, Direction::Backward, false, undo.n, until);
    }

    fn command(
        &mut self,
        step: usize,
        direction: Direction,
        probe: bool,
        attempt: u32,
        until: DbTime,
    ) {
        self.effects.push(Effect::Send(Command {
            step,
            direction,
            probe,
            attempt,
            until,
        }));
    }

    /// Turns the saga back, once and for all: nothing forward is sent any more.
    fn flip(&mut self, cause: Cause) {
        if self.state.closed.is_some() || self.state.cause.is_some() {
            return; // what comes late changes the ledger, and not the direction
        }
        match self.state.status {
            Status::Running | Status::NeedsAttention(_) => {}
            Status::New | Status::Compensating | Status::Completed | Status::Compensated => return,
        }
        self.state.status = Status::Compensating;
        self.state.cause = Some(self.state.wish.take().unwrap_or(cause));
        for state in &mut self.state.steps {
            if let StepState::Backoff(Attempt { n, .. })
            | StepState::Resolving(Resolve { n, .. })
            | StepState::Stuck {
                n,
                doing: Doing::Action,
                ..
            } = *state
            {
                // nobody asks any more: whatever it did is taken back
                *state = StepState::Unknown { n };
            }
        }
    }

    /// Does everything that the state allows now.
    fn advance(&mut self) {
        if self.state.hold.is_some() || self.state.closed.is_some() {
            return;
        }
        if matches!(self.state.status, Status::NeedsAttention(_)) {
            self.leave_attention();
        }
        if self.state.status == Status::Running {
            self.forward();
        }
        if self.state.status == Status::Compensating {
            self.backward();
        }
    }

    /// A late reply may have freed what was stuck.
    fn leave_attention(&mut self) {
        let stuck = |s: &StepState| matches!(s, StepState::Stuck { .. });
        let moves = self.state.steps.iter().any(|s| s.until().is_some());
        if moves || !self.state.steps.iter().any(stuck) {
            self.state.status = match self.state.cause {
                Some(_) => Status::Compensating,
                None => Status::Running,
            };
        }
    }

    fn forward(&mut self) {
        for step in 0..self.state.steps.len() {
            let ready = self.state.steps[step] == StepState::Idle
                && self
                    .step(step)
                    .after
                    .iter()
                    .all(|&s| self.state.steps[s].happened());
            if ready {
                self.send(step, Attempt::first(self.now));
            }
        }
        if self.state.steps.iter().all(StepState::happened) {
            self.end(Status::Completed);
        } else {
            self.rest_if_stuck();
        }
    }

    fn backward(&mut self) {
        let settling = self.state.steps.iter().any(|s| {
            matches!(
                s,
                StepState::Sent(_) | StepState::Probing(_) | StepState::ProbeBackoff(_)
            )
        });
        if settling {
            return;
        }
        // last to first, so that effects come in the order of a chain's unwinding
        for step in (0..self.state.steps.len()).rev() {
            let was_done = matches!(
                self.state.steps[step],
                StepState::Done | StepState::ByHand(Claim::Done)
            );
            if !was_done && !matches!(self.state.steps[step], StepState::Unknown { .. }) {
                continue;
            }
            let after = self.plan.descendants(step);
            let free = after.into_iter().all(|after| self.settled(after));
            if free && self.step(step).compensation.is_some() {
                self.undo(
                    step,
                    Undo {
                        n: 1,
                        since: self.now,
                        until: self.now,
                        was_done,
                    },
                );
            }
        }
        if (0..self.state.steps.len()).all(|step| self.settled(step)) {
            let waived = |(step, at): (&Step, &StepState)| {
                step.compensation.is_some() && *at == StepState::Waived
            };
            if self.plan.steps().iter().zip(&self.state.steps).any(waived) {
                self.state.closed = Some(Disposition::ResidueAccepted);
                self.end(Status::NeedsAttention(Need::Backward));
            } else {
                self.end(Status::Compensated);
            }
        } else {
            self.rest_if_stuck();
        }
    }

    /// Whether nothing of the step is left to be taken back.
    fn settled(&self, step: usize) -> bool {
        match self.state.steps[step] {
            StepState::Idle
            | StepState::Failed { .. }
            | StepState::NotDone
            | StepState::Undone
            | StepState::UndoneEmpty
            | StepState::ByHand(Claim::NotDone | Claim::Undone)
            | StepState::Waived => true,
            StepState::Done | StepState::ByHand(Claim::Done) | StepState::Unknown { .. } => {
                self.step(step).compensation.is_none()
            }
            StepState::Sent(_)
            | StepState::Backoff(_)
            | StepState::Probing(_)
            | StepState::ProbeBackoff(_)
            | StepState::Undoing(_)
            | StepState::UndoBackoff(_)
            | StepState::Resolving(_)
            | StepState::Stuck { .. } => false,
        }
    }

    /// Needs attention once a step is stuck and no other branch can move.
    fn rest_if_stuck(&mut self) {
        if self.state.steps.iter().any(|s| s.until().is_some()) {
            return;
        }
        let doing = self.state.steps.iter().find_map(|s| {
            if let StepState::Stuck { doing, .. } = s {
                Some(*doing)
            } else {
                None
            }
        });
        let need = match doing {
            Some(Doing::Action) => Need::Forward,
            Some(Doing::Probe) => Need::Undecided,
            Some(Doing::Compensation) => Need::Backward,
            None => return,
        };
        self.end(Status::NeedsAttention(need));
    }

    fn end(&mut self, status: Status) {
        self.state.status = status;
        self.state.deadline = None;
        self.effects.push(Effect::Emit(Ended { status }));
    }
}

fn stuck(n: u32, doing: Doing, was_done: bool, reason: &str) -> StepState {
    StepState::Stuck {
        n,
        doing,
        was_done,
        refused: false,
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;
