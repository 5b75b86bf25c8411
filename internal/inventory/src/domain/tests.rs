use std::collections::BTreeMap;

use palinode_values::{OrderId, ReservationId, SagaId, Sku, Timestamp};
use proptest::prelude::*;
use uuid::Uuid;

use super::reservation::Ending;
use super::*;

fn sku(name: &str) -> Sku {
    name.parse().unwrap()
}

fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn order(number: u128) -> OrderId {
    OrderId(Uuid::from_u128(number))
}

/// The saga of an order.
fn saga(number: u128) -> SagaId {
    SagaId(Uuid::from_u128(1_000 + number))
}

/// The reservation that an order would get.
fn reservation(number: u128) -> ReservationId {
    ReservationId(Uuid::from_u128(2_000 + number))
}

fn reserve(number: u128, lines: &[(&str, i64)]) -> Command {
    let line = |&(name, quantity): &(&str, i64)| Line {
        sku: sku(name),
        quantity,
    };
    Command::Reserve {
        order: order(number),
        lines: lines.iter().map(line).collect(),
    }
}

fn release(number: u128) -> Command {
    Command::Release {
        order: order(number),
    }
}

fn commit(number: u128) -> Command {
    Command::Commit {
        order: order(number),
        reservation: reservation(number),
    }
}

fn restock(number: u128) -> Command {
    Command::Restock {
        order: order(number),
    }
}

fn asked(command: &Command) -> Asked<'_> {
    let number = match command {
        Command::Reserve { order, .. }
        | Command::Release { order }
        | Command::Commit { order, .. }
        | Command::Restock { order } => order.0.as_u128(),
    };
    Asked {
        saga: saga(number),
        new: reservation(number),
        command,
    }
}

/// 10 mugs and 1 pot, of which nothing is held.
fn books() -> Books {
    let level = |on_hand| Level {
        on_hand,
        ..Level::default()
    };
    Books::new([(sku("mug"), level(10)), (sku("pot"), level(1))], [])
}

fn words(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Done { changed: true, .. } => "done",
        Verdict::Done { changed: false, .. } => "already",
        Verdict::NothingHeld => "nothing",
        Verdict::Waits(_) => "waits",
        Verdict::NotNow(_) => "not now",
        Verdict::Refused(refusal) => refusal.reason.as_str(),
    }
}

#[test]
fn commands_are_decided_in_their_order() {
    let check = |commands: &[Command], expected: &[&str]| {
        let asked: Vec<_> = commands.iter().map(asked).collect();
        let verdicts = books().decide(&asked, now());
        let said: Vec<_> = verdicts.iter().map(words).collect();
        assert_eq!(said, expected, "{commands:?}");
    };
    check(&[], &[]);
    check(
        &[reserve(1, &[("mug", 10)]), reserve(2, &[("mug", 1)])],
        &["done", "waits"],
    );
    // nobody overtakes who waits
    check(
        &[
            reserve(1, &[("mug", 9)]),
            reserve(2, &[("mug", 2)]),
            reserve(3, &[("mug", 1)]),
        ],
        &["done", "waits", "waits"],
    );
    check(
        &[
            reserve(1, &[("mug", 10)]),
            release(1),
            reserve(2, &[("mug", 10)]),
        ],
        &["done", "done", "done"],
    );
    check(
        &[
            reserve(1, &[("mug", 10)]),
            commit(1),
            reserve(2, &[("mug", 1)]),
        ],
        &["done", "done", "OUT_OF_STOCK"],
    );
    // all lines or none: the mugs of the refused order stay free
    check(
        &[
            reserve(1, &[("mug", 5), ("pot", 2)]),
            reserve(2, &[("mug", 10)]),
        ],
        &["OUT_OF_STOCK", "done"],
    );
    check(&[reserve(1, &[("mug", 6), ("mug", 5)])], &["OUT_OF_STOCK"]);
    check(&[reserve(1, &[("mug", 1), ("lamp", 1)])], &["UNKNOWN_SKU"]);
    check(
        &[reserve(1, &[("mug", i64::MAX), ("mug", i64::MAX)])],
        &["OUT_OF_STOCK"],
    );
    check(
        &[reserve(1, &[("mug", 1)]), reserve(1, &[("mug", 1)])],
        &["done", "already"],
    );
    check(&[release(1), commit(1)], &["nothing", "NOT_RESERVED"]);
    check(
        &[reserve(1, &[("mug", 1)]), commit(1), commit(1), release(1)],
        &["done", "done", "already", "STOCK_COMMITTED"],
    );
    check(
        &[
            reserve(1, &[("mug", 1)]),
            release(1),
            release(1),
            commit(1),
            reserve(1, &[("mug", 1)]),
        ],
        &[
            "done",
            "done",
            "already",
            "NOT_RESERVED",
            "ALREADY_RESERVED",
        ],
    );
    check(
        &[
            reserve(1, &[("mug", 10)]),
            restock(1),
            commit(1),
            restock(1),
            reserve(2, &[("mug", 10)]),
            restock(1),
            commit(1),
            release(1),
        ],
        &[
            "done",
            "not now",
            "done",
            "done",
            "done",
            "not now",
            "NOT_RESERVED",
            "STOCK_COMMITTED",
        ],
    );
    check(&[restock(1)], &["not now"]);
}

#[test]
fn only_the_saga_that_holds_may_end_it() {
    let mut books = books();
    let (mine, commit, release) = (reserve(1, &[("mug", 1)]), commit(1), release(1));
    let other = |command| Asked {
        saga: saga(7),
        new: reservation(7),
        command,
    };
    let first = [asked(&mine), other(&commit), other(&release), other(&mine)];
    let verdicts = books.decide(&first, now());
    let said: Vec<_> = verdicts.iter().map(words).collect();
    assert_eq!(
        said,
        ["done", "NOT_RESERVED", "nothing", "ALREADY_RESERVED"]
    );
    assert_eq!(books.reservation(order(1)).unwrap().state, State::Held);
    // a sale is another matter: the saga that takes it back is never the one that made it
    let restock = restock(1);
    let verdicts = books.decide(&[asked(&commit), other(&restock)], now());
    assert!(verdicts.iter().all(|verdict| words(verdict) == "done"));
    assert_eq!(books.reservation(order(1)).unwrap().state, State::Restocked);
}

#[test]
fn what_is_written_are_sums_and_final_states() {
    let mut books = books();
    let commands = [
        reserve(1, &[("mug", 2)]),
        reserve(2, &[("mug", 3), ("pot", 1)]),
        release(2),
        commit(1),
    ];
    let asked: Vec<_> = commands.iter().map(asked).collect();
    books.decide(&asked, now());
    let changes: Vec<_> = books.changes().collect();
    let mug = sku("mug");
    assert_eq!(
        changes,
        [(
            &mug,
            Change {
                on_hand: -2,
                sold: 2,
                ..Change::default()
            }
        )]
    );
    let made: Vec<_> = books
        .made()
        .into_iter()
        .map(|made| (made.order, made.state))
        .collect();
    assert_eq!(
        made,
        [(order(1), State::Committed), (order(2), State::Released)]
    );
    assert_eq!(books.moved().count(), 0);
}

#[test]
fn every_state_has_an_answer_to_every_ending() {
    let mut matrix = Vec::new();
    for state in State::ALL {
        assert_eq!(State::from_stored(state.as_str()), Some(state));
        for ending in [Ending::Release, Ending::Commit, Ending::Restock] {
            matrix.push((state, ending, state.next(ending).ok()));
        }
    }
    assert_eq!(
        matrix,
        [
            (State::Held, Ending::Release, Some(State::Released)),
            (State::Held, Ending::Commit, Some(State::Committed)),
            (State::Held, Ending::Restock, None),
            (State::Released, Ending::Release, Some(State::Released)),
            (State::Released, Ending::Commit, None),
            (State::Released, Ending::Restock, None),
            (State::Committed, Ending::Release, None),
            (State::Committed, Ending::Commit, Some(State::Committed)),
            (State::Committed, Ending::Restock, Some(State::Restocked)),
            (State::Restocked, Ending::Release, None),
            (State::Restocked, Ending::Commit, None),
            (State::Restocked, Ending::Restock, None),
        ]
    );
}

#[test]
fn held_pieces_cannot_be_taken_out() {
    let level = Level {
        on_hand: 10,
        held: 4,
        waiting: 0,
    };
    let after = |delta| {
        level
            .adjusted(&sku("mug"), delta)
            .map(|level| level.on_hand)
    };
    assert_eq!(after(5), Ok(15));
    assert_eq!(after(-6), Ok(4));
    assert_eq!(after(-7).unwrap_err().reason, Reason::StockHeld);
    assert_eq!(after(i64::MIN).unwrap_err().reason, Reason::StockHeld);
}

#[test]
fn every_reason_has_a_page() {
    for reason in Reason::ALL {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
        let page = folder.join(format!("{}.md", reason.as_str()));
        let text = std::fs::read_to_string(&page).unwrap_or_default();
        let title = format!("# {}\n", reason.as_str());
        assert!(
            text.starts_with(&title),
            "{} has to begin with {title}",
            page.display()
        );
    }
}

fn any_command() -> impl Strategy<Value = Command> {
    let lines = prop::collection::vec(
        (prop::sample::select(vec!["mug", "pot", "jar"]), 1..6_i64),
        1..4,
    );
    prop_oneof![
        3 => (0..8_u128, lines).prop_map(|(number, lines)| reserve(number, &lines)),
        1 => (0..8_u128).prop_map(release),
        1 => (0..8_u128).prop_map(commit),
        1 => (0..8_u128).prop_map(restock),
    ]
}

proptest! {
    /// Batches in a row, each from the rows that the one before left.
    #[test]
    fn nothing_is_oversold_and_nothing_is_lost(
        batches in prop::collection::vec(prop::collection::vec(any_command(), 1..20), 1..5),
    ) {
        let put_in: BTreeMap<Sku, i64> =
            [("mug", 10), ("pot", 3), ("jar", 0)].map(|(name, n)| (sku(name), n)).into();
        let mut rows: BTreeMap<Sku, (Level, i64)> = put_in
            .iter()
            .map(|(sku, n)| {
                let level = Level {
                    on_hand: *n,
                    ..Level::default()
                };
                (sku.clone(), (level, 0))
            })
            .collect();
        let mut stored: BTreeMap<OrderId, Reservation> = BTreeMap::new();
        for commands in batches {
            let levels = rows.iter().map(|(sku, (level, _))| (sku.clone(), *level));
            let mut books = Books::new(levels, stored.values().cloned());
            let asked: Vec<_> = commands.iter().map(asked).collect();
            prop_assert_eq!(books.decide(&asked, now()).len(), commands.len());
            for (sku, change) in books.changes() {
                let (level, sold) = rows.get_mut(sku).unwrap();
                level.on_hand += change.on_hand;
                level.held += change.held;
                *sold += change.sold;
            }
            for (moved, before) in books.moved() {
                prop_assert_eq!(stored[&moved.order].state, before);
            }
            let moved = books.moved().map(|(moved, _)| moved);
            let written: Vec<Reservation> =
                books.made().into_iter().chain(moved).cloned().collect();
            stored.extend(written.into_iter().map(|reservation| (reservation.order, reservation)));

            for (sku, (level, sold)) in &rows {
                prop_assert!(level.available() >= 0 && level.held >= 0 && *sold >= 0);
                prop_assert_eq!(level.available() + level.held + sold, put_in[sku]);
                let pieces = |state| -> i64 {
                    stored
                        .values()
                        .filter(|reservation| reservation.state == state)
                        .flat_map(|reservation| &reservation.lines)
                        .filter(|line| line.sku == *sku)
                        .map(|line| line.quantity)
                        .sum()
                };
                prop_assert_eq!(level.held, pieces(State::Held));
                prop_assert_eq!(*sold, pieces(State::Committed));
            }
        }
    }
}
