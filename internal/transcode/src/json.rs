//! Proto3 JSON to messages, with the path of every field that is wrong.

use std::collections::HashMap;

use prost_reflect::{
    DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value,
};
use serde_json::{Map, Value as Json};

use crate::problem::FieldError;

/// More wrong fields than this are not listed: nobody reads them, and they cost time.
const ERRORS_MAX: usize = 50;

/// A body that does not fit its message.
#[derive(Debug)]
pub(crate) struct Rejected {
    /// For the whole body, when no single field is to blame.
    pub(crate) detail: String,
    /// The wrong fields in order, at most [`ERRORS_MAX`]; may be empty.
    pub(crate) errors: Vec<FieldError>,
}

/// Reads a message, strictly: an unknown field is an error.
///
/// The straight way says no more than that something is wrong. Only then the tree is walked
/// against the descriptor, to name all that is.
pub(crate) fn decode(message: &MessageDescriptor, json: &Json) -> Result<DynamicMessage, Rejected> {
    read_message(message, json).map_err(|error| {
        let mut inspection = Inspection::default();
        if !has_own_json(message) {
            inspection.message(message, json, "");
        }
        Rejected {
            detail: error.to_string(),
            errors: inspection.errors,
        }
    })
}

fn read_message(
    message: &MessageDescriptor,
    json: &Json,
) -> Result<DynamicMessage, serde_json::Error> {
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    DynamicMessage::deserialize_with_options(message.clone(), json, &options)
}

/// Reads one field's value as it would be read inside its message; none when it does not fit.
pub(crate) fn read_field(field: &FieldDescriptor, json: Json) -> Option<Value> {
    let object = Json::Object(Map::from_iter([(field.json_name().to_owned(), json)]));
    let message = read_message(field.parent_message(), &object).ok()?;
    Some(message.get_field(field).into_owned())
}

/// A field by its JSON name or its original name.
pub(crate) fn field_of(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message
        .get_field_by_json_name(name)
        .or_else(|| message.get_field_by_name(name))
}

/// Whether a well-known type is one scalar in JSON, so that a query parameter can hold it.
pub(crate) fn is_text(message: &MessageDescriptor) -> bool {
    let name = message.full_name().strip_prefix("google.protobuf.");
    name.is_some_and(|name| {
        matches!(name, "Timestamp" | "Duration" | "FieldMask")
            || name.ends_with("Value") && !matches!(name, "Value" | "ListValue")
    })
}

/// Whether the JSON of this type is not simply an object of its fields.
fn has_own_json(message: &MessageDescriptor) -> bool {
    is_text(message)
        || matches!(
            message.full_name(),
            "google.protobuf.Any"
                | "google.protobuf.Struct"
                | "google.protobuf.Value"
                | "google.protobuf.ListValue"
        )
}

/// What a value of this kind must be, to follow the name of a field.
pub(crate) fn expectation(kind: &Kind) -> String {
    let words = match kind {
        Kind::Double | Kind::Float => "must be a number",
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "must be a 32-bit integer",
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "must be a 64-bit integer",
        Kind::Uint32 | Kind::Fixed32 => "must be an unsigned 32-bit integer",
        Kind::Uint64 | Kind::Fixed64 => "must be an unsigned 64-bit integer",
        Kind::Bool => "must be true or false",
        Kind::String => "must be a string",
        Kind::Bytes => "must be a base64 string",
        Kind::Enum(names) => {
            let names: Vec<_> = names
                .values()
                .map(|value| value.name().to_owned())
                .collect();
            return format!("must be one of {}", names.join(", "));
        }
        Kind::Message(message) => match message.name() {
            "Timestamp" => "must be a timestamp such as 2025-01-31T12:00:00Z",
            "Duration" => "must be seconds such as 1.5s",
            "FieldMask" => "must be field names with commas between them",
            "Any" => "must be an object with the @type of a known message",
            _ => return wrapped_expectation(message),
        },
    };
    words.to_owned()
}

fn wrapped_expectation(message: &MessageDescriptor) -> String {
    match message.get_field_by_name("value") {
        Some(value) if is_text(message) => expectation(&value.kind()),
        _ => format!("must be a {}", message.full_name()),
    }
}

/// The message that an `Any` holds, and its fields; none where its `@type` tells of no message.
fn held(any: &MessageDescriptor, json: &Json) -> Option<(MessageDescriptor, Json)> {
    let mut members = match json {
        Json::Object(members) if any.full_name() == "google.protobuf.Any" => members.clone(),
        _ => return None,
    };
    let url = members.remove("@type")?;
    let (_, name) = url.as_str()?.rsplit_once('/')?;
    let message = any.parent_pool().get_message_by_name(name)?;
    (!has_own_json(&message)).then_some((message, Json::Object(members)))
}

/// Looks for everything that is wrong in a tree of JSON.
#[derive(Default)]
struct Inspection {
    errors: Vec<FieldError>,
}

impl Inspection {
    fn message(&mut self, message: &MessageDescriptor, json: &Json, at: &str) {
        let Json::Object(members) = json else {
            if !at.is_empty() {
                self.blame(at, "INVALID_VALUE", "must be an object".to_owned());
            }
            return;
        };
        let mut chosen: HashMap<String, String> = HashMap::new();
        for (name, value) in members {
            if self.errors.len() == ERRORS_MAX {
                return;
            }
            let Some(field) = field_of(message, name) else {
                let at = member(at, name);
                self.blame(&at, "UNKNOWN_FIELD", "is not a known field".to_owned());
                continue;
            };
            if value.is_null() {
                continue;
            }
            let here = member(at, field.json_name());
            if let Some(oneof) = field.containing_oneof()
                && let Some(other) = chosen.insert(oneof.name().to_owned(), here.clone())
            {
                self.blame(&here, "CONFLICT", format!("excludes {other}"));
            }
            self.field(&field, value, &here);
        }
    }

    fn field(&mut self, field: &FieldDescriptor, json: &Json, at: &str) {
        match json {
            Json::Array(items) if field.is_list() => {
                for (index, item) in items.iter().enumerate() {
                    let probe = || Json::Array(vec![item.clone()]);
                    self.value(field, &field.kind(), item, &format!("{at}[{index}]"), probe);
                }
            }
            Json::Object(items) if field.is_map() => {
                let Kind::Message(entry) = field.kind() else {
                    return;
                };
                let kind = entry.map_entry_value_field().kind();
                for (key, item) in items {
                    let probe = || Json::Object(Map::from_iter([(key.clone(), item.clone())]));
                    self.value(field, &kind, item, &format!("{at}[{key:?}]"), probe);
                }
            }
            _ if field.is_list() => {
                self.blame(at, "INVALID_VALUE", "must be an array".to_owned());
            }
            _ if field.is_map() => {
                self.blame(at, "INVALID_VALUE", "must be an object".to_owned());
            }
            _ => self.value(field, &field.kind(), json, at, || json.clone()),
        }
    }

    /// `probe` is the value as the field would hold it alone: reading that tells whether it fits,
    /// by the very rules that read the whole.
    fn value(
        &mut self,
        field: &FieldDescriptor,
        kind: &Kind,
        json: &Json,
        at: &str,
        probe: impl Fn() -> Json,
    ) {
        if self.errors.len() == ERRORS_MAX {
            return;
        }
        if let Kind::Message(message) = kind
            && !has_own_json(message)
        {
            self.message(message, json, at);
        } else if let Kind::Message(any) = kind
            && let Some((message, json)) = held(any, json)
        {
            self.message(&message, &json, at);
        } else if read_field(field, probe()).is_none() {
            self.blame(at, "INVALID_VALUE", expectation(kind));
        }
    }

    fn blame(&mut self, at: &str, reason: &str, detail: String) {
        self.errors.push(FieldError {
            field: at.to_owned(),
            reason: Some(reason.to_owned()),
            detail,
        });
    }
}

fn member(at: &str, name: &str) -> String {
    match at {
        "" => name.to_owned(),
        _ => format!("{at}.{name}"),
    }
}
