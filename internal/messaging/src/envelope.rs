use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use palinode_saga::Direction;
use palinode_telemetry::TraceContext;
use palinode_values::{EventId, SagaId, Timestamp};

use crate::headers::Headers;
use crate::topics::{LANES, Topic};

/// A message on its way into an outbox.
#[derive(Debug, Clone)]
pub struct Record {
    /// Where it goes.
    pub topic: Topic,
    /// Saga id (commands, replies) or aggregate id (events), as lower-case hyphenated text.
    pub key: Vec<u8>,
    /// `ce_id`, drawn by the writer.
    pub event_id: EventId,
    /// `ce_type`: the full name of the message, such as `palinode.inventory.v1.ReserveStock`.
    pub kind: Cow<'static, str>,
    /// Protobuf.
    pub body: Bytes,
    /// Context of the creation of this message.
    pub trace: TraceContext,
    /// For commands and replies.
    pub saga: Option<SagaHeaders>,
}

/// What travels beside a command or a reply, never in its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SagaHeaders {
    /// The saga.
    pub saga_id: SagaId,
    /// Plan name and version, `place-order@1`.
    pub plan: String,
    /// Content hash of the plan, hex.
    pub plan_hash: String,
    /// Step of the plan.
    pub step: String,
    /// Forward or backward.
    pub direction: Direction,
    /// "Say what happened; if nothing has, make sure that it never will."
    pub probe: bool,
    /// Whether the step may answer `Failed`.
    pub may_fail: bool,
    /// 1 for the first.
    pub attempt: u32,
    /// Version of the saga that sent it.
    pub seq: u64,
    /// Nobody waits for the answer after that.
    pub deadline: Option<Timestamp>,
}

/// A record as a consumer got it.
#[derive(Debug, Clone)]
pub struct Received {
    /// Topic it was read from, with its prefix.
    pub topic: Arc<str>,
    /// Partition it was read from.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Key.
    pub key: Bytes,
    /// Body.
    pub body: Bytes,
    /// Every header.
    pub headers: Headers,
}

/// A header that is missing or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Not there.
    #[error("header {0} is missing")]
    Missing(&'static str),
    /// There, but unreadable.
    #[error("header {name} cannot be read: {value:?}")]
    Unreadable {
        /// Which.
        name: &'static str,
        /// What stood there.
        value: String,
    },
    /// The stored form is cut off.
    #[error("the encoded headers are cut off")]
    Truncated,
}

/// Bytes of the headers of a command, with room for those that the relay adds.
pub(crate) const HEADERS_USUAL: usize = 512;

impl Record {
    /// The headers that are known when `service` writes the row. The relay adds those that come from
    /// columns: `ce_id`, `id`, `ce_time`, `ce_subject` and the trace context.
    #[must_use]
    pub fn fixed_headers(&self, service: &str) -> Headers {
        let mut headers = Headers::with_capacity(HEADERS_USUAL);
        headers.push("ce_type", self.kind.as_bytes());
        headers.push_shown("ce_source", format_args!("/palinode/{service}"));
        headers.push("ce_specversion", "1.0");
        headers.push_shown("ce_dataschema", format_args!("proto:{}", self.kind));
        headers.push("content-type", "application/protobuf");
        if let Some(saga) = &self.saga {
            saga.write(&mut headers);
        }
        headers
    }
}

impl SagaHeaders {
    fn write(&self, headers: &mut Headers) {
        headers.push("saga-id", self.saga_id.key());
        headers.push("saga-plan", &self.plan);
        headers.push("saga-plan-hash", &self.plan_hash);
        headers.push("saga-step", &self.step);
        headers.push("saga-direction", self.direction.as_str());
        if self.probe {
            headers.push("saga-probe", "true");
        }
        if self.may_fail {
            headers.push("saga-may-fail", "true");
        }
        headers.push_shown("saga-attempt", self.attempt);
        headers.push_shown("saga-seq", self.seq);
        if let Some(deadline) = self.deadline {
            headers.push("saga-deadline", deadline.to_rfc3339());
        }
    }

    /// Reads the saga headers of a command or a reply, in one pass.
    ///
    /// # Errors
    /// `Missing` or `Unreadable`, with the name of the header.
    pub fn read(headers: &Headers) -> Result<Self, HeaderError> {
        const NAMES: [&str; 10] = [
            "saga-id",
            "saga-plan",
            "saga-plan-hash",
            "saga-step",
            "saga-direction",
            "saga-probe",
            "saga-may-fail",
            "saga-attempt",
            "saga-seq",
            "saga-deadline",
        ];
        let mut found = [None; NAMES.len()];
        for (name, value) in headers.iter().filter(|(name, _)| name.starts_with("saga-")) {
            if let Some(place) = NAMES.iter().position(|known| *known == name) {
                found[place] = found[place].or(std::str::from_utf8(value).ok());
            }
        }
        let text = |place: usize| found[place].ok_or(HeaderError::Missing(NAMES[place]));
        Ok(Self {
            saga_id: parsed(NAMES[0], text(0)?)?,
            plan: text(1)?.to_owned(),
            plan_hash: text(2)?.to_owned(),
            step: text(3)?.to_owned(),
            direction: parsed(NAMES[4], text(4)?)?,
            probe: found[5] == Some("true"),
            may_fail: found[6] == Some("true"),
            attempt: parsed(NAMES[7], text(7)?)?,
            seq: parsed(NAMES[8], text(8)?)?,
            deadline: found[9].map(|text| parsed(NAMES[9], text)).transpose()?,
        })
    }
}

fn parsed<T: std::str::FromStr>(name: &'static str, value: &str) -> Result<T, HeaderError> {
    value.parse().map_err(|_| HeaderError::Unreadable {
        name,
        value: value.to_owned(),
    })
}

impl Received {
    /// `ce_id`.
    ///
    /// # Errors
    /// `Missing` or `Unreadable`.
    pub fn event_id(&self) -> Result<EventId, HeaderError> {
        let value = self
            .headers
            .text("ce_id")
            .ok_or(HeaderError::Missing("ce_id"))?;
        value.parse().map_err(|_| HeaderError::Unreadable {
            name: "ce_id",
            value: value.to_owned(),
        })
    }

    /// `ce_type`.
    ///
    /// # Errors
    /// `Missing`.
    pub fn kind(&self) -> Result<&str, HeaderError> {
        self.headers
            .text("ce_type")
            .ok_or(HeaderError::Missing("ce_type"))
    }

    /// The context of the message's creation; a record without one continues no trace.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        let text = |name| self.headers.text(name);
        TraceContext::from_fields(text("traceparent"), text("tracestate"), text("baggage"))
    }
}

/// The lane of a key: positive murmur2 modulo 64.
#[must_use]
pub fn lane_of(key: &[u8]) -> i16 {
    i16::try_from(positive_murmur2(key) % u32::from(LANES)).unwrap_or_default()
}

/// The partition of a key, as Java's default partitioner has it. `partitions` is at least 1.
#[must_use]
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    let partitions = u32::try_from(partitions.max(1)).unwrap_or(1);
    i32::try_from(positive_murmur2(key) % partitions).unwrap_or_default()
}

fn positive_murmur2(key: &[u8]) -> u32 {
    murmur2(key) & 0x7fff_ffff
}

/// MurmurHash2 (Austin Appleby, public domain) with Kafka's seed, as in
/// `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut h = SEED ^ u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        h = h.wrapping_mul(M) ^ k;
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h = (h ^ (h >> 13)).wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_agrees_with_kafkas_own_vectors() {
        // org.apache.kafka.common.utils.UtilsTest.testMurmur2
        for (text, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), hash, "{text}");
        }
    }

    #[test]
    fn one_lane_feeds_one_partition() {
        for number in 0..1_000_u32 {
            let key = number.to_string();
            let lane = i32::from(lane_of(key.as_bytes()));
            assert_eq!(lane % 8, partition_of(key.as_bytes(), 8), "{key}");
        }
    }
}
