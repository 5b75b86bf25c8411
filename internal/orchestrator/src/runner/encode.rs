//! Commands from bindings: the kernel names fields, this room copies them.

use std::sync::Arc;

use bytes::Bytes;
use palinode_messaging::{Topic, commands_of};
use palinode_pb::DESCRIPTORS;
use palinode_saga::{Binding, Cause, Message, Plan, Schema, Source};
use prost::DecodeError;
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, encode_key, skip_field};
use prost_reflect::DynamicMessage;

use super::registry::DescriptorSchema;

/// A message as it is stored: full name and bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) kind: Arc<str>,
    pub(crate) body: Bytes,
}

/// What a saga has to bind from: its input and the outputs so far; and the commands that were
/// sent. By slot; a handful.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Payloads(Vec<(Arc<str>, Payload)>);

impl Payloads {
    pub(crate) fn get(&self, slot: &str) -> Option<&Payload> {
        let found = self.0.iter().rfind(|(name, _)| &**name == slot);
        found.map(|(_, payload)| payload)
    }

    /// Adds it, unless the slot is taken: what is stored stays as it is. Only an operator may say
    /// something else than before, and his last word counts.
    pub(crate) fn add(&mut self, slot: &Arc<str>, payload: Payload) {
        let is_new = match self.get(slot) {
            Some(before) => slot.starts_with(CLAIMED) && *before != payload,
            None => true,
        };
        if is_new {
            self.0.push((Arc::clone(slot), payload));
        }
    }

    /// Adds the others, which are younger.
    pub(crate) fn append(&mut self, others: Self) {
        for (slot, payload) in others.0 {
            self.add(&slot, payload);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Bytes of the messages.
    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(|(_, payload)| payload.body.len()).sum()
    }

    /// The stored form of what was added after the first `from`; `None` when that is nothing.
    pub(crate) fn pack(&self, from: usize) -> Option<Vec<u8>> {
        let added = self.0.get(from..).filter(|added| !added.is_empty())?;
        let slots = added.iter().map(|(slot, payload)| Packed {
            slot: slot.to_string(),
            kind: payload.kind.to_string(),
            body: payload.body.clone(),
        });
        let slots = slots.collect();
        Some(PackedSlots { slots }.encode_to_vec())
    }

    /// Adds what is in the stored form.
    pub(crate) fn unpack(&mut self, stored: &[u8]) -> Result<(), DecodeError> {
        for packed in PackedSlots::decode(stored)?.slots {
            let (kind, body) = (packed.kind.into(), packed.body);
            self.add(&packed.slot.into(), Payload { kind, body });
        }
        Ok(())
    }
}

/// The payloads that came with a transition, as its history row keeps them.
#[derive(Clone, PartialEq, prost::Message)]
struct PackedSlots {
    #[prost(message, repeated, tag = "1")]
    slots: Vec<Packed>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Packed {
    #[prost(string, tag = "1")]
    slot: String,
    #[prost(string, tag = "2")]
    kind: String,
    #[prost(bytes = "bytes", tag = "3")]
    body: Bytes,
}

/// A command that cannot be built: the plan and the contracts do not fit each other.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum EncodeError {
    #[error("message {0} is not in the contracts")]
    UnknownMessage(String),
    #[error("{0} has no field {1}")]
    UnknownField(String, String),
    #[error("the stored {slot} cannot be read")]
    Unreadable {
        slot: Arc<str>,
        #[source]
        source: DecodeError,
    },
    #[error("the saga has no stored input")]
    NoInput,
}

/// The slot of the saga's input.
pub(crate) const INPUT: &str = "input";

/// Begins the slots of what operators said that steps would have answered.
const CLAIMED: &str = "hand/";

/// What is worked out once of a step of a plan: its slots, and how its commands are built.
#[derive(Debug)]
pub(crate) struct StepCodec {
    /// Of its output.
    pub(crate) output: Arc<str>,
    /// Of what an operator said that it would have answered.
    pub(crate) claimed: Arc<str>,
    /// Where its commands go.
    pub(crate) topic: Option<Topic>,
    pub(crate) action: Option<CommandCodec>,
    pub(crate) compensation: Option<CommandCodec>,
}

/// How a command is built.
#[derive(Debug)]
pub(crate) struct CommandCodec {
    /// Of the command, which is sent again byte for byte.
    pub(crate) slot: Arc<str>,
    /// Full name of the message.
    pub(crate) kind: Arc<str>,
    /// In the order of the command's fields.
    fields: Result<Vec<Field>, EncodeError>,
}

#[derive(Debug)]
struct Field {
    number: u32,
    from: Origin,
}

#[derive(Debug)]
enum Origin {
    /// A field of a stored message; `number` is its number in a message of that `kind`.
    Slot {
        slot: Arc<str>,
        kind: String,
        number: u32,
        name: String,
    },
    CauseReason,
    CauseDetail,
}

impl StepCodec {
    /// One for each step of the plan, in its order.
    pub(crate) fn of(plan: &Plan) -> Vec<Self> {
        let codec = |message: &Option<Message>, prefix: &str, step: &str| {
            message.as_ref().map(|message| CommandCodec {
                slot: format!("{prefix}/{step}").into(),
                kind: message.name.as_str().into(),
                fields: fields(plan, message),
            })
        };
        let steps = plan.steps().iter().map(|step| Self {
            output: output_slot(&step.name),
            claimed: format!("{CLAIMED}{}", step.name).into(),
            topic: commands_of(&step.participant),
            action: codec(&step.action, "cmd", &step.name),
            compensation: codec(&step.compensation, "undo", &step.name),
        });
        steps.collect()
    }
}

fn output_slot(step: &str) -> Arc<str> {
    format!("out/{step}").into()
}

fn fields(plan: &Plan, message: &Message) -> Result<Vec<Field>, EncodeError> {
    let field = |binding: &Binding| {
        let (slot, kind, name) = match &binding.source {
            Source::Input { field } => (INPUT.into(), plan.input().to_owned(), field),
            Source::Output { step, field } => (output_slot(step), output_kind(plan, step)?, field),
            Source::CauseReason => return Ok(Origin::CauseReason),
            Source::CauseDetail => return Ok(Origin::CauseDetail),
        };
        Ok(Origin::Slot {
            slot,
            number: number(&kind, name)?,
            kind,
            name: name.clone(),
        })
    };
    let fields = message.bindings.iter().map(|binding| {
        Ok(Field {
            number: number(&message.name, &binding.field)?,
            from: field(binding)?,
        })
    });
    let mut fields: Vec<Field> = fields.collect::<Result<_, EncodeError>>()?;
    fields.sort_by_key(|field| field.number);
    Ok(fields)
}

/// The message that the step of that name answers.
fn output_kind(plan: &Plan, step: &str) -> Result<String, EncodeError> {
    let unknown = || EncodeError::UnknownMessage(format!("answered by {step}"));
    let position = plan.position(step).ok_or_else(unknown)?;
    let action = plan.steps()[position].action.as_ref().ok_or_else(unknown)?;
    let shape = DescriptorSchema::default().message(&action.name);
    shape.and_then(|shape| shape.output).ok_or_else(unknown)
}

fn number(kind: &str, field: &str) -> Result<u32, EncodeError> {
    let message = DESCRIPTORS
        .get_message_by_name(kind)
        .ok_or_else(|| EncodeError::UnknownMessage(kind.to_owned()))?;
    let found = message.get_field_by_name(field);
    found
        .map(|field| field.number())
        .ok_or_else(|| EncodeError::UnknownField(kind.to_owned(), field.to_owned()))
}

impl CommandCodec {
    /// Builds the command: each bound field is copied from where the plan says, as it stands on
    /// the wire. The types of both were compared when the plan was resolved. An output that is not
    /// there, because the outcome of its step is unknown, leaves its field empty.
    pub(crate) fn encode(
        &self,
        payloads: &Payloads,
        cause: Option<&Cause>,
    ) -> Result<Bytes, EncodeError> {
        let fields = self.fields.as_ref().map_err(Clone::clone)?;
        let mut command = Vec::with_capacity(256);
        for field in fields {
            match &field.from {
                Origin::Slot {
                    slot,
                    kind,
                    number,
                    name,
                } => {
                    let Some(payload) = payloads.get(slot) else {
                        if &**slot == INPUT {
                            return Err(EncodeError::NoInput);
                        }
                        continue;
                    };
                    // a saga that was migrated may have the message of another version
                    let number = if *payload.kind == **kind {
                        *number
                    } else {
                        self::number(&payload.kind, name)?
                    };
                    copy(&payload.body, number, field.number, &mut command).map_err(|source| {
                        let slot = Arc::clone(slot);
                        EncodeError::Unreadable { slot, source }
                    })?;
                }
                Origin::CauseReason => {
                    put_text(field.number, cause.map_or("", Cause::reason), &mut command);
                }
                Origin::CauseDetail => {
                    let detail = cause.map(Cause::detail).unwrap_or_default();
                    put_text(field.number, &detail, &mut command);
                }
            }
        }
        Ok(command.into())
    }
}

/// Copies every value of the field `from` to the field `to`.
fn copy(mut message: &[u8], from: u32, to: u32, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    while !message.is_empty() {
        let (number, wire) = decode_key(&mut message)?;
        let value = message;
        skip_field(wire, number, &mut message, DecodeContext::default())?;
        if number == from {
            encode_key(to, wire, out);
            out.extend_from_slice(&value[..value.len() - message.len()]);
        }
    }
    Ok(())
}

fn put_text(number: u32, text: &str, out: &mut Vec<u8>) {
    if !text.is_empty() {
        encode_key(number, WireType::LengthDelimited, out);
        prost::encoding::encode_varint(text.len() as u64, out);
        out.extend_from_slice(text.as_bytes());
    }
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
    let descriptor = DESCRIPTORS
        .get_message_by_name(&kind)
        .ok_or_else(|| EncodeError::UnknownMessage(kind.clone()))?;
    let mut reader = serde_json::Deserializer::from_str(json);
    let message = DynamicMessage::deserialize(descriptor, &mut reader)
        .and_then(|message| reader.end().map(|()| message))
        .map_err(|error| OutputError::Json(kind.clone(), error))?;
    Ok(Payload {
        kind: kind.into(),
        body: message.encode_to_vec().into(),
    })
}

#[cfg(test)]
mod tests;
