//! `palinode saga bulk`: one verb for many sagas, counted first.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value as Json, json};

use super::{Format, table, text, words_of};
use crate::gateway::Gateway;
use crate::signals::Signals;

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Ids in a table; JSON has them all.
const EXAMPLES: usize = 2;

/// Whether a bulk may be run once its counts were shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// It was given beforehand.
    Given,
    /// Somebody sits there and can be asked.
    Ask,
    /// There is nobody to ask: only the counts are shown.
    Nobody,
}

impl Consent {
    /// `given`, or what the terminal tells.
    #[must_use]
    pub fn of(given: bool) -> Self {
        match (given, std::io::stdin().is_terminal()) {
            (true, _) => Self::Given,
            (false, true) => Self::Ask,
            (false, false) => Self::Nobody,
        }
    }
}

/// What is asked about bulks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The newest.
    List {
        /// 1 to 200.
        limit: u32,
    },
    /// One, with its counts.
    Show(String),
    /// Run one that was prepared or stopped, and follow it.
    Run(String),
    /// Stop one.
    Stop(String),
}

/// Prepares a bulk, shows what it would do, and runs it if it may. True when it ran to its end, or
/// when there was nothing to do.
///
/// Shape: `request` is a `CreateBulkRequest` as JSON.
///
/// # Errors
/// The gateway does not answer, or refuses the request.
pub async fn bulk(
    gateway: &Gateway,
    request: &Json,
    consent: Consent,
    format: Format,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let prepared = gateway.post("/v1/bulks", request, None).await?.success()?;
    let id = text(&prepared, "bulkId");
    if format == Format::Table {
        preview(&prepared, out)?;
    }
    if count(&prepared, "size") == 0 {
        if format == Format::Json {
            writeln!(out, "{prepared:#}")?;
        }
        return Ok(true);
    }
    let may = match consent {
        Consent::Given => true,
        Consent::Ask => said_yes()?,
        Consent::Nobody => false,
    };
    if may {
        return run(gateway, &id, format, out).await;
    }
    match format {
        Format::Json => writeln!(out, "{prepared:#}")?,
        Format::Table => {
            let hint = match consent {
                Consent::Nobody => "; with --yes it would have run at once",
                Consent::Given | Consent::Ask => "",
            };
            writeln!(
                out,
                "\nNothing was done. Within the hour, `palinode saga bulks run {id}` runs it{hint}."
            )?;
        }
    }
    Ok(false)
}

/// Answers a question about bulks. True unless a bulk was run and did not come to its end.
///
/// # Errors
/// The gateway does not answer, or knows no such bulk.
pub async fn answer(
    gateway: &Gateway,
    question: &Question,
    format: Format,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let body = match question {
        Question::List { limit } => {
            let path = format!("/v1/bulks?pageSize={limit}");
            gateway.get(&path).await?.success()?
        }
        Question::Show(id) => looked_at(gateway, checked(id)?).await?,
        Question::Run(id) => return run(gateway, checked(id)?, format, out).await,
        Question::Stop(id) => post(gateway, checked(id)?, "stop").await?,
    };
    match (format, question) {
        (Format::Json, _) => writeln!(out, "{body:#}")?,
        (Format::Table, Question::List { .. }) => list(&body, out)?,
        (Format::Table, _) => show(&body, out)?,
    }
    Ok(true)
}

/// An id goes into a path: nothing else may stand there.
fn checked(id: &str) -> anyhow::Result<&str> {
    let is_id = id.parse::<palinode_values::BulkId>().map(|_id| id);
    is_id.with_context(|| "a bulk is named by its id, which `palinode saga bulks` shows")
}

async fn looked_at(gateway: &Gateway, id: &str) -> anyhow::Result<Json> {
    gateway.get(&format!("/v1/bulks/{id}")).await?.success()
}

async fn post(gateway: &Gateway, id: &str, verb: &str) -> anyhow::Result<Json> {
    let path = format!("/v1/bulks/{id}:{verb}");
    gateway.post(&path, &json!({}), None).await?.success()
}

pub(crate) fn said_yes() -> anyhow::Result<bool> {
    write!(std::io::stderr(), "\nRun it? [y/N] ")?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

/// Runs a bulk and follows it to its end; Ctrl-C stops it.
async fn run(
    gateway: &Gateway,
    id: &str,
    format: Format,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let mut signals = Signals::listen()?;
    let running = post(gateway, id, "run").await?;
    let bar = bar(count(&running, "size"));
    let follow = async {
        loop {
            let bulk = looked_at(gateway, id).await?;
            bar.set_position(looked(&bulk));
            bar.set_message(figures(&bulk));
            if text(&bulk, "state") != "BULK_STATE_RUNNING" {
                return anyhow::Ok(bulk);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let followed = tokio::select! {
        followed = follow => followed,
        () = signals.next() => {
            bar.suspend(|| writeln!(std::io::stderr(), "stopping"))?;
            match post(gateway, id, "stop").await {
                Ok(_stopped) => looked_at(gateway, id).await,
                // it may have come to its end just now
                Err(error) => looked_at(gateway, id).await.map_err(|_same| error),
            }
        }
    };
    bar.finish_and_clear();
    let bulk = followed.with_context(|| {
        format!("bulk {id} may go on; look at it with `palinode saga bulks show {id}`")
    })?;
    match format {
        Format::Json => writeln!(out, "{bulk:#}")?,
        Format::Table => outcome(&bulk, out)?,
    }
    Ok(text(&bulk, "state") == "BULK_STATE_DONE")
}

fn bar(size: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg} {elapsed}")
        .expect("the template is valid");
    ProgressBar::new(size).with_style(style)
}

fn count(bulk: &Json, field: &str) -> u64 {
    bulk[field].as_u64().unwrap_or_default()
}

/// Sagas that were looked at so far.
fn looked(bulk: &Json) -> u64 {
    let fields = ["done", "refused", "moved", "failed"];
    fields.iter().map(|field| count(bulk, field)).sum()
}

/// What came of them so far; what did not occur is left out.
fn figures(bulk: &Json) -> String {
    let mut figures = vec![format!("{} done", count(bulk, "done"))];
    for (field, words) in [
        ("refused", "refused"),
        ("moved", "moved on meanwhile"),
        ("failed", "not interpreted"),
    ] {
        match count(bulk, field) {
            0 => {}
            some => figures.push(format!("{some} {words}")),
        }
    }
    figures.join(", ")
}

fn verb(bulk: &Json) -> String {
    match (text(bulk, "verb"), count(bulk, "toVersion")) {
        (verb, 0) => verb,
        (verb, version) => format!("{verb} to {}@{version}", text(&bulk["filter"], "plan")),
    }
}

fn state(bulk: &Json) -> String {
    let state = text(bulk, "state");
    state.trim_start_matches("BULK_STATE_").to_owned()
}

fn sagas(number: u64) -> String {
    match number {
        0 => "no saga".to_owned(),
        1 => "1 saga".to_owned(),
        many => format!("{many} sagas"),
    }
}

fn preview(bulk: &Json, out: &mut impl Write) -> anyhow::Result<()> {
    let (size, rate) = (count(bulk, "size"), count(bulk, "rate"));
    if size == 0 {
        writeln!(out, "No saga that is under way meets the filter.")?;
        return Ok(());
    }
    let took = size.div_ceil(rate.max(1));
    writeln!(out, "bulk {}", text(bulk, "bulkId"))?;
    writeln!(
        out,
        "{}: {}, {rate} a second, {took} s in all\n",
        verb(bulk),
        sagas(size)
    )?;
    counts(&bulk["preview"], "would", out)
}

/// Counts as a table; `heading` stands above what happens.
fn counts(counts: &Json, heading: &str, out: &mut impl Write) -> anyhow::Result<()> {
    let rows = counts.as_array().into_iter().flatten().map(|count| {
        let what = match text(count, "refused") {
            done if done.is_empty() => text(count, "words"),
            refused => format!("be left alone, {refused}: {}", text(count, "words")),
        };
        let effects: Vec<&str> = words_of(&count["effects"]).collect();
        let examples: Vec<&str> = words_of(&count["exampleSagaIds"]).take(EXAMPLES).collect();
        vec![
            text(count, "count"),
            what,
            effects.join(", "),
            examples.join(", "),
        ]
    });
    table(&["sagas", heading, "sent", "such as"], rows.collect(), out)
}

fn outcome(bulk: &Json, out: &mut impl Write) -> anyhow::Result<()> {
    let (id, size) = (text(bulk, "bulkId"), count(bulk, "size"));
    let state = state(bulk).to_lowercase();
    writeln!(
        out,
        "{state}: {} of {size}: {}",
        looked(bulk),
        figures(bulk)
    )?;
    if bulk["left"].as_array().is_some_and(|left| !left.is_empty()) {
        writeln!(out)?;
        left(&bulk["left"], out)?;
    }
    if state == "stopped" {
        writeln!(out, "\nGo on with `palinode saga bulks run {id}`.")?;
    } else if count(bulk, "moved") > 0 && text(bulk, "verb") != "abandon" {
        let option = "--moved-too acts on sagas that move on meanwhile, as they are then";
        writeln!(out, "\nRun the same again for what has moved on; {option}.")?;
    }
    Ok(())
}

/// What was left alone, and why.
fn left(left: &Json, out: &mut impl Write) -> anyhow::Result<()> {
    let rows = left.as_array().into_iter().flatten().map(|count| {
        let examples: Vec<&str> = words_of(&count["exampleSagaIds"]).take(EXAMPLES).collect();
        let fields = ["count", "refused", "words"].map(|field| text(count, field));
        let mut row = fields.to_vec();
        row.push(examples.join(", "));
        row
    });
    let heads = ["sagas", "left alone", "because", "such as"];
    table(&heads, rows.collect(), out)
}

fn list(body: &Json, out: &mut impl Write) -> anyhow::Result<()> {
    let bulks = body["bulks"].as_array();
    let rows = bulks.into_iter().flatten().map(|bulk| {
        vec![
            text(bulk, "bulkId"),
            state(bulk),
            verb(bulk),
            format!("{}/{}", looked(bulk), text(bulk, "size")),
            text(bulk, "createdAt"),
            text(bulk, "principal"),
            text(bulk, "reason"),
        ]
    });
    let heads = [
        "bulk",
        "state",
        "verb",
        "looked at",
        "created",
        "by",
        "reason",
    ];
    table(&heads, rows.collect(), out)
}

fn show(bulk: &Json, out: &mut impl Write) -> anyhow::Result<()> {
    let conditions = bulk["filter"].as_object().into_iter().flatten();
    let conditions = conditions
        .filter(|(_, value)| !is_default(value))
        .map(|(name, _)| format!("{name} {}", text(&bulk["filter"], name)));
    let filter: Vec<String> = conditions.collect();
    for (name, value) in [
        ("bulk", text(bulk, "bulkId")),
        ("state", state(bulk)),
        ("verb", verb(bulk)),
        ("filter", filter.join(", ")),
        ("rate", format!("{} a second", text(bulk, "rate"))),
        ("by", text(bulk, "principal")),
        ("reason", text(bulk, "reason")),
        ("created", text(bulk, "createdAt")),
        ("started", text(bulk, "startedAt")),
        ("ended", text(bulk, "endedAt")),
    ] {
        if !value.is_empty() {
            writeln!(out, "{name:<9} {value}")?;
        }
    }
    if state(bulk) == "PREPARED" {
        writeln!(out)?;
        return counts(&bulk["preview"], "would", out);
    }
    let size = count(bulk, "size");
    writeln!(out, "\n{} of {size}: {}", looked(bulk), figures(bulk))?;
    if bulk["left"].as_array().is_some_and(|left| !left.is_empty()) {
        writeln!(out)?;
        left(&bulk["left"], out)?;
    }
    Ok(())
}

/// Fields that say nothing are written all the same.
fn is_default(value: &Json) -> bool {
    match value {
        Json::Null | Json::Bool(false) => true,
        Json::String(text) => text.is_empty() || text.ends_with("_UNSPECIFIED"),
        Json::Number(number) => number.as_u64() == Some(0),
        Json::Bool(true) | Json::Array(_) | Json::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_says_how_many_would_do_what() {
        let bulk = json!({
            "bulkId": "0197", "verb": "force-compensate", "rate": 50, "size": 450,
            "preview": [
                {"count": 412, "words": "go back", "effects": ["undo reserve-stock"], "refused": "",
                 "exampleSagaIds": ["a", "b", "c"]},
                {"count": 38, "words": "its pivot has happened", "effects": [],
                 "refused": "PAST_PIVOT", "exampleSagaIds": ["d"]},
            ],
        });
        let mut out = Vec::new();
        preview(&bulk, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "bulk 0197\n\
             force-compensate: 450 sagas, 50 a second, 9 s in all\n\n\
             sagas  would                                              sent                such as\n\
             412    go back                                            undo reserve-stock  a, b\n\
             38     be left alone, PAST_PIVOT: its pivot has happened                      d\n"
        );
    }

    #[test]
    fn an_outcome_says_what_was_left_alone_and_why() {
        let bulk = json!({
            "bulkId": "0197", "state": "BULK_STATE_STOPPED", "size": 450, "done": 100,
            "refused": 38, "moved": 2, "failed": 0,
            "left": [
                {"count": 38, "words": "its pivot has happened", "refused": "PAST_PIVOT",
                 "exampleSagaIds": ["d"]},
                {"count": 2, "words": "it has moved on since it was looked at",
                 "refused": "SAGA_MOVED_ON", "exampleSagaIds": ["e", "f"]},
            ],
        });
        let mut out = Vec::new();
        outcome(&bulk, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "stopped: 140 of 450: 100 done, 38 refused, 2 moved on meanwhile\n\n\
             sagas  left alone     because                                 such as\n\
             38     PAST_PIVOT     its pivot has happened                  d\n\
             2      SAGA_MOVED_ON  it has moved on since it was looked at  e, f\n\n\
             Go on with `palinode saga bulks run 0197`.\n"
        );
    }
}
