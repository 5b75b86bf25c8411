use std::collections::BTreeMap;
use std::fmt::Write;

use palinode_explore::{Part, Report, Tried, Verdict};
use palinode_saga::Plan;

use super::super::{Line, replay_line};
use super::{ending_class, escape, is_of_leg};

const TEMPLATE: &str = include_str!("../report.html");

/// The page: one file, which needs nothing else.
pub(super) fn page(plan: &Plan, report: &Report, line: &Line<'_>) -> String {
    let parts = [
        ("plan", escape(&report.plan)),
        ("faults", report.at_once.to_string()),
        ("badge", badge(report, line)),
        ("tiles", tiles(report, line)),
        ("violations", violations(plan, report)),
        ("matrix", matrix(report)),
        ("endings", endings(plan, report)),
        ("paths", paths(plan, report)),
        ("moves", moves(report)),
    ];
    let mut page = String::new();
    let mut rest = TEMPLATE;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        page.push_str(before);
        let part = parts.iter().find(|(of, _)| *of == name);
        page.push_str(part.map_or("", |(_, text)| text));
        rest = after;
    }
    page.push_str(rest);
    page
}

/// Whether it is as it must be; with one fault there are moves that nothing makes.
fn badge(report: &Report, line: &Line<'_>) -> String {
    let good = report.is_safe() && (report.at_once < 2 || report.missed.is_empty());
    let (class, word) = if good {
        ("done", "every path ends well")
    } else if line.violations > 0 {
        ("bad", "violated")
    } else {
        ("bad", "not everywhere")
    };
    format!("<span class=\"badge {class}\">{word}</span>")
}

fn tiles(report: &Report, line: &Line<'_>) -> String {
    let covered = format!("{} of {}", line.transitions_covered, line.transitions);
    let tiles = [
        (line.scenarios.to_string(), "scenarios"),
        (line.paths.to_string(), "distinct paths"),
        (line.states.to_string(), "states of the world"),
        (covered, "moves made"),
        (line.violations.to_string(), "violations"),
        (line.unreached.to_string(), "faults never reached"),
        (
            format!("{} s", line.seconds),
            if report.cut { "and cut" } else { "in all" },
        ),
    ];
    let tile = |(number, words): &(String, &str)| {
        format!("<div class=\"card tile\"><b>{number}</b><span>{words}</span></div>")
    };
    tiles.iter().map(tile).collect()
}

fn violations(plan: &Plan, report: &Report) -> String {
    let mut html = String::new();
    for violation in &report.violations {
        let schedule = &violation.schedule;
        let lines: String = schedule
            .lines
            .iter()
            .map(|line| format!("<li>{}</li>", escape(line)))
            .collect();
        let again = replay_line(plan, &schedule.scenario);
        // writing to a string cannot fail
        write!(
            html,
            "<section class=\"card violation\"><b>{} is violated</b>: {}<ol>{lines}</ol>\
             <code class=\"again\">{} --schedule {}</code></section>",
            violation.invariant,
            escape(&violation.words),
            escape(&again),
            escape(&schedule.events)
        )
        .ok();
    }
    html
}

/// Columns in the order in which they are met on the way of a command and its answer.
const COLUMNS: [&str; 35] = [
    "P1",
    "P2",
    "P3",
    "P4a",
    "P4b",
    "P5",
    "P6",
    "P7a",
    "P7b",
    "P8",
    "P9a",
    "P9b",
    "P9c",
    "P10",
    "P11",
    "P12a",
    "P12b",
    "P13r",
    "P13o",
    "P13p",
    "transient",
    "failed",
    "pending",
    "error-after",
    "late",
    "never",
    "slow",
    "duplicate",
    "duplicate-late",
    "reorder",
    "drop",
    "poison",
    "cancel",
    "deadline",
    "hold",
];
/// Columns before which there is a gap.
const GROUPS: [&str; 4] = ["P12a", "P13r", "transient", "cancel"];

fn matrix(report: &Report) -> String {
    let heads: String = COLUMNS
        .iter()
        .map(|column| format!("<th{}><div>{column}</div></th>", gap(column)))
        .collect();
    let mut html =
        format!("<table class=\"matrix\"><thead><tr><th></th>{heads}</tr></thead><tbody>");
    for part in [Part::Forward, Part::Backward, Part::Probe] {
        let mut rows: Vec<&str> = Vec::new();
        for tried in report
            .scenarios
            .iter()
            .filter(|of| of.scenario.part == part)
        {
            if !rows.contains(&tried.scenario.row.as_str()) {
                rows.push(&tried.scenario.row);
            }
        }
        if !rows.is_empty() {
            write!(html, "<tr class=\"part\"><th>{part}</th></tr>").ok();
        }
        for row in rows {
            write!(html, "<tr><th>{}</th>", row_name(row)).ok();
            let cells: BTreeMap<&str, &Tried> = report
                .scenarios
                .iter()
                .filter(|of| of.scenario.row == row && is_of_leg(of.scenario.part))
                .map(|of| (of.scenario.column, of))
                .collect();
            for column in COLUMNS {
                let cell = cells.get(column).map(|tried| cell(tried));
                write!(html, "<td{}>{}</td>", gap(column), cell.unwrap_or_default()).ok();
            }
            html.push_str("</tr>");
        }
    }
    html.push_str("</tbody></table>");
    html.push_str(&others(report));
    html
}

/// The start and the end, which have columns of their own.
fn others(report: &Report) -> String {
    let mut rows: Vec<(&str, Vec<&Tried>)> = Vec::new();
    for tried in report
        .scenarios
        .iter()
        .filter(|of| !is_of_leg(of.scenario.part))
    {
        match rows.last_mut() {
            Some((row, of_row)) if *row == tried.scenario.row => of_row.push(tried),
            _ => rows.push((&tried.scenario.row, vec![tried])),
        }
    }
    let mut html = String::from("<div class=\"legend\">");
    for (row, of_row) in rows {
        write!(html, "<span><b>{}</b> &nbsp;", escape(row)).ok();
        for tried in of_row {
            write!(html, "{}{}&ensp;", cell(tried), tried.scenario.column).ok();
        }
        html.push_str("</span>");
    }
    html.push_str("</div>");
    html
}

fn gap(column: &str) -> &'static str {
    if GROUPS.contains(&column) {
        " class=\"gap\""
    } else {
        ""
    }
}

fn row_name(row: &str) -> String {
    let Some((context, leg)) = row.split_once('/').filter(|(_, leg)| leg.contains('/')) else {
        let (step, direction) = row.split_once('/').unwrap_or((row, ""));
        return format!("{} <small>{}</small>", escape(step), escape(direction));
    };
    let (step, direction) = leg.split_once('/').unwrap_or((leg, ""));
    let context = context.replace("after-", "after ");
    let (step, context) = (escape(step), escape(&context));
    format!("{step} <small>{direction}, {context}</small>")
}

fn cell(tried: &Tried) -> String {
    let (class, letter) = match tried.verdict() {
        Verdict::PassCompleted => ("done", "C"),
        Verdict::PassCompensated => ("back", "B"),
        Verdict::PassNeedsAttention => ("look", "A"),
        Verdict::FailInvariant => ("bad", "!"),
        Verdict::Unreached => ("", "?"),
    };
    let endings: Vec<&str> = tried.endings.iter().copied().collect();
    let title = format!("{}: {}", tried.scenario.id, endings.join(", "));
    format!(
        "<i class=\"cell {class}\" title=\"{}\">{letter}</i>",
        escape(&title)
    )
}

fn endings(plan: &Plan, report: &Report) -> String {
    let mut html = String::from(
        "<table class=\"rows\"><thead><tr><th>ending</th><th class=\"number\">states</th>\
         <th>least that leads there</th></tr></thead><tbody>",
    );
    for (name, ending) in &report.endings {
        let scenario = &ending.example.scenario;
        let again = escape(&replay_line(plan, scenario));
        write!(
            html,
            "<tr><td><span class=\"badge {}\">{name}</span></td><td class=\"number\">{}</td>\
             <td>{}<code class=\"again\">{again}</code></td></tr>",
            ending_class(name),
            ending.states,
            faults(scenario)
        )
        .ok();
    }
    html.push_str("</tbody></table>");
    html
}

/// A set of faults, one a line.
fn faults(scenario: &str) -> String {
    if scenario == "none" {
        return "nothing goes wrong".to_owned();
    }
    let faults = scenario.split('+');
    let faults: Vec<String> = faults
        .map(|id| format!("<code>{}</code>", escape(id)))
        .collect();
    faults.join(" + ")
}

fn paths(plan: &Plan, report: &Report) -> String {
    let mut html = String::new();
    for path in &report.paths {
        let scenarios = match path.scenarios {
            0 => String::new(),
            1 => "1 scenario".to_owned(),
            n => format!("{n} scenarios"),
        };
        let changes: String = path
            .changes
            .iter()
            .map(|change| format!("<li>{}</li>", escape(change)))
            .collect();
        let residue: String = path
            .residue
            .iter()
            .map(|left| format!("<div class=\"residue\">left: {}</div>", escape(left)))
            .collect();
        let again = replay_line(plan, &path.example.scenario);
        writeln!(
            html,
            "<details><summary><span><span class=\"badge {}\">{}</span></span><span>{}</span>\
             <small>{scenarios}</small></summary><ol>{changes}</ol>{residue}\
             <code class=\"again\">{} --schedule {}</code></details>",
            ending_class(path.ending),
            path.ending,
            faults(&path.example.scenario),
            escape(&again),
            escape(&path.example.events)
        )
        .ok();
    }
    html
}

fn moves(report: &Report) -> String {
    let mut html = String::from("<table class=\"rows\"><tbody>");
    for (step, made) in &report.made {
        let missed = report.missed.get(step).into_iter().flatten();
        let missed = missed.map(|of| ("move missed", of));
        let chips: String = made
            .iter()
            .map(|of| ("move", of))
            .chain(missed)
            .map(|(class, of)| format!("<span class=\"{class} mono\">{}</span>", escape(of)))
            .collect();
        write!(
            html,
            "<tr><th>{}</th><td><div class=\"moves\">{chips}</div></td></tr>",
            escape(step)
        )
        .ok();
    }
    html.push_str("</tbody></table>");
    html
}
