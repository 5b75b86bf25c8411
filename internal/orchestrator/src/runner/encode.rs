//! Commands from bindings: the kernel names fields, this room copies them.

use std::collections::HashMap;

use bytes::Bytes;
use palinode_pb::DESCRIPTORS;
use palinode_saga::{Cause, Message, Schema, Source};
use prost::Message as _;
use prost_reflect::{DynamicMessage, ReflectMessage};

use super::registry::DescriptorSchema;

/// A message as it is stored: full name and bytes.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    pub(crate) kind: String,
    pub(crate) body: Bytes,
}

/// What a saga has to bind from: its input and the outputs so far, by slot.
pub(crate) type Payloads = HashMap<String, Payload>;

/// A command that cannot be built: the plan and the contracts do not fit each other.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncodeError {
    #[error("message {0} is not in the contracts")]
    UnknownMessage(String),
    #[error("{0} has no field {1}")]
    UnknownField(String, String),
    #[error("the stored {slot} cannot be read")]
    Unreadable {
        slot: String,
        #[source]
        source: prost::DecodeError,
    },
    #[error("the saga has no stored input")]
    NoInput,
}

/// The slot of the saga's input.
pub(crate) const INPUT: &str = "input";

/// The slot of a step's output.
pub(crate) fn output_slot(step: &str) -> String {
    format!("out/{step}")
}

/// The slot of what an operator said that a step would have answered.
pub(crate) fn claimed_slot(step: &str) -> String {
    format!("hand/{step}")
}

/// Why an operator's output cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    #[error(transparent)]
    Contract(#[from] EncodeError),
    #[error("{0} answers nothing that a later step could need")]
    None(String),
    #[error("it does not fit {0}: {1}")]
    Json(String, serde_json::Error),
}

/// Reads what an operator says that `command` would have answered.
///
/// Shape: `json` is an object of the command's output message; unknown fields are refused.
pub(crate) fn output_from_json(command: &Message, json: &str) -> Result<Payload, OutputError> {
    let none = || OutputError::None(command.name.clone());
    let schema = DescriptorSchema::default();
    let shape = schema.message(&command.name).ok_or_else(none)?;
    let kind = shape.output.ok_or_else(none)?;
    let descriptor = dynamic(&kind)?.descriptor();
    let mut reader = serde_json::Deserializer::from_str(json);
    let message = DynamicMessage::deserialize(descriptor, &mut reader)
        .and_then(|message| reader.end().map(|()| message))
        .map_err(|error| OutputError::Json(kind.clone(), error))?;
    Ok(Payload {
        kind,
        body: message.encode_to_vec().into(),
    })
}

/// Builds a command: each bound field is copied from where the plan says. An output that is not
/// there, because the outcome of its step is unknown, leaves its field empty.
pub(crate) fn command(
    message: &Message,
    payloads: &Payloads,
    cause: Option<&Cause>,
) -> Result<Bytes, EncodeError> {
    let mut command = dynamic(&message.name)?;
    let mut decoded: HashMap<String, DynamicMessage> = HashMap::new();
    for binding in &message.bindings {
        let field = field_of(&command, &binding.field)?;
        let (slot, source_field) = match &binding.source {
            Source::Input { field } => (INPUT.to_owned(), field),
            Source::Output { step, field } => (output_slot(step), field),
            Source::CauseReason => {
                set_text(&mut command, &field, cause.map(|c| c.reason().to_owned()));
                continue;
            }
            Source::CauseDetail => {
                set_text(&mut command, &field, cause.map(Cause::detail));
                continue;
            }
        };
        if !decoded.contains_key(&slot) {
            let Some(payload) = payloads.get(&slot) else {
                if slot == INPUT {
                    return Err(EncodeError::NoInput);
                }
                continue;
            };
            decoded.insert(slot.clone(), decode(&slot, payload)?);
        }
        if let Some(source) = decoded.get(&slot) {
            let from = field_of(source, source_field)?;
            if source.has_field(&from) {
                command.set_field(&field, source.get_field(&from).into_owned());
            }
        }
    }
    Ok(command.encode_to_vec().into())
}

fn set_text(
    command: &mut DynamicMessage,
    field: &prost_reflect::FieldDescriptor,
    text: Option<String>,
) {
    command.set_field(
        field,
        prost_reflect::Value::String(text.unwrap_or_default()),
    );
}

fn dynamic(name: &str) -> Result<DynamicMessage, EncodeError> {
    let descriptor = DESCRIPTORS
        .get_message_by_name(name)
        .ok_or_else(|| EncodeError::UnknownMessage(name.to_owned()))?;
    Ok(DynamicMessage::new(descriptor))
}

fn decode(slot: &str, payload: &Payload) -> Result<DynamicMessage, EncodeError> {
    let mut message = dynamic(&payload.kind)?;
    message
        .merge(payload.body.clone())
        .map_err(|source| EncodeError::Unreadable {
            slot: slot.to_owned(),
            source,
        })?;
    Ok(message)
}

fn field_of(
    message: &DynamicMessage,
    field: &str,
) -> Result<prost_reflect::FieldDescriptor, EncodeError> {
    let descriptor = message.descriptor();
    descriptor.get_field_by_name(field).ok_or_else(|| {
        EncodeError::UnknownField(descriptor.full_name().to_owned(), field.to_owned())
    })
}
