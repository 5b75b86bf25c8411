//! `palinode plan migrate`: which sagas of one version could go on under another.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io::Write;

use palinode_saga::{
    Answer, DbTime, Direction, Effect, Input, Plan, Refusal, State, Status, StepKind, StepState,
    Unfit, Verb, migrate, next,
};

use crate::sagas::table;

/// States that are looked at, at the most.
const STATES_MAX: usize = 200_000;

/// What a saga has done, as it stands in the table: its direction, and the steps that happened.
type Stands = (&'static str, String);

/// Shows where sagas of `from` may stand, once no attempt is out, and whether they fit `to`. True
/// when all of them do.
///
/// Shape: every state that replies, timers, a pause and a cancel lead to; attempts of what is
/// repeated without end are told apart up to the second.
///
/// # Errors
/// Those of `out`; the plan has too many states to be gone through.
pub fn show(from: &Plan, to: &Plan, out: &mut impl Write) -> anyhow::Result<bool> {
    let mut rows: BTreeMap<(Stands, String), usize> = BTreeMap::new();
    let (mut fit, mut out_now, mut unfit) = (0, 0, 0);
    for (state, now) in reachable(from)? {
        if state.is_terminal() || state.closed.is_some() {
            continue;
        }
        let outcome = match migrate(from, to, &state, now) {
            Ok(moved) => {
                fit += 1;
                let sent = moved.effects.iter().filter_map(|effect| match effect {
                    Effect::Send(command) => {
                        let verb = match command.direction {
                            Direction::Forward => "sends",
                            Direction::Backward => "undoes",
                        };
                        Some(format!("{verb} {}", to.steps()[command.step].name))
                    }
                    Effect::Emit(_) => None,
                });
                match sent.collect::<Vec<_>>() {
                    none if none.is_empty() => "fits".to_owned(),
                    sent => format!("fits, and {} at once", sent.join(", ")),
                }
            }
            // an answer or a timeout ends that
            Err(Unfit::AttemptOut { .. }) => {
                out_now += 1;
                continue;
            }
            Err(rule) => {
                unfit += 1;
                format!("{}: {rule}", rule.as_str())
            }
        };
        *rows.entry((stands(from, &state), outcome)).or_default() += 1;
    }
    let (from, to) = (from.label(), to.label());
    writeln!(
        out,
        "{from} to {to}: of {} states in flight {out_now} have an attempt out and wait for its end; \
         of the others {fit} fit, {unfit} do not.\n",
        fit + out_now + unfit
    )?;
    let rows = rows.into_iter().map(|(((way, done), outcome), count)| {
        vec![way.to_owned(), done, count.to_string(), outcome]
    });
    table(
        &["goes", "has happened", "states", &format!("as {to}")],
        rows.collect(),
        out,
    )?;
    Ok(unfit == 0)
}

fn stands(plan: &Plan, state: &State) -> Stands {
    let steps = plan.steps().iter().zip(&state.steps);
    let done = steps.filter(|(_, at)| at.happened());
    let done: Vec<&str> = done.map(|(step, _)| step.name.as_str()).collect();
    let way = if state.cause.is_some() {
        "back"
    } else {
        "forward"
    };
    (way, done.join(", "))
}

/// Every state of a saga of the plan that matters here, one of each kind, with a time for it.
fn reachable(plan: &Plan) -> anyhow::Result<Vec<(State, DbTime)>> {
    let start = DbTime(0);
    let first = next(plan, &State::new(plan), &Input::Start, start).state;
    let mut seen = HashSet::from([kind(plan, &first)]);
    let mut queue = VecDeque::from([(first, start)]);
    let mut found = Vec::new();
    while let Some((state, now)) = queue.pop_front() {
        for (input, at) in inputs(plan, &state, now) {
            let after = next(plan, &state, &input, at).state;
            if seen.insert(kind(plan, &after)) {
                queue.push_back((after, at));
            }
        }
        found.push((state, now));
        anyhow::ensure!(
            seen.len() <= STATES_MAX,
            "{} has more than {STATES_MAX} states: it is too wide to be gone through",
            plan.label()
        );
    }
    Ok(found)
}

/// States of one kind fit or do not fit together.
fn kind(plan: &Plan, state: &State) -> String {
    let steps = plan.steps().iter().enumerate().zip(&state.steps);
    let steps = steps.map(|((position, step), at)| {
        let endless = step.kind == StepKind::Retriable || !plan.may_fail(position);
        let counted = match at {
            StepState::Sent(_) | StepState::Backoff(_) if !endless => step.retry.attempts_max,
            StepState::Probing(_) | StepState::ProbeBackoff(_) => step.retry.attempts_max + 2,
            _ => 2,
        };
        format!("{}{}", at.word(), at.attempts().min(counted))
    });
    let steps: Vec<String> = steps.collect();
    let hold = state.hold.map(|hold| (hold.operator, hold.breaker));
    let (cause, wish) = (state.cause.is_some(), state.wish.is_some());
    format!(
        "{:?} {cause} {wish} {hold:?} {:?} {}",
        state.status,
        state.closed,
        steps.join(" ")
    )
}

fn inputs(plan: &Plan, state: &State, now: DbTime) -> Vec<(Input, DbTime)> {
    if matches!(state.status, Status::NeedsAttention(_)) || state.is_terminal() {
        return Vec::new();
    }
    let verbs = [Verb::Pause, Verb::Resume, Verb::Cancel];
    let verbs = verbs.map(|verb| (Input::Verb { verb }, now));
    let mut inputs = Vec::from(verbs);
    if let Some(wake_at) = state.wake_at(plan).filter(|at| *at < DbTime::FAR) {
        inputs.push((Input::Due, wake_at.max(now)));
    }
    for (step, at) in state.steps.iter().enumerate() {
        let reply = |direction, answer| {
            let input = Input::Reply {
                step,
                direction,
                attempt: at.attempts(),
                answer,
            };
            (input, now)
        };
        if let StepState::Undoing(_) = at {
            let reason = "CANNOT".to_owned();
            for answer in [Answer::Undone, Answer::CannotUndo { reason }] {
                inputs.push(reply(Direction::Backward, answer));
            }
            continue;
        }
        if !at.is_out() {
            continue;
        }
        inputs.push(reply(Direction::Forward, Answer::Done));
        let refusal = Refusal::Mismatch;
        inputs.push(reply(Direction::Forward, Answer::Refused { refusal }));
        if let StepState::Probing(_) = at {
            inputs.push(reply(Direction::Forward, Answer::NotDone));
        } else if plan.may_fail(step) {
            let (reason, detail) = ("NO".to_owned(), String::new());
            inputs.push(reply(Direction::Forward, Answer::Failed { reason, detail }));
        }
    }
    inputs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plans::plan;

    #[test]
    fn a_saga_fits_until_the_new_step_has_been_passed_by() {
        let (from, to) = (
            plan("place-order@1").unwrap(),
            plan("place-order@2").unwrap(),
        );
        let mut out = Vec::new();
        assert!(!show(&from, &to, &mut out).unwrap());
        let text = String::from_utf8(out).unwrap();
        let row = |start: &str| -> Vec<&str> {
            text.lines()
                .filter(|line| line.starts_with(start))
                .collect()
        };
        let early = row("forward  open-order, reserve-stock  ");
        assert!(early.iter().any(|line| line.ends_with("fits")), "{text}");
        let late = row("forward  open-order, reserve-stock, charge-payment  ");
        assert!(late.iter().all(|line| line.contains("PASSED_BY")), "{text}");
        assert!(
            row("back").iter().all(|line| line.contains("fits")),
            "{text}"
        );
    }

    #[test]
    fn every_state_fits_the_version_that_it_has() {
        let one = plan("place-order@1").unwrap();
        assert!(show(&one, &one, &mut Vec::new()).unwrap());
    }
}
