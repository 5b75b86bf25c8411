use std::collections::{BTreeMap, BTreeSet};

use palinode_db::{Db, Error, Tx};
use palinode_participant::{Outcome, Settlement, lock_pending, settle};
use palinode_saga::Direction;
use palinode_values::{Clock, OrderId, ReservationId, Sku};

use crate::domain::{Change, Fate, Reason, Refusal, Reservation, State, Wait, fates};
use crate::{convert, store};

/// Reservations that are looked at together at the most.
const WAITS_MAX: i64 = 2_000;

/// What a look at the queue came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// Reservations that were granted, refused, or not wanted any more.
    pub decided: usize,
    /// Those that go on waiting.
    pub waiting: usize,
}

/// Looks at the queue: grants what has come free in the order of arrival, refuses what will not
/// come, and answers their sagas.
///
/// # Errors
/// The database failed; nothing was decided.
pub async fn grant(db: &Db, clock: &Clock) -> Result<Granted, Error> {
    db.run_tx("inventory.grant", |tx| look(tx, clock)).await
}

/// Guard rows are locked first, then reservations, then stock: as every batch of commands does.
async fn look(mut tx: Tx, clock: &Clock) -> Result<(Tx, Granted), Error> {
    let waits = store::waiting(&mut tx, WAITS_MAX).await?;
    if waits.is_empty() {
        let nothing = Granted {
            decided: 0,
            waiting: 0,
        };
        return Ok((tx, nothing));
    }
    let now = tx.now();
    let keys: Vec<_> = waits.iter().map(|w| (w.saga, w.step.as_str())).collect();
    let pending = lock_pending(&mut tx, &keys).await?;
    // its compensation came, or another look has decided it
    let (wanted, gone): (Vec<Wait>, Vec<Wait>) = waits
        .into_iter()
        .partition(|wait| pending.contains(&(wait.saga, wait.step.clone())));
    let orders: BTreeSet<OrderId> = wanted.iter().map(|wait| wait.order).collect();
    let orders: Vec<OrderId> = orders.into_iter().collect();
    let lines = wanted.iter().chain(&gone).flat_map(|wait| &wait.lines);
    let skus: BTreeSet<&Sku> = lines.map(|line| &line.sku).collect();
    let skus: Vec<&Sku> = skus.into_iter().collect();
    let (reserved, levels) = store::lock(&mut tx, &orders, &skus).await?;
    let mut reserved: BTreeSet<OrderId> = reserved.iter().map(|r| r.order).collect();
    let mut levels: BTreeMap<Sku, _> = levels.into_iter().collect();

    let decided = fates(&mut levels, &wanted, now);
    let mut over: Vec<&Wait> = gone.iter().collect();
    let mut changes: BTreeMap<&Sku, Change> = BTreeMap::new();
    let (mut made, mut settlements) = (Vec::new(), Vec::new());
    for (wait, fate) in wanted.iter().zip(decided) {
        let outcome = match fate {
            Fate::Waits => continue,
            Fate::Granted if !reserved.insert(wait.order) => {
                let detail = format!("order {} has a reservation already", wait.order);
                failed(Refusal {
                    reason: Reason::AlreadyReserved,
                    detail,
                })
            }
            Fate::Granted => {
                for line in &wait.lines {
                    changes.entry(&line.sku).or_default().held += line.quantity;
                }
                let reservation = Reservation {
                    id: ReservationId::new(clock),
                    order: wait.order,
                    saga: wait.saga,
                    state: State::Held,
                    lines: wait.lines.clone(),
                    created_at: now,
                };
                let output = Some(convert::reserve_output(reservation.id));
                made.push(reservation);
                Outcome::Done { output }
            }
            Fate::Refused(refusal) => failed(refusal),
        };
        let granted = matches!(outcome, Outcome::Done { .. });
        let event = made.last().filter(|_| granted).map(convert::stock_reserved);
        settlements.push(Settlement {
            saga_id: wait.saga,
            step: wait.step.clone(),
            direction: Direction::Forward,
            outcome,
            events: event.into_iter().collect(),
        });
        over.push(wait);
    }
    let freed = store::dequeue(&mut tx, &over).await?;
    for sku in &freed {
        changes.entry(sku).or_default().waiting -= 1;
    }
    let changes: Vec<_> = changes.into_iter().collect();
    made.sort_by_key(|reservation| reservation.order);
    let made: Vec<&Reservation> = made.iter().collect();
    store::write(&mut tx, &changes, &made, &[]).await?;
    let granted = Granted {
        decided: over.len(),
        waiting: wanted.len() + gone.len() - over.len(),
    };
    for part in settlements.chunks(500) {
        (tx, _) = settle(tx, "inventory", clock, part).await?;
    }
    Ok((tx, granted))
}

fn failed(refusal: Refusal) -> Outcome {
    Outcome::Failed {
        reason: refusal.reason.as_str().to_owned(),
        detail: refusal.detail,
    }
}
