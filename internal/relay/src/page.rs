use std::collections::HashMap;
use std::sync::Arc;

use chrono::TimeDelta;
use palinode_messaging::{Delivery, Headers, Outgoing, partition_of};
use palinode_outbox::TopicRow;
use palinode_telemetry::{Finished, Kind, TraceContext, Tracer, names};
use palinode_values::{Clock, Timestamp};

use crate::lanes::Asked;
use crate::log::Cursor;
use crate::publisher::Publisher;
use crate::store::Row;

/// Why a record is parked that is itself without fault.
const BEHIND: &str = "an earlier record of its topic and key is parked";

/// Rows of a page that may be read again before they are deleted.
const WAITING_MAX: usize = 64;

/// Room for the headers that come from columns.
const ADDED: usize = 320;

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

/// Rows of some lanes on their way to Kafka, as one unit.
#[derive(Debug)]
pub(crate) struct Page {
    lanes: Vec<Asked>,
    /// Of each lane, the rows so far.
    counts: Vec<usize>,
    sent: Vec<Sent>,
    outgoing: Vec<Outgoing>,
    park: Vec<Park>,
    /// Rows of a lane that mean that there may be more behind.
    limit: usize,
    /// It ended at its limit over all lanes, in its last one: those after it were not looked at.
    cut: bool,
    /// Rings of the doorbell before it was read.
    rings: u64,
    /// The dictionary lacks the topic of a row.
    unknown_topic: bool,
    /// Rows that were published before.
    passed_over: usize,
}

/// What has to be known of a record when its report comes.
#[derive(Debug)]
struct Sent {
    id: i64,
    topic: i16,
    /// Position of its lane in the page.
    lane: usize,
    created_at: Timestamp,
}

/// A row that is to be parked.
#[derive(Debug)]
pub(crate) struct Park {
    pub(crate) lane: i16,
    pub(crate) epoch: i64,
    pub(crate) id: i64,
    pub(crate) topic: i16,
    pub(crate) key: Vec<u8>,
    pub(crate) error: String,
    /// It has no fault of its own.
    pub(crate) behind: bool,
}

/// What became of a page.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) lanes: Vec<LaneReport>,
    /// Lane and id of each record that is in the log.
    pub(crate) acked_lanes: Vec<i16>,
    pub(crate) acked: Vec<i64>,
    pub(crate) park: Vec<Park>,
    pub(crate) rings: u64,
    /// Its lanes do not wait for its rows to be deleted.
    pub(crate) waits: bool,
    /// How old the oldest record was when it was acknowledged.
    pub(crate) lag: Option<TimeDelta>,
}

impl Report {
    /// The epoch of each lane.
    pub(crate) fn epochs(&self) -> HashMap<i16, i64> {
        let epochs = self.lanes.iter().map(|of| (of.lane, of.epoch));
        epochs.collect()
    }

    /// Its lanes may be read again before its rows are deleted: they are few, and all of them are in
    /// the log.
    pub(crate) fn can_wait(&self) -> bool {
        let is_plain = |lane: &LaneReport| {
            !lane.suspect && !lane.unsent && !lane.deep && lane.cursor.is_none()
        };
        self.acked.len() <= WAITING_MAX && self.park.is_empty() && self.lanes.iter().all(is_plain)
    }
}

/// What became of a lane's rows in a page.
#[derive(Debug)]
pub(crate) struct LaneReport {
    pub(crate) lane: i16,
    pub(crate) epoch: i64,
    pub(crate) acked: bool,
    /// A record of it was refused by the broker, and it is not known which.
    pub(crate) suspect: bool,
    /// Some records were not sent.
    pub(crate) unsent: bool,
    /// There may be more rows behind.
    pub(crate) deep: bool,
    /// Log mode: where the lane stands now.
    pub(crate) cursor: Option<Cursor>,
}

impl Page {
    /// A page without rows yet, of lanes in ascending order.
    pub(crate) fn new(mut lanes: Vec<Asked>, limit: usize, rings: u64) -> Self {
        lanes.sort_by_key(|asked| asked.lane);
        Self {
            counts: vec![0; lanes.len()],
            lanes,
            sent: Vec::new(),
            outgoing: Vec::new(),
            park: Vec::new(),
            limit,
            cut: false,
            rings,
            unknown_topic: false,
            passed_over: 0,
        }
    }

    /// Rows that were published before, and are about to be deleted.
    pub(crate) fn passed_over(&self) -> usize {
        self.passed_over
    }

    /// No more rows were read: its last lane may have more, and what follows has not been looked at.
    pub(crate) fn cut(&mut self) {
        self.cut = true;
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Takes the lanes out that had no rows.
    pub(crate) fn take_empty(&mut self) -> Vec<Asked> {
        // positions in `sent` change: only when there is nothing in it, or for good
        let mut places = Vec::with_capacity(self.lanes.len());
        let mut empty = Vec::new();
        let mut kept = Vec::with_capacity(self.lanes.len());
        for (asked, count) in self.lanes.drain(..).zip(&self.counts) {
            places.push(kept.len());
            if *count == 0 {
                empty.push(asked);
            } else {
                kept.push(asked);
            }
        }
        self.lanes = kept;
        self.counts.retain(|count| *count > 0);
        for sent in &mut self.sent {
            sent.lane = places[sent.lane];
        }
        empty
    }

    pub(crate) fn lanes(&self) -> &[Asked] {
        &self.lanes
    }

    pub(crate) fn lanes_mut(&mut self) -> &mut [Asked] {
        &mut self.lanes
    }

    /// Of each lane, how many rows it has.
    pub(crate) fn counts(&self) -> &[usize] {
        &self.counts
    }

    pub(crate) fn names_unknown_topic(&self) -> bool {
        self.unknown_topic
    }

    /// Begins anew with the same lanes.
    pub(crate) fn forget_rows(&mut self) {
        self.counts.fill(0);
        self.sent.clear();
        self.outgoing.clear();
        self.park.clear();
        self.unknown_topic = false;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sent.is_empty() && self.park.is_empty()
    }

    /// Adds a row, behind the smaller ids of its lane: it is to be sent, or to be parked.
    pub(crate) fn push(&mut self, row: Row, topics: &Topics) {
        let found = self
            .lanes
            .binary_search_by_key(&row.lane, |asked| asked.lane);
        let place = found.expect("only rows of these lanes were asked for");
        let lane = &self.lanes[place];
        if lane.is_published(row.id) {
            self.passed_over += 1;
            return;
        }
        self.counts[place] += 1;
        if lane.careful && self.counts[place] > 1 {
            return;
        }
        let park = |error: String, row: Row| Park {
            lane: row.lane,
            epoch: lane.epoch,
            id: row.id,
            topic: row.topic,
            key: row.key,
            error,
            behind: false,
        };
        let parked_before = |p: &Park| p.topic == row.topic && p.key == row.key;
        if lane.is_blocked(row.topic, &row.key) || self.park.iter().any(parked_before) {
            self.park.push(Park {
                behind: true,
                ..park(BEHIND.to_owned(), row)
            });
            return;
        }
        let Some((topic, partitions)) = topics.0.get(&row.topic) else {
            let error = format!("topic number {} is in no dictionary", row.topic);
            self.unknown_topic = true;
            self.park.push(park(error, row));
            return;
        };
        let mut row = row;
        let headers = match headers(&mut row) {
            Ok(headers) => headers,
            Err(error) => {
                self.park.push(park(error.to_string(), row));
                return;
            }
        };
        self.sent.push(Sent {
            id: row.id,
            topic: row.topic,
            lane: place,
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

    /// Sends the page, as far as its lanes are trusted to be ours, and waits for its reports.
    pub(crate) async fn publish<P: Publisher>(
        mut self,
        publisher: &P,
        tracer: &Tracer,
        clock: &Clock,
    ) -> Report {
        let lanes = self.lanes.iter().zip(&self.counts);
        let cut_in = self.lanes.last().filter(|_| self.cut).map(|last| last.lane);
        let mut report = Report {
            lanes: lanes
                .map(|(asked, count)| LaneReport {
                    lane: asked.lane,
                    epoch: asked.epoch,
                    acked: false,
                    suspect: false,
                    unsent: false,
                    deep: *count >= self.limit
                        || cut_in == Some(asked.lane)
                        || (asked.careful && *count > 1),
                    cursor: None,
                })
                .collect(),
            acked_lanes: Vec::with_capacity(self.sent.len()),
            acked: Vec::with_capacity(self.sent.len()),
            park: std::mem::take(&mut self.park),
            rings: self.rings,
            waits: false,
            lag: None,
        };
        let mut passed = Passed::of(&self.lanes, &report.park);
        if self.outgoing.is_empty() {
            passed.move_cursors(&self.lanes, &self.counts, &mut report.lanes);
            return report;
        }
        let permit = publisher.reserve(&self.outgoing).await;
        self.hold_back_lost(&mut report);
        let outgoing = Arc::new(self.outgoing);
        let alone = outgoing.len() == 1;
        let deliveries = publisher.send(permit, Arc::clone(&outgoing)).await;
        let now = clock.now();
        let rows = self.sent.into_iter().zip(deliveries).zip(&*outgoing);
        for ((sent, delivery), out) in rows {
            let lane = &mut report.lanes[sent.lane];
            let is_over = !matches!(
                (&delivery, alone),
                (Delivery::Unsent, _) | (Delivery::Rejected(_), false)
            );
            passed.add(sent.lane, sent.id, is_over);
            match delivery {
                Delivery::Acked => {
                    if tracer.is_enabled() {
                        trace(tracer, out, sent.created_at, now);
                    }
                    report.lag = report.lag.max(Some(now - sent.created_at));
                    lane.acked = true;
                    report.acked_lanes.push(lane.lane);
                    report.acked.push(sent.id);
                }
                Delivery::Unsent => lane.unsent = true,
                // those that shared its request have the same answer: look at each alone
                Delivery::Rejected(_) if !alone => lane.suspect = true,
                Delivery::Rejected(error) | Delivery::Refused(error) => report.park.push(Park {
                    lane: lane.lane,
                    epoch: lane.epoch,
                    id: sent.id,
                    topic: sent.topic,
                    key: out.key.to_vec(),
                    error,
                    behind: false,
                }),
            }
        }
        passed.move_cursors(&self.lanes, &self.counts, &mut report.lanes);
        report
    }

    /// Takes records out whose lane is no longer trusted to be ours.
    fn hold_back_lost(&mut self, report: &mut Report) {
        for (asked, lane) in self.lanes.iter().zip(&mut report.lanes) {
            lane.unsent = !asked.trust.holds();
        }
        if report.lanes.iter().any(|lane| lane.unsent) {
            let mut rows = self.sent.iter();
            self.outgoing.retain(|_| {
                let sent = rows.next().expect("as many as are to be sent");
                !report.lanes[sent.lane].unsent
            });
            self.sent.retain(|sent| !report.lanes[sent.lane].unsent);
        }
    }
}

/// What a page has passed, for the cursors of log mode; nothing is kept in queue mode.
struct Passed(Vec<(Vec<i64>, Vec<i64>)>);

impl Passed {
    fn of(lanes: &[Asked], park: &[Park]) -> Self {
        let is_log = lanes.iter().any(|asked| asked.window.is_some());
        let count = if is_log { lanes.len() } else { 0 };
        let mut passed = Self(vec![(Vec::new(), Vec::new()); count]);
        for park in park {
            let place = lanes.binary_search_by_key(&park.lane, |asked| asked.lane);
            passed.add(place.expect("it is of the page"), park.id, true);
        }
        passed
    }

    fn add(&mut self, lane: usize, id: i64, is_over: bool) {
        if let Some((done, open)) = self.0.get_mut(lane) {
            if is_over { done } else { open }.push(id);
        }
    }

    fn move_cursors(&self, lanes: &[Asked], counts: &[usize], reports: &mut [LaneReport]) {
        let all = lanes.iter().zip(counts).zip(&self.0).zip(reports);
        for (((asked, count), (done, open)), report) in all {
            if let Some(window) = &asked.window {
                let whole = done.len() + open.len() == *count;
                let cursor = window.after(done, open, whole);
                report.deep = cursor.open.is_some();
                report.cursor = Some(cursor);
            }
        }
    }
}

/// The headers of the record: those that were stored, which are taken out of the row, and those
/// that come from columns.
pub(crate) fn headers(row: &mut Row) -> Result<Headers, palinode_messaging::HeaderError> {
    row.headers.reserve(ADDED);
    let mut headers = Headers::decode(std::mem::take(&mut row.headers))?;
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

/// The span of a record, from its row to its acknowledgement.
fn trace(tracer: &Tracer, out: &Outgoing, created_at: Timestamp, acked_at: Timestamp) {
    let traceparent = out.headers.text("traceparent");
    let Some(parent) = TraceContext::from_fields(traceparent, None, None) else {
        return;
    };
    tracer.emit(Finished {
        name: format!("outbox.relay {}", out.topic),
        kind: Kind::Internal,
        context: parent.child(),
        parent: Some(parent.span_id),
        start: created_at,
        end: acked_at,
        attributes: vec![
            (names::MESSAGING_SYSTEM, "kafka".to_owned()),
            (names::MESSAGING_DESTINATION, out.topic.to_string()),
            (
                names::MESSAGING_MESSAGE_ID,
                out.headers.text("ce_id").unwrap_or_default().to_owned(),
            ),
        ],
        links: Vec::new(),
        error: None,
    });
}
