use std::collections::BTreeMap;
use std::io::Write;

use palinode_explore::{Mutant, Violation};
use palinode_saga::Plan;
use serde::Serialize;

use super::{explorer, replay_line};
use crate::sagas::table;

/// The last line about planted bugs.
#[derive(Serialize)]
struct Line {
    mutants: usize,
    killed: usize,
    by: BTreeMap<&'static str, usize>,
    survivors: Vec<&'static str>,
}

/// Plants each bug in turn and writes by what it was found; true when each was found by the
/// invariant that must find it.
///
/// Shape: with `json`, the last line of the output is one JSON object.
///
/// # Errors
/// Those of `out`.
pub fn mutants(
    plans: &[Plan],
    only: Option<Mutant>,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let mut rows = Vec::new();
    let mut by: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut survivors = Vec::new();
    let planted = || {
        let all = Mutant::ALL.into_iter();
        all.filter(|mutant| only.is_none_or(|only| only == *mutant))
    };
    let mut replays = Vec::new();
    for mutant in planted() {
        if let Some((found, plan)) = found(plans, mutant) {
            *by.entry(found.invariant.word()).or_default() += 1;
            let row = [
                mutant.word(),
                found.invariant.word(),
                &plan.label(),
                &found.schedule.scenario,
            ];
            rows.push(row.map(str::to_owned).to_vec());
            let again = replay_line(plan, &found.schedule.scenario);
            let events = &found.schedule.events;
            replays.push(format!(
                "{again} --mutant {} --schedule {events}",
                mutant.word()
            ));
        } else {
            survivors.push(mutant.word());
            let row = [mutant.word(), "SURVIVES", "", ""];
            rows.push(row.map(str::to_owned).to_vec());
        }
    }
    let all_killed = survivors.is_empty();
    table(&["planted bug", "found by", "in", "with"], rows, out)?;
    if only.is_some() {
        for again in replays {
            writeln!(out, "\nagain: {again}")?;
        }
    }
    if json {
        let all = planted().count();
        let line = serde_json::to_string(&Line {
            mutants: all,
            killed: all - survivors.len(),
            by,
            survivors,
        })?;
        writeln!(out, "{line}")?;
    }
    Ok(all_killed)
}

/// How the bug was found, in which plan.
fn found(plans: &[Plan], mutant: Mutant) -> Option<(Violation, &Plan)> {
    (1..=2).find_map(|faults| {
        plans.iter().find_map(|plan| {
            let explorer = explorer(plan).at_once(faults).mutant(mutant);
            let violation = explorer.violation(mutant.killed_by())?;
            Some((violation, plan))
        })
    })
}
