//! What is known of a message before any comes.

use std::collections::HashMap;

use prost::encoding::WireType;
use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor};

use super::Error;
use super::wire::{self, Raw};

/// The types of messages that a message can hold, itself first.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    shapes: Vec<Shape>,
    known: HashMap<String, usize>,
}

#[derive(Debug)]
pub(super) enum Shape {
    Object(Fields),
    /// RFC 3339.
    Timestamp,
    /// JSON has a form of its own for it, or it holds what this module does not know.
    Own(MessageDescriptor),
}

/// Fields by number.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<Field>);

#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    /// `"name":`
    pub(super) key: Box<[u8]>,
    pub(super) value: Value,
    pub(super) keeping: Keeping,
    /// Which of the message's.
    pub(super) oneof: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeping {
    /// Left out when it is not there.
    Presence,
    /// The default of its type when it is not there.
    Default,
    List,
    Map,
}

#[derive(Debug)]
pub(super) enum Value {
    Scalar(Scalar),
    /// The place of its shape.
    Message(usize),
}

#[derive(Debug)]
pub(super) struct Scalar {
    pub(super) form: Form,
    wire: WireType,
}

/// How a scalar is written.
#[derive(Debug)]
pub(super) enum Form {
    Bool,
    Int32,
    Sint32,
    Uint32,
    Int64,
    Sint64,
    Uint64,
    Float,
    Double,
    String,
    Bytes,
    Enum {
        /// By number.
        names: Vec<Name>,
        /// The default.
        first: i32,
    },
    /// `google.protobuf.NullValue`.
    Null,
}

#[derive(Debug)]
pub(super) struct Name {
    pub(super) number: i32,
    /// With its quotes.
    pub(super) json: Box<[u8]>,
}

impl Shapes {
    pub(super) fn get(&self, place: usize) -> &Shape {
        &self.shapes[place]
    }

    /// The fields of a shape; none of what has JSON of its own.
    pub(super) fn fields(&self, place: usize) -> &Fields {
        const NONE: &Fields = &Fields(Vec::new());
        match &self.shapes[place] {
            Shape::Object(fields) => fields,
            Shape::Timestamp | Shape::Own(_) => NONE,
        }
    }

    /// The place of a shape with the fields of this message, whatever JSON the message as a whole has.
    pub(super) fn plain(&mut self, message: &MessageDescriptor) -> usize {
        let fields = message.fields().map(|field| self.field(&field)).collect();
        self.shapes.push(Shape::Object(Fields(fields)));
        self.shapes.len() - 1
    }

    /// The place of a message's shape, which is made when it is not there.
    pub(super) fn place(&mut self, message: &MessageDescriptor) -> usize {
        if let Some(&place) = self.known.get(message.full_name()) {
            return place;
        }
        let place = self.shapes.len();
        self.known.insert(message.full_name().to_owned(), place);
        // its own fields may be of its own type
        self.shapes.push(Shape::Own(message.clone()));
        let has_more = message.extensions().len() > 0;
        let shape = if message.full_name() == "google.protobuf.Timestamp" {
            Shape::Timestamp
        } else if is_well_known(message) || has_more || message.fields().any(|f| f.is_group()) {
            return place;
        } else {
            Shape::Object(Fields(message.fields().map(|f| self.field(&f)).collect()))
        };
        self.shapes[place] = shape;
        place
    }

    fn field(&mut self, field: &FieldDescriptor) -> Field {
        let keeping = if field.is_map() {
            Keeping::Map
        } else if field.cardinality() == Cardinality::Repeated {
            Keeping::List
        } else if field.supports_presence() {
            Keeping::Presence
        } else {
            Keeping::Default
        };
        let value = match field.kind() {
            Kind::Message(message) => Value::Message(self.place(&message)),
            kind => Value::Scalar(Scalar::of(&kind)),
        };
        Field {
            number: field.number(),
            key: format!("{}:", quoted(field.json_name()))
                .into_bytes()
                .into(),
            value,
            keeping,
            oneof: field
                .containing_oneof()
                .and_then(|oneof| field.parent_message().oneofs().position(|o| o == oneof)),
        }
    }
}

impl Fields {
    pub(super) fn get(&self, index: usize) -> &Field {
        &self.0[index]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Field)> {
        self.0.iter().enumerate()
    }

    /// The place of a number, which most often is at `guess` or the next.
    pub(super) fn place(&self, guess: usize, number: u32) -> Option<usize> {
        let is_it = |index: &usize| self.0.get(*index).is_some_and(|f| f.number == number);
        [guess, guess + 1]
            .into_iter()
            .find(is_it)
            .or_else(|| self.0.binary_search_by_key(&number, |f| f.number).ok())
    }
}

impl Value {
    /// The value of a field as it was found.
    pub(super) fn accept(&self, field: &Field, raw: Raw<'_>) -> Result<(), Error> {
        let fits = match (self, raw) {
            (Self::Message(_), Raw::Bytes(_)) => true,
            (Self::Message(_), Raw::Bits(..)) => false,
            (Self::Scalar(scalar), Raw::Bits(wire, _)) => scalar.wire == wire,
            (Self::Scalar(scalar), Raw::Bytes(_)) => {
                !scalar.is_packable() || field.keeping == Keeping::List
            }
        };
        if fits {
            Ok(())
        } else {
            Err(Error::Type(field.number))
        }
    }
}

impl Scalar {
    fn of(kind: &Kind) -> Self {
        let (form, wire) = match kind {
            Kind::Bool => (Form::Bool, WireType::Varint),
            Kind::Int32 => (Form::Int32, WireType::Varint),
            Kind::Sint32 => (Form::Sint32, WireType::Varint),
            Kind::Uint32 => (Form::Uint32, WireType::Varint),
            Kind::Int64 => (Form::Int64, WireType::Varint),
            Kind::Sint64 => (Form::Sint64, WireType::Varint),
            Kind::Uint64 => (Form::Uint64, WireType::Varint),
            Kind::Sfixed32 => (Form::Int32, WireType::ThirtyTwoBit),
            Kind::Fixed32 => (Form::Uint32, WireType::ThirtyTwoBit),
            Kind::Sfixed64 => (Form::Int64, WireType::SixtyFourBit),
            Kind::Fixed64 => (Form::Uint64, WireType::SixtyFourBit),
            Kind::Float => (Form::Float, WireType::ThirtyTwoBit),
            Kind::Double => (Form::Double, WireType::SixtyFourBit),
            Kind::String => (Form::String, WireType::LengthDelimited),
            Kind::Bytes | Kind::Message(_) => (Form::Bytes, WireType::LengthDelimited),
            Kind::Enum(named) if named.full_name() == "google.protobuf.NullValue" => {
                (Form::Null, WireType::Varint)
            }
            Kind::Enum(named) => {
                let mut names: Vec<Name> = named
                    .values()
                    .filter_map(|value| {
                        let number = value.number();
                        // of aliases the first
                        let json = quoted(named.get_value(number)?.name()).into_bytes().into();
                        Some(Name { number, json })
                    })
                    .collect();
                names.sort_by_key(|name| name.number);
                names.dedup_by_key(|name| name.number);
                let first = named.default_value().number();
                (Form::Enum { names, first }, WireType::Varint)
            }
        };
        Self { form, wire }
    }

    /// Whether several may stand in one field, without their numbers.
    pub(super) fn is_packable(&self) -> bool {
        self.wire != WireType::LengthDelimited
    }

    /// Takes the next of a packed field.
    pub(super) fn unpack<'b>(&self, packed: &mut &'b [u8]) -> Result<Option<Raw<'b>>, Error> {
        if packed.is_empty() {
            return Ok(None);
        }
        wire::value(self.wire, packed).map(Some)
    }
}

/// Whether its JSON is not simply an object of its fields. The sources of prost-reflect have the same list.
fn is_well_known(message: &MessageDescriptor) -> bool {
    let name = message.full_name().strip_prefix("google.protobuf.");
    name.is_some_and(|name| {
        name.ends_with("Value")
            || matches!(name, "Any" | "Duration" | "Struct" | "Empty" | "FieldMask")
    })
}

fn quoted(name: &str) -> String {
    serde_json::Value::from(name).to_string()
}
