use std::time::Duration;

use serde_json::json;

use super::bar::Bar;
use super::load::{Length, Load, Outcome, Pace, Phase, Running, Through};
use super::meter::Usage;
use super::plot::Plot;
use super::report::Report;
use super::shop::{SKUS, Shop, USERS};
use super::site::{Common, Site};
use crate::stack::{Stack, Tracing};

/// Sagas under way in a closed loop, if nothing else is asked for.
pub const IN_FLIGHT: u32 = 1_000;
const SECONDS: u32 = 30;
const WARM_UP_MAX: Duration = Duration::from_secs(10);

/// What `bench sagas` measures.
#[derive(Debug, Clone, Copy)]
pub struct Sagas {
    /// When orders are placed.
    pub pace: Pace,
    /// Percent of orders that fail at their last step.
    pub failing: u8,
    /// Percent of orders paid by card.
    pub cards: u8,
    /// All orders are over one SKU.
    pub is_hot: bool,
    /// Through which door.
    pub through: Through,
}

impl Default for Sagas {
    fn default() -> Self {
        Self {
            pace: Pace::InFlight(IN_FLIGHT),
            failing: 0,
            cards: 0,
            is_hot: false,
            through: Through::Grpc,
        }
    }
}

impl Sagas {
    /// The load, for so long.
    #[must_use]
    pub fn load(&self, length: Duration) -> Load {
        Load {
            pace: self.pace,
            length: Length::Time(length),
            // pools, plans of statements and caches are warm by then
            warm_up: (length / 5).min(WARM_UP_MAX),
            failing: self.failing,
            cards: self.cards,
            is_hot: self.is_hot,
            through: self.through,
        }
    }
}

/// Sagas of `place-order` from the call to their end, all services in this process.
///
/// # Errors
/// The stack does not start or breaks down, or orders cannot be placed.
pub async fn sagas(common: &Common, options: Sagas) -> anyhow::Result<Report> {
    throughput("sagas", common, options, SECONDS).await
}

/// What one order takes when there are few: through REST, at a rate.
///
/// # Errors
/// Those of [`sagas`].
pub async fn latency(common: &Common, rate: u32) -> anyhow::Result<Report> {
    let options = Sagas {
        pace: Pace::PerSecond(rate),
        through: Through::Rest,
        ..Sagas::default()
    };
    throughput("latency", common, options, SECONDS).await
}

async fn throughput(
    bench: &'static str,
    common: &Common,
    options: Sagas,
    default_s: u32,
) -> anyhow::Result<Report> {
    let load = options.load(common.length(default_s));
    let measured = async |under: &mut Under<'_>, report: &mut Report| {
        let (outcome, usage) = under.run(load).await?;
        put(report, &outcome, &usage);
        report.violations.extend(outcome.violations);
        Ok(())
    };
    on_stack(bench, common, load, measured).await
}

/// A stack, and what loads on it need.
pub(super) struct Under<'a> {
    pub(super) site: &'a mut Site,
    shop: &'a Shop,
    stack: &'a Stack,
}

impl Under<'_> {
    /// Sees a load through.
    pub(super) async fn run(&mut self, load: Load) -> anyhow::Result<(Outcome, Usage)> {
        let running = load.start(self.shop, self.stack, &self.site.backing.kafka)?;
        measure(self.site, running, &load).await
    }
}

/// A bench on a stack of its own, in this process: what `measured` does is judged by the invariants.
pub(super) async fn on_stack(
    bench: &'static str,
    common: &Common,
    load: Load,
    measured: impl AsyncFnOnce(&mut Under<'_>, &mut Report) -> anyhow::Result<()>,
) -> anyhow::Result<Report> {
    let mut site = Site::open(common).await?;
    let report = async {
        let mut report = site.report(bench).await?;
        let shop = Shop::open(&site.backing.database_url).await?;
        let stack = site.stack(Tracing::Off).await?;
        set(&mut report, &load);
        let stopping = stack.stopping();
        let mut under = Under {
            site: &mut site,
            shop: &shop,
            stack: &stack,
        };
        let done = tokio::select! {
            done = measured(&mut under, &mut report) => done,
            () = stopping.cancelled() => Err(anyhow::anyhow!("the stack broke down")),
        };
        let judged = match done {
            Ok(()) => site.judge().await,
            Err(error) => Err(error),
        };
        // why it broke down comes before that it did
        stack.stop().await?;
        report.violations.extend(judged?);
        anyhow::Ok(report)
    };
    let report = report.await;
    let closed = site.close().await;
    // what went wrong comes before that it could not be cleared away
    let report = report?;
    closed.map(|()| report)
}

/// Sees a load through, and meters the part of it that is measured.
pub(super) async fn measure(
    site: &mut Site,
    mut running: Running,
    load: &Load,
) -> anyhow::Result<(Outcome, Usage)> {
    let began = std::time::Instant::now();
    let total = match load.length {
        Length::Time(time) => (time + load.warm_up).as_secs(),
        Length::Sagas(sagas) => sagas,
    };
    let mut bar = Bar::new("sagas", total);
    let mut show = |progress: super::load::Progress| {
        let done = match load.length {
            Length::Time(_) => began.elapsed().as_secs().min(total),
            Length::Sagas(_) => progress.ended.min(total),
        };
        bar.at(done, || {
            format!("{} ended, {} under way", progress.ended, progress.under_way)
        });
    };
    running.until(Phase::Measured, &mut show).await;
    let meter = site.meter().await?;
    running.until(Phase::Draining, &mut show).await;
    let usage = site.usage(meter).await?;
    Ok((running.outcome().await?, usage))
}

/// What was set.
pub(super) fn set(report: &mut Report, load: &Load) {
    let settings = &mut report.settings;
    match load.pace {
        Pace::InFlight(most) => settings.put("in_flight", most),
        Pace::PerSecond(rate) => settings.put("rate", rate),
    }
    match load.length {
        Length::Time(time) => settings.put("seconds", time.as_secs()),
        Length::Sagas(sagas) => settings.put("sagas", sagas),
    }
    settings.put("warm_up_s", load.warm_up.as_secs_f64());
    settings.put("failing_percent", load.failing);
    settings.put("cards_percent", load.cards);
    settings.put("users", USERS);
    settings.put("skus", if load.is_hot { 1 } else { SKUS });
    let through = match load.through {
        Through::Grpc => "gRPC of the order service",
        Through::Rest => "REST of the gateway",
    };
    settings.put("through", through);
    settings.put("order", "one piece of one SKU, with an idempotency key");
    settings.put("ends_when", "SagaEnded was read from Kafka");
    settings.put("palinode_is", "all services and the load, in one process");
}

/// What was measured.
pub(super) fn put(report: &mut Report, outcome: &Outcome, usage: &Usage) {
    let figures = &mut report.figures;
    figures.put("per_s", outcome.per_s());
    outcome.latencies.put(figures);
    outcome.calls.put_as(figures, "call_");
    figures.put("measured_s", outcome.took.as_secs_f64());
    figures.put("measured", outcome.ended);
    figures.put("placed", outcome.placed);
    figures.put("completed", outcome.completed);
    figures.put("compensated", outcome.compensated);
    figures.put("refused", outcome.refused);
    figures.put("repeats", outcome.repeats);
    figures.put("per_s_by_third", json!(thirds(outcome)));
    usage.put(figures, outcome.ended, "saga");
    report.plots.extend(plots(outcome));
}

/// Throughput of the first, second and last third: whether it lasts.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn thirds(outcome: &Outcome) -> Vec<f64> {
    let seconds = &outcome.by_second;
    let third = (seconds.len() / 3).max(1);
    let parts = seconds.chunks_exact(third).take(3);
    parts
        .map(|part| part.iter().map(|(ended, ..)| *ended as f64).sum::<f64>() / part.len() as f64)
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "points of a picture")]
fn plots(outcome: &Outcome) -> Vec<Plot> {
    let seconds = || outcome.by_second.iter().enumerate();
    let pace = seconds().map(|(at, (ended, ..))| (at as f64, *ended as f64));
    let p50 = seconds().map(|(at, (_, p50, _))| (at as f64, *p50));
    let p99 = seconds().map(|(at, (_, _, p99))| (at as f64, *p99));
    vec![
        Plot {
            name: "throughput",
            title: "Sagas that ended in each second".to_owned(),
            x: "seconds",
            y: "sagas a second",
            lines: vec![("sagas".to_owned(), pace.collect())],
        },
        Plot {
            name: "latency",
            title: "From the call to the end of the saga".to_owned(),
            x: "seconds",
            y: "milliseconds",
            lines: vec![
                ("p50".to_owned(), p50.collect()),
                ("p99".to_owned(), p99.collect()),
            ],
        },
    ]
}
