use std::collections::BTreeSet;
use std::sync::Once;
use std::time::Duration;

use bytes::Bytes;
use palinode_db::{Area, Db, Tx};
use palinode_messaging::{
    BrokerKind, InProcessBroker, Kafka, Producer, Received, Record, StartAt, TOPICS, Topic,
    TopicTail, create_topics, delete_topics, partitions,
};
use palinode_outbox::{Doorbell, Held, append, fill_topics, to_log};
use palinode_relay::{DatabaseStatus, Mode, Options, Publisher, Relay, Source};
use palinode_telemetry::{TraceContext, Tracer};
use palinode_testkit::database::{TestDatabase, test_database};
use palinode_testkit::eventually;
use palinode_testkit::kafka::Broker;
use palinode_values::{Clock, EventId};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Everything here ends within this, or has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Keeps what was committed after the relay has deleted it.
const KEEP: &str = "
    CREATE TABLE kept (id bigint, lane smallint, topic smallint, event_id uuid, key bytea);
    CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO kept VALUES (NEW.id, NEW.lane, NEW.topic, NEW.event_id, NEW.key); RETURN NULL;
    END $$;
    CREATE TRIGGER keep AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION keep();
    CREATE TABLE test_key (key text PRIMARY KEY, number bigint NOT NULL DEFAULT 0);
    CREATE TABLE test_inbox (id bigint GENERATED ALWAYS AS IDENTITY);";

pub(crate) fn events() -> Topic {
    Topic::from_suffix("order.events").unwrap()
}

/// A database with an outbox, a broker with topics of its own, and somebody who looks on.
pub(crate) struct Stack {
    pub(crate) db: Db,
    pub(crate) kafka: Kafka,
    pub(crate) broker: Option<InProcessBroker>,
    pub(crate) doorbell: Doorbell,
    pub(crate) url: String,
    /// As its relays have it.
    pub(crate) dead_rows_max: u32,
    /// Dropped with the stack; `None`: it is not ours.
    pub(crate) database: Option<TestDatabase>,
    tail: TopicTail,
    pub(crate) seen: Vec<Received>,
}

impl Stack {
    pub(crate) async fn start(count: i32) -> Self {
        let Some(kafka) = real_kafka() else {
            return Self::in_process(count).await;
        };
        create_topics(&kafka, count, 1).await.unwrap();
        Self::on(kafka, None).await
    }

    /// For faults that only the in-process broker can be told to have.
    pub(crate) async fn in_process(count: i32) -> Self {
        let (broker, kafka) = InProcessBroker::start("test", count).unwrap();
        Self::on(kafka, Some(broker)).await
    }

    async fn on(kafka: Kafka, broker: Option<InProcessBroker>) -> Self {
        let database = test_database(Area::Order).await;
        let stack = Self::over(kafka, broker, database.url.clone()).await;
        Self {
            database: Some(database),
            ..stack
        }
    }

    /// On a broker of the caller's own.
    pub(crate) async fn on_broker(broker: &Broker, count: i32) -> Self {
        let kafka = of_its_own(broker.address());
        create_topics(&kafka, count, 1).await.unwrap();
        Self::on(kafka, None).await
    }

    /// On a migrated database of the caller's own.
    pub(crate) async fn on_database(url: String, count: i32) -> Self {
        match real_kafka() {
            Some(kafka) => {
                create_topics(&kafka, count, 1).await.unwrap();
                Self::over(kafka, None, url).await
            }
            None => {
                let (broker, kafka) = InProcessBroker::start("test", count).unwrap();
                Self::over(kafka, Some(broker), url).await
            }
        }
    }

    async fn over(kafka: Kafka, broker: Option<InProcessBroker>, url: String) -> Self {
        let db = outbox(&kafka, &url).await;
        let topics: Vec<_> = TOPICS.iter().map(|spec| spec.topic).collect();
        let tail = TopicTail::start(&kafka, &topics, StartAt::End)
            .await
            .unwrap();
        Self {
            db,
            kafka,
            broker,
            doorbell: Doorbell::new(),
            url,
            dead_rows_max: Options::default().dead_rows_max,
            database: None,
            tail,
            seen: Vec::new(),
        }
    }

    pub(crate) async fn in_mode(mode: Mode, count: i32) -> Self {
        Self::start(count).await.into_mode(mode).await
    }

    pub(crate) async fn into_mode(self, mode: Mode) -> Self {
        if mode == Mode::Log {
            to_log(&self.db).await.unwrap();
        }
        self
    }

    pub(crate) async fn end(self) {
        if self.broker.is_none() {
            delete_topics(&self.kafka).await.unwrap();
        }
    }

    pub(crate) fn producer(&self) -> Producer {
        Producer::start(&self.kafka).unwrap()
    }

    pub(crate) fn source(&self) -> Source {
        Source {
            name: "test".to_owned(),
            db: self.db.clone(),
            doorbell: self.doorbell.clone(),
        }
    }

    pub(crate) fn relay(&self) -> RunningRelay {
        let options = Options {
            dead_rows_max: self.dead_rows_max,
            ..quick()
        };
        RunningRelay::start(options, vec![self.source()], self.producer())
    }

    /// A relay that keeps its leases however slow the machine is: without a fault nothing is repeated.
    pub(crate) fn steady_relay(&self) -> RunningRelay {
        let options = Options {
            dead_rows_max: self.dead_rows_max,
            ..Options::default()
        };
        RunningRelay::start(options, vec![self.source()], self.producer())
    }

    /// Commits records of one key, in one transaction.
    pub(crate) async fn write(&self, key: &str, bodies: &[&[u8]]) {
        let records: Vec<_> = bodies.iter().map(|body| record(key, body)).collect();
        write(&self.db, &records).await;
        self.doorbell.ring();
    }

    /// Waits until nothing is left in the outbox that is not published.
    pub(crate) async fn drained(&self) {
        eventually(LIMIT, "the outbox is empty", async || {
            (count(&self.db, "SELECT outbox_pending()").await == 0).then_some(())
        })
        .await;
    }

    /// Waits until the leases were renewed twice: whatever stood in the tables before is known to
    /// the relay.
    pub(crate) async fn two_lease_rounds(&self) {
        let mut seen = Vec::new();
        eventually(LIMIT, "two lease rounds", async || {
            let beat = sqlx::query_scalar!("SELECT min(seen_until) FROM outbox_worker")
                .fetch_one(self.db.pool())
                .await
                .unwrap();
            if beat.is_some() && !seen.contains(&beat) {
                seen.push(beat);
            }
            (seen.len() > 2).then_some(())
        })
        .await;
    }

    /// Waits for so many records in all.
    pub(crate) async fn see(&mut self, count: usize) -> &[Received] {
        while self.seen.len() < count {
            let next = tokio::time::timeout(LIMIT, self.tail.recv()).await;
            let seen = self.seen.len();
            let next = next.unwrap_or_else(|_| panic!("only {seen} of {count} records came"));
            self.seen.push(next.unwrap());
        }
        &self.seen
    }

    /// Waits for each of these records.
    pub(crate) async fn see_all(&mut self, mut missing: BTreeSet<Uuid>) {
        let id = |record: &Received| record.event_id().unwrap().0;
        for record in &self.seen {
            missing.remove(&id(record));
        }
        while !missing.is_empty() {
            let Ok(next) = tokio::time::timeout(LIMIT, self.tail.recv()).await else {
                panic!("never came: {missing:?}");
            };
            let next = next.unwrap();
            missing.remove(&id(&next));
            self.seen.push(next);
        }
    }

    /// What comes until nothing more does.
    pub(crate) async fn see_the_rest(&mut self) {
        // the last record is ours: whatever was published before it in its partition was seen
        let quiet = Duration::from_millis(500);
        while let Ok(Some(next)) = tokio::time::timeout(quiet, self.tail.recv()).await {
            self.seen.push(next);
        }
    }

    pub(crate) fn bodies(&self) -> Vec<String> {
        let text = |record: &Received| String::from_utf8_lossy(&record.body).into_owned();
        self.seen.iter().map(text).collect()
    }
}

/// The broker that the tests are run with; `None`: they are run without one, which is said.
pub(crate) fn real_kafka() -> Option<Kafka> {
    let address = std::env::var_os("PALINODE_TEST_KAFKA").filter(|value| !value.is_empty());
    if address.is_none() {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            palinode_testkit::skipped("relay on real Kafka", "PALINODE_TEST_KAFKA is not set");
        });
    }
    Some(of_its_own(address?.into_string().unwrap()))
}

/// With topics that nobody else has.
fn of_its_own(bootstrap: String) -> Kafka {
    Kafka {
        bootstrap,
        prefix: format!("test-{:08x}", rand::random::<u32>()),
        broker: BrokerKind::Real,
    }
}

/// A migrated database whose outbox knows the topics of `kafka`.
async fn outbox(kafka: &Kafka, url: &str) -> Db {
    let options = palinode_db::Options {
        url: url.to_owned(),
        service: "test".to_owned(),
        connections_max: 12,
    };
    let db = Db::connect(&options).await.unwrap();
    execute(&db, KEEP).await;
    let topics: Vec<_> = partitions(kafka)
        .await
        .unwrap()
        .into_iter()
        .map(|(topic, count)| (topic, kafka.topic_name(topic), count))
        .collect();
    fill_topics(&db, &topics).await.unwrap();
    db
}

#[expect(
    clippy::disallowed_methods,
    reason = "statements with columns that only log mode has"
)]
pub(crate) async fn count(db: &Db, sql: &'static str) -> i64 {
    let rows = sqlx::query_scalar(sql).fetch_one(db.pool());
    rows.await.unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "tables of the test's own are in no migration"
)]
pub(crate) async fn execute(db: &Db, sql: &'static str) {
    sqlx::raw_sql(sql).execute(db.pool()).await.unwrap();
}

/// As any statement does that writes a row.
#[expect(
    clippy::disallowed_methods,
    reason = "a table of the test's own is in no migration"
)]
pub(crate) async fn draw_transaction_id(tx: &mut Tx) {
    sqlx::query("INSERT INTO test_inbox DEFAULT VALUES")
        .execute(tx.conn())
        .await
        .unwrap();
}

/// Commits records whose keys nobody else writes.
pub(crate) async fn write(db: &Db, records: &[Record]) {
    let mut tx = db.begin().await.unwrap();
    let held = Held::by_insert(&tx, records.iter().map(|record| record.key.clone()));
    append(&mut tx, &held, records, "test").await.unwrap();
    tx.commit().await.unwrap();
}

pub(crate) fn record(key: &str, body: &[u8]) -> Record {
    Record {
        topic: events(),
        key: key.as_bytes().to_vec(),
        event_id: EventId::new(&Clock::system()),
        kind: "palinode.order.v1.OrderPlaced".into(),
        body: Bytes::copy_from_slice(body),
        trace: TraceContext::root(),
        saga: None,
    }
}

/// Limits at which a test sees leases end.
pub(crate) fn quick() -> Options {
    Options {
        lease_ttl: Duration::from_millis(1_500),
        stall_limit: Duration::from_millis(700),
        stop_limit: Duration::from_secs(1),
        ..Options::default()
    }
}

/// A relay at work.
pub(crate) struct RunningRelay {
    pub(crate) status: Vec<watch::Receiver<DatabaseStatus>>,
    stop: CancellationToken,
    task: JoinSet<()>,
}

impl RunningRelay {
    pub(crate) fn start<P: Publisher>(
        options: Options,
        sources: Vec<Source>,
        publisher: P,
    ) -> Self {
        Self::traced(options, sources, publisher, Tracer::disabled())
    }

    pub(crate) fn traced<P: Publisher>(
        options: Options,
        sources: Vec<Source>,
        publisher: P,
        tracer: Tracer,
    ) -> Self {
        let relay = Relay::new(options, sources, publisher, tracer, Clock::system());
        let status = relay.status();
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(relay.run(stop.clone()));
        Self { status, stop, task }
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(LIMIT, self.task.join_next()).await;
        ended.expect("it stops in time").unwrap().unwrap();
    }

    /// Ends it without the courtesies, as a crash would.
    pub(crate) async fn kill(mut self) {
        self.task.shutdown().await;
    }

    pub(crate) async fn until(&mut self, what: &str, fact: impl FnMut(&DatabaseStatus) -> bool) {
        let seen = tokio::time::timeout(LIMIT, self.status[0].wait_for(fact)).await;
        drop(
            seen.unwrap_or_else(|_| panic!("not seen in time: {what}"))
                .unwrap(),
        );
    }
}
