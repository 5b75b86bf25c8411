use std::error::Error;
use std::fmt;
use std::io::Write;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{CommandFactory, FromArgMatches, Parser};
use palinode_telemetry::{Meter, Tracer, init_logs};
use palinode_values::Clock;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Config;
use crate::context::{Context, Opening, Shared, StartError, bind};
use crate::readiness::Readiness;
use crate::services::{ServiceSpec, service};
use crate::tasks::{TaskFailure, Tasks};

/// Bad usage or settings; source: `EX_USAGE` of sysexits.h.
const EXIT_USAGE: u8 = 64;
const FLUSH_LIMIT: Duration = Duration::from_secs(5);
/// How often a process that is not ready says what it waits for.
const REMIND_EVERY: Duration = Duration::from_secs(5);

type Built = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// A service to be hosted: what it is called, and how it is built.
pub struct Part {
    spec: ServiceSpec,
    build: Box<dyn FnOnce(Context) -> Built + Send>,
}

impl Part {
    /// A part of a process: the service of that name; `None` when there is none.
    pub fn new<F, Fut>(name: &str, build: F) -> Option<Self>
    where
        F: FnOnce(Context) -> Fut + Send + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let spec = service(name)?;
        Some(Self {
            spec,
            build: Box::new(move |context| Box::pin(build(context))),
        })
    }

    /// The service.
    #[must_use]
    pub fn spec(&self) -> ServiceSpec {
        self.spec
    }

    /// Builds it, in a process that was put together by hand.
    ///
    /// # Errors
    /// `Build`.
    pub async fn host(self, context: Context) -> Result<(), StartError> {
        context.host(self.build).await
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Part").field(&self.spec.name).finish()
    }
}

/// The whole `main` of a service's executable.
///
/// # Panics
/// `name` is not in [`crate::SERVICES`].
pub fn main<F, Fut>(name: &'static str, build: F) -> ExitCode
where
    F: FnOnce(Context) -> Fut + Send + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let part = Part::new(name, build).expect("the name of an executable is a service's");
    match parse(name) {
        Ok(config) => run_process(vec![part], config),
        Err(code) => code,
    }
}

#[derive(Parser)]
#[command(version)]
struct Line {
    #[command(flatten)]
    config: Config,
}

fn parse(name: &'static str) -> Result<Config, ExitCode> {
    let command = Line::command()
        .name(name)
        .about(format!("Palinode: {name}, as a process of its own"));
    let parsed = command
        .try_get_matches()
        .and_then(|matches| Line::from_arg_matches(&matches));
    parsed.map(|line| line.config).map_err(|error| {
        // nothing is left to be done when nobody reads it
        error.print().ok();
        if error.use_stderr() {
            ExitCode::from(EXIT_USAGE)
        } else {
            ExitCode::SUCCESS
        }
    })
}

/// Hosts services until the process is asked to stop (SIGTERM, SIGINT). A second signal ends it at
/// once. Call it outside of a runtime.
///
/// Exit codes: 0 asked to stop, 1 failure, 64 bad usage or settings.
#[must_use]
pub fn run_process(parts: Vec<Part>, config: Config) -> ExitCode {
    if config.print_config {
        let shown = writeln!(std::io::stdout(), "{config:#?}");
        return if shown.is_ok() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    match start(parts, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn report(error: &anyhow::Error) -> ExitCode {
    if !error.is::<TaskFailure>() {
        // logs may not be up, and a person may be waiting: plain words. A failed task was logged.
        writeln!(std::io::stderr(), "error: {error:#}").ok();
    }
    let usage = matches!(error.downcast_ref(), Some(StartError::Config(_))) || error.is::<Usage>();
    if usage {
        ExitCode::from(EXIT_USAGE)
    } else {
        ExitCode::FAILURE
    }
}

/// Settings that only a part of the harness can judge.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Usage(Box<dyn Error + Send + Sync>);

fn start(parts: Vec<Part>, config: Config) -> anyhow::Result<()> {
    let specs: Vec<ServiceSpec> = parts.iter().map(Part::spec).collect();
    config.validate(&specs).map_err(StartError::from)?;
    init_logs(&config.log, config.log_format.into()).map_err(|e| Usage(e.into()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::new().context("signals cannot be heard")?;
        run(parts, Arc::new(config), &mut signals).await
    });
    // what did not stop in time is cut off here
    runtime.shutdown_background();
    ended
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn run(parts: Vec<Part>, config: Arc<Config>, signals: &mut Signals) -> anyhow::Result<()> {
    let stop_limit = Duration::from_secs(config.stop_limit_s);
    let tasks = Tasks::new();
    let mut telemetry = Telemetry::new();
    let running = async {
        start_parts(parts, &config, &tasks, &mut telemetry).await?;
        std::future::pending().await
    };
    let failed = tasks.stop_token();
    let outcome: anyhow::Result<()> = tokio::select! {
        outcome = running => outcome,
        () = failed.cancelled() => Ok(()), // the failure is told below
        () = signals.next() => Ok(()),
    };
    tracing::info!("stopping");
    let stopped = tokio::select! {
        stopped = stop(&tasks, stop_limit, telemetry) => stopped,
        () = signals.next() => anyhow::bail!("stopped at once, by a second signal"),
    };
    outcome?;
    if let Some(failure) = tasks.failed().borrow().clone() {
        return Err(failure.into());
    }
    stopped?;
    tracing::info!("stopped");
    Ok(())
}

/// What is to be flushed at the end, of each part.
type Telemetry = Vec<(Tracer, Meter)>;

async fn start_parts(
    parts: Vec<Part>,
    config: &Arc<Config>,
    tasks: &Tasks,
    telemetry: &mut Telemetry,
) -> anyhow::Result<()> {
    let mut waiting: Vec<(ServiceSpec, Readiness)> = Vec::new();
    let shared = Shared::default();
    for part in parts {
        let spec = part.spec();
        let tracer = match &config.otlp_endpoint {
            Some(endpoint) => Tracer::otlp(spec.name, endpoint).map_err(|e| Usage(e.into()))?,
            None => Tracer::disabled(),
        };
        let meter = match &config.otlp_metrics_endpoint {
            Some(endpoint) => Meter::otlp(spec.name, endpoint).map_err(|e| Usage(e.into()))?,
            None => Meter::disabled(),
        };
        telemetry.push((tracer.clone(), meter.clone()));
        let context = Context::open(Opening {
            spec,
            config: Arc::clone(config),
            listener: bind(config, spec).await?,
            tasks: tasks.clone(),
            tracer,
            meter,
            clock: Clock::system(),
            shared: shared.clone(),
        })
        .await?;
        waiting.push((spec, context.readiness.clone()));
        let address = context.address();
        part.host(context).await?;
        tracing::info!(service = spec.name, %address, "listening");
    }
    for (spec, readiness) in waiting {
        until_ready(spec, &readiness).await;
    }
    Ok(())
}

/// A failed task is seen by whoever runs this.
async fn until_ready(spec: ServiceSpec, readiness: &Readiness) {
    while tokio::time::timeout(REMIND_EVERY, readiness.ready())
        .await
        .is_err()
    {
        let missing = readiness.missing().join(", ");
        tracing::warn!(service = spec.name, missing, "not ready yet");
    }
    tracing::info!(service = spec.name, "ready");
}

async fn stop(tasks: &Tasks, limit: Duration, telemetry: Telemetry) -> anyhow::Result<()> {
    let stopped = tasks.stop(limit).await;
    let flushed = tokio::task::spawn_blocking(move || {
        for (tracer, meter) in telemetry {
            tracer.flush();
            meter.flush();
        }
    });
    if tokio::time::timeout(FLUSH_LIMIT, flushed).await.is_err() {
        tracing::warn!("some spans or metrics were not exported");
    }
    Ok(stopped?)
}
