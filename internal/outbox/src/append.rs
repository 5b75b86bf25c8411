use palinode_db::Tx;
use palinode_messaging::{Record, lane_of};
use uuid::Uuid;

use crate::{Error, Held};

/// Bytes of a body at the most: half of what a broker takes by default.
pub const MESSAGE_BYTES_MAX: usize = 512 * 1024;
/// Records of one append at the most.
pub const RECORDS_MAX: usize = 10_000;

/// Appends `records` in slice order to the outbox of the open transaction, in one statement.
///
/// Shape: 0 to [`RECORDS_MAX`] records; every record's key is in `held`. Units: `body` bytes, at
/// most [`MESSAGE_BYTES_MAX`]. `service` is the writer's name: `ce_source` is
/// `/palinode/<service>`.
///
/// # Errors
/// `NotHeld`: a bug, `tx` does not hold the key's row. `TooLarge`, `TooMany`: refused. `Db`: the
/// transaction is to be rolled back. Nothing is appended then.
pub async fn append(
    tx: &mut Tx,
    held: &Held,
    records: &[Record],
    service: &str,
) -> Result<(), Error> {
    if records.is_empty() {
        return Ok(());
    }
    if records.len() > RECORDS_MAX {
        return Err(Error::TooMany {
            count: records.len(),
            max: RECORDS_MAX,
        });
    }
    let mut rows = Columns::with_capacity(records.len());
    for record in records {
        if !held.contains(&record.key) {
            return Err(Error::NotHeld {
                key: String::from_utf8_lossy(&record.key).into_owned(),
            });
        }
        if record.body.len() > MESSAGE_BYTES_MAX {
            return Err(Error::TooLarge {
                kind: record.kind.to_string(),
                bytes: record.body.len(),
                max: MESSAGE_BYTES_MAX,
            });
        }
        rows.push(record, service);
    }
    rows.insert(tx).await
}

/// The rows of one append, column by column.
struct Columns<'a> {
    lanes: Vec<i16>,
    topics: Vec<i16>,
    event_ids: Vec<Uuid>,
    keys: Vec<&'a [u8]>,
    traceparents: Vec<String>,
    tracestates: Vec<Option<&'a str>>,
    baggages: Vec<Option<&'a str>>,
    headers: Vec<Vec<u8>>,
    payloads: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn with_capacity(rows: usize) -> Self {
        Self {
            lanes: Vec::with_capacity(rows),
            topics: Vec::with_capacity(rows),
            event_ids: Vec::with_capacity(rows),
            keys: Vec::with_capacity(rows),
            traceparents: Vec::with_capacity(rows),
            tracestates: Vec::with_capacity(rows),
            baggages: Vec::with_capacity(rows),
            headers: Vec::with_capacity(rows),
            payloads: Vec::with_capacity(rows),
        }
    }

    fn push(&mut self, record: &'a Record, service: &str) {
        self.lanes.push(lane_of(&record.key));
        self.topics.push(record.topic.number());
        self.event_ids.push(record.event_id.0);
        self.keys.push(&record.key);
        self.traceparents.push(record.trace.traceparent());
        self.tracestates.push(record.trace.tracestate.as_deref());
        self.baggages.push(record.trace.baggage.as_deref());
        self.headers
            .push(record.fixed_headers(service).into_encoded());
        self.payloads.push(&record.body);
    }

    async fn insert(self, tx: &mut Tx) -> Result<(), Error> {
        sqlx::query_file!(
            "src/sql/append.sql",
            &self.lanes,
            &self.topics,
            &self.event_ids,
            &self.keys as &[&[u8]],
            &self.traceparents,
            &self.tracestates as &[Option<&str>],
            &self.baggages as &[Option<&str>],
            &self.headers,
            &self.payloads as &[&[u8]],
        )
        .execute(tx.conn())
        .await
        .map_err(palinode_db::Error::from)?;
        Ok(())
    }
}
