//! Errors, with what a problem document of REST says of them.

use async_graphql::{Error, ErrorExtensionValues, ServerError};
use http::header;
use palinode_transcode::{FieldError, Problem};
use palinode_values::ErrorCode;
use serde_json::json;

use crate::http::problem;

/// The error that tells what `problem` tells.
pub(crate) fn from(problem: Problem) -> Error {
    let mut extensions = ErrorExtensionValues::default();
    // ids and amounts that belong to the reason, such as `sku`; what follows is not theirs to say
    for (name, value) in problem.metadata {
        extensions.set(name, value);
    }
    extensions.set("code", problem.code);
    if let Some(reason) = problem.reason {
        extensions.set("reason", reason);
    }
    if !problem.errors.is_empty() {
        let fields = async_graphql::Value::from_json(json!(problem.errors));
        extensions.set("errors", fields.unwrap_or_default());
    }
    let after = problem.headers.get(header::RETRY_AFTER);
    let after = after.and_then(|after| after.to_str().ok()?.parse::<u64>().ok());
    if let Some(seconds) = after {
        extensions.set("retry_after", seconds);
    }
    Error {
        message: problem.detail,
        source: None,
        extensions: Some(extensions),
    }
}

/// A request that no service was asked about.
pub(crate) fn invalid(reason: &str, words: impl Into<String>) -> Error {
    from(problem(ErrorCode::Invalid, words).with_reason(reason))
}

/// A field of the request that is wrong.
pub(crate) fn wrong(field: &str, detail: &str) -> Error {
    let words = format!("{field} {detail}");
    let mut problem = problem(ErrorCode::Invalid, words).with_reason("INVALID_REQUEST");
    problem.errors.push(FieldError {
        field: field.to_owned(),
        reason: Some("OUT_OF_RANGE".to_owned()),
        detail: detail.to_owned(),
    });
    from(problem)
}

/// The number, where GraphQL has a place for it: an Int has 32 bits.
pub(crate) fn int(name: &str, number: i64) -> Result<i32, Error> {
    i32::try_from(number).map_err(|_| {
        let words = format!("{name} is {number}, which is more than an Int of GraphQL holds");
        let problem = problem(ErrorCode::Refused, words).with_reason("INT_OUT_OF_RANGE");
        from(problem)
    })
}

/// Completes what is told of an error: what GraphQL itself says of a request has no code yet.
pub(crate) fn complete(error: &mut ServerError, trace_id: Option<&str>) {
    let extensions = error.extensions.get_or_insert_default();
    if extensions.get("code").is_none() {
        let invalid = crate::http::status_rule(ErrorCode::Invalid);
        extensions.set("code", invalid.code);
        extensions.set("reason", "INVALID_REQUEST");
    }
    if let Some(trace_id) = trace_id {
        extensions.set("trace_id", trace_id);
    }
}
