//! `palinode plan`: the plans of this release, as tables, pictures and data.

pub mod migrate;

use std::io::Write;

use anyhow::Context;
use palinode_orchestrator::DescriptorSchema;
use palinode_saga::{Plan, StepKind};

use crate::sagas::table;

/// How a plan is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drawing {
    /// A Mermaid flowchart.
    Mermaid,
    /// The language of Graphviz.
    Dot,
    /// All of it, as it is stored.
    Json,
}

/// Every plan of this release, with all its fields bound.
///
/// # Errors
/// Every rule that a plan breaks, with the steps, and how to mend it.
pub fn plans() -> anyhow::Result<Vec<Plan>> {
    let plans = palinode_orchestrator::plans()?;
    let resolved = plans
        .iter()
        .map(|plan| plan.resolve(&DescriptorSchema::default()));
    Ok(resolved.collect::<Result<_, _>>()?)
}

/// A plan by its name, or by name and version: `place-order`, `place-order@2`. By its name alone it
/// is the version that new sagas run.
///
/// # Errors
/// There is none of that name; names those that there are.
pub fn plan(name: &str) -> anyhow::Result<Plan> {
    let plans = plans()?;
    let is_meant =
        |plan: &&Plan| plan.label() == name || (plan.name() == name && is_current(plan, &plans));
    plans.iter().find(is_meant).cloned().with_context(|| {
        let labels: Vec<String> = plans.iter().map(Plan::label).collect();
        format!("no plan is called {name}; there are: {}", labels.join(", "))
    })
}

/// Whether it is the version that new sagas run: the one that the release has made current, else
/// the newest.
fn is_current(plan: &Plan, plans: &[Plan]) -> bool {
    let chosen = palinode_orchestrator::current_plans()
        .get(plan.name())
        .copied();
    let named = plans.iter().filter(|other| other.name() == plan.name());
    chosen.or_else(|| named.map(Plan::version).max()) == Some(plan.version())
}

/// Lists all plans.
///
/// # Errors
/// Those of `out`, and of [`plans`].
pub fn list(out: &mut impl Write) -> anyhow::Result<()> {
    let plans = plans()?;
    let rows = plans.iter().map(|plan| {
        let pivot = plan
            .steps()
            .iter()
            .find(|step| step.kind == StepKind::Pivot);
        vec![
            plan.label(),
            if is_current(plan, &plans) {
                "new sagas"
            } else {
                ""
            }
            .to_owned(),
            plan.steps().len().to_string(),
            pivot.map(|step| step.name.clone()).unwrap_or_default(),
            plan.input().to_owned(),
            format!("{:?}", plan.deadline()),
            plan.hash()[..12].to_owned(),
        ]
    });
    let heads = [
        "plan", "runs", "steps", "pivot", "input", "deadline", "hash",
    ];
    table(&heads, rows.collect(), out)
}

/// Shows a plan, step by step.
///
/// # Errors
/// Those of `out`.
pub fn show(plan: &Plan, out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(out, "plan      {}", plan.label())?;
    writeln!(out, "hash      {}", plan.hash())?;
    writeln!(out, "input     {}", plan.input())?;
    writeln!(out, "deadline  {:?} before the pivot", plan.deadline())?;
    let cancel = if plan.is_cancellable() { "yes" } else { "no" };
    writeln!(out, "cancel    {cancel}\n")?;
    let short = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
    let rows = plan.steps().iter().map(|step| {
        let after = step.after.iter().map(|at| plan.steps()[*at].name.clone());
        let message = |message: &Option<palinode_saga::Message>| {
            message.as_ref().map(|m| short(&m.name)).unwrap_or_default()
        };
        vec![
            step.name.clone(),
            kind(step.kind).to_owned(),
            step.participant.clone(),
            after.collect::<Vec<_>>().join(", "),
            message(&step.action),
            message(&step.compensation),
            step.token.clone(),
            format!("{:?}", step.attempt_timeout),
            step.retry.attempts_max.to_string(),
        ]
    });
    let heads = [
        "step",
        "kind",
        "participant",
        "after",
        "action",
        "compensation",
        "leaves behind",
        "timeout",
        "attempts",
    ];
    table(&heads, rows.collect(), out)
}

/// Draws a plan.
///
/// # Errors
/// Those of `out`.
pub fn draw(plan: &Plan, drawing: Drawing, out: &mut impl Write) -> anyhow::Result<()> {
    match drawing {
        Drawing::Mermaid => write!(out, "{}", plan.mermaid())?,
        Drawing::Dot => write!(out, "{}", plan.dot())?,
        Drawing::Json => writeln!(out, "{:#}", serde_json::to_value(plan)?)?,
    }
    Ok(())
}

fn kind(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Compensatable => "compensatable",
        StepKind::Pivot => "pivot",
        StepKind::Retriable => "retriable",
        StepKind::ReadOnly => "read-only",
    }
}
