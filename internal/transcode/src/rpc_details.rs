//! The `google.rpc` messages that a status may carry, as far as a problem tells them.

use std::collections::BTreeMap;

use prost::Message;
use prost_types::{Any, Duration};

/// `google.rpc.Status`: what `grpc-status-details-bin` holds.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ErrorInfo {
    #[prost(string, tag = "1")]
    pub(crate) reason: String,
    #[prost(btree_map = "string, string", tag = "3")]
    pub(crate) metadata: BTreeMap<String, String>,
}

/// `google.rpc.BadRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) field_violations: Vec<FieldViolation>,
}

/// `google.rpc.BadRequest.FieldViolation`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct FieldViolation {
    #[prost(string, tag = "1")]
    pub(crate) field: String,
    #[prost(string, tag = "2")]
    pub(crate) description: String,
    #[prost(string, tag = "3")]
    pub(crate) reason: String,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Duration>,
}

/// The details of a status; those of other types, and those that cannot be read, are passed over.
#[derive(Debug, Default)]
pub(crate) struct Details {
    pub(crate) info: Option<ErrorInfo>,
    pub(crate) violations: Vec<FieldViolation>,
    /// Whole seconds, rounded up.
    pub(crate) retry_after_s: Option<u64>,
}

impl Details {
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let mut details = Self::default();
        for any in RpcStatus::decode(bytes).unwrap_or_default().details {
            let bytes = any.value.as_slice();
            match any.type_url.rsplit('/').next() {
                Some("google.rpc.ErrorInfo") => details.info = ErrorInfo::decode(bytes).ok(),
                Some("google.rpc.BadRequest") => {
                    let found = BadRequest::decode(bytes).unwrap_or_default();
                    details.violations.extend(found.field_violations);
                }
                Some("google.rpc.RetryInfo") => {
                    let delay = RetryInfo::decode(bytes).unwrap_or_default().retry_delay;
                    details.retry_after_s = delay.and_then(whole_seconds);
                }
                _ => {}
            }
        }
        details
    }
}

fn whole_seconds(delay: Duration) -> Option<u64> {
    let seconds = u64::try_from(delay.seconds).ok()?;
    seconds.checked_add(u64::from(delay.nanos > 0))
}
