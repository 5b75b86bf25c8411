use std::io::Write;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use palinode_db::Db;
use palinode_messaging::Headers;
use palinode_relay::operate::{self, Parked, ParkedRecord, Record, Verdict};
use prost_reflect::DynamicMessage;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::{Outboxes, age};
use crate::sagas::bulk::{Consent, said_yes};
use crate::sagas::{Format, table};

/// Letters of an error in a table; `show` has all of it.
const ERROR_MAX: usize = 80;
/// How long the owner of a lane may take to see a verdict: its next renewal, and some pages.
const CARRIED_OUT_LIMIT: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Lists what is parked, at most `limit` of each kind and service; true when nothing is.
///
/// # Errors
/// A database does not answer.
pub async fn list(
    outboxes: &Outboxes,
    limit: u32,
    format: Format,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let mut told: Vec<(&str, Parked)> = Vec::new();
    for database in &outboxes.databases {
        let parked = operate::list(database.db()?, i64::from(limit)).await?;
        told.extend(parked.into_iter().map(|parked| (database.service, parked)));
    }
    if format == Format::Json {
        let parked = told.iter().map(|(service, p)| parked_json(service, p));
        writeln!(out, "{:#}", json!({"parked": parked.collect::<Json>()}))?;
        return Ok(told.is_empty());
    }
    let rows = told.iter().map(|(service, parked)| {
        vec![
            name(service, &parked.record),
            parked.topic.clone(),
            text(&parked.key),
            age(Some(parked.age_s)),
            parked
                .verdict
                .as_ref()
                .map_or_else(String::new, |verdict| format!("{verdict} is decided")),
            why(service, parked),
        ]
    });
    let heads = ["record", "topic", "key", "parked for", "verdict", "why"];
    table(&heads, rows.collect(), out)?;
    Ok(told.is_empty())
}

/// How a record is named on the command line.
fn name(service: &str, record: &Record) -> String {
    format!("{service}/{record}")
}

fn why(service: &str, parked: &Parked) -> String {
    match (&parked.record, parked.behind) {
        (Record::Outbox(_), Some(first)) => format!("behind {service}/{first}"),
        (Record::Outbox(_), None) => format!("cannot be published: {}", cut(&parked.error)),
        (Record::Consumer { .. }, _) => format!("cannot be handled: {}", cut(&parked.error)),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(ERROR_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn parked_json(service: &str, parked: &Parked) -> Json {
    let place = match parked.record {
        Record::Outbox(_) => "outbox",
        Record::Consumer { .. } => "consumer",
    };
    json!({
        "record": name(service, &parked.record),
        "service": service,
        "place": place,
        "topic": parked.topic,
        "key": text(&parked.key),
        "parked_s": parked.age_s,
        "error": parked.error,
        "behind": parked.behind.map(|first| format!("{service}/{first}")),
        "verdict": parked.verdict,
    })
}

/// The database and the record that a name such as `order/17` stands for.
fn named<'a>(outboxes: &'a Outboxes, name: &str) -> anyhow::Result<(&'a Db, String, Record)> {
    let parts = name.split_once('/');
    let (service, record) = parts.with_context(|| {
        format!("{name} is no record; `palinode outbox parked` names them, such as order/17")
    })?;
    let db = outboxes.of(service)?;
    let record = record.parse().map_err(anyhow::Error::msg)?;
    Ok((db, service.to_owned(), record))
}

async fn look(db: &Db, record: &Record, name: &str) -> anyhow::Result<ParkedRecord> {
    let shown = operate::show(db, record).await?;
    shown.with_context(|| format!("{name} is not parked; `palinode outbox parked` lists what is"))
}

/// Writes one parked record: why it is, its headers, and its body as JSON where its type is known.
///
/// # Errors
/// It is not parked, or its database does not answer.
pub async fn show(
    outboxes: &Outboxes,
    name: &str,
    format: Format,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let (db, service, record) = named(outboxes, name)?;
    let shown = look(db, &record, name).await?;
    let body = body(&shown.headers, &shown.payload);
    if format == Format::Json {
        let mut told = parked_json(&service, &shown.parked);
        let headers = shown.headers.iter();
        told["headers"] = headers
            .map(|(name, value)| json!({"name": name, "value": text(value)}))
            .collect();
        told["body_bytes"] = json!(shown.payload.len());
        match body {
            Ok(body) => told["body"] = body,
            Err(error) => told["body_error"] = json!(error),
        }
        told["followers"] = json!(shown.followers);
        let rulings = shown.rulings.iter();
        told["decided"] = rulings
            .map(|ruling| {
                json!({
                    "verdict": ruling.verdict,
                    "principal": ruling.principal,
                    "reason": ruling.reason,
                    "at": ruling.decided_at.to_rfc3339(),
                })
            })
            .collect();
        writeln!(out, "{told:#}")?;
        return Ok(());
    }
    let parked = &shown.parked;
    writeln!(out, "record    {name}")?;
    writeln!(out, "topic     {}", parked.topic)?;
    writeln!(out, "key       {}", text(&parked.key))?;
    writeln!(out, "parked    for {}", age(Some(parked.age_s)))?;
    match parked.behind {
        Some(first) => writeln!(out, "why       behind {service}/{first}")?,
        None => writeln!(out, "why       {}", parked.error)?,
    }
    if shown.followers > 0 {
        writeln!(out, "behind it {}", shown.followers)?;
    }
    if let Some(verdict) = &parked.verdict {
        writeln!(out, "verdict   {verdict}, not carried out yet")?;
    }
    for ruling in &shown.rulings {
        let at = ruling.decided_at.to_rfc3339();
        let (who, why) = (&ruling.principal, &ruling.reason);
        writeln!(out, "decided   {} by {who} at {at}: {why}", ruling.verdict)?;
    }
    writeln!(out)?;
    for (name, value) in shown.headers.iter() {
        writeln!(out, "{name}: {}", text(value))?;
    }
    writeln!(out)?;
    match body {
        Ok(body) => writeln!(out, "{body:#}")?,
        Err(error) => writeln!(out, "{} bytes: {error}", shown.payload.len())?,
    }
    Ok(())
}

/// The body as JSON, by the descriptor of the message that `ce_type` names.
fn body(headers: &Headers, payload: &[u8]) -> Result<Json, String> {
    let kind = headers
        .text("ce_type")
        .ok_or("the header ce_type is missing")?;
    let descriptor = palinode_pb::DESCRIPTORS
        .get_message_by_name(kind)
        .ok_or_else(|| format!("no message is called {kind}"))?;
    let message = DynamicMessage::decode(descriptor, Bytes::copy_from_slice(payload))
        .map_err(|error| format!("it is no {kind}: {error}"))?;
    serde_json::to_value(&message).map_err(|error| format!("{kind} has no JSON: {error}"))
}

/// What is decided about which records, by whom and why.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Records, as `palinode outbox parked` names them.
    pub records: Vec<String>,
    /// What is to become of them.
    pub verdict: Verdict,
    /// Who.
    pub principal: String,
    /// Why.
    pub reason: String,
}

/// Shows what verdicts would do, gives them if that is wanted, and waits until they are carried
/// out. True when each record is published, or dropped.
///
/// # Errors
/// A record is not parked, or would overtake another; a database does not answer. What was decided
/// before that stays decided.
pub async fn decide(
    outboxes: &Outboxes,
    decision: &Decision,
    consent: Consent,
    format: Format,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let mut records = Vec::new();
    for name in &decision.records {
        let (db, service, record) = named(outboxes, name)?;
        let shown = look(db, &record, name).await?;
        if let (Verdict::Replay, Some(first)) = (decision.verdict, shown.parked.behind) {
            ensure!(
                decision.records.contains(&format!("{service}/{first}")),
                "{name} is behind {service}/{first}: decide about that one, and this one follows"
            );
            continue;
        }
        records.push((db, name.as_str(), record, shown));
    }
    if format == Format::Table {
        let rows = records.iter().map(|(_, name, _, shown)| {
            vec![
                (*name).to_owned(),
                shown.parked.topic.clone(),
                text(&shown.parked.key),
                would(decision.verdict, shown),
                cut(&shown.parked.error),
            ]
        });
        let heads = ["record", "topic", "key", "would be", "it is parked because"];
        table(&heads, rows.collect(), out)?;
    }
    let may = match consent {
        Consent::Given => true,
        Consent::Ask => said_yes()?,
        Consent::Nobody => false,
    };
    if !may {
        match format {
            Format::Table => writeln!(out, "\nNothing was done; --yes does it.")?,
            Format::Json => {
                let would = records.iter().map(|(_, name, _, shown)| {
                    json!({"record": name, "would_be": would(decision.verdict, shown)})
                });
                let preview = json!({"preview": would.collect::<Json>()});
                writeln!(out, "{preview:#}")?;
            }
        }
        return Ok(false);
    }
    for (db, name, record, _) in &records {
        let Decision {
            verdict,
            principal,
            reason,
            ..
        } = decision;
        operate::decide(db, record, *verdict, principal, reason)
            .await
            .with_context(|| format!("{name} stays as it is"))?;
    }
    let deadline = Instant::now() + CARRIED_OUT_LIMIT;
    let mut outcomes = Vec::new();
    for (db, name, record, _) in &records {
        let outcome = carried_out(db, record, decision.verdict, deadline).await?;
        outcomes.push((*name, outcome));
    }
    match format {
        Format::Table => {
            writeln!(out)?;
            for (name, outcome) in &outcomes {
                writeln!(out, "{name}: {}", outcome.words)?;
            }
        }
        Format::Json => {
            let decided = outcomes
                .iter()
                .map(|(name, o)| json!({"record": name, "done": o.done, "outcome": o.words}));
            writeln!(out, "{:#}", json!({"decided": decided.collect::<Json>()}))?;
        }
    }
    Ok(outcomes.iter().all(|(_, outcome)| outcome.done))
}

fn would(verdict: Verdict, shown: &ParkedRecord) -> String {
    let behind = match shown.followers {
        0 => String::new(),
        count if shown.parked.behind.is_some() => format!(", and {count} behind it stay"),
        count => format!(", then the {count} behind it published"),
    };
    match (verdict, &shown.parked.record) {
        (Verdict::Replay, Record::Outbox(_)) => format!("published{behind}"),
        (Verdict::Replay, Record::Consumer { .. }) => {
            "appended to its topic, and handled again".to_owned()
        }
        (Verdict::Skip, _) => format!("dropped for good{behind}"),
    }
}

/// What came of a verdict.
struct Outcome {
    done: bool,
    words: String,
}

async fn carried_out(
    db: &Db,
    record: &Record,
    verdict: Verdict,
    deadline: Instant,
) -> anyhow::Result<Outcome> {
    let done = |words: &str| Outcome {
        done: true,
        words: words.to_owned(),
    };
    if verdict == Verdict::Replay && matches!(record, Record::Consumer { .. }) {
        return Ok(done("stands in the outbox, to be published"));
    }
    loop {
        let Some(shown) = operate::show(db, record).await? else {
            return Ok(match verdict {
                Verdict::Replay => done("published"),
                Verdict::Skip => done("dropped"),
            });
        };
        if shown.parked.verdict.is_none() {
            return Ok(Outcome {
                done: false,
                words: format!("parked again: {}", shown.parked.error),
            });
        }
        if Instant::now() >= deadline {
            return Ok(Outcome {
                done: false,
                words: "decided, and not carried out yet: does a relay live, and is the lane \
                        paused? See `palinode outbox status`"
                    .to_owned(),
            });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
