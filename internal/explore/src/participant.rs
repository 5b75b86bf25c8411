//! What a participant knows of a step, and what it does with a command.

use palinode_saga::guard::{self, Act, Arrival, Comp, Pending, Row, Verdict};
use palinode_saga::{Answer, DbTime, Direction, Refusal};

use crate::fault::{Fault, Leg};
use crate::mutant::{self, Mutant};

/// What a participant knows of a step, and what it did.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Participation {
    pub(crate) now: Known,
    /// What it was one transaction ago; kept only where a restore is explored.
    pub(crate) before: Option<Known>,
    /// Attempt of the call that is out.
    called: u32,
}

/// What one transaction after the other has made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Known {
    pub(crate) row: Row,
    /// Whether the stored verdict of the action is that it failed.
    failed: bool,
    /// Times that the effect happened.
    pub(crate) done: u8,
    /// Times that it was taken back.
    pub(crate) undone: u8,
}

/// How a participant treats a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It does what it is asked.
    Well,
    /// It says no; of a compensation: it cannot be undone.
    Fails,
    /// It has done nothing, and asks to be asked again.
    NotYet,
    /// It calls an external system, whose answer follows.
    Calls,
    /// It has called, and does not know what came of it; it will call again.
    CallsTwice,
    /// It has called, does not know what came of it, and must not call again.
    Forgets,
    /// It does what it is asked, and asks to be asked again.
    ErrsAfter,
}

/// What the rows that a step works on have to say to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ruling {
    /// It happens.
    Happens,
    /// It is refused, for good; of a compensation: it cannot be undone.
    Fails,
    /// Not as things stand: ask again.
    NotYet,
}

/// Who says whether an effect happens; asked only when the guard lets it.
pub(crate) type Asks<'a> = dyn FnMut(Direction) -> Ruling + 'a;

impl Mood {
    pub(crate) fn of(fault: Fault) -> Self {
        match fault {
            Fault::Failed => Self::Fails,
            Fault::Transient => Self::NotYet,
            Fault::Pending => Self::Calls,
            Fault::CalledTwice => Self::CallsTwice,
            Fault::Forgotten => Self::Forgets,
            Fault::ErrorAfter => Self::ErrsAfter,
            _ => Self::Well,
        }
    }
}

/// What comes of a command.
#[derive(Debug)]
pub(crate) struct Handled {
    pub(crate) answers: Vec<Answer>,
    /// A call that is out, and whether it was made before.
    pub(crate) call: Option<bool>,
    /// Whether the mood made a difference.
    pub(crate) minded: bool,
}

impl Handled {
    fn answer(answer: Answer) -> Self {
        Self {
            answers: vec![answer],
            call: None,
            minded: false,
        }
    }

    fn minded(answer: Answer) -> Self {
        Self {
            minded: true,
            ..Self::answer(answer)
        }
    }
}

impl Participation {
    pub(crate) const NEW: Self = Self {
        now: Known {
            row: Row::NEW,
            failed: false,
            done: 0,
            undone: 0,
        },
        before: None,
        called: 0,
    };

    /// Of the opening step, which the starter has done.
    pub(crate) const OPENED: Self = Self {
        now: Known {
            row: Row {
                act: Act::Done,
                comp: Comp::None,
            },
            failed: false,
            done: 1,
            undone: 0,
        },
        ..Self::NEW
    };

    /// Whether the effect is there.
    pub(crate) fn is_there(&self) -> bool {
        self.now.done > self.now.undone
    }

    /// The transaction of a command: guard row, effect and answer.
    pub(crate) fn handle(
        &mut self,
        leg: Leg,
        attempt: u32,
        mood: Mood,
        promise: DbTime,
        mutant: Option<Mutant>,
        asks: &mut Asks<'_>,
    ) -> Handled {
        let arrival = match leg {
            Leg::Probe(_) => Arrival::Probe,
            Leg::Undo(_) => Arrival::Compensation,
            Leg::UndoProbe(_) => Arrival::UndoProbe,
            Leg::Start | Leg::Action(_) => Arrival::Action { same_body: true },
        };
        let verdict = guard::decide(self.now.row, arrival);
        let verdict = mutant.map_or(verdict, |mutant| {
            mutant::decide(mutant, self.now.row, arrival)
        });
        let acts_now = matches!(mood, Mood::Well | Mood::ErrsAfter);
        let ruling = match verdict {
            Verdict::RunAction if acts_now => asks(Direction::Forward),
            Verdict::RunCompensation if acts_now => asks(Direction::Backward),
            _ => Ruling::Happens,
        };
        let ruled = match ruling {
            Ruling::Happens => mood,
            Ruling::Fails => Mood::Fails,
            Ruling::NotYet => Mood::NotYet,
        };
        let pending = Answer::Pending { until: promise };
        let handled = self.treat(verdict, attempt, ruled, pending, mutant, asks);
        Handled {
            // what is refused anyway is no fault
            minded: handled.minded && ruled == mood,
            ..handled
        }
    }

    fn treat(
        &mut self,
        verdict: Verdict,
        attempt: u32,
        mood: Mood,
        pending: Answer,
        mutant: Option<Mutant>,
        asks: &mut Asks<'_>,
    ) -> Handled {
        match (verdict, mood) {
            (Verdict::RunAction | Verdict::RunCompensation | Verdict::Close(_), Mood::NotYet) => {
                return Handled::minded(Answer::Transient);
            }
            (Verdict::RunAction, Mood::Calls | Mood::CallsTwice | Mood::Forgets) => {
                self.now.row.act = Act::Pending(Pending::Called);
                return self.calls(attempt, mood, pending, mutant, asks);
            }
            (Verdict::RunCompensation, Mood::Calls | Mood::CallsTwice) => {
                self.now.row.comp = Comp::Pending;
                return self.calls(attempt, mood, pending, mutant, asks);
            }
            _ => {}
        }
        let said = match verdict {
            Verdict::RunAction if mood == Mood::Fails => {
                if mutant != Some(Mutant::FailedNotStored) {
                    self.now.row.act = Act::Failed;
                    self.now.failed = true;
                }
                return Handled::minded(failed());
            }
            Verdict::RunAction => {
                self.now.row.act = Act::Done;
                self.now.done += 1;
                Answer::Done
            }
            Verdict::RunCompensation if mood == Mood::Fails => {
                return Handled::minded(closed());
            }
            Verdict::RunCompensation => {
                self.now.row.comp = Comp::Done;
                if mutant != Some(Mutant::UndoWithoutEffect) {
                    self.now.undone += 1;
                }
                Answer::Undone
            }
            Verdict::Close(row) => {
                if mutant != Some(Mutant::ProbeLeavesOpen) {
                    self.now.row = row;
                }
                if mood == Mood::Calls {
                    return Handled {
                        answers: vec![pending, Answer::NotDone],
                        ..Handled::minded(Answer::NotDone)
                    };
                }
                Answer::NotDone
            }
            Verdict::AwaitThenUndo => {
                self.now.row.comp = Comp::Pending;
                self.called = attempt;
                return Handled::answer(pending);
            }
            Verdict::Tombstone(row) => {
                if mutant != Some(Mutant::NoTombstone) {
                    self.now.row = row;
                }
                return Handled::answer(Answer::UndoneEmpty);
            }
            Verdict::ReplayAction
            | Verdict::ReplayCompensation
            | Verdict::Pending
            | Verdict::NotDone
            | Verdict::RefuseClosed
            | Verdict::RefuseMismatch => {
                return Handled::answer(self.told_again(verdict, pending, mutant));
            }
        };
        match mood {
            Mood::ErrsAfter => Handled::minded(Answer::Transient),
            Mood::Fails => Handled::minded(said),
            _ => Handled::answer(said),
        }
    }

    /// What changes nothing.
    fn told_again(&self, verdict: Verdict, pending: Answer, mutant: Option<Mutant>) -> Answer {
        match verdict {
            Verdict::ReplayAction if self.now.failed || mutant == Some(Mutant::DuplicateFails) => {
                failed()
            }
            Verdict::ReplayAction => Answer::Done,
            Verdict::ReplayCompensation if self.now.row.act == Act::Done => Answer::Undone,
            Verdict::ReplayCompensation => Answer::UndoneEmpty,
            Verdict::NotDone => Answer::NotDone,
            Verdict::RefuseClosed => Answer::Refused {
                refusal: Refusal::Closed,
            },
            Verdict::RefuseMismatch => Answer::Refused {
                refusal: Refusal::Mismatch,
            },
            _ => pending,
        }
    }

    /// The intent is stored, and the external system is called.
    fn calls(
        &mut self,
        attempt: u32,
        mood: Mood,
        pending: Answer,
        mutant: Option<Mutant>,
        asks: &mut Asks<'_>,
    ) -> Handled {
        self.called = attempt;
        let made = mood != Mood::Calls;
        if made && !self.acts(asks) {
            return Handled::answer(pending); // it is refused, whoever calls
        }
        // what the external system no longer knows is looked up, and left to people
        let again = mood != Mood::Forgets || mutant == Some(Mutant::CallsAfterForgotten);
        let knows = mood == Mood::CallsTwice && mutant != Some(Mutant::NoStepKey);
        Handled {
            call: again.then_some(made && knows),
            ..Handled::minded(pending)
        }
    }

    /// The external system does what the row has in mind; false: it is refused.
    fn acts(&mut self, asks: &mut Asks<'_>) -> bool {
        let back = self.now.row.comp == Comp::Pending;
        let (direction, times) = if back {
            (Direction::Backward, &mut self.now.undone)
        } else {
            (Direction::Forward, &mut self.now.done)
        };
        let happens = asks(direction) == Ruling::Happens;
        *times += u8::from(happens);
        happens
    }

    /// The external system has answered: the outcome is written, and what waited for it is done.
    pub(crate) fn settle(
        &mut self,
        step: usize,
        made: bool,
        asks: &mut Asks<'_>,
    ) -> (Leg, u32, Answer) {
        let is_undo = self.now.row.act == Act::Done;
        if !is_undo {
            let ruling = if made {
                Ruling::Happens
            } else {
                asks(Direction::Forward)
            };
            self.now.done += u8::from(!made && ruling == Ruling::Happens);
            let answer = self.settled(ruling);
            if self.now.row.comp != Comp::Pending {
                return (Leg::Action(step), self.called, answer);
            }
            if ruling != Ruling::Happens {
                self.now.row.comp = Comp::Done;
                return (Leg::Undo(step), self.called, Answer::UndoneEmpty);
            }
        }
        if !(is_undo && made) {
            if asks(Direction::Backward) != Ruling::Happens {
                self.now.row.comp = Comp::None;
                return (Leg::Undo(step), self.called, closed());
            }
            self.now.undone += 1;
        }
        self.now.row.comp = Comp::Done;
        (Leg::Undo(step), self.called, Answer::Undone)
    }

    /// What is stored of an action that was out, and answered.
    fn settled(&mut self, ruling: Ruling) -> Answer {
        let is_wanted_back = self.now.row.comp == Comp::Pending;
        let (act, answer) = match ruling {
            Ruling::Happens => (Act::Done, Answer::Done),
            Ruling::NotYet if !is_wanted_back => (Act::None, Answer::Transient),
            Ruling::Fails | Ruling::NotYet => (Act::Failed, failed()),
        };
        self.now.row.act = act;
        self.now.failed = act == Act::Failed;
        answer
    }

    /// The effect happened, and the guard's row is not there.
    pub(crate) fn acts_without_row(&mut self) {
        if self.now.row == Row::NEW {
            self.now.done += 1;
        }
    }

    /// The participant is restored to what it was one transaction ago; what stands outside of
    /// its database stays.
    pub(crate) fn restore(&mut self, external: bool) -> bool {
        let Some(before) = self.before.take() else {
            return false;
        };
        let (done, undone) = (self.now.done, self.now.undone);
        self.now = before;
        if external {
            (self.now.done, self.now.undone) = (done, undone);
        }
        true
    }
}

fn failed() -> Answer {
    Answer::Failed {
        reason: "REFUSED".to_owned(),
        detail: String::new(),
    }
}

fn closed() -> Answer {
    Answer::CannotUndo {
        reason: "CLOSED".to_owned(),
    }
}
