//! How fast the relay is, and whether it keeps its word meanwhile: an outbox is filled and drained,
//! then written at a steady rate; every record is checked against what was committed.
#![expect(
    clippy::disallowed_methods,
    reason = "fills an outbox with statements of its own, by millions of rows"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use palinode_db::{Area, Db};
use palinode_messaging::{
    BrokerKind, Kafka, Producer, Received, Record, StartAt, TOPICS, Topic, TopicTail, lane_of,
};
use palinode_outbox::{Doorbell, Held, append, to_log};
use palinode_relay::{DatabaseStatus, Mode, Options, Relay, Source};
use palinode_telemetry::{TraceContext, Tracer};
use palinode_values::{Clock, EventId};
use sqlx::types::Uuid;
use sqlx::{Connection, PgConnection};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::bar::Bar;
use super::latencies::Latencies;
use super::meter::Usage;
use super::report::{Figures, Report};
use super::site::{Common, Site};
use crate::prepare::database_of;

/// Partitions of the topic that is relayed to, on a real Kafka.
const PARTITIONS: i32 = 8;
const WRITERS: u64 = 8;
const KEYS: u64 = 8_000;
/// Records of one commit of the live phase: what a batch of a service has to say.
const PER_COMMIT: u64 = 10;
const BODY_BYTES: usize = 200;
/// Rows of one statement that fills the outbox.
const FILL_ROWS: u64 = 50_000;
/// Of the live phase, what is not counted at its start.
const WARM_UP: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(2);
/// Nothing moves for so long: the rest is lost.
const QUIET: Duration = Duration::from_secs(15);
const KIND: &str = "palinode.order.v1.OrderPlaced";

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct RelayBench {
    /// How the relay empties the outbox.
    pub mode: Mode,
    /// Events that stand in the outbox when the relay starts.
    pub events: u32,
    /// Events a second of the live phase; a multiple of ten.
    pub rate: u32,
}

/// Drains an outbox through the relay, then writes and relays at a steady rate for
/// `common.seconds` (20 by default). Every record is checked: delivered is what was committed, and
/// the records of a key come in the order of their ids.
///
/// # Errors
/// A server cannot be started, or breaks.
pub async fn relay(common: &Common, options: RelayBench) -> anyhow::Result<Report> {
    let common = Common {
        partitions: common.partitions.or(Some(PARTITIONS)),
        ..common.clone()
    };
    let mut site = Site::open(&common).await?;
    let db = Db::connect(&palinode_db::Options {
        url: database_of(&site.backing.database_url, Area::Order),
        service: "bench".to_owned(),
        connections_max: 10,
    })
    .await?;
    let mut report = site.report("relay").await?;
    let run = Run {
        length: common.length(20),
        options,
        db,
        doorbell: Doorbell::new(),
        url: database_of(&site.backing.database_url, Area::Order),
        kafka: site.backing.kafka.clone(),
    };
    let measured = run.measure(&mut site, &mut report).await;
    run.db.close().await;
    site.close().await?;
    measured?;
    Ok(report)
}

struct Run {
    length: Duration,
    options: RelayBench,
    db: Db,
    doorbell: Doorbell,
    url: String,
    kafka: Kafka,
}

impl Run {
    async fn measure(&self, site: &mut Site, report: &mut Report) -> anyhow::Result<()> {
        let backlog = u64::from(self.options.events);
        report.settings.put("events", backlog);
        report.settings.put("body_bytes", BODY_BYTES);
        report.settings.put("partitions", site.backing.partitions);
        report.settings.put("events_per_commit", PER_COMMIT);
        report.settings.put("live_s", self.length.as_secs());
        let mode = match self.options.mode {
            Mode::Queue => "queue",
            Mode::Log => "log",
        };
        report.figures.put("mode", mode);
        if self.options.mode == Mode::Log {
            to_log(&self.db).await?;
        }
        self.fill(backlog).await?;
        // the broker in this process forgets: somebody has to look on while it is filled
        let eye = match self.kafka.broker {
            BrokerKind::InProcess => Some(Eye::open(&self.kafka, StartAt::End).await?),
            BrokerKind::Real => None,
        };
        let relay = Relay::new(
            Options::default(),
            vec![self.source().await?],
            Producer::start(&self.kafka)?,
            Tracer::disabled(),
            Clock::system(),
        );
        let status = relay.status().remove(0);
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        let meter = site.meter().await?;
        running.spawn(relay.run(stop.clone()));
        let (drained, eye) = match eye {
            // both at once, or the broker forgets what was not read
            Some(mut eye) => tokio::join!(drain(status, backlog), async {
                eye.watch("delivered", backlog).await;
                Some(eye)
            }),
            None => (drain(status, backlog).await, None),
        };
        report.figures.put("drained_per_s", drained?);
        let usage = site.usage(meter).await?;
        report.figures.put("drain", shown(&usage, backlog)?);
        let mut eye = match eye {
            Some(eye) => eye,
            None => {
                let mut eye = Eye::open(&self.kafka, StartAt::Beginning).await?;
                eye.watch("read again", backlog).await;
                eye
            }
        };

        let meter = site.meter().await?;
        tokio::time::sleep(IDLE).await;
        let usage = site.usage(meter).await?;
        let [relay, postgres, broker] = usage.cpu_s().map(|s| s * 1e3 / IDLE.as_secs_f64());
        let idle = serde_json::json!({"relay": relay, "postgres": postgres, "broker": broker});
        report.figures.put("idle_cpu_ms_per_s", idle);

        let meter = site.meter().await?;
        let live = self.live(backlog, &mut eye).await?;
        let usage = site.usage(meter).await?;
        stop.cancel();
        while let Some(ended) = running.join_next().await {
            ended.context("the relay")?;
        }
        let mut figures = Figures::default();
        figures.put("rate", self.options.rate);
        live.took.put(&mut figures);
        figures.put("writers_late_ms", live.late.as_secs_f64() * 1e3);
        usage.put(&mut figures, live.events, "event");
        report.figures.put("live", serde_json::to_value(figures)?);
        let committed = backlog + live.events;
        report
            .figures
            .put("lost", committed.saturating_sub(eye.count));
        report.figures.put("disordered", eye.disordered);
        report.figures.put("duplicates", eye.duplicates);
        report.violations = eye.violations(committed, self.left().await?);
        Ok(())
    }

    async fn source(&self) -> anyhow::Result<Source> {
        let options = palinode_db::Options {
            url: self.url.clone(),
            service: "relay".to_owned(),
            connections_max: palinode_relay::CONNECTIONS,
        };
        Ok(Source {
            name: "bench".to_owned(),
            db: Db::connect(&options).await?,
            doorbell: self.doorbell.clone(),
        })
    }

    /// Writes events 0 to `count`, in order of their numbers.
    async fn fill(&self, count: u64) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.url).await?;
        let keys: Vec<Vec<u8>> = (0..KEYS).map(key).collect();
        let lanes: Vec<i16> = keys.iter().map(|key| lane_of(key)).collect();
        let sample = record(0, b"");
        for from in (0..count).step_by(usize::try_from(FILL_ROWS)?) {
            sqlx::query(
                "INSERT INTO outbox (lane, topic, event_id, key, traceparent, headers, payload)
                 SELECT ($1::smallint[])[key + 1], $3, lpad(to_hex(n), 32, '0')::uuid,
                        ($2::bytea[])[key + 1], $4, $5, $6
                   FROM (SELECT n, n / $9 % $7 + $7 * ((n / $9 / $7 * $9 + n % $9) % ($8 / $7))
                                AS key
                           FROM generate_series($10::bigint, $11 - 1) n) numbered
                  ORDER BY n",
            )
            .bind(&lanes)
            .bind(&keys)
            .bind(sample.topic.number())
            .bind(sample.trace.traceparent())
            .bind(sample.fixed_headers("order").into_encoded())
            .bind(vec![b'x'; BODY_BYTES])
            .bind(i64::try_from(WRITERS)?)
            .bind(i64::try_from(KEYS)?)
            .bind(i64::try_from(PER_COMMIT)?)
            .bind(i64::try_from(from)?)
            .bind(i64::try_from(count.min(from + FILL_ROWS))?)
            .execute(&mut connection)
            .await?;
        }
        sqlx::raw_sql("VACUUM ANALYZE outbox")
            .execute(&mut connection)
            .await?;
        sqlx::raw_sql("CHECKPOINT").execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }

    /// Rows of the outbox that are not published.
    async fn left(&self) -> anyhow::Result<i64> {
        let count = "SELECT outbox_pending()";
        Ok(sqlx::query_scalar(count).fetch_one(self.db.pool()).await?)
    }

    async fn live(&self, first: u64, eye: &mut Eye) -> anyhow::Result<Live> {
        let commits = (u64::from(self.options.rate) / PER_COMMIT).max(1);
        let length = WARM_UP + self.length;
        let count = commits * length.as_secs();
        let written: Arc<Vec<AtomicU64>> =
            Arc::new((0..count).map(|_| AtomicU64::new(0)).collect());
        let plan = Arc::new(LivePlan {
            db: self.db.clone(),
            doorbell: self.doorbell.clone(),
            first,
            every: Duration::from_secs(1) / u32::try_from(commits)?,
            start: Instant::now() + Duration::from_millis(100),
            clock: eye.clock,
            committed: Arc::clone(&written),
        });
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            writers.spawn(write(Arc::clone(&plan), writer));
        }
        let events = count * PER_COMMIT;
        eye.watch("live", events).await;
        let mut late = Duration::ZERO;
        while let Some(ended) = writers.join_next().await {
            late = late.max(ended.context("a writer")??);
        }
        eye.watch_the_rest().await;
        let mut took = Latencies::new();
        for event in 0..events {
            let commit = event / PER_COMMIT;
            let committed = &written[usize::try_from(commit)?];
            let counts = plan.every * u32::try_from(commit)? >= WARM_UP;
            if let Some(seen) = eye.seen_at(first + event).filter(|_| counts) {
                let since = seen.saturating_sub(committed.load(Ordering::Relaxed));
                took.record(Duration::from_micros(since));
            }
        }
        Ok(Live { events, took, late })
    }
}

/// Waits until everything is published and deleted; returns how much a second, counted from the
/// first acknowledgement on.
async fn drain(mut status: watch::Receiver<DatabaseStatus>, count: u64) -> anyhow::Result<f64> {
    let mut first = None;
    let mut bar = Bar::new("drained", count);
    loop {
        let published = status.borrow_and_update().published;
        bar.at(published, String::new);
        if published > 0 && first.is_none() {
            first = Some((Instant::now(), published));
        }
        if published >= count {
            break;
        }
        timeout(QUIET, status.changed())
            .await
            .with_context(|| format!("the relay stands still at {published} of {count}"))??;
    }
    let (began, before) = first.context("there was something to drain")?;
    let moved = u32::try_from(count - before)?;
    Ok(f64::from(moved) / began.elapsed().as_secs_f64())
}

struct Live {
    events: u64,
    /// From commit to seen.
    took: Latencies,
    /// How late a writer was at worst.
    late: Duration,
}

fn shown(usage: &Usage, events: u64) -> anyhow::Result<serde_json::Value> {
    let mut figures = Figures::default();
    usage.put(&mut figures, events, "event");
    Ok(serde_json::to_value(figures)?)
}

struct LivePlan {
    db: Db,
    doorbell: Doorbell,
    /// Number of the first event.
    first: u64,
    every: Duration,
    start: Instant,
    clock: Instant,
    /// When each commit was over, in microseconds of `clock`.
    committed: Arc<Vec<AtomicU64>>,
}

/// Every eighth commit, on time or as soon as it can be; returns how late it was at worst.
async fn write(plan: Arc<LivePlan>, writer: u64) -> anyhow::Result<Duration> {
    let mut late = Duration::ZERO;
    for number in (writer..plan.committed.len() as u64).step_by(usize::try_from(WRITERS)?) {
        let due = plan.start + plan.every * u32::try_from(number)?;
        tokio::time::sleep_until(due).await;
        late = late.max(due.elapsed());
        let from = plan.first + number * PER_COMMIT;
        let records: Vec<_> = (from..from + PER_COMMIT)
            .map(|event| record(event, &[b'x'; BODY_BYTES]))
            .collect();
        let mut tx = plan.db.begin().await?;
        // a key has one writer, who waits for each commit: its ids are in order without a lock
        let held = Held::by_insert(&tx, records.iter().map(|record| record.key.clone()));
        append(&mut tx, &held, &records, "order").await?;
        tx.commit().await?;
        let micros = u64::try_from(plan.clock.elapsed().as_micros())?;
        plan.committed[usize::try_from(number)?].store(micros, Ordering::Relaxed);
        plan.doorbell.ring();
    }
    Ok(late)
}

/// The key of an event: of the writer of its commit.
fn key_of(event: u64) -> u64 {
    let commit = event / PER_COMMIT;
    let turn = commit / WRITERS * PER_COMMIT + event % PER_COMMIT;
    commit % WRITERS + WRITERS * (turn % (KEYS / WRITERS))
}

fn key(number: u64) -> Vec<u8> {
    format!("00000000-0000-7000-8000-{number:012}").into_bytes()
}

fn record(event: u64, body: &[u8]) -> Record {
    Record {
        topic: Topic::from_suffix("order.events").expect("it is in the table"),
        key: key(key_of(event)),
        event_id: EventId(Uuid::from_u128(event.into())),
        kind: KIND.into(),
        body: body.to_vec().into(),
        trace: TraceContext::root(),
        saga: None,
    }
}

/// Who looks on, and writes down what comes.
struct Eye {
    tail: TopicTail,
    clock: Instant,
    /// When each event was first seen, in microseconds of `clock`, and 1 at the least.
    seen: Vec<u64>,
    /// The last event of each key.
    last: Vec<Option<u64>>,
    count: u64,
    disordered: u64,
    duplicates: u64,
    unknown: u64,
}

impl Eye {
    async fn open(kafka: &Kafka, from: StartAt) -> anyhow::Result<Self> {
        let topics: Vec<_> = TOPICS.iter().map(|spec| spec.topic).collect();
        Ok(Self {
            tail: TopicTail::start(kafka, &topics, from).await?,
            clock: Instant::now(),
            seen: Vec::new(),
            last: vec![None; usize::try_from(KEYS)?],
            count: 0,
            disordered: 0,
            duplicates: 0,
            unknown: 0,
        })
    }

    /// Waits for so many more events; fewer when nothing comes any more.
    async fn watch(&mut self, what: &str, more: u64) {
        let from = self.count;
        let mut bar = Bar::new(what, more);
        while self.count < from + more {
            bar.at(self.count - from, String::new);
            match timeout(QUIET, self.tail.recv()).await {
                Ok(Some(received)) => self.see(&received),
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// What comes until nothing more does: repeats.
    async fn watch_the_rest(&mut self) {
        while let Ok(Some(received)) = timeout(Duration::from_millis(500), self.tail.recv()).await {
            self.see(&received);
        }
    }

    fn see(&mut self, received: &Received) {
        let now = u64::try_from(self.clock.elapsed().as_micros()).unwrap_or(u64::MAX);
        let event = received.event_id().ok().map(|id| id.0.as_u128());
        let Some(event) = event.and_then(|event| usize::try_from(event).ok()) else {
            self.unknown += 1;
            return;
        };
        if event >= self.seen.len() {
            self.seen.resize(event + 1, 0);
        }
        if self.seen[event] != 0 {
            self.duplicates += 1;
            return;
        }
        self.seen[event] = now.max(1);
        self.count += 1;
        let number = key_of(event as u64);
        if received.key != key(number) {
            self.unknown += 1;
        }
        let last = &mut self.last[usize::try_from(number).expect("a few thousand keys")];
        if last.is_some_and(|last| last > event as u64) {
            self.disordered += 1;
        }
        *last = Some(event as u64);
    }

    fn seen_at(&self, event: u64) -> Option<u64> {
        let seen = self.seen.get(usize::try_from(event).ok()?)?;
        (*seen != 0).then_some(*seen)
    }

    /// What must hold and does not. `left`: rows still in the outbox.
    fn violations(&self, committed: u64, left: i64) -> Vec<String> {
        let lost = committed.saturating_sub(self.count);
        let beyond = self.seen.len() as u64 > committed;
        [
            (lost > 0, format!("{lost} events were lost")),
            (
                self.disordered > 0,
                format!("{} events came out of order", self.disordered),
            ),
            (
                self.unknown > 0 || beyond,
                "something came that nobody committed".to_owned(),
            ),
            (left > 0, format!("{left} rows are left in the outbox")),
        ]
        .into_iter()
        .filter_map(|(is_so, text)| is_so.then_some(text))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_writer_and_its_events_are_spread() {
        let mut keys = std::collections::BTreeSet::new();
        for event in 0..KEYS * 3 {
            let number = key_of(event);
            assert!(number < KEYS);
            assert_eq!(number % WRITERS, event / PER_COMMIT % WRITERS, "{event}");
            keys.insert(number);
        }
        assert_eq!(keys.len() as u64, KEYS);
    }
}
