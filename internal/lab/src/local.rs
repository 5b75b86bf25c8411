//! `palinode stack`: Kafka, PostgreSQL and every service as a process of its own, on one machine.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use palinode_messaging::Backoff;
use palinode_testkit::Progress;
use tokio::time::Instant;

use crate::backing::{Backing, BackingOptions, KafkaChoice};
use crate::dev::write_try;
use crate::fleet::{Fleet, FleetOptions};
use crate::prepare::migrate;
use crate::seed;
use crate::signals::Signals;
use crate::stack::require_free;

/// Between two looks at whether a process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A service that has run so long did not fail at its start.
const STEADY: Duration = Duration::from_secs(30);

/// What `palinode stack` was asked for.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// The executable of the tool.
    pub program: PathBuf,
    /// Keeps data and logs.
    pub dir: PathBuf,
    /// A Kafka that runs already; `None`: one from its jars.
    pub kafka: Option<String>,
    /// A PostgreSQL server that runs already.
    pub database_url: Option<String>,
    /// The gateway's port.
    pub port: u16,
    /// What names on Kafka begin with.
    pub prefix: String,
    /// Where spans go, if anywhere.
    pub otlp_endpoint: Option<String>,
}

/// Runs until a signal; a service that ends by itself is started again.
///
/// # Errors
/// Something cannot be started; says what to do.
pub async fn run(options: LocalOptions) -> anyhow::Result<()> {
    require_free(options.port)?;
    let mut signals = Signals::listen()?;
    std::fs::create_dir_all(&options.dir)?;
    let backing = tokio::select! {
        backing = Backing::start(backing_of(&options)) => backing?,
        () = signals.next() => anyhow::bail!("stopped before it was ready"),
    };
    let outcome = tokio::select! {
        outcome = launch(&options, &backing) => outcome,
        () = signals.next() => Err(anyhow::anyhow!("stopped before it was ready")),
    };
    let outcome = match outcome {
        Ok(fleet) => {
            let supervised = tokio::select! {
                supervised = supervise(&fleet) => supervised,
                lost = backing.lost() => Err(lost),
                () = signals.next() => Ok(()),
            };
            let stopped = fleet.stop().await;
            supervised.and(stopped)
        }
        Err(error) => Err(error),
    };
    backing.stop().await;
    outcome
}

fn backing_of(options: &LocalOptions) -> BackingOptions {
    let jars = || KafkaChoice::Jars {
        data_dir: Some(options.dir.join("kafka")),
        port: None,
    };
    BackingOptions {
        database_url: options.database_url.clone(),
        data_dir: Some(options.dir.join("postgres")),
        kafka: options.kafka.clone().map_or_else(jars, KafkaChoice::Given),
        prefix: options.prefix.clone(),
        progress: Progress::Stderr,
    }
}

async fn launch(options: &LocalOptions, backing: &Backing) -> anyhow::Result<Fleet> {
    migrate(&backing.database_url, &backing.kafka, backing.partitions).await?;
    seed::seed(&backing.database_url).await?;
    let fleet = Fleet::start(FleetOptions {
        program: options.program.clone(),
        database_url: backing.database_url.clone(),
        kafka: backing.kafka.clone(),
        gateway_port: Some(options.port),
        logs: Some(options.dir.join("logs")),
        log: "info".to_owned(),
        otlp_endpoint: options.otlp_endpoint.clone(),
    })
    .await?;
    // nobody may be reading: that is no reason to stop
    announce(&mut io::stdout().lock(), backing, &fleet).ok();
    Ok(fleet)
}

/// A service that ended by itself.
#[derive(Default)]
struct Fallen {
    backoff: Backoff,
    /// When it is started again.
    due: Option<Instant>,
    started: Option<Instant>,
}

async fn supervise(fleet: &Fleet) -> anyhow::Result<()> {
    let mut fallen: BTreeMap<&str, Fallen> = BTreeMap::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        for name in fleet.ended() {
            let service = fallen.entry(name).or_default();
            match service.due {
                None => {
                    if service.started.is_some_and(|at| at.elapsed() > STEADY) {
                        service.backoff.reset();
                    }
                    let pause = service.backoff.next_pause();
                    tracing::error!(service = name, ?pause, "ended by itself: see its log");
                    service.due = Some(Instant::now() + pause);
                }
                Some(due) if due <= Instant::now() => {
                    fleet.spawn(name)?;
                    (service.due, service.started) = (None, Some(Instant::now()));
                }
                Some(_) => {}
            }
        }
    }
}

fn announce(out: &mut impl Write, backing: &Backing, fleet: &Fleet) -> io::Result<()> {
    let url = fleet.url();
    writeln!(out, "PostgreSQL     {}", backing.postgres_is)?;
    writeln!(out, "Kafka          {}", backing.kafka_is)?;
    for (name, address) in fleet.addresses() {
        let speaks = if name == "gateway" { "http" } else { "grpc" };
        writeln!(out, "{name:<14} {speaks}://{address}")?;
    }
    writeln!(out, "logs           {}", fleet.logs().display())?;
    writeln!(out, "\nTo order, and to look at what became of it:\n")?;
    write_try(out, &url)?;
    writeln!(out, "\nready {url}")?;
    out.flush()
}
