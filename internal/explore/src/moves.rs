use std::collections::{BTreeMap, BTreeSet};

use palinode_saga::{Plan, Step, StepKind};

/// A move of a step, from one state to another.
pub(crate) type Move = (&'static str, &'static str);

const ACTION: &[Move] = &[
    ("idle", "sent"),
    ("sent", "done"),
    ("sent", "backoff"),
    ("backoff", "sent"),
    ("backoff", "done"),
];
const MAY_FAIL: &[Move] = &[("sent", "failed"), ("backoff", "failed")];
const GIVEN_UP: &[Move] = &[
    ("sent", "unknown"),
    ("unknown", "done"),
    ("unknown", "undoing"),
    ("undoing", "undone-empty"),
    ("undo-backoff", "undone-empty"),
];
const UNDO: &[Move] = &[
    ("done", "undoing"),
    ("undoing", "undone"),
    ("undoing", "undo-backoff"),
    ("undoing", "stuck"),
    ("undo-backoff", "undoing"),
    ("undo-backoff", "undone"),
];
const PIVOT: &[Move] = &[
    ("sent", "probing"),
    ("probing", "done"),
    ("probing", "not-done"),
    ("probing", "failed"),
    ("probing", "probe-backoff"),
    ("probing", "stuck"),
    ("probe-backoff", "probing"),
    ("probe-backoff", "not-done"),
    ("stuck", "not-done"),
];
/// An answer that comes while the probe is given up; only a cancellation brings that about with two
/// faults.
const CANCELLED: &[Move] = &[("stuck", "done")];
const ENDLESS: &[Move] = &[("sent", "stuck"), ("stuck", "done")];

/// What each step of a plan can go through, as far as the faults of a search lead: a search that
/// misses one of these has not been everywhere.
pub(crate) fn expected(plan: &Plan) -> BTreeSet<(usize, Move)> {
    let steps = plan.steps().iter().enumerate();
    steps
        .flat_map(|(at, step)| of_step(plan, at, step).map(move |of| (at, of)))
        .collect()
}

fn of_step(plan: &Plan, at: usize, step: &Step) -> impl Iterator<Item = Move> {
    let has_action = step.action.is_some();
    let tables = [
        (has_action, ACTION),
        (has_action && plan.may_fail(at), MAY_FAIL),
        (step.compensation.is_some(), UNDO),
        (has_action && step.compensation.is_some(), GIVEN_UP),
        (step.kind == StepKind::Pivot, PIVOT),
        (
            step.kind == StepKind::Pivot && plan.is_cancellable(),
            CANCELLED,
        ),
        (has_action && step.kind == StepKind::Retriable, ENDLESS),
    ];
    tables
        .into_iter()
        .filter(|(applies, _)| *applies)
        .flat_map(|(_, table)| table.iter().copied())
}

/// Moves in words, by step.
pub(crate) fn words(
    plan: &Plan,
    moves: impl Iterator<Item = (usize, Move)>,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut by_step: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (step, (from, to)) in moves {
        let name = plan.steps()[step].name.clone();
        by_step
            .entry(name)
            .or_default()
            .insert(format!("{from} → {to}"));
    }
    by_step
}
