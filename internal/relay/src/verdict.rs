use std::collections::HashSet;
use std::sync::Arc;

use palinode_db::{Db, Error};
use palinode_messaging::{Delivery, Outgoing, partition_of};

use crate::page::headers;
use crate::publisher::Publisher;
use crate::store::Row;
use crate::trust::Trust;

/// Rows of one step at the most.
pub(crate) const ROWS_MAX: usize = 200;

/// What one step for the parked records of a lane came to.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// Ids that Kafka acknowledged: they are parked no more.
    pub(crate) acked: Vec<i64>,
    /// Ids that were dropped.
    pub(crate) skipped: Vec<i64>,
    /// Ids that are parked again, each with its error.
    pub(crate) refused: Vec<(i64, String)>,
    /// A record among several was refused, and it is not known which.
    pub(crate) suspect: bool,
    /// Topic and key of what is parked now.
    pub(crate) parked: HashSet<(i16, Vec<u8>)>,
    /// There is more to be done.
    pub(crate) more: bool,
}

impl Carried {
    /// Whether anything has changed; if not, trying again at once is of no use.
    pub(crate) fn is_progress(&self) -> bool {
        !(self.acked.is_empty() && self.skipped.is_empty() && self.refused.is_empty())
    }
}

/// A parked row whose turn it is.
struct Turn {
    row: Row,
    topic: Option<(String, i32)>,
    /// It was refused before.
    tried: bool,
}

/// Carries out verdicts on the parked records of a lane: drops what is skipped, publishes what is
/// free in the order of ids, deletes what was acknowledged, parks again what was refused.
///
/// Free is the first parked record of a topic and key once it has a verdict, or when it was only
/// behind one that is gone, and those that are behind it. All of that is read from the table, so a
/// successor goes on where a killed worker stopped. No other page of the lane is in flight.
pub(crate) async fn carry_out<P: Publisher>(
    db: &Db,
    publisher: &P,
    lane: i16,
    trust: &Trust,
    rows_max: usize,
) -> Result<Carried, Error> {
    let mut carried = Carried {
        skipped: drop_skipped(db, lane).await?,
        ..Carried::default()
    };
    let rows = free_rows(db, lane, rows_max).await?;
    publish(publisher, rows, trust, &mut carried).await;
    if !carried.refused.is_empty() {
        park_again(db, lane, &carried.refused).await?;
    }
    if !carried.acked.is_empty() {
        delete(db, lane, &carried.acked).await?;
    }
    for (topic, key, free) in keys(db, lane).await? {
        carried.more |= free;
        carried.parked.insert((topic, key));
    }
    Ok(carried)
}

/// A record that was refused before goes alone: its answer is its own then, and what is behind it
/// waits for that.
async fn publish<P: Publisher>(
    publisher: &P,
    rows: Vec<Turn>,
    trust: &Trust,
    carried: &mut Carried,
) {
    let (mut ids, mut outgoing) = (Vec::new(), Vec::new());
    for Turn {
        mut row,
        topic,
        tried,
    } in rows
    {
        if tried && !ids.is_empty() {
            break;
        }
        let Some((topic, partitions)) = topic else {
            let error = format!("topic number {} is in no dictionary", row.topic);
            carried.refused.push((row.id, error));
            break;
        };
        let headers = match headers(&mut row) {
            Ok(headers) => headers,
            Err(error) => {
                carried.refused.push((row.id, error.to_string()));
                break;
            }
        };
        ids.push(row.id);
        outgoing.push(Outgoing {
            topic: Arc::from(topic),
            partition: partition_of(&row.key, partitions),
            key: row.key.into(),
            body: row.payload.into(),
            headers,
        });
        if tried {
            break;
        }
    }
    if outgoing.is_empty() {
        return;
    }
    let permit = publisher.reserve(&outgoing).await;
    if !trust.holds() {
        return;
    }
    let alone = outgoing.len() == 1;
    let deliveries = publisher.send(permit, Arc::new(outgoing)).await;
    for (id, delivery) in ids.into_iter().zip(deliveries) {
        match delivery {
            Delivery::Acked => carried.acked.push(id),
            Delivery::Unsent => {}
            Delivery::Rejected(_) if !alone => carried.suspect = true,
            Delivery::Rejected(error) | Delivery::Refused(error) => {
                carried.refused.push((id, error));
            }
        }
    }
}

async fn drop_skipped(db: &Db, lane: i16) -> Result<Vec<i64>, Error> {
    let ids = sqlx::query_scalar!(
        "DELETE FROM outbox_parked WHERE lane = $1 AND verdict = 'skip' RETURNING id",
        lane,
    )
    .fetch_all(db.pool())
    .await?;
    Ok(ids)
}

/// The rows whose turn it is, at most `rows_max`, in order of their ids. Of a topic and key: the
/// first that is parked, and those after it up to one that waits for a verdict, or has been skipped
/// since the skipped ones were dropped.
async fn free_rows(db: &Db, lane: i16, rows_max: usize) -> Result<Vec<Turn>, Error> {
    let rows = sqlx::query!(
        r#"WITH head AS (
             SELECT DISTINCT ON (topic, key) topic, key, behind OR verdict IS NOT NULL AS free
               FROM outbox_parked WHERE lane = $1 ORDER BY topic, key, id)
           SELECT p.lane, p.id, p.topic, p.event_id, p.created_at, p.key, p.traceparent,
                  p.tracestate, p.baggage, p.headers, p.payload, p.behind,
                  p.verdict IS DISTINCT FROM 'skip' AND (p.behind OR p.verdict IS NOT NULL)
                    AS "free!", t.name AS "name?",
                  t.partitions AS "partitions?"
             FROM head h
             JOIN outbox_parked p ON p.lane = $1 AND p.topic = h.topic AND p.key = h.key
             LEFT JOIN outbox_topic t ON t.id = p.topic
            WHERE h.free ORDER BY p.id LIMIT $2"#,
        lane,
        i64::try_from(rows_max).unwrap_or(i64::MAX),
    )
    .fetch_all(db.pool())
    .await?;
    let mut waiting = HashSet::new();
    let mut turns = Vec::with_capacity(rows.len());
    for row in rows {
        if !row.free {
            waiting.insert((row.topic, row.key.clone()));
        }
        if waiting.contains(&(row.topic, row.key.clone())) {
            continue;
        }
        turns.push(Turn {
            topic: row.name.zip(row.partitions),
            tried: !row.behind,
            row: Row {
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
            },
        });
    }
    Ok(turns)
}

/// No fence: they are in the log, whoever owns the lane by now.
async fn delete(db: &Db, lane: i16, ids: &[i64]) -> Result<(), Error> {
    sqlx::query!(
        "DELETE FROM outbox_parked WHERE lane = $1 AND id = ANY($2)",
        lane,
        ids,
    )
    .execute(db.pool())
    .await?;
    Ok(())
}

/// One that is to be skipped since it was read still is.
async fn park_again(db: &Db, lane: i16, refused: &[(i64, String)]) -> Result<(), Error> {
    let (ids, errors): (Vec<i64>, Vec<String>) = refused.iter().cloned().unzip();
    sqlx::query!(
        "UPDATE outbox_parked p
            SET verdict = nullif(p.verdict, 'replay'), behind = false, error = r.error
           FROM unnest($2::bigint[], $3::text[]) AS r(id, error)
          WHERE p.lane = $1 AND p.id = r.id",
        lane,
        &ids,
        &errors,
    )
    .execute(db.pool())
    .await?;
    Ok(())
}

/// Topic and key of every parked record of the lane, and whether there is something to be done.
async fn keys(db: &Db, lane: i16) -> Result<Vec<(i16, Vec<u8>, bool)>, Error> {
    let keys = sqlx::query!(
        r#"SELECT topic, key,
                  (array_agg(behind OR verdict IS NOT NULL ORDER BY id))[1]
                  OR bool_or(verdict IS NOT DISTINCT FROM 'skip') AS "free!"
             FROM outbox_parked WHERE lane = $1 GROUP BY topic, key"#,
        lane,
    )
    .fetch_all(db.pool())
    .await?;
    Ok(keys.into_iter().map(|k| (k.topic, k.key, k.free)).collect())
}
