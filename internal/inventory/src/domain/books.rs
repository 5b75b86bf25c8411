use std::collections::BTreeMap;

use palinode_values::{OrderId, ReservationId, SagaId, Sku, Timestamp};

use super::reservation::Ending;
use super::{Level, Line, Reason, Refusal, Reservation, State};

/// Reservations that may wait for a SKU; more are refused at once.
const WAITING_MAX: i64 = 10_000;

/// What a saga asks of inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Hold all lines, or none.
    Reserve {
        order: OrderId,
        /// In any order; a SKU may stand twice.
        lines: Vec<Line>,
    },
    /// Give back what is held for the order.
    Release { order: OrderId },
    /// Turn what is held into a sale.
    Commit {
        order: OrderId,
        reservation: ReservationId,
    },
    /// Put back on the shelf what was sold.
    Restock { order: OrderId },
}

/// A command, who asks, and the id that a new reservation gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) saga: SagaId,
    pub(crate) new: ReservationId,
    pub(crate) command: &'a Command,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is as the command wants it; `changed` by this command, or already.
    Done {
        reservation: ReservationId,
        changed: bool,
    },
    /// Nothing is held, so there is nothing to release.
    NothingHeld,
    /// It needs what others hold and may give back: it waits for that, these lines, each SKU once.
    Waits(Vec<Line>),
    /// Not as things stand, in words; the command may not fail, so it is asked again.
    NotNow(String),
    /// No.
    Refused(Refusal),
}

/// What a batch adds to the row of a SKU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) on_hand: i64,
    pub(crate) held: i64,
    pub(crate) sold: i64,
    pub(crate) waiting: i64,
}

/// Every row that a batch touches, locked, and what becomes of it.
#[derive(Debug, Default)]
pub(crate) struct Books {
    levels: BTreeMap<Sku, Level>,
    reservations: BTreeMap<OrderId, Reservation>,
    changes: BTreeMap<Sku, Change>,
    made: Vec<OrderId>,
    /// What was there before and has moved on, each with its state in the database.
    moved: BTreeMap<OrderId, State>,
}

impl Books {
    /// Books with the locked rows: the reservations of the orders that the commands name, and the
    /// levels of every SKU in the commands and in those reservations. What is not there is unknown.
    pub(crate) fn new(
        levels: impl IntoIterator<Item = (Sku, Level)>,
        reservations: impl IntoIterator<Item = Reservation>,
    ) -> Self {
        Self {
            levels: levels.into_iter().collect(),
            reservations: reservations.into_iter().map(|r| (r.order, r)).collect(),
            ..Self::default()
        }
    }

    /// Decides `commands` in arrival order: each sees what the ones before it took or gave back.
    ///
    /// Shape: one verdict for each, in the same order. `now` becomes the time of new reservations.
    pub(crate) fn decide(&mut self, commands: &[Asked<'_>], now: Timestamp) -> Vec<Verdict> {
        commands
            .iter()
            .map(|asked| match asked.command {
                Command::Reserve { order, lines } => self.reserve(asked, *order, lines, now),
                Command::Release { order } => self.release(asked.saga, *order),
                Command::Commit { order, reservation } => {
                    self.commit(asked.saga, *order, *reservation)
                }
                Command::Restock { order } => Ok(self.restock(*order)),
            })
            .map(|verdict| verdict.unwrap_or_else(Verdict::Refused))
            .collect()
    }

    fn reserve(
        &mut self,
        asked: &Asked<'_>,
        order: OrderId,
        lines: &[Line],
        now: Timestamp,
    ) -> Result<Verdict, Refusal> {
        if let Some(there) = self.reservations.get(&order) {
            if there.saga == asked.saga && there.state == State::Held {
                return Ok(Verdict::Done {
                    reservation: there.id,
                    changed: false,
                });
            }
            let detail = format!("order {order} has the reservation {} already", there.id);
            return Err(Refusal {
                reason: Reason::AlreadyReserved,
                detail,
            });
        }
        let mut needed: BTreeMap<&Sku, i64> = BTreeMap::new();
        for line in lines {
            let sum = needed.entry(&line.sku).or_default();
            *sum = sum.saturating_add(line.quantity);
        }
        let mut waits = false;
        for (sku, quantity) in &needed {
            let Some(level) = self.levels.get(*sku) else {
                let detail = format!("{sku} is not known");
                return Err(Refusal {
                    reason: Reason::UnknownSku,
                    detail,
                });
            };
            // pieces that are held may come back; those that are not there will not
            if level.on_hand < *quantity || level.waiting >= WAITING_MAX {
                let (available, held) = (level.available(), level.held);
                let detail =
                    format!("{quantity} of {sku} are needed, {available} are free, {held} held");
                return Err(Refusal {
                    reason: Reason::OutOfStock,
                    detail,
                });
            }
            waits |= level.available() < *quantity || level.waiting > 0;
        }
        let lines: Vec<Line> = needed
            .iter()
            .map(|(sku, n)| Line {
                sku: (*sku).clone(),
                quantity: *n,
            })
            .collect();
        if waits {
            for line in &lines {
                let change = Change {
                    waiting: 1,
                    ..Change::default()
                };
                self.change(&line.sku, change);
            }
            return Ok(Verdict::Waits(lines));
        }
        for line in &lines {
            self.change(
                &line.sku,
                Change {
                    held: line.quantity,
                    ..Change::default()
                },
            );
        }
        let (id, saga, state) = (asked.new, asked.saga, State::Held);
        let reservation = Reservation {
            id,
            order,
            saga,
            state,
            lines,
            created_at: now,
        };
        self.reservations.insert(order, reservation);
        self.made.push(order);
        Ok(Verdict::Done {
            reservation: id,
            changed: true,
        })
    }

    fn release(&mut self, saga: SagaId, order: OrderId) -> Result<Verdict, Refusal> {
        let Some(reservation) = self.of(saga, order) else {
            return Ok(Verdict::NothingHeld);
        };
        let id = reservation.id;
        match self.end(order, Ending::Release) {
            Some(changed) => Ok(Verdict::Done {
                reservation: id,
                changed,
            }),
            None => {
                let detail = format!("what was held for order {order} is sold");
                Err(Refusal {
                    reason: Reason::StockCommitted,
                    detail,
                })
            }
        }
    }

    fn commit(
        &mut self,
        saga: SagaId,
        order: OrderId,
        reservation: ReservationId,
    ) -> Result<Verdict, Refusal> {
        let own = self.of(saga, order).is_some_and(|r| r.id == reservation);
        match own.then(|| self.end(order, Ending::Commit)).flatten() {
            Some(changed) => Ok(Verdict::Done {
                reservation,
                changed,
            }),
            None => {
                let detail = format!("nothing is held for order {order} by this saga");
                Err(Refusal {
                    reason: Reason::NotReserved,
                    detail,
                })
            }
        }
    }

    /// Of any saga: it is the sale that is taken back, and its saga has ended.
    fn restock(&mut self, order: OrderId) -> Verdict {
        match (self.end(order, Ending::Restock), self.reservation(order)) {
            (Some(changed), Some(there)) => Verdict::Done {
                reservation: there.id,
                changed,
            },
            (None, Some(Reservation { id, state, .. })) => Verdict::NotNow(format!(
                "nothing of order {order} is sold: its reservation {id} is {}",
                state.as_str()
            )),
            (_, None) => Verdict::NotNow(format!("nothing of order {order} is sold")),
        }
    }

    /// The order's reservation, if it is the saga's own.
    fn of(&self, saga: SagaId, order: OrderId) -> Option<&Reservation> {
        self.reservations
            .get(&order)
            .filter(|reservation| reservation.saga == saga)
    }

    /// Ends the order's hold or sale; says whether that changed anything, `None` where it cannot end
    /// so.
    fn end(&mut self, order: OrderId, ending: Ending) -> Option<bool> {
        let reservation = self.reservations.get_mut(&order)?;
        let state = reservation.state.next(ending).ok()?;
        if state == reservation.state {
            return Some(false);
        }
        let before = std::mem::replace(&mut reservation.state, state);
        let lines = reservation.lines.clone();
        for Line { sku, quantity } in &lines {
            let change = match ending {
                Ending::Release => Change {
                    held: -quantity,
                    ..Change::default()
                },
                Ending::Commit => Change {
                    on_hand: -quantity,
                    held: -quantity,
                    sold: *quantity,
                    ..Change::default()
                },
                Ending::Restock => Change {
                    on_hand: *quantity,
                    sold: -quantity,
                    ..Change::default()
                },
            };
            self.change(sku, change);
        }
        self.moved.entry(order).or_insert(before);
        Some(true)
    }

    fn change(&mut self, sku: &Sku, change: Change) {
        if let Some(level) = self.levels.get_mut(sku) {
            level.on_hand += change.on_hand;
            level.held += change.held;
            level.waiting += change.waiting;
        }
        let sum = self.changes.entry(sku.clone()).or_default();
        sum.on_hand += change.on_hand;
        sum.held += change.held;
        sum.sold += change.sold;
        sum.waiting += change.waiting;
    }

    /// The order's reservation, as it is now.
    pub(crate) fn reservation(&self, order: OrderId) -> Option<&Reservation> {
        self.reservations.get(&order)
    }

    /// What has to be added to each SKU; a SKU that ends as it began is left out.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (&Sku, Change)> {
        self.changes
            .iter()
            .map(|(sku, change)| (sku, *change))
            .filter(|(_, change)| *change != Change::default())
    }

    /// The new reservations, by order id.
    pub(crate) fn made(&self) -> Vec<&Reservation> {
        let mut made: Vec<_> = self
            .made
            .iter()
            .filter_map(|o| self.reservations.get(o))
            .collect();
        made.sort_by_key(|reservation| reservation.order);
        made
    }

    /// The reservations that were there before and have moved on, each with the state that it had.
    pub(crate) fn moved(&self) -> impl Iterator<Item = (&Reservation, State)> {
        let before = self.moved.iter();
        before
            .filter(|(order, _)| !self.made.contains(order))
            .filter_map(|(order, state)| Some((self.reservations.get(order)?, *state)))
    }
}
