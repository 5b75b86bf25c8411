//! `palinode lab`: what can become of a plan, and whether the search would find a bug.

use std::io::Write;
use std::path::PathBuf;

use palinode_explore::{Explorer, Report, Verdict, count};
use palinode_saga::Plan;
use serde::Serialize;
use tokio::time::Instant;

use crate::sagas::table;

mod beyond;
mod crowd;
mod migration;
mod mutants;
mod pages;
mod pair;
mod replay;
mod seen;

pub use beyond::{World, beyond};
pub use crowd::random_crowd;
pub use migration::migration;
pub use mutants::mutants;
pub use pair::pair_of;
pub use palinode_explore::Mutant;
pub use replay::{RandomOptions, ReplayOptions, random, replay};
pub use seen::seen;

/// Participants that call an external system for what they do.
const CALLS_OUT: [&str; 1] = ["payment"];

/// What is explored, and what is written.
#[derive(Debug, Clone, Default)]
pub struct ExploreOptions {
    /// Faults at the same time, at the most.
    pub faults: u8,
    /// Whether what makes the search small is left out.
    pub unreduced: bool,
    /// The last line of the output is one JSON object.
    pub json: bool,
    /// Where the pages are written.
    pub dir: Option<PathBuf>,
}

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

/// Prepares the exploration of one of our plans.
fn explorer(plan: &Plan) -> Explorer {
    let calls_out = plan
        .steps()
        .iter()
        .filter(|step| CALLS_OUT.contains(&step.participant.as_str()));
    Explorer::new(plan).calls_out(calls_out.map(|step| step.name.as_str()))
}

/// Explores a plan and writes what was found; true when all is well.
///
/// # Errors
/// Those of `out`, and of the folder.
pub fn explore(
    plan: &Plan,
    options: &ExploreOptions,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let began = Instant::now();
    let mut explorer = explorer(plan).at_once(options.faults);
    if options.unreduced {
        explorer = explorer.without_reduction();
    }
    let report = explorer.run();
    let seconds = (began.elapsed().as_secs_f64() * 100.0).round() / 100.0;
    write(&report, plan, out)?;
    let line = Line {
        plan: &report.plan,
        scenarios: report.scenarios.len(),
        paths: report.paths.len(),
        states: report.states,
        transitions_covered: report.transitions_covered(),
        transitions: report.transitions,
        violations: report.violations.len(),
        unreached: unreached(&report),
        seconds,
    };
    if let Some(dir) = &options.dir {
        pages::write(plan, &report, &line, dir)?;
        writeln!(out, "\nwritten: {}/report.html", dir.display())?;
    }
    if options.json {
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    } else {
        writeln!(out, "\n{seconds} s")?;
    }
    // with one fault there are moves that nothing makes
    Ok(if options.faults < 2 {
        report.is_safe()
    } else {
        report.is_good()
    })
}

fn unreached(report: &Report) -> usize {
    let tried = report.scenarios.iter();
    let unreached = tried.filter(|tried| tried.verdict() == Verdict::Unreached);
    report.unreached.len() + unreached.count()
}

fn write(report: &Report, plan: &Plan, out: &mut impl Write) -> anyhow::Result<()> {
    let faults = report.at_once;
    writeln!(out, "{} with up to {faults} faults at a time", report.plan)?;
    writeln!(
        out,
        "{} scenarios, {} states, {} paths, {} of {} transitions\n",
        report.scenarios.len(),
        report.states,
        report.paths.len(),
        report.transitions_covered(),
        report.transitions
    )?;
    let rows = report.endings.iter().map(|(name, ending)| {
        let states = ending.states.to_string();
        vec![(*name).to_owned(), states, ending.example.scenario.clone()]
    });
    table(
        &["ends", "states", "least that leads there"],
        rows.collect(),
        out,
    )?;
    writeln!(
        out,
        "\neach of them again: {}",
        replay_line(plan, "SCENARIO")
    )?;
    for (name, moves) in &report.missed {
        let moves: Vec<&str> = moves.iter().map(String::as_str).collect();
        writeln!(out, "\nNEVER MADE by {name}: {}", moves.join(", "))?;
    }
    for site in &report.unreached {
        writeln!(out, "\nUNREACHED {site}")?;
    }
    for tried in &report.scenarios {
        if tried.verdict() == Verdict::Unreached {
            writeln!(out, "\nUNREACHED {}", tried.scenario.id)?;
        }
    }
    for violation in &report.violations {
        let schedule = &violation.schedule;
        writeln!(out, "\nVIOLATED {violation}")?;
        let again = replay_line(plan, &schedule.scenario);
        writeln!(out, "again: {again} --schedule {}", schedule.events)?;
    }
    if report.cut {
        let words = "there are more states than the search keeps; use fewer faults";
        writeln!(out, "\nCUT: {words}")?;
    }
    Ok(())
}

/// The command that lets something happen again.
fn replay_line(plan: &Plan, scenario: &str) -> String {
    format!("palinode lab replay {} {scenario}", plan.label())
}

/// Writes how many scenarios a plan has, by part.
///
/// # Errors
/// Those of `out`.
pub fn scenarios(plan: &Plan, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let scenarios = explorer(plan).scenarios();
    let parts = count(&scenarios);
    let simulated = parts.iter().map(|part| part.simulated).sum::<usize>();
    let real = parts.iter().map(|part| part.real).sum::<usize>();
    let some = |n: usize| if n == 0 { String::new() } else { n.to_string() };
    let of_part = parts.iter().map(|part| {
        let (legs, here) = (some(part.legs), some(part.simulated));
        vec![part.part.to_string(), legs, here, part.real.to_string()]
    });
    let pairs = |n: usize| (n * n.saturating_sub(1) / 2).to_string();
    let line =
        |name: &str, here: String, real: String| vec![name.to_owned(), String::new(), here, real];
    let sums = [
        line("one at a time", simulated.to_string(), real.to_string()),
        line("pairs", pairs(simulated), pairs(real)),
    ];
    let rows = of_part.chain(sums).collect();
    writeln!(out, "{}\n", plan.label())?;
    table(&["part", "legs", "simulated", "on processes"], rows, out)?;
    if json {
        let ids: Vec<&str> = scenarios
            .iter()
            .map(|scenario| scenario.id.as_str())
            .collect();
        let line = serde_json::json!({
            "plan": plan.label(), "simulated": simulated, "real": real, "parts": parts,
            "scenarios": ids,
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
