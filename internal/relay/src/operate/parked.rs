use std::fmt;
use std::str::FromStr;

use palinode_db::{Db, Error, Tx};
use palinode_messaging::{HeaderError, Headers, lane_of};
use palinode_values::Timestamp;
use uuid::Uuid;

use crate::page::headers;
use crate::store::Row;

/// Headers that stand in columns of an outbox row; the relay writes them.
const IN_COLUMNS: [&str; 7] = [
    "ce_id",
    "id",
    "ce_time",
    "ce_subject",
    "traceparent",
    "tracestate",
    "baggage",
];

/// Names a parked record within its database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// In `outbox_parked`, by its id: it could not be published.
    Outbox(i64),
    /// In `consumer_parked`, by where it was read: it could not be handled.
    Consumer {
        /// Name of the topic on Kafka.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset.
        offset: i64,
    },
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outbox(id) => write!(f, "{id}"),
            Self::Consumer {
                topic,
                partition,
                offset,
            } => write!(f, "{topic}/{partition}/{offset}"),
        }
    }
}

impl FromStr for Record {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "a record is named ID, or TOPIC/PARTITION/OFFSET";
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            [id] => id.parse().map(Self::Outbox).map_err(|_error| WRONG),
            [topic, partition, offset] => Ok(Self::Consumer {
                topic: topic.to_owned(),
                partition: partition.parse().map_err(|_error| WRONG)?,
                offset: offset.parse().map_err(|_error| WRONG)?,
            }),
            _ => Err(WRONG),
        }
    }
}

/// A parked record, in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Parked {
    /// Which.
    pub record: Record,
    /// Its topic, with its prefix.
    pub topic: String,
    /// Its key.
    pub key: Vec<u8>,
    /// Seconds since it was parked.
    pub age_s: f64,
    /// Why it is parked.
    pub error: String,
    /// The record that it is behind, if it has no fault of its own.
    pub behind: Option<i64>,
    /// What somebody has decided and the owner of its lane has not carried out yet.
    pub verdict: Option<String>,
}

/// A parked record with all that it is.
#[derive(Debug, Clone, PartialEq)]
pub struct ParkedRecord {
    /// As in a list.
    pub parked: Parked,
    /// Every header, as Kafka would have them.
    pub headers: Headers,
    /// Protobuf.
    pub payload: Vec<u8>,
    /// Records of its topic and key that are parked behind it.
    pub followers: i64,
    /// What was decided about it before, oldest first.
    pub rulings: Vec<Ruling>,
}

/// What somebody has decided about a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// `replay` or `skip`.
    pub verdict: String,
    /// Who.
    pub principal: String,
    /// Why.
    pub reason: String,
    /// When.
    pub decided_at: Timestamp,
}

/// What is to become of a parked record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Once more, in the order of its key; those behind it follow.
    Replay,
    /// Never; those behind it go on.
    Skip,
}

impl Verdict {
    /// Its word in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Skip => "skip",
        }
    }
}

/// Why a verdict is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is gone, or never was.
    #[error("{0} is not parked; `palinode outbox parked` lists what is")]
    NotParked(Record),
    /// An earlier one of its topic and key is parked: it would overtake that.
    #[error("{record} is behind {first}: decide about that one, and this one follows")]
    Behind {
        /// The one that was named.
        record: i64,
        /// The first of its topic and key.
        first: i64,
    },
    /// Events are read in order, and later ones have been handled.
    #[error("{topic} is read in order and later records were handled: skip it")]
    InOrder {
        /// Its topic.
        topic: String,
    },
    /// It was read from a topic that this platform does not write to.
    #[error("topic {0} is not in this database's dictionary; `palinode migrate` fills it")]
    UnknownTopic(String),
    /// Without its headers it cannot be told from others: it would be parked again.
    #[error("it cannot be replayed, only skipped")]
    Unreadable(#[from] HeaderError),
    /// The database.
    #[error(transparent)]
    Db(#[from] Error),
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::Db(error.into())
    }
}

/// What is parked, at most `limit` of each kind, oldest first.
///
/// # Errors
/// `Unavailable`; `Statement`: the database has another schema.
pub async fn list(db: &Db, limit: i64) -> Result<Vec<Parked>, Error> {
    let rows = sqlx::query!(
        r#"SELECT p.id, coalesce(t.name, p.topic::text) AS "topic!", p.key, p.error, p.behind,
                  p.verdict, first_value(p.id) OVER w AS "first!",
                  extract(epoch FROM clock_timestamp() - p.parked_at)::float8 AS "age_s!"
             FROM outbox_parked p LEFT JOIN outbox_topic t ON t.id = p.topic
           WINDOW w AS (PARTITION BY p.lane, p.topic, p.key ORDER BY p.id)
            ORDER BY p.parked_at, p.id LIMIT $1"#,
        limit,
    )
    .fetch_all(db.pool())
    .await?;
    let mut parked: Vec<_> = rows
        .into_iter()
        .map(|row| Parked {
            record: Record::Outbox(row.id),
            topic: row.topic,
            key: row.key,
            age_s: row.age_s,
            error: row.error,
            behind: (row.behind && row.first != row.id).then_some(row.first),
            verdict: row.verdict,
        })
        .collect();
    let rows = sqlx::query!(
        r#"SELECT topic, partition, record_offset, key, error,
                  extract(epoch FROM clock_timestamp() - parked_at)::float8 AS "age_s!"
             FROM consumer_parked ORDER BY parked_at, topic, partition, record_offset LIMIT $1"#,
        limit,
    )
    .fetch_all(db.pool())
    .await?;
    parked.extend(rows.into_iter().map(|row| Parked {
        record: Record::Consumer {
            topic: row.topic.clone(),
            partition: row.partition,
            offset: row.record_offset,
        },
        topic: row.topic,
        key: row.key.unwrap_or_default(),
        age_s: row.age_s,
        error: row.error,
        behind: None,
        verdict: None,
    }));
    Ok(parked)
}

/// One parked record with all that it is; none when it is not parked. Headers that cannot be read
/// are left out.
///
/// # Errors
/// `Unavailable`; `Statement`: the database has another schema.
pub async fn show(db: &Db, record: &Record) -> Result<Option<ParkedRecord>, Error> {
    let shown = match record {
        Record::Outbox(id) => show_outbox(db, *id).await?,
        Record::Consumer {
            topic,
            partition,
            offset,
        } => show_consumer(db, topic, *partition, *offset).await?,
    };
    let Some(mut shown) = shown else {
        return Ok(None);
    };
    shown.rulings = sqlx::query_as!(
        Ruling,
        "SELECT verdict, principal, reason, decided_at FROM parked_verdict WHERE record = $1
          ORDER BY id LIMIT 100",
        record.to_string(),
    )
    .fetch_all(db.pool())
    .await?;
    Ok(Some(shown))
}

async fn show_outbox(db: &Db, id: i64) -> Result<Option<ParkedRecord>, Error> {
    let row = sqlx::query!(
        r#"SELECT p.lane, p.id, p.topic, p.event_id, p.created_at, p.key, p.traceparent,
                  p.tracestate, p.baggage, p.headers, p.payload, p.error, p.behind, p.verdict,
                  coalesce(t.name, p.topic::text) AS "name!",
                  extract(epoch FROM clock_timestamp() - p.parked_at)::float8 AS "age_s!",
                  (SELECT min(f.id) FROM outbox_parked f WHERE f.lane = p.lane
                      AND f.topic = p.topic AND f.key = p.key) AS "first!",
                  (SELECT count(*) FROM outbox_parked f WHERE f.lane = p.lane
                      AND f.topic = p.topic AND f.key = p.key AND f.id > p.id) AS "followers!"
             FROM outbox_parked p LEFT JOIN outbox_topic t ON t.id = p.topic WHERE p.id = $1"#,
        id,
    )
    .fetch_optional(db.pool())
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let parked = Parked {
        record: Record::Outbox(row.id),
        topic: row.name,
        key: row.key.clone(),
        age_s: row.age_s,
        error: row.error,
        behind: (row.behind && row.first != row.id).then_some(row.first),
        verdict: row.verdict,
    };
    let mut whole = Row {
        lane: row.lane,
        id: row.id,
        topic: row.topic,
        event_id: row.event_id,
        created_at: row.created_at,
        key: row.key,
        traceparent: row.traceparent,
        tracestate: row.tracestate,
        baggage: row.baggage,
        headers: row.headers,
        payload: row.payload,
    };
    Ok(Some(ParkedRecord {
        parked,
        headers: headers(&mut whole).unwrap_or_default(),
        payload: whole.payload,
        followers: row.followers,
        rulings: Vec::new(),
    }))
}

async fn show_consumer(
    db: &Db,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<Option<ParkedRecord>, Error> {
    let row = sqlx::query!(
        r#"SELECT key, headers, payload, error,
                  extract(epoch FROM clock_timestamp() - parked_at)::float8 AS "age_s!"
             FROM consumer_parked
            WHERE topic = $1 AND partition = $2 AND record_offset = $3"#,
        topic,
        partition,
        offset,
    )
    .fetch_optional(db.pool())
    .await?;
    Ok(row.map(|row| ParkedRecord {
        parked: Parked {
            record: Record::Consumer {
                topic: topic.to_owned(),
                partition,
                offset,
            },
            topic: topic.to_owned(),
            key: row.key.unwrap_or_default(),
            age_s: row.age_s,
            error: row.error,
            behind: None,
            verdict: None,
        },
        headers: Headers::decode(row.headers).unwrap_or_default(),
        payload: row.payload,
        followers: 0,
        rulings: Vec::new(),
    }))
}

/// Decides about a parked record, and keeps who did and why.
///
/// Of `outbox_parked`: the verdict is written, and the owner of the lane carries it out in the
/// order of the key. Of `consumer_parked`: it is carried out here. A replayed record goes through
/// the outbox of this database to the end of its topic: commands and replies may come in any
/// order, and nobody else of this database writes to that topic and key.
///
/// # Errors
/// The verdict would break the order, or the record is gone: nothing has changed.
pub async fn decide(
    db: &Db,
    record: &Record,
    verdict: Verdict,
    principal: &str,
    reason: &str,
) -> Result<(), Refusal> {
    let mut tx = db.begin().await?;
    let (topic, key) = match record {
        Record::Outbox(id) => decide_outbox(&mut tx, *id, verdict).await?,
        Record::Consumer { .. } => decide_consumer(&mut tx, record, verdict).await?,
    };
    sqlx::query!(
        "INSERT INTO parked_verdict (record, topic, key, verdict, principal, reason)
         VALUES ($1, $2, $3, $4, $5, $6)",
        record.to_string(),
        topic,
        key,
        verdict.as_str(),
        principal,
        reason,
    )
    .execute(tx.conn())
    .await?;
    tx.commit().await?;
    Ok(())
}

async fn decide_outbox(
    tx: &mut Tx,
    id: i64,
    verdict: Verdict,
) -> Result<(String, Vec<u8>), Refusal> {
    let row = sqlx::query!(
        r#"SELECT p.lane, p.key, coalesce(t.name, p.topic::text) AS "topic!",
                  (SELECT min(f.id) FROM outbox_parked f WHERE f.lane = p.lane
                      AND f.topic = p.topic AND f.key = p.key) AS "first!"
             FROM outbox_parked p LEFT JOIN outbox_topic t ON t.id = p.topic
            WHERE p.id = $1 FOR UPDATE OF p"#,
        id,
    )
    .fetch_optional(tx.conn())
    .await?;
    let row = row.ok_or(Refusal::NotParked(Record::Outbox(id)))?;
    if verdict == Verdict::Replay && row.first != id {
        return Err(Refusal::Behind {
            record: id,
            first: row.first,
        });
    }
    sqlx::query!(
        "WITH told AS (UPDATE outbox_lane SET verdict_seq = verdict_seq + 1 WHERE lane = $1)
         UPDATE outbox_parked SET verdict = $3 WHERE lane = $1 AND id = $2",
        row.lane,
        id,
        verdict.as_str(),
    )
    .execute(tx.conn())
    .await?;
    Ok((row.topic, row.key))
}

async fn decide_consumer(
    tx: &mut Tx,
    record: &Record,
    verdict: Verdict,
) -> Result<(String, Vec<u8>), Refusal> {
    let not_parked = || Refusal::NotParked(record.clone());
    let Record::Consumer {
        topic,
        partition,
        offset,
    } = record
    else {
        return Err(not_parked());
    };
    let row = sqlx::query!(
        "DELETE FROM consumer_parked WHERE topic = $1 AND partition = $2 AND record_offset = $3
         RETURNING key, headers, payload",
        topic,
        partition,
        offset,
    )
    .fetch_optional(tx.conn())
    .await?;
    let row = row.ok_or_else(not_parked)?;
    let key = row.key.unwrap_or_default();
    if verdict == Verdict::Replay {
        append_again(tx, topic, &key, Headers::decode(row.headers)?, &row.payload).await?;
    }
    Ok((topic.clone(), key))
}

/// The record as it was, with its event id, at the end of the outbox.
async fn append_again(
    tx: &mut Tx,
    topic: &str,
    key: &[u8],
    headers: Headers,
    payload: &[u8],
) -> Result<(), Refusal> {
    if topic.ends_with(".events") {
        return Err(Refusal::InOrder {
            topic: topic.to_owned(),
        });
    }
    let number = sqlx::query_scalar!("SELECT id FROM outbox_topic WHERE name = $1", topic)
        .fetch_optional(tx.conn())
        .await?
        .ok_or_else(|| Refusal::UnknownTopic(topic.to_owned()))?;
    let id = headers.text("ce_id").ok_or(HeaderError::Missing("ce_id"))?;
    let event_id: Uuid = id.parse().map_err(|_error| HeaderError::Unreadable {
        name: "ce_id",
        value: id.to_owned(),
    })?;
    let mut others = Headers::with_capacity(headers.size());
    for (name, value) in headers.iter() {
        if !IN_COLUMNS.contains(&name) {
            others.push(name, value);
        }
    }
    sqlx::query!(
        "INSERT INTO outbox (lane, topic, event_id, key, traceparent, tracestate, baggage, headers,
                             payload)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        lane_of(key),
        number,
        event_id,
        key,
        headers.text("traceparent"),
        headers.text("tracestate"),
        headers.text("baggage"),
        others.encode(),
        payload,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
