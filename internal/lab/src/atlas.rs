//! `palinode lab`: what can become of a plan, and whether the search would find a bug.

use std::collections::BTreeMap;
use std::io::Write;

use palinode_explore::{Explorer, Invariant, Mutant, Report};
use palinode_saga::Plan;
use serde::Serialize;
use tokio::time::Instant;

use crate::sagas::table;

/// The last line of an exploration.
#[derive(Serialize)]
struct Line<'r> {
    plan: &'r str,
    scenarios: usize,
    paths: usize,
    states: usize,
    transitions_covered: usize,
    transitions: usize,
    violations: usize,
    unreached: usize,
    seconds: f64,
}

/// The last line about planted bugs.
#[derive(Serialize)]
struct KillLine {
    mutants: usize,
    killed: usize,
    by: BTreeMap<&'static str, usize>,
    survivors: Vec<&'static str>,
}

/// Explores a plan and writes what was found; true when all is well.
///
/// Shape: with `json`, the last line of the output is one JSON object.
///
/// # Errors
/// Those of `out`.
pub fn explore(plan: &Plan, faults: u8, json: bool, out: &mut impl Write) -> anyhow::Result<bool> {
    let began = Instant::now();
    let report = Explorer::new(plan).faults(faults).run();
    let seconds = (began.elapsed().as_secs_f64() * 100.0).round() / 100.0;
    write(&report, out)?;
    if json {
        let line = serde_json::to_string(&Line {
            plan: &report.plan,
            scenarios: report.scenarios,
            paths: report.paths,
            states: report.states,
            transitions_covered: report.transitions_covered(),
            transitions: report.transitions,
            violations: report.violations.len(),
            unreached: report.unreached.len(),
            seconds,
        })?;
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "\n{seconds} s")?;
    }
    Ok(report.is_good())
}

fn write(report: &Report, out: &mut impl Write) -> anyhow::Result<()> {
    let faults = report.faults;
    writeln!(out, "{} with up to {faults} faults at a time", report.plan)?;
    writeln!(
        out,
        "{} faults at places, {} worlds, {} paths, {} of {} transitions\n",
        report.scenarios,
        report.states,
        report.paths,
        report.transitions_covered(),
        report.transitions
    )?;
    let rows = report.endings.iter().map(|(name, ending)| {
        let faults = ending
            .example
            .iter()
            .filter_map(|line| line.strip_prefix("FAULT "));
        let faults: Vec<&str> = faults.collect();
        let least = if faults.is_empty() {
            "no fault".to_owned()
        } else {
            faults.join(", then ")
        };
        vec![name.clone(), ending.worlds.to_string(), least]
    });
    table(
        &["ends", "worlds", "least that leads there"],
        rows.collect(),
        out,
    )?;
    for (name, moves) in &report.missed {
        let moves: Vec<&str> = moves.iter().map(String::as_str).collect();
        writeln!(out, "\nNEVER MADE by {name}: {}", moves.join(", "))?;
    }
    for site in &report.unreached {
        writeln!(out, "\nUNREACHED {site}")?;
    }
    for violation in &report.violations {
        writeln!(
            out,
            "\nVIOLATED {}: {}",
            violation.invariant, violation.words
        )?;
        for line in &violation.trace {
            writeln!(out, "    {line}")?;
        }
    }
    if report.cut {
        writeln!(
            out,
            "\nCUT: there are more worlds than the search keeps; use fewer faults"
        )?;
    }
    Ok(())
}

/// Plants each bug in turn and writes by what it was found; true when none survived.
///
/// Shape: with `json`, the last line of the output is one JSON object.
///
/// # Errors
/// Those of `out`.
pub fn mutants(plans: &[Plan], json: bool, out: &mut impl Write) -> anyhow::Result<bool> {
    let mut rows = Vec::new();
    let mut by: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut survivors = Vec::new();
    for mutant in Mutant::ALL {
        match found(plans, mutant) {
            Some((invariant, plan, faults)) => {
                *by.entry(invariant.word()).or_default() += 1;
                let row = [mutant.word(), invariant.word(), &plan, faults.as_str()];
                rows.push(row.map(str::to_owned).to_vec());
            }
            None => {
                survivors.push(mutant.word());
                let row = [mutant.word(), "SURVIVES", "", ""];
                rows.push(row.map(str::to_owned).to_vec());
            }
        }
    }
    let all_killed = survivors.is_empty();
    table(&["planted bug", "found by", "in", "faults"], rows, out)?;
    if json {
        let (all, killed) = (Mutant::ALL.len(), Mutant::ALL.len() - survivors.len());
        let line = serde_json::to_string(&KillLine {
            mutants: all,
            killed,
            by,
            survivors,
        })?;
        writeln!(out, "{line}")?;
    }
    Ok(all_killed)
}

/// The invariant that finds the bug, the plan, and how many faults that took.
fn found(plans: &[Plan], mutant: Mutant) -> Option<(Invariant, String, String)> {
    (1..=2).find_map(|faults| {
        plans.iter().find_map(|plan| {
            let report = Explorer::new(plan).faults(faults).mutant(mutant).run();
            let first = report.violations.first()?;
            Some((first.invariant, plan.label(), faults.to_string()))
        })
    })
}
