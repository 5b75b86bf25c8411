//! What one order leaves in the tables and on the topics, byte for byte: what the floor writes are
//! copies of that.
#![expect(
    clippy::disallowed_methods,
    reason = "the lab reads every service's database, and its own tables are in no migration"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::Method;
use palinode_db::{Area, Db};
use palinode_messaging::{Received, StartAt, TOPICS, TopicTail};
use sqlx::Row as _;
use sqlx::types::Uuid;
use tokio::time::Instant;

use crate::bench::Site;
use crate::gateway::Gateway;
use crate::prepare::connect;
use crate::stack::Tracing;

/// An order takes milliseconds; the first of a stack waits for its consumers.
const ORDER_LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Copies each row that is written, in its transaction.
const LOG: &str = "
CREATE TABLE bench_log_<table> (LIKE <table>);
CREATE FUNCTION bench_log_<table>() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO bench_log_<table> SELECT * FROM written;
  RETURN NULL;
END $$;
CREATE TRIGGER bench_log_<table>_insert AFTER INSERT ON <table>
  REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION bench_log_<table>();
CREATE TRIGGER bench_log_<table>_update AFTER UPDATE ON <table>
  REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION bench_log_<table>();";

const UNLOG: &str = "DROP FUNCTION bench_log_<table> CASCADE; DROP TABLE bench_log_<table>;";

/// A row of an outbox, as far as the floor copies it.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) topic: i16,
    pub(super) traceparent: Option<String>,
    pub(super) headers: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

/// The head of a saga, as a transaction left it.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    pub(super) version: i64,
    pub(super) state: String,
    pub(super) body: Vec<u8>,
    pub(super) waits_for: Option<String>,
    pub(super) waits_step: Option<String>,
    /// Whether a timer of it is set.
    pub(super) wakes: bool,
}

/// A row of the history of a saga.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) version: i64,
    pub(super) kind: i16,
    pub(super) body: Vec<u8>,
    pub(super) payloads: Option<Vec<u8>>,
}

/// What a transaction of the orchestrator writes for a saga.
#[derive(Debug, Clone, Default)]
pub(super) struct Stage {
    pub(super) head: Head,
    pub(super) history: Vec<Told>,
    pub(super) records: Vec<Record>,
}

/// One order by wallet, from its row to the end of its saga.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) plan_id: i32,
    pub(super) plan_name: String,
    pub(super) traceparent: Option<String>,
    pub(super) stages: Vec<Stage>,
    /// Of each other service: the records of each of its transactions.
    pub(super) outboxes: BTreeMap<&'static str, Vec<Vec<Record>>>,
    /// The reply that a guard keeps, by service and step.
    pub(super) results: BTreeMap<(&'static str, String), Vec<u8>>,
    /// The records as they stood on Kafka.
    pub(super) wire: Vec<Received>,
}

impl Sample {
    /// Runs a stack for two orders and copies what the second leaves.
    pub(super) async fn take(site: &Site, user: &str, order: Bytes) -> anyhow::Result<Self> {
        let server = &site.backing.database_url;
        let stack = site.stack(Tracing::Off).await?;
        let gateway = Gateway::of_stack(&stack.url(), server).await?;
        let gateway = gateway.user(user);
        place(&gateway, &order).await?;
        for area in areas() {
            log(server, area, LOG).await?;
        }
        let topics: Vec<_> = TOPICS.iter().map(|spec| spec.topic).collect();
        let mut tail = TopicTail::start(&site.backing.kafka, &topics, StartAt::End).await?;
        let order = place(&gateway, &order).await?;
        settle(server).await?;
        stack.stop().await?;
        let mut sample = Self::read(server, order).await?;
        while sample.wire.len() < sample.records() {
            let seen = tokio::time::timeout(ORDER_LIMIT, tail.recv()).await;
            let seen = seen.context("a record of the sample order is not on Kafka")?;
            sample.wire.extend(seen);
        }
        for area in areas() {
            log(server, area, UNLOG).await?;
        }
        Ok(sample)
    }

    /// How many records a saga sends.
    pub(super) fn records(&self) -> usize {
        let stages = self.stages.iter().map(|stage| &stage.records);
        let all = stages.chain(self.outboxes.values().flatten());
        all.map(Vec::len).sum()
    }

    async fn read(server: &str, order: Uuid) -> anyhow::Result<Self> {
        let mut outboxes = BTreeMap::new();
        let mut results = BTreeMap::new();
        for area in areas().filter(|area| *area != Area::Saga) {
            let db = connect(server, area).await?;
            let transactions = records(&db).await?.into_values().collect();
            outboxes.insert(area.name(), transactions);
            let guards = sqlx::query(
                "SELECT step, act_result FROM saga_guard WHERE act_result IS NOT NULL
                  ORDER BY saga_id", // the second order's are last
            );
            for row in guards.fetch_all(db.pool()).await? {
                results.insert((area.name(), row.try_get(0)?), row.try_get(1)?);
            }
            db.close().await;
        }
        let db = connect(server, Area::Saga).await?;
        let saga = sqlx::query(
            "SELECT id, plan_id, plan_name, traceparent FROM saga WHERE business_key = $1",
        )
        .bind(order.to_string())
        .fetch_one(db.pool())
        .await?;
        let stages = stages(&db, saga.try_get(0)?).await?;
        let sample = Self {
            plan_id: saga.try_get(1)?,
            plan_name: saga.try_get(2)?,
            traceparent: saga.try_get(3)?,
            stages,
            outboxes,
            results,
            wire: Vec::new(),
        };
        db.close().await;
        Ok(sample)
    }
}

fn areas() -> impl Iterator<Item = Area> {
    Area::ALL.into_iter().filter(|area| area.has_outbox())
}

/// Places an order and waits until it is confirmed.
async fn place(gateway: &Gateway, order: &Bytes) -> anyhow::Result<Uuid> {
    let key = format!("floor-{:016x}", rand::random::<u64>());
    let answer = gateway.send(Method::POST, "/v1/orders", Some(&key), order.clone());
    let placed = answer.await?.success()?;
    let id = placed["orderId"].as_str().context("an order has an id")?;
    let until = Instant::now() + ORDER_LIMIT;
    loop {
        let order = gateway.get(&format!("/v1/orders/{id}")).await?.success()?;
        if order["status"] == "ORDER_STATUS_CONFIRMED" {
            return Ok(id.parse()?);
        }
        ensure!(Instant::now() < until, "the sample order stays {order}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until the saga has ended and nothing is left to be published.
async fn settle(server: &str) -> anyhow::Result<()> {
    let until = Instant::now() + ORDER_LIMIT;
    let saga = connect(server, Area::Saga).await?;
    loop {
        let open: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM saga WHERE state = 'running')
                 OR EXISTS (SELECT FROM outbox)",
        )
        .fetch_one(saga.pool())
        .await?;
        if !open {
            saga.close().await;
            return Ok(());
        }
        ensure!(Instant::now() < until, "the sample saga does not end");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn log(server: &str, area: Area, sql: &str) -> anyhow::Result<()> {
    let db = connect(server, area).await?;
    let tables: &[&str] = match area {
        Area::Saga => &["outbox", "saga"],
        _ => &["outbox"],
    };
    for table in tables {
        let sql = sqlx::AssertSqlSafe(sql.replace("<table>", table));
        sqlx::raw_sql(sql).execute(db.pool()).await?;
    }
    db.close().await;
    Ok(())
}

/// The records of each transaction, by its number.
async fn records(db: &Db) -> anyhow::Result<BTreeMap<i64, Vec<Record>>> {
    let rows = sqlx::query(
        "SELECT xmin::text::bigint, topic, traceparent, headers, payload FROM bench_log_outbox
          ORDER BY id",
    );
    let mut transactions: BTreeMap<i64, Vec<Record>> = BTreeMap::new();
    for row in rows.fetch_all(db.pool()).await? {
        let record = Record {
            topic: row.try_get(1)?,
            traceparent: row.try_get(2)?,
            headers: row.try_get(3)?,
            payload: row.try_get(4)?,
        };
        transactions
            .entry(row.try_get(0)?)
            .or_default()
            .push(record);
    }
    Ok(transactions)
}

async fn stages(db: &Db, saga: Uuid) -> anyhow::Result<Vec<Stage>> {
    let mut transactions: BTreeMap<i64, Stage> = BTreeMap::new();
    for (number, records) in records(db).await? {
        transactions.entry(number).or_default().records = records;
    }
    let heads = sqlx::query(
        "SELECT xmin::text::bigint, version, state, body, waits_for, waits_step, wake_at IS NOT NULL
           FROM bench_log_saga WHERE id = $1 ORDER BY version",
    );
    for row in heads.bind(saga).fetch_all(db.pool()).await? {
        transactions.entry(row.try_get(0)?).or_default().head = Head {
            version: row.try_get(1)?,
            state: row.try_get(2)?,
            body: row.try_get(3)?,
            waits_for: row.try_get(4)?,
            waits_step: row.try_get(5)?,
            wakes: row.try_get(6)?,
        };
    }
    let history = sqlx::query(
        "SELECT xmin::text::bigint, version, kind, body, payloads FROM saga_history
          WHERE saga_id = $1 ORDER BY version",
    );
    for row in history.bind(saga).fetch_all(db.pool()).await? {
        let told = Told {
            version: row.try_get(1)?,
            kind: row.try_get(2)?,
            body: row.try_get(3)?,
            payloads: row.try_get(4)?,
        };
        let stage = transactions.entry(row.try_get(0)?).or_default();
        stage.history.push(told);
    }
    Ok(merged(transactions.into_values()))
}

/// Of two answers that came one after the other, and of which the first sent nothing, one
/// transaction: at best they come together.
fn merged(transactions: impl Iterator<Item = Stage>) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    let mut quiet = Stage::default();
    for mut stage in transactions {
        stage.history.splice(..0, quiet.history.drain(..));
        if stage.records.is_empty() {
            quiet = stage;
        } else {
            stages.push(stage);
        }
    }
    stages
}
