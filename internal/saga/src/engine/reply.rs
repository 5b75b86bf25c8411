//! What an answer makes of a step.

use super::{Answer, Note, Refusal, Run, stuck};
use crate::Direction;
use crate::plan::StepKind;
use crate::state::{Attempt, Cause, Claim, Doing, Resolve, Status, StepState, Undo};
use crate::time::DbTime;

impl Run<'_> {
    pub(super) fn reply(
        &mut self,
        step: usize,
        direction: Direction,
        attempt: u32,
        answer: &Answer,
    ) {
        if step >= self.state.steps.len() || self.state.status == Status::New {
            self.note = Some(Note::Contradiction);
            return;
        }
        match direction {
            Direction::Forward => self.answered_forward(step, attempt, answer),
            Direction::Backward => self.answered_backward(step, attempt, answer),
        }
    }

    fn answered_forward(&mut self, step: usize, n: u32, answer: &Answer) {
        let before = self.state.steps[step].clone();
        match before {
            // still open: every answer counts, a verdict whichever attempt it is of
            StepState::Sent(attempt) | StepState::Backoff(attempt) => {
                let current = matches!(before, StepState::Sent(_)) && attempt.n == n;
                self.verdict(
                    step,
                    answer,
                    Open {
                        attempt,
                        current,
                        probing: false,
                    },
                );
            }
            StepState::Probing(attempt) | StepState::ProbeBackoff(attempt) => {
                let current = matches!(before, StepState::Probing(_)) && attempt.n == n;
                self.verdict(
                    step,
                    answer,
                    Open {
                        attempt,
                        current,
                        probing: true,
                    },
                );
            }
            StepState::Stuck {
                doing: doing @ (Doing::Action | Doing::Probe),
                ..
            } => {
                let attempt = Attempt {
                    n,
                    ..Attempt::first(self.now)
                };
                let open = Open {
                    attempt,
                    current: false,
                    probing: doing == Doing::Probe,
                };
                self.verdict(step, answer, open);
            }
            StepState::Resolving(resolve) if resolve.claim != Claim::Undone => {
                self.resolved(step, resolve, n, answer);
            }
            // a query whose answer nobody waits for any more
            StepState::Unknown { .. } if self.state.is_terminal() => {
                self.note = Some(Note::Duplicate);
            }
            // given up: a verdict still says whether there is something to take back
            StepState::Unknown { .. } => match answer {
                Answer::Done => self.state.steps[step] = StepState::Done,
                Answer::Failed { reason, detail } => {
                    self.state.steps[step] = StepState::Failed {
                        reason: reason.clone(),
                        detail: detail.clone(),
                    };
                }
                Answer::Pending { .. }
                | Answer::Transient
                | Answer::Refused { .. }
                | Answer::Undone
                | Answer::UndoneEmpty
                | Answer::CannotUndo { .. }
                | Answer::NotDone => self.note = Some(Note::Duplicate),
            },
            // the undo is out under the belief that the outcome was unknown: now it is known
            StepState::Undoing(undo) if *answer == Answer::Done => {
                self.learn_done(step, undo, StepState::Undoing);
            }
            StepState::UndoBackoff(undo) if *answer == Answer::Done => {
                self.learn_done(step, undo, StepState::UndoBackoff);
            }
            StepState::NotDone
            | StepState::UndoneEmpty
            | StepState::Failed { .. }
            | StepState::ByHand(Claim::NotDone)
                if *answer == Answer::Done =>
            {
                self.note = Some(Note::Contradiction);
            }
            StepState::Done if matches!(answer, Answer::Failed { .. } | Answer::NotDone) => {
                self.note = Some(Note::Contradiction);
            }
            StepState::Idle
            | StepState::Done
            | StepState::Failed { .. }
            | StepState::NotDone
            | StepState::Undoing(_)
            | StepState::UndoBackoff(_)
            | StepState::Undone
            | StepState::UndoneEmpty
            | StepState::Resolving(_)
            | StepState::ByHand(_)
            | StepState::Waived
            | StepState::Stuck { .. } => self.note = Some(Note::Duplicate),
        }
    }

    /// An answer about an operator's claim: what the participant knows is taken over it, and
    /// that nothing has happened, with the door shut, makes the claim safe.
    fn resolved(&mut self, step: usize, resolve: Resolve, n: u32, answer: &Answer) {
        let current = resolve.out && resolve.n == n;
        let back = resolve.claim == Claim::Undone;
        match answer {
            Answer::Done if !back => self.state.steps[step] = StepState::Done,
            Answer::Undone if back => self.state.steps[step] = StepState::Undone,
            Answer::UndoneEmpty if back && !resolve.was_done => {
                self.state.steps[step] = StepState::UndoneEmpty;
            }
            Answer::UndoneEmpty if back => self.believe(step, resolve.claim),
            Answer::Failed { .. } if !back => self.believe(step, resolve.claim),
            Answer::NotDone
            | Answer::Refused {
                refusal: Refusal::Closed,
            } => self.believe(step, resolve.claim),
            Answer::Refused { refusal } => {
                let (about, reason) = (resolve.claim.about(), refused(*refusal));
                self.state.steps[step] = stuck(resolve.n, about, resolve.was_done, reason);
            }
            Answer::Pending { until } if current => {
                let until = until.after(crate::millis(500)).max(resolve.until);
                self.state.steps[step] = StepState::Resolving(Resolve { until, ..resolve });
            }
            Answer::Transient if current => self.resolve_unanswered(step, resolve),
            Answer::Done
            | Answer::Failed { .. }
            | Answer::Pending { .. }
            | Answer::Transient
            | Answer::Undone
            | Answer::UndoneEmpty
            | Answer::CannotUndo { .. } => self.note = Some(Note::Duplicate),
        }
    }

    fn learn_done(&mut self, step: usize, undo: Undo, state: fn(Undo) -> StepState) {
        if undo.was_done {
            self.note = Some(Note::Duplicate);
        } else {
            self.state.steps[step] = state(Undo {
                was_done: true,
                ..undo
            });
        }
    }

    fn verdict(&mut self, step: usize, answer: &Answer, open: Open) {
        match answer {
            Answer::Done => {
                self.state.steps[step] = StepState::Done;
                if self.step(step).kind == StepKind::Pivot {
                    self.state.wish = None;
                }
            }
            Answer::Failed { reason, detail } => self.failed(step, open.attempt.n, reason, detail),
            Answer::Refused {
                refusal: Refusal::Closed,
            } => {
                let words = "its compensation came first";
                self.failed(step, open.attempt.n, "REFUSED_CLOSED", words);
            }
            // only a pivot is ever asked that, and only it turns the saga back
            Answer::NotDone if open.probing => {
                self.state.steps[step] = StepState::NotDone;
                self.flip(Cause::Unknown {
                    step: self.step(step).name.clone(),
                });
            }
            // going back, what is not known is taken back
            Answer::Refused { .. } if self.state.cause.is_some() && !open.probing => {
                self.state.steps[step] = StepState::Unknown { n: open.attempt.n };
            }
            Answer::Refused { refusal } => {
                let undecided = open.probing || self.step(step).kind == StepKind::Pivot;
                let doing = if undecided {
                    Doing::Probe
                } else {
                    Doing::Action
                };
                self.state.steps[step] = stuck(open.attempt.n, doing, false, refused(*refusal));
            }
            // of an older attempt: the newer one is out, or waits for its turn
            Answer::Pending { .. } | Answer::Transient if !open.current => {
                self.note = Some(Note::Duplicate);
            }
            Answer::Pending { until } => self.extend(step, *until, open),
            Answer::Transient if open.probing => self.probe_unanswered(step, open.attempt),
            Answer::Transient => self.unanswered(step, open.attempt),
            Answer::NotDone | Answer::Undone | Answer::UndoneEmpty | Answer::CannotUndo { .. } => {
                self.note = Some(Note::Contradiction);
            }
        }
    }

    /// `Pending` moves the attempt's end to half a second after what was promised, so that an
    /// answer that is on its way is not asked for again; never beyond the step's deadline, and
    /// never nearer.
    fn extend(&mut self, step: usize, promised: DbTime, open: Open) {
        let limit = open.attempt.since.after(self.step(step).deadline);
        let until = promised
            .after(crate::millis(500))
            .min(limit)
            .max(open.attempt.until);
        let attempt = Attempt {
            until,
            ..open.attempt
        };
        self.state.steps[step] = if open.probing {
            StepState::Probing(attempt)
        } else {
            StepState::Sent(attempt)
        };
    }

    fn failed(&mut self, step: usize, n: u32, reason: &str, detail: &str) {
        if !self.plan.may_fail(step) {
            // a participant that breaks its promise: asking again would hear the same
            self.state.steps[step] = stuck(n, Doing::Action, false, reason);
            return;
        }
        self.state.steps[step] = StepState::Failed {
            reason: reason.to_owned(),
            detail: detail.to_owned(),
        };
        let name = self.step(step).name.clone();
        self.flip(Cause::Failed {
            step: name,
            reason: reason.to_owned(),
            detail: detail.to_owned(),
        });
        debug_assert!(
            self.step(step).kind != StepKind::Retriable,
            "the engine never turns back after the pivot"
        );
    }

    fn answered_backward(&mut self, step: usize, n: u32, answer: &Answer) {
        let (undo, out) = match self.state.steps[step] {
            StepState::Undoing(undo) => (undo, true),
            StepState::UndoBackoff(undo) => (undo, false),
            StepState::Stuck {
                n,
                doing: Doing::Compensation,
                was_done,
                ..
            } => (
                Undo {
                    n,
                    since: self.now,
                    until: self.now,
                    was_done,
                },
                false,
            ),
            StepState::Resolving(resolve) if resolve.claim == Claim::Undone => {
                self.resolved(step, resolve, n, answer);
                return;
            }
            StepState::Idle
            | StepState::Sent(_)
            | StepState::Backoff(_)
            | StepState::Unknown { .. }
            | StepState::Probing(_)
            | StepState::ProbeBackoff(_)
            | StepState::Done
            | StepState::Failed { .. }
            | StepState::NotDone
            | StepState::Undone
            | StepState::UndoneEmpty
            | StepState::Resolving(_)
            | StepState::ByHand(_)
            | StepState::Waived
            | StepState::Stuck { .. } => {
                self.note = Some(Note::Duplicate);
                return;
            }
        };
        let current = out && undo.n == n;
        self.state.steps[step] = match answer {
            Answer::Undone => StepState::Undone,
            // nothing to take back, of a step that said it was done
            Answer::UndoneEmpty if undo.was_done => {
                stuck(undo.n, Doing::Compensation, true, "CONTRADICTION")
            }
            Answer::UndoneEmpty => StepState::UndoneEmpty,
            Answer::CannotUndo { reason } => StepState::Stuck {
                n: undo.n,
                doing: Doing::Compensation,
                was_done: undo.was_done,
                refused: true,
                reason: reason.clone(),
            },
            Answer::Refused { .. } => stuck(undo.n, Doing::Compensation, undo.was_done, "REFUSED"),
            Answer::Pending { until } if current => {
                let until = until.after(crate::millis(500)).max(undo.until);
                StepState::Undoing(Undo { until, ..undo })
            }
            Answer::Transient if current => {
                self.undo_unanswered(step, undo);
                return;
            }
            Answer::Pending { .. }
            | Answer::Transient
            | Answer::Done
            | Answer::Failed { .. }
            | Answer::NotDone => {
                self.note = Some(Note::Duplicate);
                return;
            }
        };
    }
}

/// A step whose outcome is open.
#[derive(Clone, Copy)]
struct Open {
    attempt: Attempt,
    /// Whether the answer is of the attempt that is out.
    current: bool,
    probing: bool,
}

fn refused(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Closed => "REFUSED_CLOSED",
        Refusal::Expired => "REFUSED_EXPIRED",
        Refusal::Mismatch => "REFUSED_MISMATCH",
    }
}
