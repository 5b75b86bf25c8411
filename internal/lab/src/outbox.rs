//! `palinode outbox`: the outboxes of a stack, read from its databases.
//!
//! Every service's database has one, and nobody else knows of all: so the tool asks the databases,
//! as `palinode migrate` does, and a database that is away hides no other.

use std::io::Write;

use anyhow::{Context, bail, ensure};
use futures_util::future::join_all;
use palinode_db::{Area, Db};
use palinode_messaging::LANES;
use palinode_outbox::Shape;
use palinode_relay::operate::{self, Count, LaneStatus, OldestXmin, Status};
use palinode_service::SERVICES;
use serde_json::{Value as Json, json};

use crate::prepare::connect;
use crate::sagas::{Format, table};

mod parked;

pub use palinode_relay::Mode;
pub use palinode_relay::operate::Verdict;
pub use parked::{Decision, decide, list, show};

/// Longer than that no row waits while all is well.
const OLDEST_MAX_S: f64 = 30.0;
/// A transaction that is open for longer, while so many rows are dead, makes reading slow.
const OPEN_MAX_S: f64 = 60.0;
const DEAD_ROWS_MAX: i64 = 10_000;
const TRANSACTIONS_MAX: i64 = 100_000;

/// The outboxes of a stack, or one of them.
#[derive(Debug)]
pub struct Outboxes {
    databases: Vec<Database>,
}

/// The database of a service.
#[derive(Debug)]
struct Database {
    service: &'static str,
    db: anyhow::Result<Db>,
}

impl Outboxes {
    /// Connects to the databases on a server: to that of `service`, or to all that have an outbox.
    /// One that does not answer is told where it is asked.
    ///
    /// # Errors
    /// There is no such service, or it has no outbox.
    pub async fn open(server: &str, service: Option<&str>) -> anyhow::Result<Self> {
        let with_outbox = || {
            SERVICES
                .iter()
                .filter_map(|spec| Some((spec.name, spec.area.filter(|area| area.has_outbox())?)))
        };
        let chosen: Vec<(&str, Area)> = with_outbox()
            .filter(|(name, _)| service.is_none_or(|service| service == *name))
            .collect();
        if chosen.is_empty() {
            let names: Vec<&str> = with_outbox().map(|(name, _)| name).collect();
            bail!("outboxes have: {}", names.join(", "));
        }
        let databases = join_all(chosen.into_iter().map(async |(service, area)| Database {
            service,
            db: connect(server, area).await,
        }));
        Ok(Self {
            databases: databases.await,
        })
    }

    /// The database of a service.
    fn of(&self, service: &str) -> anyhow::Result<&Db> {
        let found = self.databases.iter().find(|d| d.service == service);
        let found = found.with_context(|| {
            let names: Vec<&str> = self.databases.iter().map(|d| d.service).collect();
            format!(
                "{service} is none of the services with an outbox: {}",
                names.join(", ")
            )
        })?;
        found.db()
    }
}

impl Database {
    fn db(&self) -> anyhow::Result<&Db> {
        match &self.db {
            Ok(db) => Ok(db),
            Err(error) => bail!("{error:#}"),
        }
    }
}

/// Something that is not as it should be, and what to do about it.
struct Hint {
    words: String,
    command: String,
}

/// Writes how every outbox is doing; true when nothing is wrong.
///
/// # Errors
/// `out` takes no more.
pub async fn status(
    outboxes: &Outboxes,
    format: Format,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let asked = join_all(outboxes.databases.iter().map(async |database| {
        let status = match database.db() {
            Ok(db) => operate::status(db).await.map_err(anyhow::Error::from),
            Err(error) => Err(error),
        };
        (database.service, status)
    }))
    .await;
    let hints: Vec<(&str, Hint)> = asked
        .iter()
        .flat_map(|(service, status)| hints(service, status).into_iter().map(|h| (*service, h)))
        .collect();
    if format == Format::Json {
        let told = asked.iter().map(|(service, status)| {
            let of_it = hints.iter().filter(|(of, _)| of == service);
            let of_it = of_it.map(|(_, hint)| json!({"what": hint.words, "run": hint.command}));
            let mut told = match status {
                Ok(status) => status_json(status),
                Err(error) => json!({"error": format!("{error:#}")}),
            };
            told["service"] = json!(service);
            told["hints"] = of_it.collect();
            told
        });
        writeln!(out, "{:#}", json!({"outboxes": told.collect::<Json>()}))?;
        return Ok(hints.is_empty());
    }
    let rows = asked.iter().map(|(service, status)| match status {
        Ok(status) => status_row(service, status),
        Err(_told_below) => vec![(*service).to_owned(), "does not answer".to_owned()],
    });
    let heads = [
        "service",
        "mode",
        "pending",
        "oldest",
        "lanes owned",
        "free",
        "paused",
        "workers",
        "parked",
        "by consumer",
        "dead rows",
        "oldest xmin",
    ];
    table(&heads, rows.collect(), out)?;
    if !hints.is_empty() {
        writeln!(out)?;
    }
    for (service, Hint { words, command }) in &hints {
        writeln!(out, "{service}: {words}")?;
        if !command.is_empty() {
            writeln!(out, "    {command}")?;
        }
    }
    Ok(hints.is_empty())
}

fn status_row(service: &str, status: &Status) -> Vec<String> {
    let xmin = status.oldest_xmin.as_ref();
    vec![
        service.to_owned(),
        mode_word(status.shape).to_owned(),
        counted(status.pending),
        age(status.oldest_s),
        status.lanes_owned.to_string(),
        status.lanes_free.to_string(),
        status.lanes_paused.to_string(),
        status.workers.to_string(),
        counted(status.outbox_parked),
        counted(status.consumer_parked),
        status.dead_rows.to_string(),
        age(xmin.and_then(|xmin| xmin.age_s)),
    ]
}

fn status_json(status: &Status) -> Json {
    let count = |count: Count| json!({"rows": count.rows, "exact": count.exact});
    let xmin = status.oldest_xmin.as_ref().map(
        |xmin| json!({"who": xmin.who, "age_s": xmin.age_s, "transactions": xmin.transactions}),
    );
    json!({
        "mode": mode_word(status.shape),
        "pending": count(status.pending),
        "oldest_s": status.oldest_s,
        "lanes": {
            "owned": status.lanes_owned,
            "free": status.lanes_free,
            "paused": status.lanes_paused,
        },
        "workers": status.workers,
        "outbox_parked": count(status.outbox_parked),
        "consumer_parked": count(status.consumer_parked),
        "dead_rows": status.dead_rows,
        "oldest_xmin": xmin,
    })
}

fn hints(service: &str, status: &anyhow::Result<Status>) -> Vec<Hint> {
    let status = match status {
        Ok(status) => status,
        Err(error) => {
            return vec![Hint {
                words: format!("{error:#}"),
                command: String::new(),
            }];
        }
    };
    let mut hints = Vec::new();
    let mut hint = |words: String, command: String| hints.push(Hint { words, command });
    let (workers, pending) = (status.workers, status.pending.rows);
    if status.shape == Shape::Foreign {
        hint(
            "nothing is published: the database was restored, and a log's cursors mean nothing there; \
             each of its rows can be published once more"
                .to_owned(),
            format!("palinode outbox mode log --service {service}"),
        );
    }
    if workers == 0 && pending > 0 {
        hint(
            "no relay lives, and rows wait to be published".to_owned(),
            format!("palinode serve {service} … or palinode serve relay …"),
        );
    }
    if status.lanes_paused > 0 {
        hint(
            format!("{} lanes are paused by an operator", status.lanes_paused),
            format!("palinode outbox resume all --service {service}"),
        );
    }
    let oldest_s = status.oldest_s.unwrap_or_default();
    if workers > 0 && status.lanes_paused == 0 && oldest_s > OLDEST_MAX_S {
        hint(
            format!(
                "the oldest row waits for {}: is Kafka away? See the relay's log",
                age(Some(oldest_s))
            ),
            format!("palinode outbox lanes --service {service}"),
        );
    }
    let parked = status.outbox_parked.rows + status.consumer_parked.rows;
    if parked > 0 {
        hint(
            format!("{parked} records are parked, and wait for a verdict"),
            format!("palinode outbox parked --service {service}"),
        );
    }
    if let Some(xmin) = &status.oldest_xmin
        && status.dead_rows > DEAD_ROWS_MAX
        && is_old(xmin)
    {
        let dead = status.dead_rows;
        hint(
            format!("{} keeps {dead} dead rows from being vacuumed", xmin.who),
            xmin.end_by.clone(),
        );
    }
    hints
}

fn is_old(xmin: &OldestXmin) -> bool {
    let age_s = xmin.age_s.unwrap_or_default();
    age_s > OPEN_MAX_S || xmin.transactions > TRANSACTIONS_MAX
}

/// Writes every lane.
///
/// # Errors
/// A database does not answer.
pub async fn lanes(
    outboxes: &Outboxes,
    format: Format,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut told: Vec<(&str, LaneStatus)> = Vec::new();
    for database in &outboxes.databases {
        let lanes = operate::lanes(database.db()?).await?;
        told.extend(lanes.into_iter().map(|lane| (database.service, lane)));
    }
    if format == Format::Json {
        let lanes = told.iter().map(|(service, lane)| {
            json!({
                "service": service,
                "lane": lane.lane,
                "owner": lane.owner.map(|owner| owner.to_string()),
                "epoch": lane.epoch,
                "lease_s": lane.lease_s,
                "paused": lane.paused,
                "oldest_s": lane.oldest_s,
                "head_id": lane.head_id,
            })
        });
        writeln!(out, "{:#}", json!({"lanes": lanes.collect::<Json>()}))?;
        return Ok(());
    }
    let rows = told.iter().map(|(service, lane)| {
        vec![
            (*service).to_owned(),
            lane.lane.to_string(),
            lane.owner
                .map(|owner| owner.to_string())
                .unwrap_or_default(),
            lane.epoch.to_string(),
            lane.lease_s
                .map_or_else(|| "ended".to_owned(), |left| age(Some(left))),
            if lane.paused { "yes" } else { "" }.to_owned(),
            age(lane.oldest_s),
            lane.head_id.map(|id| id.to_string()).unwrap_or_default(),
        ]
    });
    let heads = [
        "service", "lane", "owner", "epoch", "lease", "paused", "oldest", "head",
    ];
    table(&heads, rows.collect(), out)
}

/// Holds lanes, or lets them go on.
///
/// # Errors
/// A database does not answer; those before it have changed.
pub async fn set_paused(
    outboxes: &Outboxes,
    lanes: &[i16],
    paused: bool,
    format: Format,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut changed = Vec::new();
    for database in &outboxes.databases {
        let of_it = operate::set_paused(database.db()?, lanes, paused).await?;
        changed.push((database.service, of_it));
    }
    if format == Format::Json {
        let changed = changed
            .iter()
            .map(|(service, lanes)| json!({"service": service, "lanes": lanes}));
        writeln!(out, "{:#}", json!({"changed": changed.collect::<Json>()}))?;
        return Ok(());
    }
    let done = if paused { "paused" } else { "resumed" };
    for (service, lanes) in &changed {
        writeln!(out, "{service}: {} lanes {done}", lanes.len())?;
    }
    if paused {
        writeln!(
            out,
            "The relay stops reading them with its next renewal, within four seconds."
        )?;
    }
    Ok(())
}

/// Turns outboxes into logs or into queues; one that is so already stays as it is.
///
/// # Errors
/// A database does not answer, or a transaction holds the table; those before it have changed.
pub async fn set_mode(
    outboxes: &Outboxes,
    mode: Mode,
    format: Format,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut changed = Vec::new();
    for database in &outboxes.databases {
        let db = database.db()?;
        let before = operate::status(db).await?.shape;
        let set = match mode {
            Mode::Log => palinode_outbox::to_log(db).await,
            Mode::Queue => palinode_outbox::to_queue(db).await,
        };
        set.map_err(|error| match error {
            held @ palinode_db::Error::Contended(_) => anyhow::Error::from(held)
                .context("a transaction holds the table for long: try again"),
            other => other.into(),
        })
        .with_context(|| format!("the outbox of {}", database.service))?;
        changed.push((database.service, before, operate::status(db).await?.shape));
    }
    if format == Format::Json {
        let changed = changed.iter().map(|(service, before, after)| {
            json!({"service": service, "was": mode_word(*before), "mode": mode_word(*after)})
        });
        writeln!(out, "{:#}", json!({"outboxes": changed.collect::<Json>()}))?;
        return Ok(());
    }
    for (service, before, after) in &changed {
        let (before, after) = (mode_word(*before), mode_word(*after));
        if before == after {
            writeln!(out, "{service}: {after}, as before")?;
        } else {
            writeln!(out, "{service}: {before} → {after}")?;
        }
    }
    writeln!(out, "Relays notice by themselves, within four seconds.")?;
    Ok(())
}

fn mode_word(shape: Shape) -> &'static str {
    match shape {
        Shape::Queue => "queue",
        Shape::Log => "log",
        Shape::Foreign => "log (restored)",
    }
}

/// Lanes by number, by range, or all of them.
///
/// # Errors
/// There is no such lane.
pub fn lanes_named(words: &[String]) -> anyhow::Result<Vec<i16>> {
    let last = i16::try_from(LANES)? - 1;
    let number = |text: &str| text.parse().ok().filter(|lane| (0..=last).contains(lane));
    let mut lanes = Vec::new();
    for word in words {
        let ends = match word.split_once('-') {
            None if word == "all" => Some((0, last)),
            None => number(word).map(|lane| (lane, lane)),
            Some((from, to)) => number(from).zip(number(to)),
        };
        let (from, to) = ends.with_context(|| {
            format!("{word} is no lane; there are 0 to {last}, ranges such as 8-15, and all")
        })?;
        ensure!(from <= to, "{word} goes backwards");
        lanes.extend(from..=to);
    }
    lanes.sort_unstable();
    lanes.dedup();
    Ok(lanes)
}

/// What was not counted to its end is about that many.
fn counted(count: Count) -> String {
    if count.exact {
        count.rows.to_string()
    } else {
        format!("~{}", count.rows)
    }
}

/// Seconds, in the largest unit that is not nothing.
fn age(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else {
        return String::new();
    };
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", (s * 1000.0).max(0.0)),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3_600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_numbers_ranges_or_all() {
        let named = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            lanes_named(&words)
        };
        assert_eq!(named(&["7", "1-3", "2"]).unwrap(), [1, 2, 3, 7]);
        assert_eq!(named(&["all"]).unwrap().len(), 64);
        for wrong in ["64", "-1", "x", "5-3", "3-64"] {
            assert!(named(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_age_is_told_in_one_unit() {
        let ages = [0.012, 59.6, 600.0, 10_000.0, 200_000.0].map(|s| age(Some(s)));
        assert_eq!(ages, ["12 ms", "60 s", "10 min", "3 h", "2 d"]);
        assert_eq!(age(None), "");
    }
}
