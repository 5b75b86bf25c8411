//! What an exploration found, as pages for people and machines.

use std::fmt::Write;
use std::path::Path;

use palinode_explore::{Part, Report, Tried, Verdict};
use palinode_saga::Plan;
use serde_json::{Value, json};

use super::{Line, replay_line};

mod html;

/// Paths with more faults than that are not drawn: nobody could read it.
const DRAWN_FAULTS_MAX: usize = 1;

/// Writes `report.html`, `report.json`, `junit.xml` and `paths.mmd` into a folder, which is made.
///
/// # Errors
/// The folder cannot be written.
pub(super) fn write(
    plan: &Plan,
    report: &Report,
    line: &Line<'_>,
    dir: &Path,
) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir)?;
    let write = |name: &str, text: String| std::fs::write(dir.join(name), text);
    write("report.html", html::page(plan, report, line))?;
    write("report.json", format!("{:#}\n", data(plan, report, line)?))?;
    write("junit.xml", junit(report, line))?;
    write("paths.mmd", mermaid(report))?;
    Ok(())
}

fn data(plan: &Plan, report: &Report, line: &Line<'_>) -> serde_json::Result<Value> {
    let mut data = serde_json::to_value(line)?;
    let scenarios = report.scenarios.iter().map(|tried| {
        json!({
            "id": tried.scenario.id,
            "part": tried.scenario.part,
            "verdict": tried.verdict(),
            "endings": tried.endings,
            "violated": tried.violated.iter().map(|of| of.word()).collect::<Vec<_>>(),
        })
    });
    let paths = report.paths.iter().map(|path| {
        json!({
            "ending": path.ending,
            "changes": path.changes,
            "least": path.example.scenario,
            "schedule": path.example.events,
            "scenarios": path.scenarios,
            "residue": path.residue,
        })
    });
    let endings = report.endings.iter().map(|(name, ending)| {
        let again = replay_line(plan, &ending.example.scenario);
        json!({ "ending": name, "states": ending.states, "again": again })
    });
    let violations = report.violations.iter().map(|violation| {
        let schedule = &violation.schedule;
        let again = replay_line(plan, &schedule.scenario);
        json!({
            "invariant": violation.invariant.word(),
            "words": violation.words,
            "trace": schedule.lines,
            "again": format!("{again} --schedule {}", schedule.events),
        })
    });
    data["faults"] = json!(report.at_once);
    data["scenarios"] = scenarios.collect();
    data["paths"] = paths.collect();
    data["endings"] = endings.collect();
    data["violations"] = violations.collect();
    data["unreached"] = json!(report.unreached);
    data["made"] = json!(report.made);
    data["missed"] = json!(report.missed);
    data["cut"] = json!(report.cut);
    Ok(data)
}

fn junit(report: &Report, line: &Line<'_>) -> String {
    let is_bad =
        |tried: &&Tried| matches!(tried.verdict(), Verdict::FailInvariant | Verdict::Unreached);
    let failures = report.scenarios.iter().filter(is_bad).count();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{}\" tests=\"{}\" \
         failures=\"{failures}\" time=\"{}\">\n",
        escape(&report.plan),
        report.scenarios.len(),
        line.seconds
    );
    for tried in &report.scenarios {
        let verdict = tried.verdict();
        let endings: Vec<&str> = tried.endings.iter().copied().collect();
        let ends = escape(&endings.join(", "));
        let body = match verdict {
            Verdict::FailInvariant | Verdict::Unreached => {
                let violated: Vec<&str> = tried.violated.iter().map(|of| of.word()).collect();
                let words = escape(&violated.join(", "));
                format!("<failure type=\"{verdict}\" message=\"{words}\"/>")
            }
            Verdict::PassCompleted | Verdict::PassCompensated | Verdict::PassNeedsAttention => {
                format!("<system-out>{verdict}: {ends}</system-out>")
            }
        };
        // writing to a string cannot fail
        writeln!(
            xml,
            "  <testcase classname=\"{}.{}\" name=\"{}\">{body}</testcase>",
            escape(&report.plan),
            tried.scenario.part,
            escape(&tried.scenario.id)
        )
        .ok();
    }
    xml.push_str("</testsuite>\n");
    xml
}

/// The paths as a tree, from the start; those with few faults.
fn mermaid(report: &Report) -> String {
    let mut text = String::from("flowchart LR\n  start((start))\n");
    let mut known: Vec<&[String]> = Vec::new();
    let drawn = report.paths.iter();
    let drawn = drawn.filter(|path| path.example.sites.len() <= DRAWN_FAULTS_MAX);
    for (at, path) in drawn.enumerate() {
        let mut before = "start".to_owned();
        for length in 1..=path.changes.len() {
            let prefix = &path.changes[..length];
            let position = known.iter().position(|of| *of == prefix);
            let name = format!("n{}", position.unwrap_or(known.len()));
            if position.is_none() {
                known.push(prefix);
                let label = prefix[length - 1].replace('"', "'");
                writeln!(text, "  {before} --> {name}[\"{label}\"]").ok();
            }
            before = name;
        }
        let class = ending_class(path.ending);
        let ending = path.ending;
        writeln!(text, "  {before} --> e{at}([\"{ending}\"]):::{class}").ok();
    }
    text.push_str(
        "  classDef done fill:#2f8f5b,color:#fff\n  classDef back fill:#2f6fb3,color:#fff\n  \
         classDef look fill:#c98412,color:#fff\n",
    );
    text
}

/// How an ending is coloured.
fn ending_class(ending: &str) -> &'static str {
    match ending {
        "completed" => "done",
        "compensated" => "back",
        _ => "look",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Parts whose scenarios belong to one step and direction.
fn is_of_leg(part: Part) -> bool {
    matches!(
        part,
        Part::Forward | Part::Backward | Part::Probe | Part::Lifecycle
    )
}
