//! Classes of bugs that shipped in other engines; each is a named scenario, `seen/B10`.

use palinode_saga::{DbTime, Input, Plan, Status, Step, StepKind, accepted, next};

use crate::explorer::{Explorer, explore};
use crate::fault::{Fault, Faults, Leg};
use crate::mutant::Mutant;
use crate::recovery;
use crate::report::Report;
use crate::run::recovers;
use crate::search::{Goal, Search};

/// A class of bugs, and how it is forced.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// `seen/B10`.
    pub id: &'static str,
    /// What went wrong there.
    pub class: &'static str,
    /// How it is forced here, and what judges.
    pub forced: Forced,
}

/// Where a class of bugs is forced.
#[derive(Debug, Clone, Copy)]
pub enum Forced {
    /// In this world, for any plan; the judge's name.
    Here(&'static str, Check),
    /// On the real thing: by which test or command.
    Elsewhere(&'static str),
    /// Nowhere; what is missing.
    NotYet(&'static str),
}

/// Forces it, and says how much was gone through, or what is wrong.
pub type Check = fn(&Plan) -> Result<String, String>;

/// Every class, in order.
pub const SEEN: [Seen; 28] = [
    seen(
        "seen/B1",
        "a database error in recovery is swallowed",
        Forced::Elsewhere("orchestrator: an_error_at_any_statement_of_recovery_loses_nothing"),
    ),
    seen(
        "seen/B2",
        "an old and a new owner both act",
        Forced::Here("history", two_owners),
    ),
    seen(
        "seen/B3",
        "it waits for what only it could bring about",
        Forced::Here("liveness", hangs),
    ),
    seen(
        "seen/B4",
        "recovery rejects a legal state",
        Forced::Here("history", recovered),
    ),
    seen(
        "seen/B5",
        "one bad saga holds up the others",
        Forced::Elsewhere("orchestrator: one_unreadable_saga_does_not_hold_up_the_others"),
    ),
    seen(
        "seen/B6",
        "a log that is read in pages loses events",
        Forced::Elsewhere(
            "a saga recovers from one row; of outboxes, which are read in pages, relay: \
             concurrent_writers_with_rollbacks_lose_nothing_and_keep_the_order_of_each_key",
        ),
    ),
    seen(
        "seen/B7",
        "a verb is acknowledged and not stored",
        Forced::Elsewhere("orchestrator: a_verb_is_acknowledged_if_and_only_if_it_is_stored"),
    ),
    seen(
        "seen/B8",
        "two answers at once, one of them lost",
        Forced::Here("history", at_once),
    ),
    seen(
        "seen/B9",
        "a crash after work was taken",
        Forced::Here("liveness", taken),
    ),
    seen(
        "seen/B10",
        "a late action after its compensation",
        Forced::Here("ledger", late),
    ),
    seen(
        "seen/B11",
        "a crash leaves what no verb accepts",
        Forced::Here("verb", verbs),
    ),
    seen(
        "seen/B12",
        "a failing undo fails for ever",
        Forced::Here("liveness", undo_fails),
    ),
    seen(
        "seen/B13",
        "a cancel takes nothing back",
        Forced::Here("ledger", cancelled),
    ),
    seen(
        "seen/B14",
        "nothing is read until a new saga starts",
        Forced::Here("liveness", recovered),
    ),
    seen(
        "seen/B15",
        "an event in a state that does not expect it",
        Forced::Elsewhere(
            "saga: any_input_in_any_state_keeps_the_promises, the_table_in_the_documents_is_the_engines",
        ),
    ),
    seen(
        "seen/B16",
        "a limit of attempts is ignored",
        Forced::Here("liveness", endless),
    ),
    seen(
        "seen/B17",
        "a timer acts after the end",
        Forced::Here("ended", after_the_end),
    ),
    seen(
        "seen/B18",
        "an undo is booked on another's account",
        Forced::Elsewhere("inventory: a_second_saga_cannot_touch_what_the_first_holds"),
    ),
    seen(
        "seen/B19",
        "a rollback that fails hides its cause",
        Forced::Here("one-flip", fails_twice),
    ),
    seen(
        "seen/B20",
        "called compensated, and the undo was skipped",
        Forced::Here("ledger", skipped),
    ),
    seen(
        "seen/B21",
        "the end is told and not stored, or stored and not told",
        Forced::Here("honest", told),
    ),
    seen(
        "seen/B22",
        "a purge races with late messages",
        Forced::Elsewhere(
            "orchestrator: what_ended_long_ago_goes_and_its_day_after_it; \
         participant: a_saga_beyond_the_horizon_is_refused",
        ),
    ),
    seen(
        "seen/B23",
        "a test passes that never met its fault",
        Forced::Here("unreached", unmet),
    ),
    seen(
        "seen/B24",
        "an upgrade strands sagas in flight",
        Forced::Elsewhere(
            "orchestrator: released_plans_stay_as_they_are; palinode lab explore, for every plan",
        ),
    ),
    seen(
        "seen/B25",
        "slower as what has ended piles up",
        Forced::NotYet("a benchmark over 10^6 sagas"),
    ),
    seen(
        "seen/B26",
        "one hot queue",
        Forced::NotYet("a benchmark with one hot lane"),
    ),
    seen(
        "seen/B27",
        "a batch waits for ever for its end",
        Forced::Elsewhere("messaging: a_record_that_comes_alone_does_not_wait_for_company"),
    ),
    seen(
        "seen/B28",
        "a published sample is wrong",
        Forced::Elsewhere(
            "explore: the example book_trip, and the plan of the crate's page, are compiled and explored",
        ),
    ),
];

const fn seen(id: &'static str, class: &'static str, forced: Forced) -> Seen {
    Seen { id, class, forced }
}

/// Nothing is violated and every fault that was planned was met.
fn good(report: &Report) -> Result<String, String> {
    if let Some(violation) = report.violations.first() {
        return Err(violation.to_string());
    }
    if !report.unreached.is_empty() {
        return Err(format!("never met: {}", report.unreached.join(", ")));
    }
    Ok(format!(
        "{} faults, {} moments",
        report.sites, report.states
    ))
}

/// These faults, and what lets the saga turn back.
fn with(plan: &Plan, faults: impl IntoIterator<Item = Fault>) -> Explorer {
    let turns = [Fault::Failed, Fault::Never, Fault::Deadline];
    explore(plan).faults(Faults::only(faults).and(turns))
}

/// And the mutant that is the bug must be found, where the plan has a step that can show it.
fn finds(plan: &Plan, mutant: Mutant) -> Result<(), String> {
    let shows = |step: &Step| match mutant {
        Mutant::AnswersEarly => step.kind == StepKind::Pivot,
        _ => step.action.is_some() && step.compensation.is_some(),
    };
    if !plan.steps().iter().any(shows) {
        return Ok(());
    }
    let explorer = explore(plan).mutant(mutant);
    let found = explorer.violation(mutant.killed_by());
    found
        .map(|_| ())
        .ok_or_else(|| format!("{} is not found", mutant.word()))
}

fn two_owners(plan: &Plan) -> Result<String, String> {
    finds(plan, Mutant::NoVersion)?;
    good(&with(plan, [Fault::Paused]).run())
}

fn hangs(plan: &Plan) -> Result<String, String> {
    good(&with(plan, [Fault::Never, Fault::Drop, Fault::AnswerDrop]).run())
}

fn recovered(plan: &Plan) -> Result<String, String> {
    let recovered = recovers(plan, 2)?;
    Ok(format!(
        "{} ways, {} moments",
        recovered.ways, recovered.moments
    ))
}

fn at_once(plan: &Plan) -> Result<String, String> {
    finds(plan, Mutant::NoVersion)?;
    good(&with(plan, [Fault::Paused, Fault::HeardTwice, Fault::AnswerLate]).run())
}

fn taken(plan: &Plan) -> Result<String, String> {
    finds(plan, Mutant::TimersInMemory)?;
    good(&with(plan, [Fault::CrashBefore, Fault::TimerCrash]).run())
}

fn late(plan: &Plan) -> Result<String, String> {
    finds(plan, Mutant::NoTombstone)?;
    good(&with(plan, [Fault::Late, Fault::AnswerLate, Fault::DuplicateLate]).run())
}

/// Every verb that a live state accepts, at every moment after a crash: some verb is accepted, and
/// with any of them it comes to rest.
fn verbs(plan: &Plan) -> Result<String, String> {
    let faults = Faults::crashes().and([Fault::Failed, Fault::Never, Fault::Hold]);
    let explorer = explore(plan).faults(faults);
    let (rules, may) = (&explorer.rules, explorer.planned());
    let search = Search::run(Goal {
        keeps: true,
        ..explorer.goal(&[], &may)
    });
    let mut tried = 0;
    for (at, moment) in &search.kept {
        let state = &moment.state;
        let live = state.status != Status::New && !state.is_terminal() && state.closed.is_none();
        let verbs = accepted(&rules.plan, state, moment.now);
        let told = |words: &str| Err(format!("{words}:\n{}", search.schedule(*at)));
        if live && verbs.is_empty() {
            return told("it is live, and no verb is accepted");
        }
        for verb in verbs {
            let word = verb.word();
            let mut after = moment.clone();
            after.input(rules, Input::Verb { verb });
            if !recovery::comes_to_rest(rules, after) {
                return told(&format!("after {word} it never comes to rest"));
            }
            tried += 1;
        }
    }
    Ok(format!("{tried} verbs at {} moments", search.kept.len()))
}

fn undo_fails(plan: &Plan) -> Result<String, String> {
    good(&with(plan, [Fault::Transient, Fault::ErrorAfter, Fault::Drop]).run())
}

fn cancelled(plan: &Plan) -> Result<String, String> {
    let faults = Faults::all().without([Fault::Hold, Fault::Force]);
    good(&explore(plan).faults(faults).run())
}

fn endless(plan: &Plan) -> Result<String, String> {
    finds(plan, Mutant::NoBudget).or_else(|_| finds(plan, Mutant::NoProbe))?;
    good(&with(plan, [Fault::Transient]).run())
}

fn after_the_end(plan: &Plan) -> Result<String, String> {
    let explorer = explore(plan);
    let may = explorer.planned();
    let search = Search::run(Goal {
        keeps: true,
        ..explorer.goal(&[], &may)
    });
    let ended = search
        .kept
        .iter()
        .filter(|(_, moment)| moment.state.is_terminal());
    let mut moments = 0;
    for (at, moment) in ended {
        let fired = next(explorer.plan(), &moment.state, &Input::Due, DbTime::FAR);
        if fired.state != moment.state || !fired.effects.is_empty() {
            return Err(format!(
                "a timer acts after the end:\n{}",
                search.schedule(*at)
            ));
        }
        moments += 1;
    }
    Ok(format!("{moments} moments after the end"))
}

fn fails_twice(plan: &Plan) -> Result<String, String> {
    good(&with(plan, [Fault::ErrorAfter, Fault::Force]).run())
}

fn skipped(plan: &Plan) -> Result<String, String> {
    for mutant in [
        Mutant::UndoWithoutEffect,
        Mutant::UndoSkipped,
        Mutant::BranchForgotten,
    ] {
        finds(plan, mutant)?;
    }
    good(&with(plan, []).run())
}

fn told(plan: &Plan) -> Result<String, String> {
    finds(plan, Mutant::AnswersEarly)?;
    good(&with(plan, [Fault::CrashBefore, Fault::HeardTwice]).run())
}

fn unmet(plan: &Plan) -> Result<String, String> {
    let of = explore(plan);
    let undo = crate::fault::legs(of.plan())
        .into_iter()
        .find_map(|leg| match leg {
            Leg::Undo(step) => Some(of.plan().steps()[step].name.clone()),
            Leg::Start | Leg::Action(_) | Leg::Probe(_) | Leg::UndoProbe(_) => None,
        });
    let Some(step) = undo else {
        return Ok("nothing is ever taken back".to_owned());
    };
    // a hold alone never lets it turn back
    let report = of
        .faults(Faults::only([Fault::Slow]).at_steps([step.as_str()]))
        .run();
    if report.is_safe() {
        return Err(format!("{step} is never taken back, and nobody says so"));
    }
    Ok(format!(
        "{} places told as unreached",
        report.unreached.len()
    ))
}

impl Seen {
    /// Forces it with this plan; `None`: not in this world.
    #[must_use]
    pub fn check(&self, plan: &Plan) -> Option<Result<String, String>> {
        match self.forced {
            Forced::Here(_, check) => Some(check(plan)),
            Forced::Elsewhere(_) | Forced::NotYet(_) => None,
        }
    }
}
