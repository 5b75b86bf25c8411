//! `palinode bench recovery`: how soon sagas go on when every process was killed.
//!
//! A real order is placed while nobody is there to hold its stock. When its saga is about to ask
//! again, every process is killed. The saga gets as many copies as are asked for, and all is started
//! again: every one of them has a command to be sent at once.
#![expect(
    clippy::disallowed_methods,
    reason = "fills tables of services with copies of what they wrote"
)]

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::{join_all, try_join_all};
use palinode_db::Area;
use palinode_messaging::{StartAt, Topic, TopicTail};
use palinode_service::SERVICES;
use palinode_values::Timestamp;
use serde_json::json;
use sqlx::types::Uuid;
use sqlx::{Connection, PgConnection, Row};
use tokio::time::{Instant, timeout};

use super::{Bar, Common, Report, Site};
use crate::fleet::{Fleet, FleetOptions};
use crate::gateway::Gateway;
use crate::prepare::database_of;
use crate::seed;

/// Nobody holds stock then: the first step of every saga waits.
const AWAY: &str = "inventory";
const LOOK_EVERY: Duration = Duration::from_millis(20);
const COUNT_EVERY: Duration = Duration::from_millis(500);
const ORDER_LIMIT: Duration = Duration::from_secs(60);
/// Without any end for so long, what is not over is lost.
const STALL_LIMIT: Duration = Duration::from_secs(150);
/// Rows of one statement.
const ROWS: u32 = 10_000;

/// Tables in which a saga that waits for its first step has rows, and the column of its id there.
const COPIED: [(Area, &[(&str, &str)]); 2] = [
    (
        Area::Order,
        &[("orders", "saga_id"), ("saga_guard", "saga_id")],
    ),
    (
        Area::Saga,
        &[
            ("saga_key", "id"),
            ("saga", "id"),
            ("saga_history", "saga_id"),
        ],
    ),
];

/// Copies of the rows of saga `$1` and order `$2` with ids of their own, also inside of what is encoded:
/// there they stand as text, which is as long. The last byte of a saga's id says which lane of timers it is in.
const INSERT_COPIES: &str = "
INSERT INTO <table>
SELECT made.*
  FROM generate_series($4::int, $5::int) n
 CROSS JOIN <table> t
 CROSS JOIN LATERAL (
   SELECT left($1::text, 24) || lpad(to_hex(n), 12, '0') AS saga,
          left($2::text, 24) || lpad(to_hex(n), 12, '0') AS order_id,
          'shopper-' || lpad((n % 16 + 1)::text, 2, '0') AS shopper) own
 CROSS JOIN LATERAL jsonb_populate_record(NULL::<table>,
   replace(replace(replace(replace(replace(replace(to_jsonb(t)::text,
     $1, own.saga), encode($1::bytea, 'hex'), encode(own.saga::bytea, 'hex')),
     $2, own.order_id), encode($2::bytea, 'hex'), encode(own.order_id::bytea, 'hex')),
     $3::text, own.shopper), encode($3::bytea, 'hex'), encode(own.shopper::bytea, 'hex'))::jsonb
   || jsonb_build_object('<lane>', n % 16)) made
 WHERE t.<key> = $6";

/// What is measured.
#[derive(Debug, Clone)]
pub struct Recovery {
    /// Sagas under way when all is killed.
    pub in_flight: u32,
    /// The executable of the tool: `serve <service>` runs one service.
    pub program: PathBuf,
}

/// Kills a stack with many sagas under way, and measures how soon and how fast they go on.
///
/// # Errors
/// Something does not start, or the sample order does not come to its place.
pub async fn recovery(common: &Common, options: Recovery) -> anyhow::Result<Report> {
    let mut site = Site::open(common).await?;
    let report = measured(&mut site, options).await;
    site.close().await?;
    report
}

async fn measured(site: &mut Site, options: Recovery) -> anyhow::Result<Report> {
    let mut report = site.report("recovery").await?;
    report.settings.put("in_flight", options.in_flight);
    report
        .settings
        .put("killed", "every process of Palinode, by SIGKILL");
    report
        .settings
        .put("waits_for", "its first command to be sent again");
    let server = site.backing.database_url.clone();
    seed::seed(&server).await?;
    let fleet = Fleet::start(FleetOptions {
        program: options.program,
        database_url: server.clone(),
        kafka: site.backing.kafka.clone(),
        gateway_port: None,
        logs: None,
        log: "warn,sqlx=error".to_owned(),
        otlp_endpoint: None,
    })
    .await?;
    let outcome = crash(site, &fleet, options.in_flight, &mut report).await;
    let judged = match outcome {
        Ok(()) => site.judge().await,
        Err(error) => Err(error),
    };
    if judged.is_err() || !report.is_good() {
        fleet.keep_logs();
    }
    let stopped = fleet.stop().await;
    report.violations.extend(judged?);
    stopped?;
    Ok(report)
}

async fn crash(
    site: &mut Site,
    fleet: &Fleet,
    in_flight: u32,
    report: &mut Report,
) -> anyhow::Result<()> {
    let server = site.backing.database_url.clone();
    let gateway = Gateway::of_stack(&fleet.url(), &server).await?;
    let mut sagas = PgConnection::connect(&database_of(&server, Area::Saga)).await?;
    let first = place(&gateway).await?; // everything was used once
    until(&mut sagas, first.saga, "state = 'completed'").await?;
    fleet.kill(AWAY).await;
    let sample = place(&gateway).await?;
    // its first command was not answered in time, and is about to be sent again
    until(&mut sagas, sample.saga, "version = 2").await?;
    join_all(SERVICES.iter().map(|spec| fleet.kill(spec.name))).await;
    until(&mut sagas, sample.saga, "version = 2").await?;

    let began = Instant::now();
    let mut bar = Bar::new("copies", u64::from(in_flight));
    for (area, tables) in COPIED {
        copy(&server, area, tables, &sample, in_flight - 1, &mut bar).await?;
    }
    drop(bar);
    report
        .figures
        .put("filled_s", began.elapsed().as_secs_f64());

    let topics = [Topic::from_suffix("inventory.commands").context("a topic of the table")?];
    let tail = TopicTail::start(&site.backing.kafka, &topics, StartAt::End).await?;
    let due = count(&mut sagas, "state = 'running' AND wake_at <= now()").await?;
    report.figures.put("due_at_restart", due);

    let began = Instant::now();
    let restarted: Timestamp = sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(&mut sagas)
        .await?;
    for spec in SERVICES {
        fleet.spawn(spec.name)?;
    }
    let ready = async {
        fleet.ready("orchestrator").await?;
        let orchestrator = began.elapsed();
        try_join_all(SERVICES.iter().map(|spec| fleet.ready(spec.name))).await?;
        anyhow::Ok((orchestrator, began.elapsed()))
    };
    let meter = site.meter().await?;
    let dispatched = dispatched(tail, &sample, began);
    let (ready, dispatched, ended) =
        tokio::try_join!(ready, dispatched, ended(&mut sagas, in_flight, began))?;
    let usage = site.usage(meter).await?;
    let written: Option<Timestamp> =
        sqlx::query_scalar("SELECT min(at) FROM saga_history WHERE version > 2 AND at >= $1")
            .bind(restarted)
            .fetch_one(&mut sagas)
            .await?;
    let written = written.context("no saga has gone on")? - restarted;

    let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
    let figures = &mut report.figures;
    figures.put("in_flight", in_flight);
    figures.put("first_dispatch_ms", millis(dispatched));
    figures.put(
        "first_dispatch_after_ready_ms",
        millis(dispatched) - millis(ready.0),
    );
    figures.put("first_transition_ms", written.as_seconds_f64() * 1e3);
    figures.put("orchestrator_ready_ms", millis(ready.0));
    figures.put("all_ready_ms", millis(ready.1));
    figures.put("all_ended_s", ended.took.as_secs_f64());
    figures.put("per_s", f64::from(in_flight) / ended.took.as_secs_f64());
    for (state, sagas) in &ended.states {
        figures.put(state, *sagas);
    }
    usage.put(figures, u64::from(in_flight), "saga");
    let there = ended.states.iter().map(|(_, sagas)| *sagas).sum::<i64>();
    // the first order is there too
    let placed = i64::from(in_flight) + 1;
    if there != placed {
        report
            .violations
            .push(format!("{placed} sagas were there, {there} are"));
    }
    if ended.running > 0 {
        let words = format!("{} sagas have not ended", ended.running);
        report.violations.push(words);
    }
    sagas.close().await?;
    Ok(())
}

/// An order and its saga.
struct Sample {
    order: Uuid,
    saga: Uuid,
    user: String,
}

async fn place(gateway: &Gateway) -> anyhow::Result<Sample> {
    let user = seed::shopper(0);
    let order = json!({
        "userId": user,
        "lines": [{"sku": seed::COMMON[0], "quantity": 1}],
        "address": {"name": "Ada Demo", "street": "Hauptstr. 1", "postalCode": "10115",
                    "city": "Berlin", "country": "DE"},
        "paymentMethod": {"wallet": {}},
    });
    let placed = gateway.order(&order, None).await?.success()?;
    let id = |field: &str| -> anyhow::Result<Uuid> {
        let id = placed[field].as_str();
        Ok(id
            .with_context(|| format!("an order without {field}"))?
            .parse()?)
    };
    Ok(Sample {
        order: id("orderId")?,
        saga: id("sagaId")?,
        user,
    })
}

/// Waits until the head of the saga is so.
async fn until(sagas: &mut PgConnection, saga: Uuid, so: &'static str) -> anyhow::Result<()> {
    let until = Instant::now() + ORDER_LIMIT;
    let ask = format!("SELECT EXISTS (SELECT FROM saga WHERE id = $1 AND {so})");
    loop {
        let is_so: bool = sqlx::query_scalar(sqlx::AssertSqlSafe(ask.as_str()))
            .bind(saga)
            .fetch_one(&mut *sagas)
            .await?;
        if is_so {
            return Ok(());
        }
        ensure!(
            Instant::now() < until,
            "the saga {saga} of the sample is not {so}"
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn count(sagas: &mut PgConnection, so: &'static str) -> anyhow::Result<i64> {
    let ask = format!("SELECT count(*) FROM saga WHERE {so}");
    Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(ask))
        .fetch_one(sagas)
        .await?)
}

/// Copies the rows of the sample, each with ids of its own, also inside of what is encoded. The
/// shoppers take turns: one wallet would not do.
async fn copy(
    server: &str,
    area: Area,
    tables: &[(&str, &str)],
    sample: &Sample,
    copies: u32,
    bar: &mut Bar,
) -> anyhow::Result<()> {
    let mut database = PgConnection::connect(&database_of(server, area)).await?;
    for from in (1..=copies).step_by(ROWS as usize) {
        bar.at(u64::from(from), || area.name().to_owned());
        let to = copies.min(from + ROWS - 1);
        let mut transaction = database.begin().await?;
        for (table, key) in tables {
            let insert = INSERT_COPIES
                .replace("<table>", table)
                .replace("<key>", key)
                .replace("<lane>", if *table == "saga" { "lane" } else { "no_lane" });
            sqlx::query(sqlx::AssertSqlSafe(insert))
                .bind(sample.saga.to_string())
                .bind(sample.order.to_string())
                .bind(&sample.user)
                .bind(i32::try_from(from)?)
                .bind(i32::try_from(to)?)
                .bind(sample.saga)
                .execute(&mut *transaction)
                .await
                .with_context(|| format!("copies in {table}"))?;
        }
        transaction.commit().await?;
    }
    // as the server would, a moment later
    sqlx::raw_sql("ANALYZE").execute(&mut database).await?;
    database.close().await?;
    Ok(())
}

/// When the first command of a copy is on Kafka.
async fn dispatched(
    mut tail: TopicTail,
    sample: &Sample,
    began: Instant,
) -> anyhow::Result<Duration> {
    let saga = sample.saga.to_string();
    let of_a_copy = |id: Option<&str>| id.is_some_and(|id| id.starts_with(&saga[..24]));
    let first = async {
        loop {
            let record = tail.recv().await.context("Kafka is not read any more")?;
            if of_a_copy(record.headers.text("saga-id")) {
                return Ok(began.elapsed());
            }
        }
    };
    let first = timeout(STALL_LIMIT, first).await;
    first.context("no saga has gone on")?
}

/// What became of the sagas.
struct Ended {
    took: Duration,
    running: i64,
    states: Vec<(String, i64)>,
}

/// Waits until no saga is under way, or nothing changes any more.
async fn ended(sagas: &mut PgConnection, in_flight: u32, began: Instant) -> anyhow::Result<Ended> {
    let mut bar = Bar::new("recovery", u64::from(in_flight));
    let (mut before, mut changed) = (i64::MAX, Instant::now());
    loop {
        let rows = sqlx::query("SELECT state, count(*) FROM saga GROUP BY state ORDER BY state")
            .fetch_all(&mut *sagas)
            .await?;
        let states: Vec<(String, i64)> = rows
            .iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect::<sqlx::Result<_>>()?;
        let under_way = ["running", "compensating"];
        let running = states
            .iter()
            .filter(|(state, _)| under_way.contains(&state.as_str()))
            .map(|(_, sagas)| *sagas)
            .sum::<i64>();
        if running != before {
            (before, changed) = (running, Instant::now());
        }
        if running == 0 || changed.elapsed() > STALL_LIMIT {
            let took = changed.duration_since(began);
            return Ok(Ended {
                took,
                running,
                states,
            });
        }
        let done = u64::from(in_flight).saturating_sub(u64::try_from(running)?);
        bar.at(done, || format!("{running} sagas under way"));
        tokio::time::sleep(COUNT_EVERY).await;
    }
}
