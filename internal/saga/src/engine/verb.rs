//! What a verb makes of a saga: done, or refused by the rule that it breaks.

use super::Run;
use crate::plan::StepKind;
use crate::state::{
    Attempt, Cause, Claim, Disposition, Doing, Hold, Need, Resolve, Status, StepState, Undo,
};
use crate::time::DbTime;
use crate::verb::{Rule, Verb};

/// Where the pivot is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pivot {
    NotSent,
    Out,
    Undecided,
    Done,
}

impl Run<'_> {
    pub(super) fn verb(&mut self, verb: &Verb) -> Result<(), Rule> {
        match self.state.status {
            Status::New | Status::Completed | Status::Compensated => return Err(Rule::SagaEnded),
            Status::Running | Status::Compensating | Status::NeedsAttention(_) => {}
        }
        if self.state.closed.is_some() {
            return Err(Rule::CaseClosed);
        }
        match verb {
            Verb::Pause => self.pause(),
            Verb::Resume => self.resume(),
            Verb::Retry => self.retry(),
            Verb::Cancel => self.cancel(),
            Verb::ForceCompensate => self.force(),
            Verb::Skip { step } => self.skip(*step),
            Verb::Resolve {
                step,
                claim,
                unreachable,
            } => self.resolve(*step, *claim, *unreachable),
            Verb::AcceptResidue { steps } => self.accept(steps),
            Verb::Abandon => self.abandon(),
        }
    }

    fn pause(&mut self) -> Result<(), Rule> {
        if matches!(self.state.status, Status::NeedsAttention(_)) {
            return Err(Rule::AtRest);
        }
        let hold = self.state.hold.get_or_insert(Hold {
            since: self.now,
            operator: false,
            breaker: false,
        });
        if hold.operator {
            return Err(Rule::AlreadyPaused);
        }
        hold.operator = true;
        Ok(())
    }

    fn resume(&mut self) -> Result<(), Rule> {
        let hold = self.state.hold.as_mut().filter(|hold| hold.operator);
        hold.ok_or(Rule::NotPaused)?.operator = false;
        self.release();
        Ok(())
    }

    pub(super) fn breaker(&mut self, open: bool) {
        match self.state.status {
            // one that has not started is held before its first step
            Status::New | Status::Running | Status::Compensating => {}
            Status::Completed | Status::Compensated | Status::NeedsAttention(_) => return,
        }
        if open {
            let hold = self.state.hold.get_or_insert(Hold {
                since: self.now,
                operator: false,
                breaker: false,
            });
            hold.breaker = true;
        } else if let Some(hold) = self.state.hold.as_mut().filter(|hold| hold.breaker) {
            hold.breaker = false;
            let since = hold.since;
            for step in &mut self.state.steps {
                // what failed for everyone is not counted against this saga
                if let StepState::Backoff(attempt) | StepState::ProbeBackoff(attempt) = step {
                    attempt.base = attempt.n;
                    attempt.since = since; // moves to now with the hold
                }
            }
            self.release();
        }
    }

    /// Ends the hold if nobody holds it any more: budgets and the deadline move by its length,
    /// and what is overdue happens now.
    fn release(&mut self) {
        let Some(hold) = self
            .state
            .hold
            .filter(|hold| !hold.operator && !hold.breaker)
        else {
            return;
        };
        self.state.hold = None;
        let length = self.now.0.saturating_sub(hold.since.0).max(0);
        let later = |at: DbTime| DbTime(at.0.saturating_add(length));
        self.state.deadline = self.state.deadline.map(later);
        for step in &mut self.state.steps {
            if let Some(since) = step.since_mut() {
                *since = later(*since);
            }
        }
        self.due();
    }

    fn retry(&mut self) -> Result<(), Rule> {
        if self.state.hold.is_some() {
            return Err(Rule::SagaHeld);
        }
        let goes_back = self.state.cause.is_some();
        let mut tried = false;
        for step in 0..self.state.steps.len() {
            tried |= self.retry_step(step, goes_back);
        }
        if tried {
            Ok(())
        } else {
            Err(Rule::NothingToRetry)
        }
    }

    /// Tries a step again with a new budget; after the flip an undo or a probe only.
    fn retry_step(&mut self, step: usize, goes_back: bool) -> bool {
        let fresh = |n: u32| Attempt {
            n: n + 1,
            base: n,
            since: self.now,
            until: self.now,
        };
        match self.state.steps[step] {
            StepState::Sent(Attempt { n, .. })
            | StepState::Backoff(Attempt { n, .. })
            | StepState::Stuck {
                n,
                doing: Doing::Action,
                ..
            } if !goes_back => {
                let attempt = fresh(n);
                self.send(step, attempt);
            }
            StepState::Probing(Attempt { n, .. })
            | StepState::ProbeBackoff(Attempt { n, .. })
            | StepState::Stuck {
                n,
                doing: Doing::Probe,
                ..
            } => {
                let attempt = fresh(n);
                self.probe(step, attempt);
            }
            StepState::Undoing(Undo { n, was_done, .. })
            | StepState::UndoBackoff(Undo { n, was_done, .. })
            | StepState::Stuck {
                n,
                doing: Doing::Compensation,
                was_done,
                ..
            } => {
                let now = self.now;
                self.undo(
                    step,
                    Undo {
                        n: n + 1,
                        since: now,
                        until: now,
                        was_done,
                    },
                );
            }
            StepState::Resolving(resolve) => {
                let since = self.now;
                self.ask(step, Resolve { since, ..resolve });
            }
            StepState::Idle
            | StepState::Sent(_)
            | StepState::Backoff(_)
            | StepState::Unknown { .. }
            | StepState::Done
            | StepState::Failed { .. }
            | StepState::NotDone
            | StepState::Undone
            | StepState::UndoneEmpty
            | StepState::ByHand(_)
            | StepState::Waived
            | StepState::Stuck { .. } => return false,
        }
        true
    }

    fn cancel(&mut self) -> Result<(), Rule> {
        if !self.plan.is_cancellable() {
            return Err(Rule::NotCancellable);
        }
        match self.pivot()? {
            Pivot::NotSent => self.flip(Cause::Cancelled),
            Pivot::Out => self.hurry_pivot(Cause::Cancelled),
            Pivot::Undecided => return Err(Rule::PivotUndecided),
            Pivot::Done => return Err(Rule::PastPivot),
        }
        Ok(())
    }

    fn force(&mut self) -> Result<(), Rule> {
        match self.pivot()? {
            Pivot::NotSent => {}
            Pivot::Out | Pivot::Undecided => return Err(Rule::PivotUndecided),
            Pivot::Done => return Err(Rule::PastPivot),
        }
        for state in &mut self.state.steps {
            if let StepState::Sent(attempt) = *state {
                *state = StepState::Unknown { n: attempt.n };
            }
        }
        self.flip(Cause::Forced);
        Ok(())
    }

    /// Where the pivot is, of a saga that goes forward.
    fn pivot(&self) -> Result<Pivot, Rule> {
        if self.state.cause.is_some() {
            return Err(Rule::GoesBack);
        }
        let steps = self.plan.steps().iter().zip(&self.state.steps);
        let mut pivots = steps.filter(|(step, _)| step.kind == StepKind::Pivot);
        Ok(match pivots.next() {
            None | Some((_, StepState::Idle)) => Pivot::NotSent,
            Some((_, at)) if at.happened() => Pivot::Done,
            Some((_, StepState::Stuck { .. } | StepState::Resolving(_))) => Pivot::Undecided,
            Some(_) => Pivot::Out,
        })
    }

    fn skip(&mut self, step: usize) -> Result<(), Rule> {
        let spec = self.plan.steps().get(step).ok_or(Rule::NoSuchStep)?;
        if self.state.cause.is_some() {
            return Err(Rule::GoesBack);
        }
        if self.state.steps[step].happened() {
            return Err(Rule::StepSettled);
        }
        let may = match spec.kind {
            StepKind::ReadOnly => true,
            StepKind::Retriable => spec.skippable,
            StepKind::Compensatable | StepKind::Pivot => false,
        };
        if !may {
            return Err(Rule::NotSkippable);
        }
        if self.plan.is_bound(step) {
            return Err(Rule::OutputNeeded);
        }
        self.state.steps[step] = StepState::Waived;
        Ok(())
    }

    fn resolve(&mut self, step: usize, claim: Claim, unreachable: bool) -> Result<(), Rule> {
        let spec = self.plan.steps().get(step).ok_or(Rule::NoSuchStep)?;
        let fits = match (&self.state.steps[step], claim) {
            (StepState::Sent(_) | StepState::Undoing(_), _) => return Err(Rule::AttemptOut),
            (
                StepState::Backoff(_) | StepState::ProbeBackoff(_) | StepState::Probing(_),
                Claim::Done | Claim::NotDone,
            )
            | (
                StepState::Stuck {
                    doing: Doing::Action | Doing::Probe,
                    ..
                },
                Claim::Done | Claim::NotDone,
            ) => {
                if self.state.cause.is_some() {
                    return Err(Rule::GoesBack);
                }
                claim == Claim::Done || spec.kind == StepKind::Pivot
            }
            (
                StepState::UndoBackoff(_)
                | StepState::Stuck {
                    doing: Doing::Compensation,
                    ..
                },
                claim,
            ) => claim == Claim::Undone,
            (
                StepState::Backoff(_)
                | StepState::ProbeBackoff(_)
                | StepState::Probing(_)
                | StepState::Stuck { .. }
                | StepState::Resolving(_),
                _,
            ) => false,
            (
                StepState::Idle
                | StepState::Unknown { .. }
                | StepState::Done
                | StepState::Failed { .. }
                | StepState::NotDone
                | StepState::Undone
                | StepState::UndoneEmpty
                | StepState::ByHand(_)
                | StepState::Waived,
                _,
            ) => return Err(Rule::StepSettled),
        };
        if !fits {
            return Err(Rule::ClaimDoesNotFit);
        }
        if unreachable {
            self.believe(step, claim);
            return Ok(());
        }
        if self.state.hold.is_some() {
            return Err(Rule::SagaHeld); // the participant has to be asked
        }
        let at = &self.state.steps[step];
        let was_done = matches!(
            at,
            StepState::UndoBackoff(Undo { was_done: true, .. })
                | StepState::Stuck { was_done: true, .. }
        );
        let resolve = Resolve {
            claim,
            n: at.attempts(),
            since: self.now,
            until: self.now,
            out: true,
            was_done,
        };
        self.ask(step, resolve);
        Ok(())
    }

    /// Takes an operator's word.
    pub(super) fn believe(&mut self, step: usize, claim: Claim) {
        self.state.steps[step] = StepState::ByHand(claim);
        if claim == Claim::NotDone {
            self.flip(Cause::Unknown {
                step: self.step(step).name.clone(),
            });
        }
    }

    fn accept(&mut self, steps: &[usize]) -> Result<(), Rule> {
        if self.state.status != Status::NeedsAttention(Need::Backward) {
            return Err(Rule::NoCase);
        }
        if steps.iter().any(|step| *step >= self.state.steps.len()) {
            return Err(Rule::NoSuchStep);
        }
        let is_residue = |step: &usize| {
            matches!(
                self.state.steps[*step],
                StepState::Stuck {
                    doing: Doing::Compensation,
                    ..
                }
            )
        };
        if steps.is_empty() || !steps.iter().all(is_residue) {
            return Err(Rule::NoResidue);
        }
        for step in steps {
            self.state.steps[*step] = StepState::Waived;
        }
        Ok(())
    }

    fn abandon(&mut self) -> Result<(), Rule> {
        let need = match (self.state.status, self.state.hold) {
            (Status::NeedsAttention(need), _) => need,
            (_, None) => return Err(Rule::NoCase),
            (_, Some(_)) if self.state.cause.is_some() => Need::Backward,
            (_, Some(_)) => match self.pivot()? {
                Pivot::NotSent | Pivot::Done => Need::Forward,
                Pivot::Out | Pivot::Undecided => Need::Undecided,
            },
        };
        self.state.hold = None;
        self.state.closed = Some(Disposition::Abandoned);
        self.end(Status::NeedsAttention(need));
        Ok(())
    }
}
