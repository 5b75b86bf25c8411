//! From an HTTP request to the request message.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, header};
use prost_reflect::{DynamicMessage, Value};
use serde_json::{Map, Value as Json};

use crate::binding::{Binding, BodyRule};
use crate::field::{FieldPath, TextShape};
use crate::json;
use crate::problem::FieldError;
use crate::raw;
use crate::trie::Segments;
use crate::uri;

/// A request that cannot become a message.
#[derive(Debug)]
pub(crate) enum Malformed {
    /// As a whole.
    Whole(String),
    /// In these fields; never empty.
    Fields(Vec<FieldError>),
}

/// Whether the body is declared as JSON: `application/json` or `application/…+json`.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = kind
        .and_then(|value| value.split(';').next())
        .unwrap_or_default();
    let kind = kind.trim().to_ascii_lowercase();
    let subtype = kind.strip_prefix("application/");
    subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

/// Makes the message: the body first, then the query, then the path, which has the last word.
///
/// Shape: no body bytes are `{}` where the body is the whole message, and nothing elsewhere.
pub(crate) fn message(
    binding: &Binding,
    segments: &Segments<'_>,
    query: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<DynamicMessage, Malformed> {
    let mut message = match binding.raw_body() {
        Some(descriptor) => from_raw_body(binding, raw::message(&descriptor, headers, body)),
        None => from_body(binding, &body)?,
    };
    let mut errors = Vec::new();
    fill_from_query(&mut message, binding, query, &mut errors)?;
    fill_from_path(&mut message, binding, segments, &mut errors)?;
    if errors.is_empty() {
        Ok(message)
    } else {
        Err(Malformed::Fields(errors))
    }
}

fn from_raw_body(binding: &Binding, body: DynamicMessage) -> DynamicMessage {
    let BodyRule::Field(field) = &binding.body else {
        return body;
    };
    let mut message = DynamicMessage::new(binding.input.clone());
    message.set_field(field, Value::Message(body));
    message
}

fn from_body(binding: &Binding, body: &[u8]) -> Result<DynamicMessage, Malformed> {
    if body.is_empty() {
        return Ok(DynamicMessage::new(binding.input.clone()));
    }
    if binding.body == BodyRule::None {
        return Err(Malformed::Whole("this request takes no body".to_owned()));
    }
    let json: Json = serde_json::from_slice(body)
        .map_err(|error| Malformed::Whole(format!("the body is not valid JSON: {error}")))?;
    let json = match &binding.body {
        BodyRule::Field(field) => {
            Json::Object(Map::from_iter([(field.json_name().to_owned(), json)]))
        }
        BodyRule::Whole | BodyRule::None => json,
    };
    json::decode(&binding.input, &json).map_err(|rejected| {
        if rejected.errors.is_empty() {
            Malformed::Whole(format!("the body does not fit: {}", rejected.detail))
        } else {
            Malformed::Fields(rejected.errors)
        }
    })
}

fn fill_from_query(
    message: &mut DynamicMessage,
    binding: &Binding,
    query: &str,
    errors: &mut Vec<FieldError>,
) -> Result<(), Malformed> {
    let pairs = uri::query_pairs(query)
        .map_err(|_| Malformed::Whole("the query is not properly encoded".to_owned()))?;
    // One field may be spelt in two ways; its texts belong together.
    let mut fields: BTreeMap<String, (FieldPath, Vec<String>)> = BTreeMap::new();
    for (name, text) in pairs {
        match query_field(binding, &name) {
            Ok(field) => {
                let entry = fields
                    .entry(field.name())
                    .or_insert_with(|| (field, Vec::new()));
                entry.1.push(text);
            }
            Err(detail) => errors.push(error(name, "UNKNOWN_PARAMETER", detail)),
        }
    }
    for (name, (field, texts)) in fields {
        match field.parse(&texts) {
            _ if field.has_rival(message) => {
                let detail = "excludes another field that is given";
                errors.push(error(name, "INVALID_VALUE", detail));
            }
            Ok(value) => field.set(message, value),
            Err(detail) => errors.push(error(name, "INVALID_VALUE", detail)),
        }
    }
    Ok(())
}

/// The field that a query parameter may fill.
fn query_field(binding: &Binding, name: &str) -> Result<FieldPath, &'static str> {
    let field = FieldPath::resolve(&binding.input, name).ok_or("is not a known parameter")?;
    if binding.path.iter().any(|(_, bound)| *bound == field) {
        return Err("is given by the path");
    }
    match &binding.body {
        BodyRule::Whole => return Err("belongs in the body"),
        BodyRule::Field(body) if body == field.first() => return Err("belongs in the body"),
        BodyRule::Field(_) | BodyRule::None => {}
    }
    match field.text_shape() {
        TextShape::One | TextShape::Many => Ok(field),
        TextShape::None => Err("cannot be a parameter"),
    }
}

fn fill_from_path(
    message: &mut DynamicMessage,
    binding: &Binding,
    segments: &Segments<'_>,
    errors: &mut Vec<FieldError>,
) -> Result<(), Malformed> {
    for (variable, field) in &binding.path {
        let text = segments
            .text(variable)
            .map_err(|_| Malformed::Whole("the path is not properly encoded".to_owned()))?;
        let value = match field.parse(&[text]) {
            Ok(value) => value,
            Err(detail) => {
                errors.push(error(field.name(), "INVALID_VALUE", detail));
                continue;
            }
        };
        let contradicts = field.get(message).is_some_and(|given| given != value);
        if contradicts || field.has_rival(message) {
            errors.push(error(
                field.name(),
                "CONTRADICTS_PATH",
                "differs from the path",
            ));
        } else {
            field.set(message, value);
        }
    }
    Ok(())
}

fn error(field: String, reason: &str, detail: impl Into<String>) -> FieldError {
    FieldError {
        field,
        reason: Some(reason.to_owned()),
        detail: detail.into(),
    }
}
