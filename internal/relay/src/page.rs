use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use palinode_messaging::{Delivery, Headers, Outgoing, partition_of};
use palinode_outbox::TopicRow;
use palinode_telemetry::{Finished, Kind, TraceContext, Tracer, names};
use palinode_values::{Clock, Timestamp};

use crate::lanes::Lane;
use crate::publisher::Publisher;
use crate::store::Row;
use crate::trust::Trust;

/// Why a record is parked that is itself without fault.
const BEHIND: &str = "an earlier record of its topic and key is parked";

/// What numbers of topics in rows mean.
#[derive(Debug, Default)]
pub(crate) struct Topics(HashMap<i16, (Arc<str>, i32)>);

impl Topics {
    pub(crate) fn of(rows: Vec<TopicRow>) -> Self {
        let known = |row: TopicRow| (row.number, (Arc::from(row.name), row.partitions));
        Self(rows.into_iter().map(known).collect())
    }

    pub(crate) fn know(&self, number: i16) -> bool {
        self.0.contains_key(&number)
    }
}

/// Rows of one lane on their way to Kafka.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) lane: i16,
    pub(crate) epoch: i64,
    trust: Trust,
    sent: Vec<Sent>,
    outgoing: Vec<Outgoing>,
    park: Vec<Park>,
    /// There may be more rows behind.
    full: bool,
    /// Rings of the doorbell before it was read.
    rings: u64,
}

/// What has to be known of a record when its report comes.
#[derive(Debug)]
struct Sent {
    id: i64,
    topic: i16,
    created_at: Timestamp,
}

/// A row that is to be parked.
#[derive(Debug)]
pub(crate) struct Park {
    pub(crate) id: i64,
    pub(crate) topic: i16,
    pub(crate) key: Vec<u8>,
    pub(crate) error: String,
}

/// What became of a page.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) lane: i16,
    pub(crate) epoch: i64,
    pub(crate) acked: Vec<i64>,
    pub(crate) park: Vec<Park>,
    /// A record of it was refused by the broker, and it is not known which.
    pub(crate) suspect: bool,
    /// Some records were not sent.
    pub(crate) unsent: bool,
    pub(crate) full: bool,
    pub(crate) rings: u64,
}

impl Page {
    /// Sorts the rows of a lane, in order of their ids, into those to be sent and those to be
    /// parked.
    pub(crate) fn new(
        number: i16,
        lane: &Lane,
        mut rows: Vec<Row>,
        topics: &Topics,
        full: bool,
        rings: u64,
    ) -> Self {
        let full = full || lane.careful;
        if lane.careful {
            rows.truncate(1);
        }
        let mut page = Self {
            lane: number,
            epoch: lane.epoch,
            trust: lane.trust.clone(),
            sent: Vec::with_capacity(rows.len()),
            outgoing: Vec::with_capacity(rows.len()),
            park: Vec::new(),
            full,
            rings,
        };
        for row in rows {
            page.push(row, lane, topics);
        }
        page
    }

    fn push(&mut self, row: Row, lane: &Lane, topics: &Topics) {
        let park = |error: String, row: Row| Park {
            id: row.id,
            topic: row.topic,
            key: row.key,
            error,
        };
        let parked_before = |p: &Park| p.topic == row.topic && p.key == row.key;
        if lane.is_blocked(row.topic, &row.key) || self.park.iter().any(parked_before) {
            self.park.push(park(BEHIND.to_owned(), row));
            return;
        }
        let Some((topic, partitions)) = topics.0.get(&row.topic) else {
            let error = format!("topic number {} is in no dictionary", row.topic);
            self.park.push(park(error, row));
            return;
        };
        let headers = match headers(&row) {
            Ok(headers) => headers,
            Err(error) => {
                self.park.push(park(error.to_string(), row));
                return;
            }
        };
        self.sent.push(Sent {
            id: row.id,
            topic: row.topic,
            created_at: row.created_at,
        });
        self.outgoing.push(Outgoing {
            topic: Arc::clone(topic),
            partition: partition_of(&row.key, *partitions),
            key: row.key.into(),
            body: row.payload.into(),
            headers,
        });
    }

    /// Sends the page, if the lane is still trusted to be ours, and waits for its reports.
    pub(crate) async fn publish<P: Publisher>(
        self,
        publisher: &P,
        tracer: &Tracer,
        clock: &Clock,
    ) -> Report {
        let mut report = Report {
            lane: self.lane,
            epoch: self.epoch,
            acked: Vec::with_capacity(self.sent.len()),
            park: self.park,
            suspect: false,
            unsent: false,
            full: self.full,
            rings: self.rings,
        };
        if self.outgoing.is_empty() {
            return report;
        }
        let permit = publisher.reserve(&self.outgoing).await;
        if !self.trust.holds() {
            report.unsent = true;
            return report;
        }
        let traces = Traces::of(tracer, &self.outgoing);
        let keys: Vec<Bytes> = self.outgoing.iter().map(|out| out.key.clone()).collect();
        let alone = self.outgoing.len() == 1;
        let deliveries = publisher.send(permit, self.outgoing).await;
        let now = clock.now();
        for (row, (sent, delivery)) in self.sent.into_iter().zip(deliveries).enumerate() {
            match delivery {
                Delivery::Acked => {
                    traces.emit(tracer, row, sent.created_at, now);
                    report.acked.push(sent.id);
                }
                Delivery::Unsent => report.unsent = true,
                // those that shared its request have the same answer: look at each alone
                Delivery::Rejected(_) if !alone => report.suspect = true,
                Delivery::Rejected(error) | Delivery::Refused(error) => report.park.push(Park {
                    id: sent.id,
                    topic: sent.topic,
                    key: keys[row].to_vec(),
                    error,
                }),
            }
        }
        report
    }
}

/// The headers of the record: those that were stored, and those that come from columns.
fn headers(row: &Row) -> Result<Headers, palinode_messaging::HeaderError> {
    let mut headers = Headers::decode(row.headers.as_slice())?;
    let mut event_id = uuid::Uuid::encode_buffer();
    let event_id = row.event_id.hyphenated().encode_lower(&mut event_id);
    headers.push("ce_id", &*event_id);
    headers.push("id", &*event_id);
    headers.push_shown("ce_time", row.created_at.to_rfc3339());
    headers.push("ce_subject", &row.key);
    let context = [
        ("traceparent", &row.traceparent),
        ("tracestate", &row.tracestate),
        ("baggage", &row.baggage),
    ];
    for (name, value) in context {
        if let Some(value) = value {
            headers.push(name, value);
        }
    }
    Ok(headers)
}

/// What the spans of a page need, when there are any: one a record, from its row to its
/// acknowledgement.
#[derive(Debug, Default)]
struct Traces(Vec<Trace>);

#[derive(Debug)]
struct Trace {
    topic: Arc<str>,
    event_id: String,
    context: Option<TraceContext>,
}

impl Traces {
    fn of(tracer: &Tracer, outgoing: &[Outgoing]) -> Self {
        if !tracer.is_enabled() {
            return Self::default();
        }
        let text = |out: &Outgoing, name| out.headers.text(name).map(str::to_owned);
        let trace = |out: &Outgoing| Trace {
            topic: Arc::clone(&out.topic),
            event_id: text(out, "ce_id").unwrap_or_default(),
            context: TraceContext::from_fields(out.headers.text("traceparent"), None, None),
        };
        Self(outgoing.iter().map(trace).collect())
    }

    fn emit(&self, tracer: &Tracer, row: usize, created_at: Timestamp, acked_at: Timestamp) {
        let Some(Trace {
            topic,
            event_id,
            context: Some(parent),
        }) = self.0.get(row)
        else {
            return;
        };
        tracer.emit(Finished {
            name: format!("outbox.relay {topic}"),
            kind: Kind::Internal,
            context: parent.child(),
            parent: Some(parent.span_id),
            start: created_at,
            end: acked_at,
            attributes: vec![
                (names::MESSAGING_SYSTEM, "kafka".to_owned()),
                (names::MESSAGING_DESTINATION, topic.to_string()),
                (names::MESSAGING_MESSAGE_ID, event_id.clone()),
            ],
            links: Vec::new(),
            error: None,
        });
    }
}
