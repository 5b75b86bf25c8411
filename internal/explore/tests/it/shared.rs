//! Several sagas that work on the same rows.

use palinode_explore::{Invariant, Ruling, Shared, explore};
use palinode_saga::{Direction, Plan, Status, secs, step};

use crate::{Do, Start, compensatable, opened};

/// Takes a seat and pays for it.
fn seat() -> Plan {
    Plan::new("seat", 1)
        .input::<Start>()
        .deadline(secs(60))
        .opened_by(opened())
        .step(compensatable("take", "seats", ["open"]))
        .step(
            step("pay")
                .at("money")
                .after(["take"])
                .pivot::<Do>()
                .token("pay"),
        )
        .build()
        .unwrap()
}

/// Free seats, and money that came in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Hall {
    free: i8,
    paid: i8,
}

/// With `looks` false, seats are taken without a look at how many are left.
fn hall(free: i8, looks: bool) -> Shared<Hall> {
    let hall = Hall { free, paid: 0 };
    let rule = move |hall: &mut Hall, _: usize, step: &str, direction| {
        match (step, direction) {
            ("take", Direction::Forward) if looks && hall.free == 0 => return Ruling::Fails,
            ("take", Direction::Forward) => hall.free -= 1,
            ("take", Direction::Backward) => hall.free += 1,
            ("pay", _) => hall.paid += 1,
            _ => {}
        }
        Ruling::Happens
    };
    Shared::new(hall, rule)
        .invariant("no-seat-twice", |hall, _| {
            let sold_out = hall.free < 0;
            if sold_out {
                Err(format!("{hall:?}"))
            } else {
                Ok(())
            }
        })
        // the rule is asked as often as there are effects: never for a repeat
        .invariant("as-often-as-it-happens", move |hall, sagas| {
            let there = |name: &str| {
                let of_sagas = sagas.iter().flatten();
                i8::try_from(of_sagas.filter(|saga| saga.is_there(name)).count()).unwrap()
            };
            if there("take") + hall.free == free && there("pay") == hall.paid {
                Ok(())
            } else {
                Err(format!("{hall:?}"))
            }
        })
        .at_rest("a-seat-is-paid-or-free", |hall, sagas| {
            let over = |status| matches!(status, Status::Completed | Status::Compensated);
            let all_over = sagas.iter().flatten().all(|saga| over(saga.status()));
            let completed = |status| status == Status::Completed;
            let sagas = sagas.iter().flatten();
            let completed = sagas.filter(|saga| completed(saga.status())).count();
            if all_over && usize::try_from(hall.paid).unwrap() != completed {
                return Err(format!("{hall:?}, {completed} completed"));
            }
            Ok(())
        })
}

#[test]
fn two_sagas_never_get_the_only_seat_in_any_order() {
    let two = hall(1, true).saga(explore(&seat())).saga(explore(&seat()));
    let report = two.clone().at_once(1).run();
    println!("{} states, {:?}", report.states, report.endings.keys());
    assert!(report.is_safe(), "{report:#?}");
    assert_eq!(
        report.endings["completed × compensated"].example.scenario,
        "none"
    );
    // both may have it, one after the other
    let calm = two.at_once(0).run();
    let ends: Vec<&String> = calm.endings.keys().collect();
    assert_eq!(ends, ["compensated × completed", "completed × compensated"]);
}

#[test]
fn a_rule_that_does_not_look_is_found_without_a_fault() {
    let two = hall(1, false).saga(explore(&seat())).saga(explore(&seat()));
    let report = two.at_once(1).run();
    let found = report.violation(Invariant::Own("no-seat-twice")).unwrap();
    assert_eq!(found.schedule.scenario, "none");
    let last = found.schedule.lines.last().unwrap();
    assert!(last.contains("seats gets take/forward #1"), "{found}");
    assert_eq!(report.violations.len(), 1, "{report:#?}");
}

#[test]
fn a_saga_starts_when_it_may_and_a_late_message_of_another_is_still_about() {
    let refund = Plan::new("refund", 1)
        .input::<Start>()
        .deadline(secs(60))
        .opened_by(opened())
        .step(
            step("return")
                .at("money")
                .after(["open"])
                .pivot::<Do>()
                .token("return"),
        )
        .build()
        .unwrap();
    let both = Shared::new(0_i8, |paid, _, step, _| {
        match step {
            "pay" => *paid += 1,
            "return" if *paid == 0 => return Ruling::NotYet,
            "return" => *paid -= 1,
            _ => {}
        }
        Ruling::Happens
    })
    .saga(explore(&seat()))
    .saga_when(explore(&refund), |_, sagas| {
        sagas[0].is_some_and(|seat| seat.status() == Status::Completed)
    })
    .act("somebody-looks", |_| {})
    .at_once(2)
    .at_rest("paid-back", |paid, sagas| match sagas[1] {
        Some(refund) if refund.status() == Status::Completed && *paid != 0 => {
            Err(format!("{paid} is left"))
        }
        _ => Ok(()),
    });
    let report = both.run();
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
    // an act that never changes anything is one that was never met
    assert_eq!(report.unreached, ["somebody-looks"]);
    assert!(report.endings.contains_key("completed × completed"));
    assert!(report.endings.contains_key("completed × never started"));
}

#[test]
fn many_sagas_are_drawn_and_a_seed_gives_the_same_run_again() {
    let many = |looks| {
        let sagas = (0..12).map(|_| explore(&seat()).calls_out(["take"]));
        sagas.fold(hall(5, looks), |hall, saga| {
            hall.saga_when(saga, |_, _| true)
        })
    };
    let (mut faults, mut refused) = (0, 0);
    for seed in 0..30 {
        let run = many(true).random(seed, 40);
        if let Some(violation) = run.violation {
            panic!("seed {seed}: {violation}");
        }
        let again = many(true).random(seed, 40);
        assert_eq!((again.events, &again.endings), (run.events, &run.endings));
        faults += run.faults;
        refused += run
            .endings
            .iter()
            .filter(|ending| **ending == "compensated")
            .count();
    }
    assert!(faults > 100 && refused > 30 * 5, "{faults} {refused}");
    let found = (0..30).find_map(|seed| many(false).random(seed, 40).violation);
    assert_eq!(found.unwrap().invariant, Invariant::Own("no-seat-twice"));
}
