use std::io::Write;

use palinode_explore::{Forced, SEEN};
use palinode_saga::Plan;
use serde_json::json;

use crate::sagas::table;

/// Forces every class of bugs that was seen in other engines, with each of these plans, and
/// writes what came of it; true when nothing that is forced here fails.
///
/// # Errors
/// Those of `out`.
pub fn seen(plans: &[Plan], json: bool, out: &mut impl Write) -> anyhow::Result<bool> {
    let (mut rows, mut lines, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    let (mut passed, mut elsewhere, mut not_yet) = (0, 0, 0);
    for seen in SEEN {
        let (judge, verdict, words) = match seen.forced {
            Forced::Here(judge, check) => {
                let outcomes = plans.iter().map(|plan| (plan.label(), check(plan)));
                let mut verdict = "passed";
                let mut words = Vec::new();
                for (label, outcome) in outcomes {
                    match outcome {
                        Ok(done) => words.push(format!("{label}: {done}")),
                        Err(found) => {
                            verdict = "FAILED";
                            failures.push(format!("{} {label}: {found}", seen.id));
                        }
                    }
                }
                passed += usize::from(verdict == "passed");
                (judge, verdict, words.join("; "))
            }
            Forced::Elsewhere(by) => {
                elsewhere += 1;
                ("", "elsewhere", by.to_owned())
            }
            Forced::NotYet(missing) => {
                not_yet += 1;
                ("", "not yet", missing.to_owned())
            }
        };
        lines.push(json!({ "id": seen.id, "verdict": verdict, "judge": judge, "words": words }));
        let row = [seen.id, seen.class, judge, verdict, &words];
        rows.push(row.map(str::to_owned).to_vec());
    }
    table(&["scenario", "seen", "judge", "here", "how"], rows, out)?;
    for failure in &failures {
        writeln!(out, "\nFAILED {failure}")?;
    }
    if json {
        let line = json!({
            "passed": passed, "failed": failures.len(), "elsewhere": elsewhere,
            "not_yet": not_yet, "seen": lines,
        });
        writeln!(out, "{line}")?;
    }
    Ok(failures.is_empty())
}
