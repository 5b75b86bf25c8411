//! `palinode bench xmin`: what a transaction that somebody left open costs.
//!
//! While it is open, no row that was deleted or replaced since can be removed: the outbox and the
//! heads of sagas, which are written all the time, fill with the dead.
#![expect(
    clippy::disallowed_methods,
    reason = "the lab reads every service's database, and the server's statistics"
)]

use std::time::Duration;

use palinode_db::Area;
use serde_json::{Value as Json, json};
use sqlx::{Connection, PgConnection, Row};
use tokio::time::Instant;

use super::load::{Load, Outcome};
use super::report::Report;
use super::sagas::{Sagas, Under, on_stack};
use super::site::Common;
use crate::prepare::database_of;

const SECONDS: u32 = 60;
/// The relay's own question, on all lanes.
const PAGE: &str = include_str!("../../../relay/src/sql/read_page.sql");
const PAGE_ROWS: i64 = 16;
const LANES: i16 = 64;
const ROUNDS: usize = 21;

/// Sagas at a rate, without and with a transaction that is left open in every database.
///
/// # Errors
/// The stack does not start or breaks down, or orders cannot be placed.
pub async fn xmin(common: &Common, options: Sagas) -> anyhow::Result<Report> {
    let load = options.load(common.length(SECONDS));
    let measured =
        async |under: &mut Under<'_>, report: &mut Report| compare(under, load, report).await;
    on_stack("xmin", common, load, measured).await
}

async fn compare(under: &mut Under<'_>, load: Load, report: &mut Report) -> anyhow::Result<()> {
    let without = stretch(under, load, report).await?;
    let began = Instant::now();
    let held = Held::open(&under.site.backing.database_url).await?;
    let with = stretch(under, load, report).await?;
    report.settings.put("held_s", began.elapsed().as_secs());
    held.close().await?;
    let lost = 100.0 * (1.0 - with.0.per_s() / without.0.per_s().max(f64::EPSILON));
    let slower =
        |percent| with.0.latencies.ms(percent) / without.0.latencies.ms(percent).max(0.001);
    let figures = &mut report.figures;
    figures.put("per_s", with.0.per_s());
    figures.put("per_s_without", without.0.per_s());
    figures.put("per_s_lost_percent", lost);
    figures.put("p50_ms", with.0.latencies.ms(50.0));
    figures.put("p99_ms", with.0.latencies.ms(99.0));
    figures.put("p50_ms_without", without.0.latencies.ms(50.0));
    figures.put("p99_ms_without", without.0.latencies.ms(99.0));
    figures.put("p50_times", slower(50.0));
    figures.put("p99_times", slower(99.0));
    figures.put("tables", with.1);
    figures.put("tables_without", without.1);
    Ok(())
}

/// A load, and how the tables are at its end.
async fn stretch(
    under: &mut Under<'_>,
    load: Load,
    report: &mut Report,
) -> anyhow::Result<(Outcome, Json)> {
    let (outcome, _) = under.run(load).await?;
    report.violations.extend(outcome.violations.iter().cloned());
    Ok((outcome, tables(&under.site.backing.database_url).await?))
}

/// Dead rows, and how long the relay's question takes on an outbox that is empty, or nearly so.
async fn tables(server: &str) -> anyhow::Result<Json> {
    let mut all = Vec::new();
    for area in Area::ALL.into_iter().filter(|area| area.has_outbox()) {
        let mut database = PgConnection::connect(&database_of(server, area)).await?;
        let dead = sqlx::query(
            "SELECT coalesce(sum(n_dead_tup) FILTER (WHERE relname = 'outbox'), 0)::bigint,
                    coalesce(sum(n_dead_tup) FILTER (WHERE relname <> 'outbox'), 0)::bigint
               FROM pg_stat_user_tables",
        );
        let dead = dead.fetch_one(&mut database).await?;
        let lanes: Vec<i16> = (0..LANES).collect();
        let mut took = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let asked = Instant::now();
            // from the head on, as without a floor
            let page = sqlx::query(PAGE).bind(&lanes).bind(PAGE_ROWS).bind(0_i64);
            page.fetch_all(&mut database).await?;
            took.push(asked.elapsed());
        }
        took.sort_unstable();
        let millis = |at: usize| Duration::as_secs_f64(&took[at]) * 1e3;
        all.push(json!({
            "database": area.name(),
            "dead_rows_outbox": dead.try_get::<i64, _>(0)?,
            "dead_rows_elsewhere": dead.try_get::<i64, _>(1)?,
            "page_read_ms": millis(ROUNDS / 2), "page_read_worst_ms": millis(ROUNDS - 1),
        }));
        database.close().await?;
    }
    Ok(all.into())
}

/// A snapshot in each database: what it may see has to be kept.
struct Held(Vec<PgConnection>);

impl Held {
    async fn open(server: &str) -> anyhow::Result<Self> {
        let mut held = Vec::new();
        for area in Area::ALL {
            let mut connection = PgConnection::connect(&database_of(server, area)).await?;
            let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT txid_current_snapshot()";
            sqlx::raw_sql(begin).execute(&mut connection).await?;
            held.push(connection);
        }
        Ok(Self(held))
    }

    async fn close(self) -> anyhow::Result<()> {
        for connection in self.0 {
            connection.close().await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Pace, Through};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_snapshot_that_is_held_keeps_the_dead() {
        let common = Common {
            seconds: Some(2),
            ..Common::default()
        };
        let options = Sagas {
            pace: Pace::PerSecond(40),
            failing: 0,
            cards: 0,
            is_hot: false,
            through: Through::Grpc,
        };
        let report = xmin(&common, options).await.unwrap();
        assert!(report.is_good(), "{:?}", report.violations);
        let tables = report.figures.get("tables").unwrap();
        let dead = tables[0]["dead_rows_outbox"].as_i64().unwrap();
        assert!(dead > 0, "{tables}");
    }
}
