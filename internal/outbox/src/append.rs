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
    Rows::of(held, records, service)?.insert(tx).await
}

/// The rows of one append, column by column, for a statement that writes more than them.
///
/// Such a statement inserts them as `append.sql` does: `FROM unnest(…) WITH ORDINALITY`, in that order.
#[derive(Debug, Clone, Default)]
pub struct Rows<'a> {
    /// Lanes of the keys.
    pub lanes: Vec<i16>,
    /// Numbers of the topics.
    pub topics: Vec<i16>,
    /// Ids of the events.
    pub event_ids: Vec<Uuid>,
    /// Keys.
    pub keys: Vec<&'a [u8]>,
    /// W3C trace context.
    pub traceparents: Vec<String>,
    /// W3C trace context.
    pub tracestates: Vec<Option<&'a str>>,
    /// W3C baggage.
    pub baggages: Vec<Option<&'a str>>,
    /// The other headers, encoded.
    pub headers: Vec<Vec<u8>>,
    /// Bodies.
    pub payloads: Vec<&'a [u8]>,
}

impl<'a> Rows<'a> {
    /// The rows of `records`. Shape, units and `service`: as [`append`] has them.
    ///
    /// # Errors
    /// Those of [`append`], but for `Db`.
    pub fn of(
        held: &Held,
        records: impl IntoIterator<Item = &'a Record>,
        service: &str,
    ) -> Result<Self, Error> {
        let records = records.into_iter();
        let mut rows = Self::with_capacity(records.size_hint().0);
        for record in records {
            if rows.event_ids.len() == RECORDS_MAX {
                return Err(Error::TooMany { max: RECORDS_MAX });
            }
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
        Ok(rows)
    }

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
