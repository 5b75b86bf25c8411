use palinode_saga::{
    self as engine, Answer, Cause, DbTime, Direction, Effect, Ended, Input, Plan, State, Status,
    StepKind, StepState, Transition,
};

use super::Mutant;

/// The engine, with a bug.
pub(crate) fn next(
    mutant: Mutant,
    plan: &Plan,
    state: &State,
    input: &Input,
    now: DbTime,
) -> Transition {
    let after = engine::next(plan, state, input, now);
    match mutant {
        Mutant::TimeoutIsFailed => timeout_is_failed(plan, state, input, now).unwrap_or(after),
        Mutant::ArmedByReply => armed_by_reply(plan, after, now),
        Mutant::ForwardOrder => forward_order(plan, after),
        Mutant::BranchForgotten => branch_forgotten(plan, state, after),
        Mutant::UndoSkipped => undo_skipped(plan, after, now),
        Mutant::BackPastPivot => back_past_pivot(plan, state, input, after, now),
        Mutant::NoBudget | Mutant::NoProbe => endless(mutant, plan, state, after),
        Mutant::TimerAfterEnd => after_end(state, input, after),
        Mutant::FlipsTwice => flips_twice(state, input, after),
        Mutant::HoldSends => hold_sends(plan, state, input, now, after),
        Mutant::LateReplyCounts => late_reply_counts(state, input, after),
        Mutant::EndsEarly => ends_early(plan, after),
        Mutant::AnswersEarly => answers_early(plan, state, after),
        Mutant::EmptyNetsDone => empty_nets_done(plan, state, input, now).unwrap_or(after),
        Mutant::NoGuard
        | Mutant::NoTombstone
        | Mutant::DuplicateFails
        | Mutant::FailedNotStored
        | Mutant::ProbeLeavesOpen
        | Mutant::TimersInMemory
        | Mutant::UndoTwice
        | Mutant::UndoWithoutEffect
        | Mutant::PublishBeforeCommit
        | Mutant::OutboxOutsideTx
        | Mutant::DeletedBeforeAck
        | Mutant::OffsetFirst
        | Mutant::RowOutsideTx
        | Mutant::NoStepKey
        | Mutant::CallsAfterForgotten
        | Mutant::NoVersion
        | Mutant::Deaf => after,
    }
}

/// What a process that kept its timers in memory knows after a crash.
pub(crate) fn forget_timers(state: &mut State) {
    for step in &mut state.steps {
        match step {
            StepState::Sent(at)
            | StepState::Backoff(at)
            | StepState::Probing(at)
            | StepState::ProbeBackoff(at) => at.until = DbTime::FAR,
            StepState::Undoing(undo) | StepState::UndoBackoff(undo) => undo.until = DbTime::FAR,
            _ => {}
        }
    }
}

fn timeout_is_failed(plan: &Plan, state: &State, input: &Input, now: DbTime) -> Option<Transition> {
    if *input != Input::Due {
        return None;
    }
    let timed_out = |(step, at): &(usize, &StepState)| {
        matches!(at, StepState::Sent(attempt) if attempt.until <= now) && plan.may_fail(*step)
    };
    let (step, at) = state.steps.iter().enumerate().find(timed_out)?;
    let input = Input::Reply {
        step,
        direction: Direction::Forward,
        attempt: at.attempts(),
        answer: Answer::Failed {
            reason: "TIMEOUT".to_owned(),
            detail: String::new(),
        },
    };
    Some(engine::next(plan, state, &input, now))
}

/// Takes undos out of what is sent; their steps become `state`.
fn without_undos(
    plan: &Plan,
    mut after: Transition,
    now: DbTime,
    is_one: impl Fn(&StepState) -> bool,
    becomes: &StepState,
) -> Transition {
    loop {
        let taken = after.effects.iter().position(|effect| {
            matches!(effect, Effect::Send(command)
                if command.direction == Direction::Backward && is_one(&after.state.steps[command.step]))
        });
        let Some(taken) = taken else {
            return after;
        };
        let Effect::Send(command) = after.effects.remove(taken) else {
            return after;
        };
        after.state.steps[command.step] = becomes.clone();
        let more = engine::next(plan, &after.state, &Input::Due, now);
        after.state = more.state;
        after.effects.extend(more.effects);
    }
}

fn armed_by_reply(plan: &Plan, after: Transition, now: DbTime) -> Transition {
    let unknown = |at: &StepState| matches!(at, StepState::Undoing(undo) if !undo.was_done);
    without_undos(plan, after, now, unknown, &StepState::UndoneEmpty)
}

fn undo_skipped(plan: &Plan, after: Transition, now: DbTime) -> Transition {
    let done = |at: &StepState| matches!(at, StepState::Undoing(undo) if undo.was_done);
    without_undos(plan, after, now, done, &StepState::Undone)
}

fn forward_order(plan: &Plan, mut after: Transition) -> Transition {
    let first = (0..after.state.steps.len()).find(|&step| {
        after.state.steps[step] == StepState::Done && plan.steps()[step].compensation.is_some()
    });
    for effect in &mut after.effects {
        if let Effect::Send(command) = effect
            && command.direction == Direction::Backward
            && let Some(first) = first
            && first < command.step
        {
            after.state.steps.swap(first, command.step);
            command.step = first;
            return after;
        }
    }
    after
}

fn branch_forgotten(plan: &Plan, before: &State, mut after: Transition) -> Transition {
    if before.cause.is_none() && after.state.cause.is_some() {
        let forgotten = (0..after.state.steps.len()).find(|&step| {
            after.state.steps[step] == StepState::Done
                && plan.steps()[step].compensation.is_some()
                && plan.steps()[step].action.is_some()
        });
        if let Some(step) = forgotten {
            after.state.steps[step] = StepState::Undone;
        }
    }
    after
}

fn back_past_pivot(
    plan: &Plan,
    state: &State,
    input: &Input,
    after: Transition,
    now: DbTime,
) -> Transition {
    let pivot = plan.steps().iter().position(|s| s.kind == StepKind::Pivot);
    let Some(pivot) = pivot.filter(|_| *input == Input::Due) else {
        return after;
    };
    let StepState::Sent(attempt) = state.steps[pivot] else {
        return after;
    };
    let mut believed = state.clone();
    believed.steps[pivot] = StepState::NotDone;
    believed.status = Status::Compensating;
    believed.cause = Some(Cause::Unknown {
        step: plan.steps()[pivot].name.clone(),
    });
    if attempt.until > now {
        return after;
    }
    engine::next(plan, &believed, &Input::Due, now)
}

/// Attempts are not counted: what would be given up, or asked, goes on instead.
fn endless(mutant: Mutant, plan: &Plan, before: &State, mut after: Transition) -> Transition {
    for step in 0..after.state.steps.len() {
        let gave_up = matches!(after.state.steps[step], StepState::Stuck { .. })
            && mutant == Mutant::NoBudget;
        let probed = matches!(after.state.steps[step], StepState::Probing(_))
            && mutant == Mutant::NoProbe
            && plan.steps()[step].kind == StepKind::Pivot;
        if (gave_up || probed) && before.steps[step].is_out() {
            let mut state = before.clone();
            match &mut state.steps[step] {
                StepState::Sent(at) | StepState::Probing(at) => {
                    let length = DbTime(at.until.0 + 1_000);
                    (at.n, at.since, at.until) = (at.base + 1, at.until, length);
                }
                StepState::Undoing(undo) => {
                    let length = DbTime(undo.until.0 + 1_000);
                    (undo.n, undo.since, undo.until) = (1, undo.until, length);
                }
                _ => {}
            }
            after.state = state;
            after.effects.clear();
        }
    }
    after
}

fn after_end(before: &State, input: &Input, mut after: Transition) -> Transition {
    let late = matches!(input, Input::Reply { .. });
    if before.status == Status::Completed && late {
        after.state.status = Status::Running;
    }
    after
}

fn flips_twice(before: &State, input: &Input, mut after: Transition) -> Transition {
    let done = matches!(
        input,
        Input::Reply {
            answer: Answer::Done,
            ..
        }
    );
    if before.status == Status::Compensating && done {
        after.state.status = Status::Running;
        after.state.cause = None;
    }
    after
}

fn hold_sends(
    plan: &Plan,
    state: &State,
    input: &Input,
    now: DbTime,
    after: Transition,
) -> Transition {
    let Some(hold) = state.hold.filter(|_| !matches!(input, Input::Verb { .. })) else {
        return after;
    };
    let unheld = State {
        hold: None,
        ..state.clone()
    };
    let mut after = engine::next(plan, &unheld, input, now);
    after.state.hold = Some(hold);
    after
}

fn late_reply_counts(before: &State, input: &Input, mut after: Transition) -> Transition {
    if let Input::Reply {
        step,
        answer: Answer::Done,
        ..
    } = input
        && matches!(
            before.steps[*step],
            StepState::Undone | StepState::UndoneEmpty | StepState::NotDone
        )
    {
        after.state.steps[*step] = StepState::Done;
    }
    after
}

fn ends_early(plan: &Plan, mut after: Transition) -> Transition {
    let pivot = plan.steps().iter().position(|s| s.kind == StepKind::Pivot);
    let done = pivot.is_some_and(|pivot| after.state.steps[pivot] == StepState::Done);
    if done && after.state.status == Status::Running {
        after.state.status = Status::Completed;
    }
    after
}

fn answers_early(plan: &Plan, before: &State, mut after: Transition) -> Transition {
    let pivot = plan.steps().iter().position(|s| s.kind == StepKind::Pivot);
    let done = |state: &State| pivot.is_some_and(|pivot| state.steps[pivot] == StepState::Done);
    if done(&after.state) && !done(before) {
        let status = Status::Completed;
        after.effects.push(Effect::Emit(Ended { status }));
    }
    after
}

fn empty_nets_done(plan: &Plan, state: &State, input: &Input, now: DbTime) -> Option<Transition> {
    let Input::Reply {
        step,
        direction,
        attempt,
        answer: Answer::UndoneEmpty,
    } = input
    else {
        return None;
    };
    let input = Input::Reply {
        step: *step,
        direction: *direction,
        attempt: *attempt,
        answer: Answer::Undone,
    };
    Some(engine::next(plan, state, &input, now))
}
