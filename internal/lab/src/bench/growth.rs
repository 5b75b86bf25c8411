//! `palinode bench growth`: whether sagas that have ended make those slower that come after them.
//!
//! The tables grow as they do in production: by sagas that run, a million of them in the end. So
//! what is found at each size holds for everything that grows: tables, indexes, dead rows, and the
//! memory of every process.

use std::time::Duration;

use anyhow::ensure;
use serde_json::{Map, Value as Json, json};

use super::load::{Length, Load, Outcome, Pace};
use super::meter::Usage;
use super::plot::Plot;
use super::report::Report;
use super::sagas::{IN_FLIGHT, Sagas, Under, on_stack};
use super::site::Common;

/// Before the first is measured, everything is warm.
const FIRST: u64 = 1_000;
const SECONDS: u32 = 30;
/// Sagas of one load: it remembers each, and that is not to be taken for memory of the services.
const LOAD_MAX: u64 = 50_000;

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct Growth {
    /// Sagas that have ended before the last is measured: 10^3, 10^4 and so on up to this.
    pub to: u64,
    /// How they run.
    pub sagas: Sagas,
}

/// Throughput, latency and memory beside more and more sagas that have ended.
///
/// # Errors
/// The stack does not start or breaks down, or orders cannot be placed.
pub async fn growth(common: &Common, options: Growth) -> anyhow::Result<Report> {
    let load = options.sagas.load(common.length(SECONDS));
    let measured = async |under: &mut Under<'_>, report: &mut Report| {
        report.settings.put("to", options.to);
        report.settings.put("filled_by", "sagas that ran");
        grow(under, load, options.to, report).await
    };
    on_stack("growth", common, load, measured).await
}

async fn grow(
    under: &mut Under<'_>,
    load: Load,
    to: u64,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut points = Vec::new();
    let mut ended = 0;
    let sizes = std::iter::successors(Some(FIRST), |size| size.checked_mul(10));
    for size in sizes.take_while(|size| *size <= to) {
        while ended < size {
            let filling = Load {
                pace: Pace::InFlight(IN_FLIGHT),
                length: Length::Sagas((size - ended).min(LOAD_MAX)),
                warm_up: Duration::ZERO,
                ..load
            };
            let (outcome, _) = under.run(filling).await?;
            ended += take(&outcome, report)?;
        }
        let before = ended;
        let (outcome, usage) = under.run(load).await?;
        ended += take(&outcome, report)?;
        points.push(Point {
            ended: before,
            size,
            outcome,
            usage,
        });
    }
    put(report, &points);
    Ok(())
}

/// How many sagas of a load have ended; what it violated goes into the report.
fn take(outcome: &Outcome, report: &mut Report) -> anyhow::Result<u64> {
    report.violations.extend(outcome.violations.iter().cloned());
    let ended = outcome.completed + outcome.compensated;
    ensure!(ended > 0, "no saga has ended");
    Ok(ended)
}

/// What was measured at a size.
struct Point {
    size: u64,
    /// As it really was.
    ended: u64,
    outcome: Outcome,
    usage: Usage,
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn put(report: &mut Report, points: &[Point]) {
    let by_size = |of: &dyn Fn(&Point) -> Json| -> Map<String, Json> {
        points
            .iter()
            .map(|point| (point.size.to_string(), of(point)))
            .collect()
    };
    let pace = |point: &Point| point.outcome.per_s();
    let p99 = |point: &Point| point.outcome.latencies.ms(99.0);
    let figures = &mut report.figures;
    figures.put("per_s", by_size(&|point| pace(point).into()));
    figures.put("p99_ms", by_size(&|point| p99(point).into()));
    figures.put("rss_mib", by_size(&|point| point.usage.memory()));
    let all: Vec<Json> = points
        .iter()
        .map(|point| {
            let [palinode, postgres, kafka] = point.usage.cpu_s();
            let count = point.outcome.ended.max(1) as f64;
            let micros = |seconds: f64| seconds * 1e6 / count;
            json!({
                "ended": point.ended, "per_s": pace(point),
                "p50_ms": point.outcome.latencies.ms(50.0), "p99_ms": p99(point),
                "wal_bytes_per_saga": point.usage.wal_bytes as f64 / count,
                "cpu_us_per_saga": {"palinode": micros(palinode), "postgres": micros(postgres),
                                    "kafka": micros(kafka)},
            })
        })
        .collect();
    figures.put("points", all);
    let share = |of: &dyn Fn(&Point) -> f64| {
        let (first, last) = (points.first().map(of), points.last().map(of));
        first
            .zip(last)
            .map(|(first, last)| last / first.max(f64::EPSILON))
    };
    figures.put("per_s_last_of_first", share(&pace));
    figures.put("p99_last_of_first", share(&p99));
    let line = |of: &dyn Fn(&Point) -> f64| {
        points
            .iter()
            .map(|point| ((point.ended as f64).log10(), of(point)))
            .collect()
    };
    report.plots.push(Plot {
        name: "throughput",
        title: "Sagas a second beside sagas that have ended".to_owned(),
        x: "ended before, as a power of ten",
        y: "sagas a second",
        lines: vec![("sagas a second".to_owned(), line(&pace))],
    });
    report.plots.push(Plot {
        name: "latency",
        title: "p99 beside sagas that have ended".to_owned(),
        x: "ended before, as a power of ten",
        y: "milliseconds",
        lines: vec![("p99".to_owned(), line(&p99))],
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Through;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_thousand_sagas_are_run_and_judged_before_the_first_is_measured() {
        let common = Common {
            seconds: Some(1),
            ..Common::default()
        };
        let options = Growth {
            to: 1_000,
            sagas: Sagas {
                pace: Pace::InFlight(50),
                failing: 0,
                cards: 0,
                is_hot: false,
                through: Through::Grpc,
            },
        };
        let report = growth(&common, options).await.unwrap();
        assert!(report.is_good(), "{:?}", report.violations);
        let per_s = report.figures.get("per_s").unwrap();
        assert!(per_s["1000"].as_f64().unwrap() > 0.0, "{per_s}");
        let points = report.figures.get("points").unwrap();
        assert!(points[0]["ended"].as_u64().unwrap() >= 1_000, "{points}");
    }
}
