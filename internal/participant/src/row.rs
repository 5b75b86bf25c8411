use bytes::Bytes;
use chrono::TimeDelta;
use palinode_db::Error;
use palinode_messaging::Received;
use palinode_pb::saga::v1::step_reply::refused::Cause;
use palinode_saga::Direction;
use palinode_saga::guard::{self, Act, Arrival, Comp, Row, Verdict};
use palinode_telemetry::TraceContext;
use palinode_values::{SagaId, Timestamp};

use crate::command::Owed;
use crate::{Outcome, reply};

/// Replies above that are refused: they are stored for as long as the saga may ask again.
const RESULT_BYTES_MAX: usize = 16 * 1024;
/// What a duplicate is told to wait where nothing better is known.
const PENDING_USUAL: TimeDelta = TimeDelta::seconds(10);

/// A guard row that this transaction holds.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) saga_id: SagaId,
    pub(crate) step: String,
    pub(crate) row: Row,
    /// SHA-256 of the body of the action.
    pub(crate) act_hash: Option<[u8; 32]>,
    /// The stored reply; while the action is pending, the command that it will answer.
    pub(crate) act_result: Option<Bytes>,
    /// The stored reply; while the compensation is pending, the command that it will answer.
    pub(crate) comp_result: Option<Bytes>,
    pub(crate) pending_until: Option<Timestamp>,
    /// Whether it was changed since it was read.
    changed: bool,
    /// What it was written with before the handler had said anything.
    pub(crate) expected: Option<Box<Expected>>,
    /// In the database its compensation stands as done, before the handler had said anything.
    undone_ahead: bool,
}

/// What will most likely come of an action, and the row that it makes.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    outcome: Outcome,
    reply: Bytes,
    pub(crate) act: Act,
    pub(crate) act_hash: [u8; 32],
    pub(crate) act_result: Bytes,
    pub(crate) pending_until: Option<Timestamp>,
}

/// A reply, and what the guard did, as `guard.result` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) body: Bytes,
    pub(crate) result: &'static str,
}

/// A command that may have to be kept until its outcome is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrived<'a> {
    pub(crate) record: &'a Received,
    pub(crate) direction: Direction,
    pub(crate) may_fail: bool,
    /// SHA-256 of the body; zeros where it is no action, for nothing is compared then.
    pub(crate) hash: [u8; 32],
    /// Context of the `process` span.
    pub(crate) trace: &'a TraceContext,
}

/// What the guard says to a command at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answered {
    /// This, whatever the handler would say.
    Reply(Reply),
    /// Let the handler do it.
    Run,
}

impl Held {
    /// The row of a step of which nothing was heard.
    pub(crate) fn new(saga_id: SagaId, step: String) -> Self {
        Self {
            saga_id,
            step,
            row: Row::NEW,
            act_hash: None,
            act_result: None,
            comp_result: None,
            pending_until: None,
            changed: false,
            expected: None,
            undone_ahead: false,
        }
    }

    /// The row of an action that was done, and of which was just written that it is undone.
    ///
    /// # Errors
    /// `Inconsistent`: the hash is none.
    pub(crate) fn is_done(
        &mut self,
        act_hash: Option<Vec<u8>>,
        act_result: Option<Vec<u8>>,
        pending_until: Option<Timestamp>,
    ) -> Result<(), Error> {
        self.row = Row {
            act: Act::Done,
            comp: Comp::None,
        };
        self.act_hash = self.hash(act_hash)?;
        self.act_result = act_result.map(Bytes::from);
        self.pending_until = pending_until;
        self.undone_ahead = true;
        Ok(())
    }

    pub(crate) fn is_undone_ahead(&self) -> bool {
        self.undone_ahead
    }

    /// A hash as it stands in the row.
    ///
    /// # Errors
    /// `Inconsistent`: it is none.
    pub(crate) fn hash(&self, stored: Option<Vec<u8>>) -> Result<Option<[u8; 32]>, Error> {
        let hash = stored.map(<[u8; 32]>::try_from).transpose();
        hash.map_err(|_not_32| self.inconsistent("act_hash", "no SHA-256"))
    }

    /// Takes note of what will most likely come of `action`, the first command for the row.
    /// What no row can be made of is left to be told when it has come.
    pub(crate) fn expect(&mut self, outcome: Outcome, action: Arrived<'_>) {
        let (act, reply, act_result, pending_until) = match &outcome {
            Outcome::Done { output } => {
                let Ok(reply) = small(reply::done(output.as_ref())) else {
                    return;
                };
                (Act::Done, reply.clone(), reply, None)
            }
            Outcome::Pending { until, how } => {
                let owed = Owed::keep(action.record, action.trace, *how);
                (
                    Act::Pending(*how),
                    reply::pending(*until),
                    owed,
                    Some(*until),
                )
            }
            Outcome::Failed { .. }
            | Outcome::Transient { .. }
            | Outcome::Undone
            | Outcome::CannotUndo { .. } => return,
        };
        self.expected = Some(Box::new(Expected {
            outcome,
            reply,
            act,
            act_hash: action.hash,
            act_result,
            pending_until,
        }));
    }

    /// Whether the row stands otherwise in the database than here.
    pub(crate) fn is_to_be_written(&self) -> bool {
        if self.undone_ahead {
            // a handler that could not, or not yet: the row is as it was
            return self.row.comp != Comp::Done || self.comp_result != Some(reply::undone());
        }
        match &self.expected {
            None => self.changed,
            Some(expected) => {
                let row = Row {
                    act: expected.act,
                    ..Row::NEW
                };
                self.row != row
                    || self.act_hash != Some(expected.act_hash)
                    || self.act_result.as_ref() != Some(&expected.act_result)
                    || self.pending_until != expected.pending_until
            }
        }
    }

    /// What the guard says to `arrival`; the row is changed accordingly.
    ///
    /// # Errors
    /// `Inconsistent`: the row has no stored reply where it must have one.
    pub(crate) fn ask(
        &mut self,
        arrival: Arrival,
        command: Arrived<'_>,
        now: Timestamp,
    ) -> Result<Answered, Error> {
        let (body, result) = match guard::decide(self.row, arrival) {
            Verdict::RunAction | Verdict::RunCompensation => return Ok(Answered::Run),
            Verdict::ReplayAction => (self.stored(Direction::Forward)?, "replayed"),
            Verdict::ReplayCompensation => (self.stored(Direction::Backward)?, "replayed"),
            Verdict::Pending => (self.still_pending(now), "pending"),
            Verdict::AwaitThenUndo => {
                self.change(Row {
                    comp: Comp::Pending,
                    ..self.row
                });
                let how = guard::Pending::Called;
                self.comp_result = Some(Owed::keep(command.record, command.trace, how));
                (self.still_pending(now), "pending")
            }
            Verdict::Tombstone(row) => {
                self.leave_queue(row);
                self.comp_result = Some(reply::undone_empty());
                (reply::undone_empty(), "tombstone")
            }
            Verdict::Close(row) => {
                self.leave_queue(row);
                (reply::not_done(), "closed")
            }
            Verdict::NotDone => (reply::not_done(), "replayed"),
            Verdict::RefuseClosed => (reply::refused(Cause::Closed), "refused_closed"),
            Verdict::RefuseMismatch => (reply::refused(Cause::Mismatch), "refused_mismatch"),
        };
        Ok(Answered::Reply(Reply { body, result }))
    }

    /// Takes over what the handler says of a command that it was let to do.
    ///
    /// # Errors
    /// The words of a broken contract.
    pub(crate) fn apply(
        &mut self,
        outcome: Outcome,
        command: Arrived<'_>,
    ) -> Result<Reply, String> {
        if let Some(expected) = self.expected.take_if(|e| e.comes_of(&outcome, command)) {
            self.change(Row {
                act: expected.act,
                ..self.row
            });
            self.act_hash = Some(expected.act_hash);
            self.act_result = Some(expected.act_result.clone());
            self.pending_until = expected.pending_until;
            let body = expected.reply.clone();
            self.expected = Some(expected);
            return Ok(Reply {
                body,
                result: "applied",
            });
        }
        let body = match (command.direction, outcome) {
            (_, Outcome::Transient { detail }) => {
                return Ok(Reply {
                    body: reply::transient(detail),
                    result: "transient",
                });
            }
            (Direction::Forward, Outcome::Done { output }) => {
                let body = small(reply::done(output.as_ref()))?;
                self.acted(Act::Done, command, body.clone());
                body
            }
            (Direction::Forward, Outcome::Failed { reason, .. }) if !command.may_fail => {
                // the engine has no way back from here: it asks again until a person looks
                tracing::error!(
                    saga = %self.saga_id, step = self.step, reason,
                    "a step that may not fail was refused"
                );
                let detail = format!("refused with {reason}, although the step may not fail");
                return Ok(Reply {
                    body: reply::transient(detail),
                    result: "transient",
                });
            }
            (Direction::Forward, Outcome::Failed { reason, detail }) => {
                let body = small(reply::failed(reason, detail))?;
                self.acted(Act::Failed, command, body.clone());
                body
            }
            (Direction::Forward, Outcome::Pending { until, how }) => {
                let owed = Owed::keep(command.record, command.trace, how);
                self.acted(Act::Pending(how), command, owed);
                self.pending_until = Some(until);
                reply::pending(until)
            }
            (Direction::Backward, Outcome::Undone) => {
                self.change(Row {
                    comp: Comp::Done,
                    ..self.row
                });
                self.comp_result = Some(reply::undone());
                reply::undone()
            }
            (Direction::Backward, Outcome::CannotUndo { reason, detail }) => {
                reply::cannot_undo(reason, detail)
            }
            (Direction::Backward, Outcome::Pending { until, how }) => {
                self.change(Row {
                    comp: Comp::Pending,
                    ..self.row
                });
                self.comp_result = Some(Owed::keep(command.record, command.trace, how));
                self.pending_until = Some(until);
                reply::pending(until)
            }
            (Direction::Forward, Outcome::Undone | Outcome::CannotUndo { .. })
            | (Direction::Backward, Outcome::Done { .. } | Outcome::Failed { .. }) => {
                return Err(format!(
                    "an outcome of the other direction for {}",
                    self.step
                ));
            }
        };
        Ok(Reply {
            body,
            result: "applied",
        })
    }

    fn acted(&mut self, act: Act, command: Arrived<'_>, result: Bytes) {
        self.change(Row { act, ..self.row });
        self.act_hash = Some(command.hash);
        self.act_result = Some(result);
    }

    /// The door is shut. What waited in a queue finds that out when its turn comes.
    fn leave_queue(&mut self, row: Row) {
        if let Act::Pending(_) = self.row.act {
            self.act_result = None;
            self.pending_until = None;
        }
        self.change(row);
    }

    pub(crate) fn change(&mut self, row: Row) {
        self.row = row;
        self.changed = true;
    }

    fn still_pending(&self, now: Timestamp) -> Bytes {
        reply::pending(self.pending_until.unwrap_or(now + PENDING_USUAL))
    }

    fn stored(&self, direction: Direction) -> Result<Bytes, Error> {
        let (column, stored) = match direction {
            Direction::Forward => ("act_result", &self.act_result),
            Direction::Backward => ("comp_result", &self.comp_result),
        };
        stored
            .clone()
            .ok_or_else(|| self.inconsistent(column, "no reply is stored"))
    }

    /// The command whose answer is owed in that direction.
    ///
    /// # Errors
    /// `Inconsistent`: the row is pending and has no command that can be read.
    pub(crate) fn owed(&self, direction: Direction) -> Result<Owed, Error> {
        let stored = self.stored(direction)?;
        Owed::read(&stored).map_err(|error| self.inconsistent(direction.as_str(), error))
    }

    pub(crate) fn inconsistent(&self, column: &'static str, why: impl ToString) -> Error {
        Error::inconsistent(
            "saga_guard",
            column,
            format!("{}/{}", self.saga_id, self.step),
            why,
        )
    }
}

impl Expected {
    /// Whether that came of `command`: then its row stands already. When a pending answer is
    /// expected is a guess either way.
    fn comes_of(&self, outcome: &Outcome, command: Arrived<'_>) -> bool {
        let same = match (&self.outcome, outcome) {
            (Outcome::Pending { how, .. }, Outcome::Pending { how: said, .. }) => how == said,
            (expected, said) => expected == said,
        };
        same && command.direction == Direction::Forward && command.hash == self.act_hash
    }
}

/// The reply, if it is small enough to be kept.
pub(crate) fn small(reply: Bytes) -> Result<Bytes, String> {
    if reply.len() > RESULT_BYTES_MAX {
        return Err(format!(
            "a result of {} bytes, above {RESULT_BYTES_MAX}",
            reply.len()
        ));
    }
    Ok(reply)
}
