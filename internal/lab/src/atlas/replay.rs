use std::io::Write;

use anyhow::Context;
use palinode_explore::{Explorer, Frame, Mutant, Replay};
use palinode_saga::Plan;
use serde_json::json;

use super::{explorer, replay_line};
use crate::sagas::table;

/// What happens again.
#[derive(Debug, Clone)]
pub struct ReplayOptions {
    /// The id of a scenario, or faults joined by `+`, or `none`.
    pub scenario: String,
    /// Its events, for an exact replay; else the shortest schedule with these faults.
    pub schedule: Option<String>,
    /// A bug that is planted.
    pub mutant: Option<Mutant>,
    /// The last line of the output is one JSON object.
    pub json: bool,
}

/// Lets something happen again, and writes it moment by moment; true when nothing is violated.
///
/// # Errors
/// Those of `out`; there is no such fault, or no such schedule.
pub fn replay(plan: &Plan, options: &ReplayOptions, out: &mut impl Write) -> anyhow::Result<bool> {
    let mut explorer = explorer(plan);
    if let Some(mutant) = options.mutant {
        explorer = explorer.mutant(mutant);
    }
    let replay = match &options.schedule {
        Some(events) => explorer.replay_exactly(&options.scenario, events),
        None => explorer.replay(&options.scenario),
    };
    let replay = replay?;
    tell(&replay, out)?;
    if options.json {
        let violated = replay.violated.iter().map(
            |(frame, of, words)| json!({ "frame": frame, "invariant": of.word(), "words": words }),
        );
        let line = json!({
            "plan": plan.label(),
            "scenario": replay.schedule.scenario,
            "schedule": replay.schedule.events,
            "ending": replay.ending,
            "frames": replay.frames,
            "violated": violated.collect::<Vec<_>>(),
        });
        writeln!(out, "{line}")?;
    }
    Ok(replay.violated.is_empty())
}

fn tell(replay: &Replay, out: &mut impl Write) -> anyhow::Result<()> {
    let mut before: Option<&Frame> = None;
    for (at, frame) in replay.frames.iter().enumerate() {
        let (seconds, millis) = (frame.at_ms / 1_000, frame.at_ms % 1_000);
        writeln!(out, "{at:>3}  {seconds:>4}.{millis:03} s  {}", frame.event)?;
        for line in changes(before, frame) {
            writeln!(out, "                 {line}")?;
        }
        for (_, invariant, words) in replay.violated.iter().filter(|of| of.0 == at) {
            writeln!(out, "                 VIOLATED {invariant}: {words}")?;
        }
        before = Some(frame);
    }
    let Some(last) = replay.frames.last() else {
        return Ok(());
    };
    writeln!(out, "\n{}\n", replay.ending)?;
    let rows = last.steps.iter().map(|step| {
        vec![
            step.step.clone(),
            step.state.to_owned(),
            step.guard.clone(),
            step.done.to_string(),
            step.undone.to_string(),
            step.ledger.to_owned(),
        ]
    });
    let heads = ["step", "state", "guard", "done", "undone", "ledger"];
    table(&heads, rows.collect(), out)?;
    writeln!(out, "\nexactly this: --schedule {}", replay.schedule.events)?;
    Ok(())
}

/// What an event has changed, in words.
fn changes(before: Option<&Frame>, frame: &Frame) -> Vec<String> {
    let Some(before) = before else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    if before.status != frame.status {
        lines.push(format!("the saga is {:?}", frame.status));
    }
    for (was, is) in before.steps.iter().zip(&frame.steps) {
        let step = &is.step;
        if was.state != is.state {
            lines.push(format!("{step}: {} → {}", was.state, is.state));
        }
        if was.guard != is.guard {
            lines.push(format!("{step}: guard {} → {}", was.guard, is.guard));
        }
        if was.done != is.done {
            lines.push(format!(
                "{step}: its effect has happened ({} in all)",
                is.done
            ));
        }
        if was.undone != is.undone {
            lines.push(format!(
                "{step}: its effect is taken back ({} in all)",
                is.undone
            ));
        }
        if was.ledger != is.ledger {
            lines.push(format!("{step}: the ledger says {}", is.ledger));
        }
    }
    lines
}

/// Which runs are drawn.
#[derive(Debug, Clone, Copy)]
pub struct RandomOptions {
    /// How many.
    pub seeds: u64,
    /// The first of them.
    pub seed: u64,
    /// Faults in each, at the most.
    pub faults: u32,
    /// The last line of the output is one JSON object.
    pub json: bool,
}

/// Draws runs with many faults and writes how they ended; true when nothing is violated.
///
/// # Errors
/// Those of `out`.
pub fn random(plan: &Plan, options: &RandomOptions, out: &mut impl Write) -> anyhow::Result<bool> {
    let explorer: Explorer = explorer(plan);
    let mut endings = std::collections::BTreeMap::<&str, u64>::new();
    let (mut faults, mut events, mut violations) = (0, 0, 0);
    let last = options.seed.checked_add(options.seeds);
    let last = last.context("there is no seed beyond 2^64")?;
    for seed in options.seed..last {
        let run = explorer.random(seed, options.faults);
        *endings.entry(run.ending).or_default() += 1;
        faults += run.schedule.sites.len();
        events += run.schedule.lines.len();
        if let Some(violation) = run.violation {
            violations += 1;
            let again = replay_line(plan, &violation.schedule.scenario);
            let (label, limit) = (plan.label(), options.faults);
            writeln!(out, "seed {seed}: VIOLATED {violation}")?;
            writeln!(
                out,
                "again: palinode lab random {label} --seed {seed} --faults {limit}"
            )?;
            writeln!(
                out,
                "   or: {again} --schedule {}\n",
                violation.schedule.events
            )?;
        }
    }
    writeln!(
        out,
        "{}: {} runs, {faults} faults, {events} events, {violations} violations\n",
        plan.label(),
        options.seeds
    )?;
    let rows = endings.iter();
    let rows = rows.map(|(name, runs)| vec![(*name).to_owned(), runs.to_string()]);
    table(&["ends", "runs"], rows.collect(), out)?;
    if options.json {
        let line = json!({
            "plan": plan.label(), "seeds": options.seeds, "seed": options.seed,
            "faults": faults, "events": events, "endings": endings, "violations": violations,
        });
        writeln!(out, "{line}")?;
    }
    Ok(violations == 0)
}
