use std::collections::BTreeSet;

use palinode_db::{Error, Tx};
use palinode_participant::{Decided, Event, Outcome, Output, Task};
use palinode_saga::Direction;
use palinode_saga::guard::Pending;
use palinode_values::{OrderId, ReservationId, Sku, Timestamp};

use crate::domain::{Asked, Books, Command, Verdict, WAIT, Wait};
use crate::{convert, store};

/// What comes of an action if there is enough of everything.
pub(crate) fn expected(task: &Task<'_, Command>) -> Outcome {
    if task.direction == Direction::Backward {
        return Outcome::Undone;
    }
    let output = match task.command {
        Command::Reserve { .. } => Some(convert::reserve_output(ReservationId(task.new_id))),
        Command::Release { .. } | Command::Commit { .. } | Command::Restock { .. } => None,
    };
    Outcome::Done { output }
}

/// Does a batch of commands: every row is locked once, decided upon in memory, written once.
///
/// Shape: as `palinode_participant::Handler::handle` has it. Reservations are locked before stock,
/// each in key order.
pub(crate) async fn run_commands(
    mut tx: Tx,
    tasks: &[Task<'_, Command>],
    now: Timestamp,
) -> Result<(Tx, Vec<Decided>), Error> {
    let orders: BTreeSet<OrderId> = tasks.iter().map(|task| order_of(task.command)).collect();
    let orders: Vec<OrderId> = orders.into_iter().collect();
    let (reservations, levels) = store::lock(&mut tx, &orders, &skus_of(tasks)).await?;

    let mut books = Books::new(levels, reservations);
    let asked: Vec<Asked<'_>> = tasks
        .iter()
        .map(|task| Asked {
            saga: task.saga.saga_id,
            new: ReservationId(task.new_id),
            command: task.command,
        })
        .collect();
    let verdicts = books.decide(&asked, now);
    let waits: Vec<Wait> = tasks
        .iter()
        .zip(&verdicts)
        .filter_map(|(task, verdict)| wait(task, verdict, now))
        .collect();

    let changes: Vec<_> = books.changes().collect();
    let moved: Vec<_> = books.moved().collect();
    store::write(&mut tx, &changes, &books.made(), &moved).await?;
    store::enqueue(&mut tx, &waits).await?;
    let decided = tasks
        .iter()
        .zip(verdicts)
        .map(|(task, verdict)| decided(task, verdict, &books, now))
        .collect();
    Ok((tx, decided))
}

fn order_of(command: &Command) -> OrderId {
    match command {
        Command::Reserve { order, .. }
        | Command::Release { order }
        | Command::Commit { order, .. }
        | Command::Restock { order } => *order,
    }
}

fn skus_of<'a>(tasks: &[Task<'a, Command>]) -> Vec<&'a Sku> {
    let lines = tasks.iter().flat_map(|task| match task.command {
        Command::Reserve { lines, .. } => lines.as_slice(),
        Command::Release { .. } | Command::Commit { .. } | Command::Restock { .. } => &[],
    });
    let skus: BTreeSet<&Sku> = lines.map(|line| &line.sku).collect();
    skus.into_iter().collect()
}

/// The place in the queue of a command that has to wait.
fn wait(task: &Task<'_, Command>, verdict: &Verdict, now: Timestamp) -> Option<Wait> {
    let Verdict::Waits(lines) = verdict else {
        return None;
    };
    Some(Wait {
        saga: task.saga.saga_id,
        step: task.saga.step.clone(),
        order: order_of(task.command),
        lines: lines.clone(),
        until: now + WAIT,
    })
}

fn decided(task: &Task<'_, Command>, verdict: Verdict, books: &Books, now: Timestamp) -> Decided {
    match verdict {
        Verdict::Done {
            reservation,
            changed,
        } => {
            let output = match task.command {
                Command::Reserve { .. } => Some(convert::reserve_output(reservation)),
                Command::Release { .. } | Command::Commit { .. } | Command::Restock { .. } => None,
            };
            let event = if changed {
                event(task.command, books)
            } else {
                None
            };
            Decided {
                outcome: done(task.direction, output),
                events: event.into_iter().collect(),
            }
        }
        Verdict::Waits(_) => Decided::quietly(Outcome::Pending {
            until: now + WAIT,
            how: Pending::Queued,
        }),
        Verdict::NotNow(detail) => Decided::quietly(Outcome::Transient { detail }),
        Verdict::NothingHeld => Decided::quietly(done(task.direction, None)),
        Verdict::Refused(refusal) => {
            let (reason, detail) = (refusal.reason.as_str().to_owned(), refusal.detail);
            Decided::quietly(match task.direction {
                Direction::Forward => Outcome::Failed { reason, detail },
                Direction::Backward => Outcome::CannotUndo { reason, detail },
            })
        }
    }
}

fn done(direction: Direction, output: Option<Output>) -> Outcome {
    match direction {
        Direction::Forward => Outcome::Done { output },
        Direction::Backward => Outcome::Undone,
    }
}

fn event(command: &Command, books: &Books) -> Option<Event> {
    let reservation = books.reservation(order_of(command))?;
    Some(match command {
        Command::Reserve { .. } => convert::stock_reserved(reservation),
        Command::Release { .. } => convert::stock_released(reservation),
        Command::Commit { .. } => convert::stock_committed(reservation),
        Command::Restock { .. } => convert::stock_restocked(reservation),
    })
}
