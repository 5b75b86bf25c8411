//! Everything that was committed to an outbox must have been seen on Kafka, with the same bytes.
#![expect(
    clippy::disallowed_methods,
    reason = "the lab reads every service's database, and its own table is in no migration"
)]

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use futures_util::TryStreamExt;
use palinode_db::Area;
use palinode_messaging::{Kafka, Received, StartAt, TOPICS, Topic, TopicTail};
use sqlx::Row;
use uuid::Uuid;

use crate::prepare::connect;

/// Copies each row of an outbox, in the transaction that writes it.
const TRIGGER: &str = "
CREATE TABLE demo_outbox_log (event_id uuid NOT NULL, topic smallint NOT NULL, key bytea NOT NULL, payload bytea NOT NULL);
CREATE FUNCTION demo_log_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO demo_outbox_log SELECT event_id, topic, key, payload FROM added;
  RETURN NULL;
END $$;
CREATE TRIGGER demo_log_outbox AFTER INSERT ON outbox
  REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION demo_log_outbox();";

/// Differences that are told.
const TOLD_MAX: usize = 5;

fn areas() -> impl Iterator<Item = Area> {
    Area::ALL.into_iter().filter(|area| area.has_outbox())
}

/// Logs every outbox row from now on. Only for databases that are thrown away.
pub(crate) async fn install(server: &str) -> anyhow::Result<()> {
    for area in areas() {
        let db = connect(server, area).await?;
        sqlx::raw_sql(TRIGGER).execute(db.pool()).await?;
        db.close().await;
    }
    Ok(())
}

/// How many records were committed.
pub(crate) async fn committed(server: &str) -> anyhow::Result<usize> {
    let mut all = 0;
    for area in areas() {
        let db = connect(server, area).await?;
        let row = sqlx::query("SELECT count(*) FROM demo_outbox_log")
            .fetch_one(db.pool())
            .await?;
        all += usize::try_from(row.try_get::<i64, _>(0)?)?;
        db.close().await;
    }
    Ok(all)
}

/// What was seen on Kafka: an id and a digest for each record, not its bytes.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    records: HashMap<Uuid, u64>,
    changed: Vec<String>,
}

/// Reads all topics of a stack live.
#[derive(Debug)]
pub(crate) struct Watcher {
    seen: Arc<Mutex<Seen>>,
    reading: tokio::task::JoinHandle<()>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Watcher {
    /// Begins to read; whatever is published from now on is seen.
    pub(crate) async fn start(kafka: &Kafka) -> anyhow::Result<Self> {
        let topics: Vec<_> = TOPICS.iter().map(|spec| spec.topic).collect();
        let mut tail = TopicTail::start(kafka, &topics, StartAt::Beginning).await?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let records = Arc::clone(&seen);
        #[expect(
            clippy::disallowed_methods,
            reason = "aborted when the watcher is dropped"
        )]
        let reading = tokio::spawn(async move {
            while let Some(record) = tail.recv().await {
                records
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .note(&record);
            }
        });
        Ok(Self { seen, reading })
    }

    /// Distinct records seen.
    pub(crate) fn count(&self) -> usize {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .records
            .len()
    }

    /// Compares what was committed with what was seen; tells differences.
    pub(crate) async fn compare(&self, server: &str, kafka: &Kafka) -> anyhow::Result<Vec<String>> {
        let mut differences = Vec::new();
        let (mut committed, mut missing, mut other) = (0, 0, 0);
        for area in areas() {
            let db = connect(server, area).await?;
            let mut rows = sqlx::query("SELECT event_id, topic, key, payload FROM demo_outbox_log")
                .fetch(db.pool());
            while let Some(row) = rows.try_next().await? {
                committed += 1;
                let id: Uuid = row.try_get(0)?;
                let topic = Topic::from_number(row.try_get(1)?).context("an unknown topic")?;
                let (key, payload): (&[u8], &[u8]) = (row.try_get(2)?, row.try_get(3)?);
                let expect = digest(&kafka.topic_name(topic), key, payload);
                let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                let words = match seen.records.get(&id) {
                    Some(digest) if *digest == expect => continue,
                    Some(_) => {
                        other += 1;
                        "has other bytes on Kafka"
                    }
                    None => {
                        missing += 1;
                        "was never seen on Kafka"
                    }
                };
                if differences.len() < TOLD_MAX {
                    differences.push(format!("record {id} of {} {words}", area.name()));
                }
            }
            drop(rows);
            db.close().await;
        }
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        differences.extend(seen.changed.iter().take(TOLD_MAX).cloned());
        if seen.records.len() + missing != committed || other > 0 {
            differences.push(format!(
                "{committed} committed, {} seen, {missing} missing, {other} with other bytes",
                seen.records.len()
            ));
        }
        Ok(differences)
    }
}

impl Seen {
    fn note(&mut self, record: &Received) {
        let id = record.headers.text("ce_id").and_then(|id| id.parse().ok());
        let Some(id) = id else {
            let (topic, offset) = (&record.topic, record.offset);
            self.changed
                .push(format!("a record without id in {topic} at {offset}"));
            return;
        };
        let digest = digest(&record.topic, &record.key, &record.body);
        match self.records.entry(id) {
            Entry::Vacant(free) => {
                free.insert(digest);
            }
            Entry::Occupied(seen) if *seen.get() == digest => {} // published twice: that may be
            Entry::Occupied(_) => self
                .changed
                .push(format!("record {id} was seen with two faces")),
        }
    }
}

fn digest(topic: &str, key: &[u8], payload: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (topic, key, payload).hash(&mut hasher);
    hasher.finish()
}
