//! Plans as pictures.

use std::fmt::Write;

use super::{Plan, Step, StepKind};

impl Plan {
    /// The plan as a Mermaid flowchart: actions and the order they need; dotted, what takes a step
    /// back. The pivot is a hexagon, what comes after it has round ends.
    #[must_use]
    pub fn mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        for (at, step) in self.steps().iter().enumerate() {
            let (open, close) = match step.kind {
                StepKind::Compensatable => ("[", "]"),
                StepKind::Pivot => ("{{", "}}"),
                StepKind::Retriable => ("([", "])"),
                StepKind::ReadOnly => ("[/", "/]"),
            };
            let label = format!("{}<br/><small>{}</small>", step.name, step.participant);
            // writing to a string cannot fail
            writeln!(text, "  s{at}{open}\"{label}\"{close}").ok();
            if let Some(compensation) = &step.compensation {
                writeln!(text, "  u{at}>\"{}\"]", short(&compensation.name)).ok();
                writeln!(text, "  s{at} -.-> u{at}").ok();
            }
        }
        for (from, to) in self.edges() {
            writeln!(text, "  s{from} --> s{to}").ok();
        }
        text
    }

    /// The plan in the language of Graphviz.
    #[must_use]
    pub fn dot(&self) -> String {
        let mut text = format!("digraph \"{}\" {{\n  rankdir=LR;\n", self.label());
        for (at, step) in self.steps().iter().enumerate() {
            let shape = match step.kind {
                StepKind::Compensatable => "box",
                StepKind::Pivot => "hexagon",
                StepKind::Retriable => "ellipse",
                StepKind::ReadOnly => "parallelogram",
            };
            let label = label(step);
            writeln!(text, "  s{at} [shape={shape}, label=\"{label}\"];").ok();
        }
        for (from, to) in self.edges() {
            writeln!(text, "  s{from} -> s{to};").ok();
        }
        text.push_str("}\n");
        text
    }

    /// Dependencies: the step before, the step after.
    fn edges(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let steps = self.steps().iter().enumerate();
        steps.flat_map(|(to, step)| step.after.iter().map(move |from| (*from, to)))
    }
}

fn label(step: &Step) -> String {
    let undo = step.compensation.as_ref().map(|c| short(&c.name));
    let undo = undo.map(|undo| format!("\\nundo: {undo}"));
    format!(
        "{}\\n{}{}",
        step.name,
        step.participant,
        undo.unwrap_or_default()
    )
}

/// The name of a message without its package.
fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}
