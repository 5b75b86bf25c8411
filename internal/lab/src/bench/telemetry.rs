use anyhow::anyhow;
use serde_json::json;

use super::load::Load;
use super::report::Report;
use super::sagas::{Sagas, measure, set};
use super::shop::Shop;
use super::sink::Sink;
use super::site::{Common, Site};
use crate::stack::Tracing;

/// Of each of the runs.
const SECONDS: u32 = 15;
const PAIRS: usize = 3;

/// One run.
struct Run {
    per_s: f64,
    /// Of this process without the sink, PostgreSQL and Kafka.
    cpu_us: f64,
    ended: u64,
}

/// What spans cost: pairs of short runs, one of them with every span sent to a collector.
///
/// # Errors
/// The stack does not start or breaks down, or orders cannot be placed.
pub async fn telemetry(common: &Common, options: Sagas) -> anyhow::Result<Report> {
    let mut site = Site::open(common).await?;
    let report = pairs(&mut site, common, options).await;
    let closed = site.close().await;
    // what went wrong comes before that it could not be cleared away
    let report = report?;
    closed.map(|()| report)
}

async fn pairs(site: &mut Site, common: &Common, options: Sagas) -> anyhow::Result<Report> {
    let mut report = site.report("telemetry").await?;
    let shop = Shop::open(&site.backing.database_url).await?;
    let sink = Sink::start().await?;
    let load = options.load(common.length(SECONDS));
    set(&mut report, &load);
    report.settings.put("pairs", PAIRS);
    report.settings.put(
        "spans_go",
        "over OTLP to a sink on loopback that counts them",
    );
    let (mut rows, mut ratios, mut cpu_ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ended, mut spans) = (0, 0);
    for pair in 0..PAIRS {
        let (mut off, mut on) = (None, None);
        // each comes first in turn: whatever drifts does not count for one of them
        for second in [false, true] {
            if (pair % 2 == 0) == second {
                let before = sink.spans();
                let run = run(
                    site,
                    &shop,
                    &load,
                    Tracing::Otlp(sink.endpoint()),
                    &mut report,
                );
                let run = run.await?;
                spans += sink.spans() - before;
                ended += run.ended;
                on = Some(run);
            } else {
                off = Some(run(site, &shop, &load, Tracing::Off, &mut report).await?);
            }
        }
        let (Some(off), Some(on)) = (off, on) else {
            return Err(anyhow!("a pair has two runs"));
        };
        ratios.push(on.per_s / off.per_s);
        cpu_ratios.push(on.cpu_us / off.cpu_us);
        rows.push(json!({"off_per_s": off.per_s, "on_per_s": on.per_s,
            "off_cpu_us": off.cpu_us, "on_cpu_us": on.cpu_us}));
    }
    report.violations.extend(site.judge().await?);
    let figures = &mut report.figures;
    let of = |key: &str| median(rows.iter().filter_map(|row| row[key].as_f64()).collect());
    figures.put("per_s", of("on_per_s"));
    figures.put("off_per_s", of("off_per_s"));
    let ratio = median(ratios);
    figures.put("ratio", ratio);
    figures.put("cost_percent", (1.0 - ratio) * 100.0);
    figures.put("cpu_ratio", median(cpu_ratios));
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    figures.put("spans_per_saga", spans as f64 / ended.max(1) as f64);
    figures.put("pairs", json!(rows));
    Ok(report)
}

async fn run(
    site: &mut Site,
    shop: &Shop,
    load: &Load,
    tracing: Tracing,
    report: &mut Report,
) -> anyhow::Result<Run> {
    let stack = site.stack(tracing).await?;
    let stopping = stack.stopping();
    let measured = tokio::select! {
        measured = async {
            let running = load.start(shop, &stack, &site.backing.kafka)?;
            measure(site, running, load).await
        } => measured,
        () = stopping.cancelled() => Err(anyhow!("the stack broke down")),
    };
    stack.stop().await?;
    let (outcome, usage) = measured?;
    report.violations.extend(outcome.violations.iter().cloned());
    let cpu_s: f64 = usage.cpu_s().iter().sum::<f64>() - usage.thread_s("bench-sink");
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    Ok(Run {
        per_s: outcome.per_s(),
        cpu_us: cpu_s * 1e6 / outcome.ended.max(1) as f64,
        // spans of the time to warm up are counted too
        ended: outcome.completed + outcome.compensated,
    })
}

pub(super) fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}
