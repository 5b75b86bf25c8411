use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use palinode_db::{Error, Tx};
use palinode_messaging::SagaHeaders;
use palinode_saga::Direction;
use palinode_saga::guard::{Act, Comp, Row};
use palinode_telemetry::TraceContext;
use palinode_values::{Clock, SagaId};

use crate::command::Owed;
use crate::outgoing::{self, Addressed};
use crate::row::{Held, small};
use crate::{Event, Outcome, reply, store};

/// The outcome of a task that was pending.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The saga.
    pub saga_id: SagaId,
    /// Step of the plan.
    pub step: String,
    /// Which of the two was pending.
    pub direction: Direction,
    /// Forward: `Done`, `Failed`, or `Transient`: it did not happen, and may be asked for again.
    /// Backward: `Undone` or `CannotUndo`.
    pub outcome: Outcome,
    /// Written only if the task was still pending.
    pub events: Vec<Event>,
}

/// What became of a settlement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Stored, and the reply is in the outbox.
    Replied,
    /// The action is stored as done, but its compensation came meanwhile: the caller writes the
    /// intent of the undo in the same transaction.
    UndoWanted {
        /// Headers of the compensation, to be settled backward.
        saga: SagaHeaders,
    },
    /// It was not pending any more: nothing was written.
    AlreadySettled,
}

/// Locks the guard rows of tasks, and tells which are pending still. For whoever has to know before
/// it decides; [`settle`] in the same transaction then writes what was decided.
///
/// # Errors
/// Those of the database.
pub async fn lock_pending(
    tx: &mut Tx,
    keys: &[(SagaId, &str)],
) -> Result<BTreeSet<(SagaId, String)>, Error> {
    let rows = store::lock_existing(tx, keys).await?;
    let pending = rows
        .into_iter()
        .filter(|held| matches!(held.row.act, Act::Pending(_)));
    Ok(pending.map(|held| (held.saga_id, held.step)).collect())
}

/// Writes the outcomes of pending tasks, and their replies and events, in the caller's transaction.
///
/// Shape: 0 to 500 settlements; one [`Settled`] comes back for each, in the same order. The guard
/// rows are locked here, so call it before any business row is locked, and ring the doorbell after
/// the commit. `service` is the participant's name.
///
/// # Errors
/// The transaction is to be rolled back. `Inconsistent`: also when an outcome is not one that can
/// settle its direction, or an event is too large.
pub async fn settle(
    mut tx: Tx,
    service: &'static str,
    clock: &Clock,
    settlements: &[Settlement],
) -> Result<(Tx, Vec<Settled>), Error> {
    let keys: BTreeSet<(SagaId, &str)> = settlements
        .iter()
        .map(|s| (s.saga_id, s.step.as_str()))
        .collect();
    let keys: Vec<_> = keys.into_iter().collect();
    let mut rows: BTreeMap<(SagaId, String), Held> = store::lock_existing(&mut tx, &keys)
        .await?
        .into_iter()
        .map(|row| ((row.saga_id, row.step.clone()), row))
        .collect();

    let mut settled = Vec::with_capacity(settlements.len());
    let mut addressed = Vec::new();
    for settlement in settlements {
        let row = rows.get_mut(&(settlement.saga_id, settlement.step.clone()));
        let said = match row {
            Some(row) => settle_one(row, settlement)?,
            None => None,
        };
        let Some(Said { owed, reply, undo }) = said else {
            settled.push(Settled::AlreadySettled);
            continue;
        };
        settled.push(undo.map_or(Settled::Replied, |saga| Settled::UndoWanted { saga }));
        addressed.push(Addressed {
            saga: owed.saga,
            trace: owed.trace,
            reply,
            events: settlement.events.clone(),
        });
    }
    store::write(&mut tx, rows.values()).await?;
    // no span is written here, so a record continues the span that took its command up
    let records = outgoing::records(addressed, clock, TraceContext::clone);
    outgoing::append(&mut tx, service, &records)
        .await
        .map_err(|error| match error {
            palinode_outbox::Error::Db(error) => error,
            other => Error::inconsistent("outbox", "payload", "settlement", other),
        })?;
    Ok((tx, settled))
}

/// What a settlement says, and to whom.
struct Said {
    owed: Owed,
    reply: Option<Bytes>,
    undo: Option<SagaHeaders>,
}

/// Changes the row; `None` where it is not pending in that direction any more.
fn settle_one(row: &mut Held, settlement: &Settlement) -> Result<Option<Said>, Error> {
    match (settlement.direction, row.row) {
        (
            Direction::Forward,
            Row {
                act: Act::Pending(_),
                ..
            },
        ) => forward(row, &settlement.outcome).map(Some),
        // while the action itself is pending, nothing can have been taken back
        (
            Direction::Backward,
            Row {
                act: Act::Pending(_),
                ..
            },
        ) => Ok(None),
        (
            Direction::Backward,
            Row {
                comp: Comp::Pending,
                ..
            },
        ) => backward(row, &settlement.outcome).map(Some),
        (Direction::Forward | Direction::Backward, _) => Ok(None),
    }
}

fn forward(row: &mut Held, outcome: &Outcome) -> Result<Said, Error> {
    let owed = row.owed(Direction::Forward)?;
    let undo_wanted = row.row.comp == Comp::Pending;
    match outcome {
        Outcome::Done { output } => {
            let reply = acted(row, Act::Done, reply::done(output.as_ref()))?;
            if undo_wanted {
                // the action's outcome interests nobody any more: the saga waits for the undo
                let undo = row.owed(Direction::Backward)?.saga;
                return Ok(Said {
                    owed,
                    reply: None,
                    undo: Some(undo),
                });
            }
            row.pending_until = None;
            Ok(Said {
                owed,
                reply: Some(reply),
                undo: None,
            })
        }
        Outcome::Failed { reason, detail } => {
            if !owed.saga.may_fail {
                tracing::error!(
                    saga = %row.saga_id, step = row.step, reason,
                    "a step that may not fail was refused by an external system"
                );
            }
            let failed = reply::failed(reason.clone(), detail.clone());
            let reply = acted(row, Act::Failed, failed)?;
            if undo_wanted {
                return nothing_to_undo(row);
            }
            row.pending_until = None;
            Ok(Said {
                owed,
                reply: Some(reply),
                undo: None,
            })
        }
        Outcome::Transient { detail } => {
            row.act_result = None;
            if undo_wanted {
                // the door is shut: the action would come too late
                row.change(Row {
                    act: Act::Closed,
                    ..row.row
                });
                return nothing_to_undo(row);
            }
            // as if it had never arrived: the next attempt runs
            row.change(Row {
                act: Act::None,
                ..row.row
            });
            row.act_hash = None;
            row.pending_until = None;
            Ok(Said {
                owed,
                reply: Some(reply::transient(detail.clone())),
                undo: None,
            })
        }
        Outcome::Pending { .. } | Outcome::Undone | Outcome::CannotUndo { .. } => {
            Err(row.inconsistent("act", "no outcome of an action"))
        }
    }
}

/// The compensation waited for an action that did not happen.
fn nothing_to_undo(row: &mut Held) -> Result<Said, Error> {
    let owed = row.owed(Direction::Backward)?;
    row.change(Row {
        comp: Comp::Done,
        ..row.row
    });
    row.comp_result = Some(reply::undone_empty());
    row.pending_until = None;
    Ok(Said {
        owed,
        reply: Some(reply::undone_empty()),
        undo: None,
    })
}

fn backward(row: &mut Held, outcome: &Outcome) -> Result<Said, Error> {
    let owed = row.owed(Direction::Backward)?;
    let reply = match outcome {
        Outcome::Undone => {
            row.change(Row {
                comp: Comp::Done,
                ..row.row
            });
            row.comp_result = Some(reply::undone());
            reply::undone()
        }
        Outcome::CannotUndo { reason, detail } => {
            row.change(Row {
                comp: Comp::None,
                ..row.row
            });
            row.comp_result = None;
            reply::cannot_undo(reason.clone(), detail.clone())
        }
        Outcome::Done { .. }
        | Outcome::Failed { .. }
        | Outcome::Pending { .. }
        | Outcome::Transient { .. } => {
            return Err(row.inconsistent("comp", "no outcome of a compensation"));
        }
    };
    row.pending_until = None;
    Ok(Said {
        owed,
        reply: Some(reply),
        undo: None,
    })
}

fn acted(row: &mut Held, act: Act, reply: Bytes) -> Result<Bytes, Error> {
    let reply = small(reply).map_err(|why| row.inconsistent("act_result", why))?;
    row.change(Row { act, ..row.row });
    row.act_result = Some(reply.clone());
    Ok(reply)
}
