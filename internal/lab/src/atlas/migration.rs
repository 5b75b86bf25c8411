use std::collections::BTreeMap;
use std::io::Write;

use palinode_saga::Plan;
use serde_json::json;

use super::explorer;
use crate::sagas::table;

/// Moves the saga to another version of its plan wherever it fits, explores what comes of that,
/// and writes it; true when nothing is violated.
///
/// # Errors
/// Those of `out`.
pub fn migration(
    from: &Plan,
    to: &Plan,
    faults: u8,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let migration = explorer(from).at_once(faults).migrating_to(to);
    let fits = migration.states.iter().filter(|of| of.unfit.is_none());
    let fitting = fits.clone().count();
    writeln!(
        out,
        "{} → {}, with up to {faults} faults: {fitting} of {} states fit, {} moments after it\n",
        migration.from,
        migration.to,
        migration.states.len(),
        migration.moments
    )?;
    let rows = fits.map(|of| vec![of.moments.to_string(), of.state.clone()]);
    table(&["moments", "these go on"], rows.collect(), out)?;
    let mut reasons: BTreeMap<(&str, &str), (usize, &str)> = BTreeMap::new();
    for of in &migration.states {
        if let Some((code, words)) = &of.unfit {
            let reason = reasons.entry((code, words)).or_insert((0, &of.state));
            reason.0 += 1;
        }
    }
    writeln!(out)?;
    let rows = reasons.iter().map(|((code, words), (states, first))| {
        let [code, words, first] = [*code, *words, *first].map(str::to_owned);
        vec![states.to_string(), code, words, first]
    });
    let heads = ["states", "these stay", "because", "for one"];
    table(&heads, rows.collect(), out)?;
    writeln!(out)?;
    let endings = migration.endings.iter();
    let rows = endings.map(|(name, moments)| vec![(*name).to_owned(), moments.to_string()]);
    table(&["ends after it", "moments"], rows.collect(), out)?;
    for violation in &migration.violations {
        writeln!(out, "\nVIOLATED {violation}")?;
    }
    if migration.cut {
        writeln!(out, "\nCUT: there are more states than the search keeps")?;
    }
    if json {
        let states = migration.states.iter().map(|of| {
            let because = of.unfit.as_ref().map(|(code, _)| code);
            json!({ "state": of.state, "moments": of.moments, "unfit": because })
        });
        let line = json!({
            "from": migration.from, "to": migration.to, "fits": fitting,
            "states": states.collect::<Vec<_>>(), "moments": migration.moments,
            "endings": migration.endings, "violations": migration.violations.len(),
        });
        writeln!(out, "{line}")?;
    }
    Ok(migration.violations.is_empty() && !migration.cut)
}
