//! `palinode saga`: sagas over the gateway's REST, as tables for people or as JSON.

pub mod bulk;
pub mod cases;

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use http::StatusCode;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::gateway::Gateway;
use crate::invariants::Orphan;

/// What is asked about sagas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The newest sagas, of one state or of all.
    List {
        /// `RUNNING`, `COMPENSATING`, `COMPLETED`, `COMPENSATED`, `NEEDS_ATTENTION`.
        state: Option<String>,
        /// Only those that nothing will move on by itself.
        stuck: bool,
        /// 1 to 200.
        limit: u32,
    },
    /// One saga with its steps.
    Show(String),
    /// Why one saga waits, and what would help.
    Why(String),
    /// What happened in one saga.
    History(String),
}

/// How the answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Table,
    /// As the gateway gave it.
    Json,
}

/// Asks the gateway and writes its answer.
///
/// # Errors
/// The gateway does not answer, or knows no such saga.
pub async fn answer(
    gateway: &Gateway,
    question: &Question,
    format: Format,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let path = match question {
        Question::List {
            state,
            stuck,
            limit,
        } => {
            let state = state
                .as_ref()
                .map(|state| format!("&state=SAGA_STATE_{state}"));
            let stuck = if *stuck { "&stuck=true" } else { "" };
            format!(
                "/v1/sagas?pageSize={limit}{stuck}{}",
                state.unwrap_or_default()
            )
        }
        Question::Why(id) => format!("/v1/sagas/{}", checked(id)?),
        Question::Show(id) => format!("/v1/sagas/{}", checked(id)?),
        Question::History(id) => format!("/v1/sagas/{}/history", checked(id)?),
    };
    let body = gateway.get(&path).await?.success()?;
    match (format, question) {
        (Format::Json, _) => writeln!(out, "{body:#}")?,
        (Format::Table, Question::List { .. }) => list(&body, out)?,
        (Format::Table, Question::Show(_)) => show(&body, out)?,
        (Format::Table, Question::Why(_)) => why(&body, out)?,
        (Format::Table, Question::History(_)) => history(&body, out)?,
    }
    Ok(())
}

/// A saga to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Name of the plan.
    pub plan: String,
    /// Full name of the plan's input message.
    pub message: String,
    /// What the saga is about: one saga for each plan and key.
    pub key: String,
    /// The input message as JSON.
    pub input: String,
    /// Whether to wait until the saga rests.
    pub wait: bool,
}

/// How long, and how often, a saga is looked at until it rests.
const REST_LIMIT: Duration = Duration::from_secs(300);
const REST_EVERY: Duration = Duration::from_millis(100);

/// Starts a saga and shows it; false when it was waited for and did not complete. What was started
/// before, with the same key and input, is shown as it is.
///
/// # Errors
/// The input does not fit its message: names the fields. The plan is opened by a service, or the
/// key belongs to a saga with another input.
pub async fn start(
    gateway: &Gateway,
    start: &Start,
    format: Format,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let input = serde_json::from_str(&start.input).context("the input is no JSON")?;
    let Json::Object(mut input) = input else {
        anyhow::bail!(
            "the input is a JSON object, the fields of {}",
            start.message
        );
    };
    let url = format!("type.googleapis.com/{}", start.message);
    input.insert("@type".to_owned(), url.into());
    let request = json!({"plan": start.plan, "businessKey": start.key, "input": input});
    let answer = gateway.post("/v1/sagas", &request, None).await?;
    let is_new = answer.status == StatusCode::CREATED;
    let mut saga = answer.success()?;
    let id = text(&saga, "sagaId");
    let since = Instant::now();
    while start.wait && is_live(&saga) {
        anyhow::ensure!(
            since.elapsed() < REST_LIMIT,
            "saga {id} does not come to rest; `palinode saga why {id}` tells why"
        );
        tokio::time::sleep(REST_EVERY).await;
        saga = gateway.get(&format!("/v1/sagas/{id}")).await?.success()?;
    }
    if format == Format::Json {
        writeln!(out, "{saga:#}")?;
    } else {
        if !is_new {
            writeln!(out, "It was started before, with the same input.\n")?;
        }
        show(&saga, out)?;
        writeln!(out, "\npalinode saga show {id}")?;
        writeln!(out, "palinode saga history {id}")?;
    }
    Ok(!start.wait || state(&saga) == "COMPLETED")
}

fn is_live(saga: &Json) -> bool {
    matches!(&*state(saga), "RUNNING" | "COMPENSATING")
}

/// Lists effects at participants whose saga the orchestrator does not know; true when there are
/// none.
///
/// # Errors
/// A database does not answer.
pub async fn orphans(server: &str, out: &mut impl Write) -> anyhow::Result<bool> {
    let orphans = crate::invariants::orphans(server).await?;
    let rows = orphans.iter().map(|orphan| {
        let Orphan {
            participant,
            saga,
            step,
            guard,
        } = orphan.clone();
        vec![participant, saga, step, guard]
    });
    table(
        &["participant", "saga", "step", "guard"],
        rows.collect(),
        out,
    )?;
    Ok(orphans.is_empty())
}

/// Acts on a saga, or shows what that would do, and writes what came of it.
///
/// Shape: `request` is an `ActOnSagaRequest` as JSON, without the saga's id.
///
/// # Errors
/// The gateway does not answer, or the verb is refused: with the verbs that would be accepted.
pub async fn act(
    gateway: &Gateway,
    saga: &str,
    request: &Json,
    format: Format,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let path = format!("/v1/sagas/{}:act", checked(saga)?);
    let body = gateway.post(&path, request, None).await?.success()?;
    if format == Format::Json {
        writeln!(out, "{body:#}")?;
        return Ok(());
    }
    let preview = body["preview"] == true;
    let (is, sent) = if preview {
        ("would be", "would send")
    } else {
        ("is", "sent")
    };
    let saga = &body["saga"];
    let version = text(saga, "version");
    writeln!(out, "the saga {is} {}, version {version}", state(saga))?;
    for line in words_of(&body["effects"]) {
        writeln!(out, "{sent}  {line}")?;
    }
    for entry in body["changed"].as_array().into_iter().flatten() {
        let (step, standing) = (text(entry, "step"), text(entry, "standing"));
        writeln!(out, "{step} {is} {standing}: {}", text(entry, "token"))?;
    }
    Ok(())
}

fn words_of(list: &Json) -> impl Iterator<Item = &str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
}

/// An id goes into a path: nothing else may stand there.
fn checked(id: &str) -> anyhow::Result<palinode_values::SagaId> {
    id.parse()
        .with_context(|| "a saga is named by its id, which `palinode saga list` shows")
}

fn list(body: &Json, out: &mut impl Write) -> anyhow::Result<()> {
    let sagas = body["sagas"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let rows = sagas.iter().map(|saga| {
        vec![
            text(saga, "sagaId"),
            state(saga),
            format!("{}@{}", text(saga, "plan"), text(saga, "planVersion")),
            text(saga, "businessKey"),
            text(saga, "startedAt"),
            reason(saga),
        ]
    });
    let heads = [
        "saga",
        "state",
        "plan",
        "key",
        "started",
        "waits for, or why",
    ];
    table(&heads, rows.collect(), out)
}

fn show(saga: &Json, out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(out, "saga      {}", text(saga, "sagaId"))?;
    writeln!(
        out,
        "plan      {}@{}",
        text(saga, "plan"),
        text(saga, "planVersion")
    )?;
    writeln!(out, "key       {}", text(saga, "businessKey"))?;
    writeln!(out, "state     {}", state(saga))?;
    for (name, field) in [
        ("why", "cause"),
        ("waits for", "waitsFor"),
        ("until", "waitUntil"),
        ("started", "startedAt"),
        ("changed", "updatedAt"),
        ("trace", "traceId"),
        ("version", "version"),
        ("closed", "closed"),
    ] {
        let value = text(saga, field);
        if !value.is_empty() {
            writeln!(out, "{name:<9} {value}")?;
        }
    }
    let accepts: Vec<&str> = words_of(&saga["accepts"]).collect();
    if !accepts.is_empty() {
        writeln!(out, "accepts   {}", accepts.join(", "))?;
    }
    writeln!(out)?;
    let left = |step: &Json| {
        let entries = saga["ledger"].as_array();
        let entry = entries
            .into_iter()
            .flatten()
            .find(|e| e["step"] == step["name"]);
        entry
            .map(|entry| text(entry, "standing"))
            .unwrap_or_default()
    };
    let steps = saga["steps"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let rows = steps.iter().map(|step| {
        let cell = |field| match text(step, field) {
            // counted only while a step is under way
            text if field == "attempts" && text == "0" => String::new(),
            text => text,
        };
        let cells = ["name", "participant", "kind", "state"].map(cell);
        let mut row = cells.to_vec();
        row.push(left(step));
        row.extend(["attempts", "reason"].map(cell));
        row
    });
    let heads = [
        "step",
        "participant",
        "kind",
        "state",
        "left behind",
        "attempts",
        "reason",
    ];
    table(&heads, rows.collect(), out)
}

fn history(body: &Json, out: &mut impl Write) -> anyhow::Result<()> {
    let entries = body["entries"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let rows = entries.iter().map(|entry| {
        let effects = entry["effects"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let effects: Vec<&str> = effects.iter().filter_map(Json::as_str).collect();
        let by = match (text(entry, "principal"), text(entry, "reason")) {
            (who, _) if who.is_empty() => String::new(),
            (who, why) => format!("{who}: {why}"),
        };
        vec![
            text(entry, "version"),
            text(entry, "at"),
            text(entry, "kind"),
            text(entry, "step"),
            text(entry, "input"),
            text(entry, "state"),
            effects.join(", "),
            by,
        ]
    });
    let heads = [
        "version",
        "at",
        "kind",
        "step",
        "input",
        "state",
        "sent",
        "by whom, and why",
    ];
    table(&heads, rows.collect(), out)
}

fn state(saga: &Json) -> String {
    text(saga, "state")
        .trim_start_matches("SAGA_STATE_")
        .to_owned()
}

/// What it waits for, or why it went back; and first of all that it is stuck.
fn reason(saga: &Json) -> String {
    let words = match text(saga, "waitsFor") {
        none if none.is_empty() => text(saga, "cause"),
        words => words,
    };
    match text(saga, "stuck") {
        none if none.is_empty() => words,
        stuck => format!("STUCK ({stuck}): {words}"),
    }
}

fn why(saga: &Json, out: &mut impl Write) -> anyhow::Result<()> {
    let words = match reason(saga) {
        none if none.is_empty() => "it has ended, and nothing is left to be done".to_owned(),
        words => words,
    };
    writeln!(out, "{}: {words}", state(saga))?;
    for entry in saga["ledger"].as_array().into_iter().flatten() {
        let standing = text(entry, "standing");
        if matches!(standing.as_str(), "done" | "unknown") && saga["cause"] != "" {
            let (step, token) = (text(entry, "step"), text(entry, "token"));
            writeln!(out, "left behind: {token} of {step} ({standing})")?;
        }
    }
    let accepts: Vec<&str> = words_of(&saga["accepts"]).collect();
    if !accepts.is_empty() {
        writeln!(out, "it accepts: {}", accepts.join(", "))?;
    }
    Ok(())
}

fn text(object: &Json, field: &str) -> String {
    match &object[field] {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Columns as wide as their widest cell; the last one is not padded.
pub(crate) fn table(
    heads: &[&str],
    rows: Vec<Vec<String>>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let heads = heads.iter().map(|head| (*head).to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(heads).chain(rows).collect();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    for line in &lines {
        let mut written = String::new();
        for (column, cell) in line.iter().enumerate() {
            let width = width(column);
            written.push_str(&format!("{cell:<width$}  "));
        }
        writeln!(out, "{}", written.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_a_table_with_aligned_columns() {
        let body = json!({"sagas": [
            {"sagaId": "0197", "plan": "place-order", "planVersion": 1, "state": "SAGA_STATE_COMPLETED",
             "businessKey": "o-1", "startedAt": "12:00"},
            {"sagaId": "0198", "plan": "place-order", "planVersion": 1, "state": "SAGA_STATE_RUNNING",
             "businessKey": "o-2", "startedAt": "12:01", "waitsFor": "a reply"},
        ]});
        let mut out = Vec::new();
        list(&body, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "saga  state      plan           key  started  waits for, or why\n\
             0197  COMPLETED  place-order@1  o-1  12:00\n\
             0198  RUNNING    place-order@1  o-2  12:01    a reply\n"
        );
    }
}
