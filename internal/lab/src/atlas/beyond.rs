use std::io::Write;

use palinode_explore::{Fault, Faults, Invariant};
use palinode_saga::Plan;
use serde_json::json;

use super::{explorer, replay_line};
use crate::sagas::table;

/// A world in which something happens that no saga is promised to survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum World {
    /// An external system forgets its idempotency keys.
    Forgetful,
    /// A participant is restored to what it was one transaction ago.
    Restored,
}

impl World {
    fn fault(self) -> Fault {
        match self {
            Self::Forgetful => Fault::Forgotten,
            Self::Restored => Fault::Restored,
        }
    }

    /// What may break in it.
    fn breaks(self) -> &'static [Invariant] {
        match self {
            // what the external system no longer knows is looked up and left to people
            Self::Forgetful => &[],
            // an effect is gone, or done again, and no message tells of it
            Self::Restored => &[Invariant::Ledger, Invariant::OneEffect],
        }
    }
}

/// Explores a plan in such a world and writes what breaks, and what the saga says instead; true
/// when nothing breaks that need not.
///
/// # Errors
/// Those of `out`.
pub fn beyond(
    plan: &Plan,
    world: World,
    faults: u8,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let explorer = explorer(plan)
        .at_once(faults)
        .faults(Faults::all().and([world.fault()]));
    let report = explorer.run();
    let word = world.fault().word();
    writeln!(
        out,
        "{} where anything may be {word}, with up to {faults} faults: {} states\n",
        report.plan, report.states
    )?;
    let rows = report
        .endings
        .iter()
        .map(|(name, ending)| vec![(*name).to_owned(), ending.example.scenario.clone()]);
    table(&["ends", "least that leads there"], rows.collect(), out)?;
    let may_break = |of: &Invariant| world.breaks().contains(of);
    for violation in &report.violations {
        let schedule = &violation.schedule;
        let promised = if may_break(&violation.invariant) {
            "BREAKS, and nobody promised otherwise:"
        } else {
            "VIOLATED"
        };
        let again = replay_line(plan, &schedule.scenario);
        writeln!(out, "\n{promised} {violation}")?;
        writeln!(out, "again: {again} --schedule {}", schedule.events)?;
    }
    if world == World::Restored {
        let words = "what a restored participant lost is found by `palinode saga orphans`";
        writeln!(out, "\n{words}")?;
    }
    let broken: Vec<&str> = report
        .violations
        .iter()
        .map(|of| of.invariant.word())
        .collect();
    if json {
        let line = json!({
            "plan": report.plan, "world": word, "states": report.states, "breaks": broken,
            "endings": report.endings.keys().collect::<Vec<_>>(),
        });
        writeln!(out, "{line}")?;
    }
    Ok(report.violations.iter().all(|of| may_break(&of.invariant)) && !report.cut)
}
