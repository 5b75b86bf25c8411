//! An order and its cancellations, on the same rows.

use std::collections::BTreeMap;
use std::io::Write;

use palinode_explore::{Invariant, Ruling, Shared, SharedReport, View};
use palinode_saga::{Direction, Plan, Status};
use serde::Serialize;
use tokio::time::Instant;

use super::{ExploreOptions, explorer};
use crate::sagas::table;

/// An order that was kept may be asked back once more.
const CANCELLATIONS: usize = 2;

/// How the order of all these sagas stands, everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Rows {
    order: Order,
    reservation: Reservation,
    payment: Payment,
    shipment: Shipment,
    /// Whether the carrier has the parcel, whatever the row says.
    handed_over: bool,
    stock: Stock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Order {
    None,
    Pending,
    Confirmed,
    Rejected,
    Cancelling,
    Cancelled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Reservation {
    None,
    Held,
    Committed,
    Released,
    Restocked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Payment {
    None,
    Captured,
    Refunded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Shipment {
    None,
    Arranged,
    Dispatched,
    Recalled,
}

/// Of the one piece that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Stock {
    free: i8,
    held: i8,
    sold: i8,
}

/// A bug that is planted in the pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    /// The cancellation starts as soon as the order is confirmed, whatever its saga does.
    StartsEarly,
    /// A parcel is recalled without a look at where it is.
    RecallsBlindly,
    /// Goods that come back are not put on the shelf, and said to be.
    RestocksNothing,
    /// They are put on the shelf, and count as sold all the same.
    CountsTwice,
}

impl Bug {
    const ALL: [Self; 4] = [
        Self::StartsEarly,
        Self::RecallsBlindly,
        Self::RestocksNothing,
        Self::CountsTwice,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::StartsEarly => "starts-early",
            Self::RecallsBlindly => "recalls-blindly",
            Self::RestocksNothing => "restocks-nothing",
            Self::CountsTwice => "counts-twice",
        }
    }

    fn killed_by(self) -> Invariant {
        Invariant::Own(match self {
            Self::StartsEarly => WHOLE,
            Self::RecallsBlindly => REFUNDED_OR_SHIPPED,
            Self::RestocksNothing => DECIDED,
            Self::CountsTwice => STOCK,
        })
    }
}

const STOCK: &str = "stock-adds-up";
const REFUNDED_OR_SHIPPED: &str = "never-refunded-and-shipped";
const WHOLE: &str = "what-is-cancelled-is-whole";
const DECIDED: &str = "an-end-is-what-the-rows-say";

const NEW: Rows = Rows {
    order: Order::None,
    reservation: Reservation::None,
    payment: Payment::None,
    shipment: Shipment::None,
    handed_over: false,
    stock: Stock {
        free: 1,
        held: 0,
        sold: 0,
    },
};

impl Rows {
    /// What the services say to a step whose guard lets it run.
    fn rule(&mut self, step: &str, direction: Direction, bug: Option<Bug>) -> Ruling {
        match (step, direction) {
            ("open-order", Direction::Forward) => self.decide(Order::None, Order::Pending),
            ("open-order", Direction::Backward) => self.decide(Order::Pending, Order::Rejected),
            ("confirm-order", _) => match self.order {
                // decided so before, whatever has become of it since
                Order::Confirmed | Order::Cancelling | Order::Cancelled => Ruling::Happens,
                _ => not_yet(self.decide(Order::Pending, Order::Confirmed)),
            },
            ("open-cancellation", Direction::Forward) => {
                self.decide(Order::Confirmed, Order::Cancelling)
            }
            ("open-cancellation", Direction::Backward) => {
                self.decide(Order::Cancelling, Order::Confirmed)
            }
            ("close-order", _) => not_yet(self.decide(Order::Cancelling, Order::Cancelled)),
            ("charge-payment", Direction::Forward) => {
                change(&mut self.payment, Payment::None, Payment::Captured)
            }
            ("charge-payment", Direction::Backward) => self.give_back(),
            ("return-payment", _) => not_yet(self.give_back()),
            ("arrange-shipping", _) => {
                change(&mut self.shipment, Shipment::None, Shipment::Arranged)
            }
            ("recall-shipment", _) => self.recall(bug),
            ("reserve-stock" | "commit-stock" | "restock", _) => self.stock(step, direction, bug),
            _ => Ruling::Happens, // it looks, and changes nothing
        }
    }

    /// Money that is back already is what whoever asks for it wants.
    fn give_back(&mut self) -> Ruling {
        if self.payment == Payment::Refunded {
            return Ruling::Happens;
        }
        change(&mut self.payment, Payment::Captured, Payment::Refunded)
    }

    fn decide(&mut self, from: Order, to: Order) -> Ruling {
        change(&mut self.order, from, to)
    }

    fn stock(&mut self, step: &str, direction: Direction, bug: Option<Bug>) -> Ruling {
        let is_restock = step == "restock";
        if is_restock && bug == Some(Bug::RestocksNothing) {
            return Ruling::Happens;
        }
        let Stock { free, held, sold } = &mut self.stock;
        let (from, to, left, reached) = match (step, direction) {
            ("reserve-stock", Direction::Forward) => {
                (Reservation::None, Reservation::Held, free, held)
            }
            ("reserve-stock", Direction::Backward) => {
                (Reservation::Held, Reservation::Released, held, free)
            }
            ("commit-stock", _) => (Reservation::Held, Reservation::Committed, held, sold),
            _ => (Reservation::Committed, Reservation::Restocked, sold, free),
        };
        let ruling = change(&mut self.reservation, from, to);
        if ruling == Ruling::Happens {
            *left -= i8::from(!(is_restock && bug == Some(Bug::CountsTwice)));
            *reached += 1;
        }
        if is_restock { not_yet(ruling) } else { ruling }
    }

    fn recall(&mut self, bug: Option<Bug>) -> Ruling {
        if bug == Some(Bug::RecallsBlindly) {
            self.shipment = Shipment::Recalled;
            return Ruling::Happens;
        }
        change(&mut self.shipment, Shipment::Arranged, Shipment::Recalled)
    }

    /// Staff hands the parcel over.
    fn dispatch(&mut self) {
        let ruling = change(&mut self.shipment, Shipment::Arranged, Shipment::Dispatched);
        self.handed_over |= ruling == Ruling::Happens;
    }

    fn stock_adds_up(&self) -> bool {
        let Stock { free, held, sold } = self.stock;
        let of = |is: Reservation| i8::from(self.reservation == is);
        free + held + sold == 1
            && held == of(Reservation::Held)
            && sold == of(Reservation::Committed)
            && free >= 0
    }

    fn is_sold(&self) -> bool {
        self.payment == Payment::Captured
            && self.reservation == Reservation::Committed
            && matches!(self.shipment, Shipment::Arranged | Shipment::Dispatched)
    }

    fn is_taken_back(&self) -> bool {
        self.payment == Payment::Refunded
            && self.reservation == Reservation::Restocked
            && self.shipment == Shipment::Recalled
            && !self.handed_over
    }

    fn is_empty(&self) -> bool {
        self.payment != Payment::Captured
            && matches!(self.reservation, Reservation::None | Reservation::Released)
            && self.shipment == Shipment::None
    }
}

/// A row that has to be in one state to reach the other.
fn change<S: PartialEq>(row: &mut S, from: S, to: S) -> Ruling {
    if *row == from {
        *row = to;
        Ruling::Happens
    } else {
        Ruling::Fails
    }
}

/// What may not fail is asked again instead.
fn not_yet(ruling: Ruling) -> Ruling {
    match ruling {
        Ruling::Fails => Ruling::NotYet,
        ruling => ruling,
    }
}

/// The sagas, a member of staff, and what must hold.
fn pair(plans: [&Plan; 2], bug: Option<Bug>) -> Shared<Rows> {
    let [places, cancels] = plans.map(explorer);
    let rule =
        move |rows: &mut Rows, _: usize, step: &str, direction| rows.rule(step, direction, bug);
    let starts = move |rows: &Rows, sagas: &[Option<View<'_>>]| {
        let completed = status(sagas.first()) == Some(Status::Completed);
        rows.order == Order::Confirmed && (completed || bug == Some(Bug::StartsEarly))
    };
    let shared = Shared::new(NEW, rule).saga(places);
    let shared = (1..=CANCELLATIONS).fold(shared, |shared, at| {
        shared.saga_when(cancels.clone(), move |rows, sagas| {
            // one is as good as the other: the first one starts first
            starts(rows, sagas) && sagas[..at].iter().all(Option::is_some)
        })
    });
    shared
        .act("staff hands the parcel over", Rows::dispatch)
        .invariant(STOCK, |rows, _| holds(rows.stock_adds_up(), rows))
        .invariant(REFUNDED_OR_SHIPPED, |rows, _| {
            holds(rows.payment != Payment::Refunded || !rows.handed_over, rows)
        })
        .invariant(WHOLE, |rows, _| {
            let is_sold = matches!(
                rows.reservation,
                Reservation::Committed | Reservation::Restocked
            );
            holds(rows.order != Order::Cancelling || is_sold, rows)
        })
        .invariant(DECIDED, |rows, sagas| {
            let cancels = || sagas[1..].iter().map(|saga| status(Some(saga)));
            let carried_out = cancels().any(|status| status == Some(Status::Completed));
            let kept = |status: Option<Status>| matches!(status, None | Some(Status::Compensated));
            let kept = match status(sagas.first()) {
                Some(Status::Completed) if carried_out => {
                    rows.order == Order::Cancelled && rows.is_taken_back()
                }
                Some(Status::Completed) if cancels().all(kept) => {
                    rows.order == Order::Confirmed && rows.is_sold()
                }
                Some(Status::Compensated) => rows.order == Order::Rejected && rows.is_empty(),
                _ => true,
            };
            holds(kept, rows)
        })
}

fn status(saga: Option<&Option<View<'_>>>) -> Option<Status> {
    saga.copied().flatten().map(|saga| saga.status())
}

fn holds(holds: bool, rows: &Rows) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(format!("{rows:?}"))
    }
}

/// Whether the pair is one that the lab has rows for.
fn are_known(plans: [&Plan; 2]) -> bool {
    plans.map(Plan::name) == ["place-order", "cancel-order"]
}

/// Explores an order and its cancellations in every interleaving, and writes what was found; then
/// plants bugs, and looks whether they are found. True when nothing is violated, and they are.
///
/// # Errors
/// Those of `out`; the two plans are no such pair.
pub fn pair_of(
    plans: [&Plan; 2],
    options: &ExploreOptions,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    anyhow::ensure!(
        are_known(plans),
        "the lab knows what place-order and cancel-order share: explore place-order --with \
         cancel-order"
    );
    let began = Instant::now();
    let report = pair(plans, None).at_once(options.faults).run();
    write(&report, out)?;
    // a bug that takes no fault is found without one
    let planted = Bug::ALL.map(|bug| {
        let found = pair(plans, Some(bug)).at_once(0).run();
        let found = found.violation(bug.killed_by()).cloned();
        (bug, found)
    });
    for (bug, found) in &planted {
        let by = bug.killed_by();
        match found {
            Some(found) => {
                let events = found.schedule.lines.len();
                writeln!(
                    out,
                    "planted {}: found by {by} after {events} events",
                    bug.word()
                )?;
            }
            None => writeln!(out, "SURVIVES {}", bug.word())?,
        }
    }
    let killed = planted.iter().filter(|(_, found)| found.is_some()).count();
    let seconds = (began.elapsed().as_secs_f64() * 100.0).round() / 100.0;
    if options.json {
        let endings = report.endings.iter();
        let line = Line {
            plans: &report.plans,
            faults: report.at_once,
            states: report.states,
            endings: endings
                .map(|(name, of)| (name.as_str(), of.states))
                .collect(),
            violations: report.violations.len(),
            unreached: report.unreached.len(),
            mutants: planted.len(),
            killed,
            seconds,
        };
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    } else {
        writeln!(out, "\n{seconds} s")?;
    }
    Ok(report.is_safe() && killed == planted.len())
}

/// The last line of the output.
#[derive(Serialize)]
struct Line<'r> {
    plans: &'r [String],
    faults: u8,
    states: usize,
    endings: BTreeMap<&'r str, usize>,
    violations: usize,
    unreached: usize,
    mutants: usize,
    killed: usize,
    seconds: f64,
}

fn write(report: &SharedReport, out: &mut impl Write) -> anyhow::Result<()> {
    let (plans, faults) = (report.plans.join(" × "), report.at_once);
    writeln!(
        out,
        "{plans}, every interleaving with up to {faults} faults"
    )?;
    writeln!(out, "{} states\n", report.states)?;
    let rows = report.endings.iter().map(|(name, ending)| {
        let states = ending.states.to_string();
        vec![name.clone(), states, ending.example.scenario.clone()]
    });
    let heads = ["end", "states", "least that leads there"];
    table(&heads, rows.collect(), out)?;
    writeln!(out)?;
    for missed in &report.unreached {
        writeln!(out, "UNREACHED {missed}")?;
    }
    for violation in &report.violations {
        writeln!(out, "VIOLATED {violation}")?;
    }
    if report.cut {
        writeln!(
            out,
            "CUT: there are more states than the search keeps; use fewer faults"
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
