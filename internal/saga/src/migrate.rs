//! Plans change while sagas are under way: what a saga would be under another version.

use std::fmt;

use crate::engine::{Input, Transition, next};
use crate::plan::{Plan, Step};
use crate::state::{Claim, State, Status, StepState};
use crate::time::DbTime;

/// Why a saga cannot go on under another plan.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Unfit {
    /// It has ended, or its case was closed.
    Ended,
    /// The plans have different names or inputs.
    OtherPlan,
    /// An attempt is out: its answer belongs to the plan that sent it.
    AttemptOut {
        /// The step.
        step: String,
    },
    /// The step was sent, and the other plan has not got it.
    StepGone {
        /// The step.
        step: String,
    },
    /// The step was sent, and means something else in the other plan.
    StepChanged {
        /// The step.
        step: String,
    },
    /// An operator has settled the step without an output, and a step of the other plan needs it.
    OutputNeeded {
        /// The step.
        step: String,
    },
    /// The step was sent, and in the other plan comes after one that has not happened.
    PassedBy {
        /// The step that was sent.
        step: String,
        /// The one that would have had to happen before it.
        before: String,
    },
}

impl Unfit {
    /// A constant name for it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Ended => "SAGA_ENDED",
            Self::OtherPlan => "OTHER_PLAN",
            Self::AttemptOut { .. } => "ATTEMPT_OUT",
            Self::StepGone { .. } => "STEP_GONE",
            Self::StepChanged { .. } => "STEP_CHANGED",
            Self::OutputNeeded { .. } => "OUTPUT_NEEDED",
            Self::PassedBy { .. } => "PASSED_BY",
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => write!(f, "the saga has ended"),
            Self::OtherPlan => write!(f, "the plans have different names or inputs"),
            Self::AttemptOut { step } => write!(
                f,
                "{step} has an attempt out: wait for its answer or its timeout"
            ),
            Self::StepGone { step } => {
                write!(f, "{step} was sent, and the other version has not got it")
            }
            Self::StepChanged { step } => write!(
                f,
                "{step} was sent, and has another participant, kind or command in the other version"
            ),
            Self::OutputNeeded { step } => write!(
                f,
                "{step} was settled by hand without an output, which the other version needs"
            ),
            Self::PassedBy { step, before } => write!(
                f,
                "{step} was sent, and in the other version {before} comes before it"
            ),
        }
    }
}

impl std::error::Error for Unfit {}

/// What becomes of a saga of the plan `from` that goes on under the plan `to`: its state, by the
/// names of the steps, and what is sent because of it. Pure.
///
/// Shape: the state of the transition has one entry for each step of `to`. The history keeps the
/// move as [`Input::Migrate`].
///
/// # Errors
/// The first rule that it breaks: a step that was ever sent stays as it is, nothing is out, and
/// going forward, everything that `to` wants before a step that was sent has happened.
pub fn migrate(from: &Plan, to: &Plan, state: &State, now: DbTime) -> Result<Transition, Unfit> {
    let moved = image(from, to, state)?;
    let input = Input::Migrate {
        from: from.version(),
        to: to.version(),
    };
    Ok(next(to, &moved, &input, now))
}

/// The state under the other plan.
fn image(from: &Plan, to: &Plan, state: &State) -> Result<State, Unfit> {
    if from.name() != to.name() || from.input() != to.input() {
        return Err(Unfit::OtherPlan);
    }
    match state.status {
        Status::New | Status::Completed | Status::Compensated => return Err(Unfit::Ended),
        Status::Running | Status::Compensating | Status::NeedsAttention(_) => {}
    }
    if state.closed.is_some() {
        return Err(Unfit::Ended);
    }
    let mut steps = vec![StepState::Idle; to.steps().len()];
    for (position_then, (was, at)) in from.steps().iter().zip(&state.steps).enumerate() {
        let step = || was.name.clone();
        if *at == StepState::Idle {
            continue;
        }
        if at.is_out() {
            return Err(Unfit::AttemptOut { step: step() });
        }
        let position = to
            .position(&was.name)
            .ok_or_else(|| Unfit::StepGone { step: step() })?;
        if !is_same(was, &to.steps()[position]) {
            return Err(Unfit::StepChanged { step: step() });
        }
        let by_hand = matches!(at, StepState::Waived | StepState::ByHand(Claim::Done));
        if by_hand && to.is_bound(position) && !from.is_bound(position_then) {
            return Err(Unfit::OutputNeeded { step: step() });
        }
        steps[position] = at.clone();
    }
    if state.cause.is_none() {
        passed_by(to, &steps)?;
    }
    Ok(State {
        steps,
        ..state.clone()
    })
}

fn is_same(one: &Step, other: &Step) -> bool {
    let messages = |step: &Step| {
        let name =
            |message: &Option<crate::plan::Message>| message.as_ref().map(|m| m.name.clone());
        (name(&step.action), name(&step.compensation))
    };
    one.participant == other.participant
        && one.kind == other.kind
        && messages(one) == messages(other)
}

/// Going forward, a step is sent once all before it have happened: so it has to be here too. What
/// comes before those was asked of them.
fn passed_by(plan: &Plan, steps: &[StepState]) -> Result<(), Unfit> {
    for (step, at) in plan.steps().iter().zip(steps) {
        if *at == StepState::Idle {
            continue;
        }
        if let Some(before) = step.after.iter().find(|before| !steps[**before].happened()) {
            return Err(Unfit::PassedBy {
                step: step.name.clone(),
                before: plan.steps()[*before].name.clone(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Answer, Command, Effect};
    use crate::plan::{PlanBuilder, StepBuilder, output, step};
    use crate::{Cause, Direction, secs};

    #[derive(Clone, PartialEq, prost::Message)]
    struct Do {}
    impl prost::Name for Do {
        const PACKAGE: &'static str = "test";
        const NAME: &'static str = "Do";
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Undo {}
    impl prost::Name for Undo {
        const PACKAGE: &'static str = "test";
        const NAME: &'static str = "Undo";
    }

    fn plan_input(name: &str, version: u32) -> PlanBuilder {
        Plan::new(name, version).input::<Do>()
    }

    fn compensatable<const N: usize>(name: &str, after: [&str; N]) -> StepBuilder {
        let step = step(name).at("somebody").after(after);
        step.compensatable::<Do, Undo>().token(name)
    }

    fn one() -> Plan {
        plan_input("order", 1)
            .step(compensatable("reserve", []))
            .step(compensatable("charge", ["reserve"]))
            .step(
                step("ship")
                    .at("somebody")
                    .after(["charge"])
                    .pivot::<Do>()
                    .token("ship"),
            )
            .build()
            .unwrap()
    }

    /// With one more step, before the money is taken.
    fn two() -> Plan {
        plan_input("order", 2)
            .step(compensatable("reserve", []))
            .step(
                step("quote")
                    .at("somebody")
                    .after(["reserve"])
                    .read_only::<Do>(),
            )
            .step(compensatable("charge", ["quote"]))
            .step(
                step("ship")
                    .at("somebody")
                    .after(["charge"])
                    .pivot::<Do>()
                    .token("ship"),
            )
            .build()
            .unwrap()
    }

    const NOW: DbTime = DbTime(1_000_000);

    fn after(plan: &Plan, state: &State, step: usize, answer: Answer) -> State {
        let input = Input::Reply {
            step,
            direction: Direction::Forward,
            attempt: 1,
            answer,
        };
        next(plan, state, &input, NOW).state
    }

    fn started(plan: &Plan) -> State {
        next(plan, &State::new(plan), &Input::Start, NOW).state
    }

    #[test]
    fn a_saga_with_an_attempt_out_stays_until_it_is_answered() {
        let state = started(&one());
        let step = "reserve".to_owned();
        assert_eq!(
            migrate(&one(), &two(), &state, NOW),
            Err(Unfit::AttemptOut { step })
        );
    }

    #[test]
    fn a_new_step_is_sent_when_its_turn_has_not_passed() {
        // paused before the next step went out
        let pause = Input::Verb {
            verb: crate::Verb::Pause,
        };
        let paused = next(&one(), &started(&one()), &pause, NOW).state;
        let held = after(&one(), &paused, 0, Answer::Done);
        let moved = migrate(&one(), &two(), &held, NOW).unwrap();
        assert_eq!(moved.effects, []);
        let resume = Input::Verb {
            verb: crate::Verb::Resume,
        };
        let resumed = next(&two(), &moved.state, &resume, NOW);
        assert!(
            matches!(resumed.effects[..], [Effect::Send(Command { step: 1, .. })]),
            "{:?}",
            resumed.effects
        );
    }

    #[test]
    fn what_was_sent_is_not_overtaken_by_a_new_step() {
        let state = after(&one(), &started(&one()), 0, Answer::Done);
        let waiting = next(&one(), &state, &Input::Due, NOW.after(secs(6))).state;
        assert_eq!(waiting.steps[1].word(), "backoff");
        let (step, before) = ("charge".to_owned(), "quote".to_owned());
        assert_eq!(
            migrate(&one(), &two(), &waiting, NOW),
            Err(Unfit::PassedBy { step, before })
        );
    }

    #[test]
    fn a_saga_that_goes_back_takes_back_what_it_did_under_the_other_plan() {
        let state = after(&one(), &started(&one()), 0, Answer::Done);
        let failed = Answer::Failed {
            reason: "NO_MONEY".to_owned(),
            detail: String::new(),
        };
        let state = after(&one(), &state, 1, failed);
        assert!(matches!(state.cause, Some(Cause::Failed { .. })));
        assert_eq!(state.steps[0].word(), "undoing");
        let later = next(&one(), &state, &Input::Due, NOW.after(secs(6))).state;
        let moved = migrate(&one(), &two(), &later, NOW.after(secs(6)))
            .unwrap()
            .state;
        let words: Vec<&str> = moved.steps.iter().map(StepState::word).collect();
        assert_eq!(words, ["undo-backoff", "idle", "failed", "idle"]);
        let sent = next(&two(), &moved, &Input::Due, NOW.after(secs(7))).effects;
        assert!(matches!(sent[..], [Effect::Send(Command { step: 0, .. })]));
    }

    #[test]
    fn a_step_before_a_query_is_taken_back_after_what_comes_behind_it() {
        let state = after(&two(), &started(&two()), 0, Answer::Done);
        let state = after(&two(), &state, 1, Answer::Done);
        let state = after(&two(), &state, 2, Answer::Done);
        let failed = Answer::Failed {
            reason: "NO_CARRIER".to_owned(),
            detail: String::new(),
        };
        let back = after(&two(), &state, 3, failed);
        let words: Vec<&str> = back.steps.iter().map(StepState::word).collect();
        assert_eq!(words, ["done", "done", "undoing", "failed"]);
    }

    #[test]
    fn what_was_skipped_is_not_bound_by_another_version() {
        let three = plan_input("order", 3)
            .step(compensatable("reserve", []))
            .step(
                step("quote")
                    .at("somebody")
                    .after(["reserve"])
                    .read_only::<Do>(),
            )
            .step(compensatable("charge", ["quote"]).bind("price", output("quote", "price")))
            .build()
            .unwrap();
        let mut state = started(&two());
        state.steps[0] = StepState::Done;
        state.steps[1] = StepState::Waived;
        let step = "quote".to_owned();
        assert_eq!(
            migrate(&two(), &three, &state, NOW),
            Err(Unfit::OutputNeeded { step })
        );
        state.steps[1] = StepState::Done;
        assert!(migrate(&two(), &three, &state, NOW).is_ok());
    }

    #[test]
    fn what_has_ended_and_what_is_another_plan_stay() {
        let state = started(&one());
        let other = plan_input("other", 1)
            .step(compensatable("reserve", []))
            .build()
            .unwrap();
        assert_eq!(migrate(&one(), &other, &state, NOW), Err(Unfit::OtherPlan));
        assert_eq!(
            migrate(&one(), &two(), &State::new(&one()), NOW),
            Err(Unfit::Ended)
        );
    }
}
