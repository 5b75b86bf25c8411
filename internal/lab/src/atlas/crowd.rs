//! Many orders of one product, paid from one wallet.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Context;
use palinode_explore::{Ruling, Shared, View};
use palinode_saga::{Direction, Plan, Status};
use serde_json::json;

use super::{RandomOptions, explorer};
use crate::sagas::table;

/// Cents for a piece.
const PRICE: u32 = 100;

/// The rows of all orders: fewer pieces and less money than they ask for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Rows {
    free: u32,
    held: u32,
    sold: u32,
    wallet: u32,
    /// By saga.
    orders: Vec<Order>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Order {
    wants: u32,
    reservation: Reservation,
    paid: u32,
    shipped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Reservation {
    None,
    Held,
    Released,
    Committed,
}

impl Rows {
    /// Orders want one, two or three pieces, two of them for each piece that there is; and there
    /// is money for three in four of these pieces.
    fn of(sagas: usize) -> Self {
        let order = |wants| Order {
            wants,
            reservation: Reservation::None,
            paid: 0,
            shipped: false,
        };
        let orders: Vec<Order> = (1..=3).cycle().take(sagas).map(order).collect();
        let wanted: u32 = orders.iter().map(|order| order.wants).sum();
        let pieces = wanted / 2;
        Self {
            free: pieces,
            held: 0,
            sold: 0,
            wallet: pieces * PRICE * 3 / 4,
            orders,
        }
    }

    /// What the services say to a step whose guard lets it run. Whoever needs pieces that others
    /// hold is asked again, as often as the shortened budget has it: that stands for the bounded
    /// wait in the queue of the product.
    fn rule(&mut self, saga: usize, step: &str, direction: Direction) -> Ruling {
        let order = &mut self.orders[saga];
        let Order { wants, paid, .. } = *order;
        let price = wants * PRICE;
        match (step, direction, order.reservation) {
            ("reserve-stock", Direction::Forward, Reservation::None) => {
                if self.free + self.held < wants {
                    return Ruling::Fails;
                }
                if self.free < wants {
                    return Ruling::NotYet;
                }
                self.free -= wants;
                self.held += wants;
                order.reservation = Reservation::Held;
            }
            ("reserve-stock", Direction::Backward, Reservation::Held) => {
                self.held -= wants;
                self.free += wants;
                order.reservation = Reservation::Released;
            }
            ("commit-stock", _, Reservation::Held) => {
                self.held -= wants;
                self.sold += wants;
                order.reservation = Reservation::Committed;
            }
            ("reserve-stock" | "commit-stock", _, _) => return Ruling::Fails,
            ("charge-payment", Direction::Forward, _) => {
                let Some(left) = self.wallet.checked_sub(price) else {
                    return Ruling::Fails;
                };
                self.wallet = left;
                order.paid += price;
            }
            ("charge-payment", Direction::Backward, _) => {
                self.wallet += paid;
                order.paid = 0;
            }
            ("arrange-shipping", _, _) => order.shipped = true,
            _ => {}
        }
        Ruling::Happens
    }

    fn stock_adds_up(&self, all: &Self) -> bool {
        let pieces = |of: Reservation| {
            let orders = self.orders.iter().filter(|order| order.reservation == of);
            orders.map(|order| order.wants).sum::<u32>()
        };
        self.free + self.held + self.sold == all.free
            && self.held == pieces(Reservation::Held)
            && self.sold == pieces(Reservation::Committed)
    }

    fn money_adds_up(&self, all: &Self) -> bool {
        self.wallet + self.orders.iter().map(|order| order.paid).sum::<u32>() == all.wallet
    }
}

impl Order {
    /// Whether it is what its saga says that it is.
    fn is(&self, saga: &View<'_>) -> bool {
        let Self {
            reservation,
            paid,
            shipped,
            ..
        } = *self;
        match saga.status() {
            Status::Completed => {
                reservation == Reservation::Committed && paid == self.wants * PRICE && shipped
            }
            Status::Compensated => {
                let left = [Reservation::Held, Reservation::Committed].contains(&reservation);
                !left && paid == 0 && !shipped
            }
            Status::New | Status::Running | Status::Compensating | Status::NeedsAttention(_) => {
                true
            }
        }
    }
}

/// So many sagas of a plan, all under way at once.
fn crowd(plan: &Plan, sagas: usize) -> Shared<Rows> {
    let all = Rows::of(sagas);
    let (first, money) = (all.clone(), all.clone());
    let check = |holds: bool, rows: &Rows| {
        let Rows {
            free,
            held,
            sold,
            wallet,
            ..
        } = rows;
        let words = || format!("{free} free, {held} held, {sold} sold, {wallet} in the wallet");
        if holds { Ok(()) } else { Err(words()) }
    };
    let shared = Shared::new(first, Rows::rule)
        .invariant("stock-adds-up", move |rows, _| {
            check(rows.stock_adds_up(&all), rows)
        })
        .invariant("money-adds-up", move |rows, _| {
            check(rows.money_adds_up(&money), rows)
        })
        .invariant("an-end-is-what-the-rows-say", |rows, sagas| {
            let orders = rows.orders.iter().zip(sagas);
            let wrong = |(order, saga): &(&Order, &Option<View<'_>>)| {
                saga.as_ref().is_some_and(|saga| !order.is(saga))
            };
            match orders.enumerate().find(|(_, of)| wrong(of)) {
                Some((at, (order, _))) => Err(format!("saga {at}: {order:?}")),
                None => Ok(()),
            }
        });
    let explorer = explorer(plan);
    (0..sagas).fold(shared, |shared, _| shared.saga(explorer.clone()))
}

/// Draws runs of so many sagas that want more of one product, and of one wallet, than there is,
/// and writes how they ended; true when nothing is violated.
///
/// # Errors
/// Those of `out`; the lab knows no rows for the plan.
pub fn random_crowd(
    plan: &Plan,
    sagas: usize,
    options: &RandomOptions,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    anyhow::ensure!(
        plan.name() == "place-order",
        "the lab knows what orders share: draw place-order, or leave out --sagas"
    );
    let crowd = crowd(plan, sagas);
    let mut endings = BTreeMap::<&str, usize>::new();
    let (mut faults, mut events, mut violations) = (0_u64, 0, 0);
    let last = options.seed.checked_add(options.seeds);
    let last = last.context("there is no seed beyond 2^64")?;
    for seed in options.seed..last {
        let run = crowd.random(seed, options.faults);
        faults += u64::from(run.faults);
        events += run.events;
        for ending in run.endings {
            *endings.entry(ending).or_default() += 1;
        }
        if let Some(violation) = run.violation {
            violations += 1;
            writeln!(out, "seed {seed}: VIOLATED {violation}")?;
            let (label, limit) = (plan.label(), options.faults);
            writeln!(
                out,
                "again: palinode lab random {label} --sagas {sagas} --seeds 1 --seed {seed} \
                 --faults {limit}"
            )?;
        }
    }
    let (label, runs) = (plan.label(), options.seeds);
    writeln!(
        out,
        "{label}: {runs} runs of {sagas} sagas on one product and one wallet, {faults} faults, \
         {events} events, {violations} violations\n"
    )?;
    let rows = endings.iter();
    let rows = rows.map(|(name, sagas)| vec![(*name).to_owned(), sagas.to_string()]);
    table(&["ends", "sagas"], rows.collect(), out)?;
    if options.json {
        let line = json!({
            "plan": label, "sagas": sagas, "seeds": runs, "seed": options.seed, "faults": faults,
            "events": events, "endings": endings, "violations": violations,
        });
        writeln!(out, "{line}")?;
    }
    Ok(violations == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn many_orders_of_too_little_come_to_rest_and_nothing_is_lost() {
        let plan = samples::plan("place-order@2").unwrap();
        let options = RandomOptions {
            seeds: 5,
            seed: 1,
            faults: 60,
            json: true,
        };
        let mut out = Vec::new();
        let good = random_crowd(&plan, 40, &options, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(good, "{text}");
        let line = text.lines().last().unwrap();
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let sagas = |ending: &str| line["endings"][ending].as_u64().unwrap();
        assert!(sagas("completed") > 5 * 5, "{text}");
        assert!(sagas("compensated") > 5 * 5, "{text}");
        assert!(line["faults"].as_u64().unwrap() > 60, "{text}");
        // of another plan it is not known what its sagas share
        let other = samples::plan("parallel").unwrap();
        assert!(random_crowd(&other, 2, &options, &mut Vec::new()).is_err());
    }

    #[test]
    fn stock_and_money_both_run_out() {
        let all = Rows::of(6);
        let mut rows = all.clone();
        let forward = Direction::Forward;
        for saga in [2, 1] {
            assert_eq!(rows.rule(saga, "reserve-stock", forward), Ruling::Happens);
        }
        // held by others, it may come back; sold, it will not
        assert_eq!(rows.rule(5, "reserve-stock", forward), Ruling::NotYet);
        assert_eq!(rows.rule(2, "charge-payment", forward), Ruling::Happens);
        assert_eq!(rows.rule(1, "charge-payment", forward), Ruling::Fails);
        for saga in [2, 1] {
            assert_eq!(rows.rule(saga, "commit-stock", forward), Ruling::Happens);
        }
        assert_eq!(rows.rule(5, "reserve-stock", forward), Ruling::Fails);
        assert!(rows.stock_adds_up(&all) && rows.money_adds_up(&all));
        rows.orders[1].paid += 1;
        assert!(!rows.money_adds_up(&all));
    }
}
