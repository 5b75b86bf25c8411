//! `google.api.HttpBody`: bodies that are not JSON, as they are.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use prost_reflect::{DynamicMessage, MessageDescriptor, Value};

/// What a body is that does not say.
const UNKNOWN: HeaderValue = HeaderValue::from_static("application/octet-stream");

pub(crate) fn is_raw(message: &MessageDescriptor) -> bool {
    message.full_name() == "google.api.HttpBody"
}

/// A request's body as a message.
pub(crate) fn message(raw: &MessageDescriptor, headers: &HeaderMap, body: Bytes) -> DynamicMessage {
    let mut message = DynamicMessage::new(raw.clone());
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if let Some(kind) = kind {
        message.set_field_by_name("content_type", Value::String(kind.to_owned()));
    }
    message.set_field_by_name("data", Value::Bytes(body));
    message
}

/// The content type and the bytes of an answer.
pub(crate) fn parts(message: &DynamicMessage) -> (HeaderValue, Bytes) {
    let text = |name| {
        message
            .get_field_by_name(name)
            .map(std::borrow::Cow::into_owned)
    };
    let kind = match text("content_type") {
        Some(Value::String(kind)) if !kind.is_empty() => HeaderValue::try_from(kind).ok(),
        _ => None,
    };
    let data = match text("data") {
        Some(Value::Bytes(data)) => data,
        _ => Bytes::new(),
    };
    (kind.unwrap_or(UNKNOWN), data)
}
