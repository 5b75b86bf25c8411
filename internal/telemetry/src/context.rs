use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A W3C trace id: 16 bytes, not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(pub u128);

/// A W3C span id: 8 bytes, not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(pub u64);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The context of one span, as it is stored in outbox rows and head rows and carried in headers.
///
/// Source: W3C Trace Context level 1, W3C Baggage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that is the parent of whatever continues from here.
    pub span_id: SpanId,
    /// Whether the trace is recorded.
    pub sampled: bool,
    /// Vendors' state, byte for byte.
    pub tracestate: Option<Arc<str>>,
    /// Baggage, byte for byte.
    pub baggage: Option<Arc<str>>,
}

/// A `traceparent` that cannot be read; the message goes on under a new root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no traceparent")]
pub struct InvalidContext(String);

impl TraceContext {
    /// A new trace.
    #[must_use]
    pub fn root() -> Self {
        Self {
            trace_id: TraceId(rand::random::<u128>().max(1)),
            span_id: SpanId(rand::random::<u64>().max(1)),
            sampled: true,
            tracestate: None,
            baggage: None,
        }
    }

    /// A new span of the same trace, whose parent is this one.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            span_id: SpanId(rand::random::<u64>().max(1)),
            ..self.clone()
        }
    }

    /// The context of stored or received fields; `None` when there is no `traceparent`, or none
    /// that can be read.
    #[must_use]
    pub fn from_fields(
        traceparent: Option<&str>,
        tracestate: Option<&str>,
        baggage: Option<&str>,
    ) -> Option<Self> {
        let context: Self = traceparent?.parse().ok()?;
        Some(Self {
            tracestate: tracestate.filter(|text| !text.is_empty()).map(Arc::from),
            baggage: baggage.filter(|text| !text.is_empty()).map(Arc::from),
            ..context
        })
    }

    /// The `traceparent` header.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!(
            "00-{}-{}-{:02x}",
            self.trace_id,
            self.span_id,
            u8::from(self.sampled)
        )
    }
}

impl FromStr for TraceContext {
    type Err = InvalidContext;

    fn from_str(text: &str) -> Result<Self, InvalidContext> {
        let invalid = || InvalidContext(text.chars().take(80).collect());
        let lower_hex = |part: &str, len: usize| {
            part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let mut parts = text.split('-');
        let (Some(version), Some(trace), Some(span), Some(flags)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(invalid());
        };
        let well_formed = lower_hex(version, 2)
            && version != "ff"
            && lower_hex(trace, 32)
            && lower_hex(span, 16)
            && lower_hex(flags, 2)
            && (version != "00" || parts.next().is_none());
        if !well_formed {
            return Err(invalid());
        }
        let trace = u128::from_str_radix(trace, 16).map_err(|_hex_was_checked| invalid())?;
        let span = u64::from_str_radix(span, 16).map_err(|_hex_was_checked| invalid())?;
        let flags = u8::from_str_radix(flags, 16).map_err(|_hex_was_checked| invalid())?;
        if trace == 0 || span == 0 {
            return Err(invalid());
        }
        Ok(Self {
            trace_id: TraceId(trace),
            span_id: SpanId(span),
            sampled: flags & 1 == 1,
            tracestate: None,
            baggage: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_survives_the_round_trip() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context: TraceContext = text.parse().unwrap();
        assert_eq!(context.traceparent(), text);
        assert_eq!(context.child().trace_id, context.trace_id);
        assert_ne!(context.child().span_id, context.span_id);
    }

    #[test]
    fn what_the_specification_forbids_is_refused() {
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert!(bad.parse::<TraceContext>().is_err(), "{bad}");
        }
    }
}
