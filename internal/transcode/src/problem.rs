//! Problem details (RFC 9457).

use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use tonic::{Code, Status};

use crate::rpc_details::{Details, FieldViolation};
use crate::status::StatusRule;

/// An error as the client sees it: the body of an `application/problem+json` response.
///
/// Public so that a gateway's own refusals (sign-in, rate) can look like all others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Problem {
    /// `/errors/<reason>`, or `about:blank` when there is no reason.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status in words.
    pub title: String,
    /// The HTTP status.
    #[serde(serialize_with = "status_number")]
    pub status: StatusCode,
    /// What happened this time.
    pub detail: String,
    /// How to react, one word of a small closed set.
    pub code: String,
    /// What happened, one word of an open set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The path that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The fields that are wrong; empty when no field is to blame.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The trace to look for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The ids and amounts that belong to the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Response headers, such as `Allow` or `Retry-After`; not in the body.
    #[serde(skip)]
    pub headers: HeaderMap,
}

/// One wrong field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The path in the request message, in JSON names: `lines[0].unitPrice`.
    pub field: String,
    /// What is wrong, one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is wrong, in a sentence that the field's name begins.
    pub detail: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn status_number<S: serde::Serializer>(
    status: &StatusCode,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    /// A problem without a reason.
    #[must_use]
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status,
            detail: detail.into(),
            code: code.to_owned(),
            reason: None,
            instance: None,
            errors: Vec::new(),
            trace_id: None,
            metadata: BTreeMap::new(),
            headers: HeaderMap::new(),
        }
    }

    /// Adds a reason, and makes the type from it. A reason that is not of the form `OUT_OF_STOCK`
    /// is left out: it would end up in a URI.
    #[must_use]
    pub fn with_reason(mut self, reason: &str) -> Self {
        let is_word = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if !reason.is_empty() && reason.chars().all(is_word) {
            self.kind = format!("/errors/{reason}");
            self.reason = Some(reason.to_owned());
        }
        self
    }

    /// A request whose fields are wrong. One or more errors; with one, the detail tells it.
    pub(crate) fn of_fields(rule: StatusRule, errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [only] => format!("{} {}", only.field, only.detail),
            many => format!("{} fields of the request are wrong", many.len()),
        };
        let mut problem = Self::new(rule.http, rule.code, detail);
        problem.errors = errors;
        problem
    }

    /// The body.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and string maps always serialise")
    }

    /// What a service answered. An internal failure tells nothing about itself.
    pub(crate) fn of_status(rule: StatusRule, status: &Status) -> Self {
        if matches!(
            status.code(),
            Code::Internal | Code::Unknown | Code::DataLoss
        ) {
            return Self::new(rule.http, rule.code, "an internal error occurred");
        }
        let details = Details::decode(status.details());
        let mut problem = Self::new(rule.http, rule.code, status.message());
        if let Some(info) = details.info {
            problem = problem.with_reason(&info.reason);
            problem.metadata = info.metadata;
        }
        problem.errors = details
            .violations
            .into_iter()
            .map(FieldError::from)
            .collect();
        if let Some(seconds) = details.retry_after_s {
            problem
                .headers
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        problem
    }
}

impl From<FieldViolation> for FieldError {
    fn from(violation: FieldViolation) -> Self {
        Self {
            field: json_path(&violation.field),
            reason: (!violation.reason.is_empty()).then_some(violation.reason),
            detail: violation.description,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.to_json()).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        *response.headers_mut() = self.headers;
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

/// A field path in original names, as one in JSON names; map keys in quotes stay as they are.
fn json_path(path: &str) -> String {
    let mut json = String::with_capacity(path.len());
    let mut quoted = false;
    let mut raise = false;
    for c in path.chars() {
        if c == '"' {
            quoted = !quoted;
        }
        if c == '_' && !quoted {
            raise = true;
        } else if raise {
            json.push(c.to_ascii_uppercase());
            raise = false;
        } else {
            json.push(c);
        }
    }
    json
}

#[cfg(test)]
mod tests {
    use super::{Problem, json_path};
    use http::StatusCode;

    #[test]
    fn field_paths_take_json_names() {
        let check = |path: &str, expect: &str| assert_eq!(json_path(path), expect);
        check("lines[0].unit_price", "lines[0].unitPrice");
        check("user_id", "userId");
        check("labels[\"a_b\"].some_name", "labels[\"a_b\"].someName");
        check("already.jsonName", "already.jsonName");
        check("line_2", "line2");
        check("", "");
    }

    #[test]
    fn only_a_proper_reason_becomes_a_type() {
        let problem =
            |reason: &str| Problem::new(StatusCode::CONFLICT, "X", "").with_reason(reason);
        assert_eq!(problem("OUT_OF_STOCK").kind, "/errors/OUT_OF_STOCK");
        assert_eq!(problem("../admin").kind, "about:blank");
        assert_eq!(problem("../admin").reason, None);
        assert_eq!(problem("").kind, "about:blank");
    }
}
