//! Whether the real orchestrator and real participants do what the simulation says, on PostgreSQL.
//!
//! A script of the explorer is played move by move: what it says arrives is handed to the
//! orchestrator's and the participants' own handlers, and what they wrote is taken out of their
//! outboxes. Database time is the script's: the databases have a function `now` of their own, which
//! is found before the server's.

mod replay;
mod stage;

use std::io::Write;

use indicatif::ProgressBar;
use palinode_db::Area;
use palinode_explore::Explorer;
use palinode_saga::Plan;
use palinode_testkit::Progress;
use palinode_testkit::database::with_database;
use serde::Serialize;
use tokio::time::Instant;

use crate::backing::{Backing, BackingOptions, KafkaChoice};
use crate::prepare::migrate;

pub use replay::Replay;

/// What names on Kafka would begin with.
const PREFIX: &str = "palinode";

/// Where a replay works: two migrated databases of its own.
#[derive(Debug, Clone)]
pub struct Databases {
    /// Of the orchestrator.
    pub saga: String,
    /// Of a service that takes part in sagas.
    pub participant: String,
}

/// A script that the real parts play otherwise: the model or the code is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The faults of the script.
    pub scenario: String,
    /// The events up to the move, as one word.
    pub events: String,
    /// The move.
    pub at: String,
    /// What is otherwise.
    pub words: String,
}

/// The last line of a replay.
#[derive(Serialize)]
struct Line<'r> {
    plan: &'r str,
    scripts: usize,
    moves: usize,
    differences: usize,
    seconds: f64,
}

/// Plays every script of a plan on a throw-away PostgreSQL and writes what is otherwise; true when
/// nothing is.
///
/// Shape: with `json`, the last line of the output is one JSON object.
///
/// # Errors
/// PostgreSQL cannot be started; those of `out`.
pub async fn conform(plan: &Plan, json: bool, out: &mut impl Write) -> anyhow::Result<bool> {
    let backing = Backing::start(BackingOptions {
        database_url: None,
        data_dir: None,
        kafka: KafkaChoice::InProcess,
        prefix: PREFIX.to_owned(),
        progress: Progress::Stderr,
    })
    .await?;
    let found = play_all(plan, &backing, json, out).await;
    backing.stop().await;
    found
}

async fn play_all(
    plan: &Plan,
    backing: &Backing,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    migrate(&backing.database_url, &backing.kafka, backing.partitions).await?;
    let of = |area: Area| with_database(&backing.database_url, &area.database());
    let databases = Databases {
        saga: of(Area::Saga),
        participant: of(Area::Order),
    };
    let explorer = Explorer::new(plan);
    let scripts = explorer.scripts();
    let mut replay = Replay::new(&databases, explorer.plan()).await?;
    let began = Instant::now();
    let bar = ProgressBar::new(scripts.len() as u64);
    let (mut moves, mut differences) = (0, Vec::new());
    for script in &scripts {
        moves += script.moves.len();
        differences.extend(replay.play(script).await?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let seconds = (began.elapsed().as_secs_f64() * 100.0).round() / 100.0;
    let (label, scripts) = (plan.label(), scripts.len());
    writeln!(
        out,
        "{label}: {scripts} scripts, {moves} moves, on a real orchestrator and a real"
    )?;
    writeln!(
        out,
        "participant; state, history, guard rows and ledger compared after each move\n"
    )?;
    for difference in &differences {
        let Difference {
            scenario,
            events,
            at,
            words,
        } = difference;
        writeln!(out, "OTHERWISE {scenario}, at: {at}\n  {words}")?;
        writeln!(
            out,
            "  palinode lab replay {label} {scenario} --schedule {events}\n"
        )?;
    }
    if differences.is_empty() {
        writeln!(out, "all is as simulated")?;
    }
    if json {
        let line = Line {
            plan: &label,
            scripts,
            moves,
            differences: differences.len(),
            seconds,
        };
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    }
    Ok(differences.is_empty())
}
