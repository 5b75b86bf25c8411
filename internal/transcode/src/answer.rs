//! Answers as proto3 JSON, straight from the bytes that the service has sent.
//!
//! No message is built: a pass over the bytes notes where each field is, then the fields are written in the
//! order of their numbers. What JSON has a form of its own for (`google.protobuf.Any`, `Struct` …) is left to
//! prost-reflect, which also is what the tests compare everything with.
//!
//! Source: Protocol Buffers, "Encoding" and "ProtoJSON Format".

mod shape;
#[cfg(test)]
mod tests;
mod wire;

use indexmap::IndexMap;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, MessageDescriptor, ReflectMessage, SerializeOptions,
};

use shape::{Field, Fields, Form, Keeping, Scalar, Shape, Shapes, Value};
use wire::{Found, Raw, Split};

/// As deep as prost reads messages.
const DEPTH_MAX: u32 = 100;

/// An answer that is no message of its type, or has no JSON.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the bytes are no message: {0}")]
    Wire(#[from] prost::DecodeError),
    #[error("the bytes of field {0} are of another type")]
    Type(u32),
    #[error("a message is cut off")]
    CutOff,
    #[error("field {0} is no UTF-8")]
    Text(u32),
    #[error("the message is too deep")]
    Depth,
    #[error("a value has no JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("a time is out of range")]
    Time,
}

/// Writes messages of one type, or one field of them.
#[derive(Debug)]
pub(crate) struct Writer {
    shapes: Shapes,
    root: usize,
    only: Option<usize>,
}

impl Writer {
    /// For messages of this type; `only`: a field of it, which alone is written.
    pub(crate) fn new(message: &MessageDescriptor, only: Option<&FieldDescriptor>) -> Self {
        let mut shapes = Shapes::default();
        let root = match only {
            None => shapes.place(message),
            Some(_) => shapes.plain(message),
        };
        let only = only.and_then(|field| shapes.fields(root).place(0, field.number()));
        Self { shapes, root, only }
    }

    /// Writes a message with default values; a message field that is not set is `null` when asked for alone,
    /// and left out otherwise.
    ///
    /// # Errors
    /// The bytes are no such message, or something of it has no JSON.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let mut writing = Writing {
            shapes: &self.shapes,
            out: Vec::with_capacity(bytes.len() * 2 + 64),
            found: Vec::new(),
        };
        match self.only {
            None => writing.message(self.root, &Split::One(bytes), 0)?,
            Some(index) => writing.alone(self.root, index, bytes)?,
        }
        Ok(writing.out)
    }

    /// The last value of a string field of the message; `None`: it is not there, or no text.
    pub(crate) fn text(bytes: &[u8], number: u32) -> Option<&str> {
        let mut last = None;
        let mut rest = bytes;
        while let Ok(Some((found, raw))) = wire::next(&mut rest) {
            if let (true, Raw::Bytes(text)) = (found == number, raw) {
                last = std::str::from_utf8(text).ok();
            }
        }
        last
    }
}

struct Writing<'s, 'b> {
    shapes: &'s Shapes,
    out: Vec<u8>,
    /// Fields of the messages that are being written, the innermost last.
    found: Vec<Found<'b>>,
}

impl<'s, 'b> Writing<'s, 'b> {
    fn message(&mut self, shape: usize, bytes: &Split<'b>, depth: u32) -> Result<(), Error> {
        if depth > DEPTH_MAX {
            return Err(Error::Depth);
        }
        match self.shapes.get(shape) {
            Shape::Object(fields) => {
                let base = self.found.len();
                self.find(fields, bytes)?;
                self.out.push(b'{');
                let mut next = base;
                let mut first = true;
                for (index, field) in fields.iter() {
                    let begin = next;
                    while self.found.get(next).is_some_and(|f| f.field == index) {
                        next += 1;
                    }
                    if begin == next && field.keeping == Keeping::Presence {
                        continue;
                    }
                    if !first {
                        self.out.push(b',');
                    }
                    first = false;
                    self.out.extend_from_slice(&field.key);
                    self.field(field, begin..next, depth)?;
                }
                self.out.push(b'}');
                self.found.truncate(base);
                Ok(())
            }
            Shape::Timestamp => self.timestamp(bytes),
            Shape::Own(message) => self.dynamic(message, bytes),
        }
    }

    /// One field of a message, and nothing around it.
    fn alone(&mut self, shape: usize, index: usize, bytes: &'b [u8]) -> Result<(), Error> {
        let fields = self.shapes.fields(shape);
        self.find(fields, &Split::One(bytes))?;
        let begin = self.found.partition_point(|found| found.field < index);
        let end = self.found.partition_point(|found| found.field <= index);
        let field = fields.get(index);
        if begin == end && field.keeping == Keeping::Presence {
            self.out.extend_from_slice(b"null");
            return Ok(());
        }
        self.field(field, begin..end, 0)
    }

    /// Notes where the known fields are, in the order of fields, those of one field in the order of the bytes.
    fn find(&mut self, fields: &'s Fields, bytes: &Split<'b>) -> Result<(), Error> {
        let base = self.found.len();
        let mut in_order = true;
        let mut guess = 0;
        for part in bytes.parts() {
            let mut rest = part;
            while let Some((number, raw)) = wire::next(&mut rest)? {
                let Some(index) = fields.place(guess, number) else {
                    continue;
                };
                let field = fields.get(index);
                field.value.accept(field, raw)?;
                if let Some(oneof) = field.oneof {
                    // of several, the last one counts
                    let is_rival = |found: &Found<'_>| {
                        found.field != index && fields.get(found.field).oneof == Some(oneof)
                    };
                    let mut at = base;
                    while at < self.found.len() {
                        if is_rival(&self.found[at]) {
                            self.found.remove(at);
                        } else {
                            at += 1;
                        }
                    }
                }
                in_order &= index >= guess;
                guess = index;
                self.found.push(Found { field: index, raw });
            }
        }
        if !in_order {
            self.found[base..].sort_by_key(|found| found.field);
        }
        Ok(())
    }

    fn field(
        &mut self,
        field: &'s Field,
        at: std::ops::Range<usize>,
        depth: u32,
    ) -> Result<(), Error> {
        match field.keeping {
            Keeping::List => self.list(field, at, depth),
            Keeping::Map => self.map(field, at, depth),
            Keeping::Presence | Keeping::Default => match &field.value {
                Value::Message(shape) => {
                    let inner = self.merged(at);
                    self.message(*shape, &inner, depth + 1)
                }
                Value::Scalar(scalar) => {
                    let last = at.last().map(|last| self.found[last].raw);
                    self.scalar(scalar, field.number, last)
                }
            },
        }
    }

    /// The bytes of a message field: a message that comes in parts is what the parts are together.
    fn merged(&self, at: std::ops::Range<usize>) -> Split<'b> {
        match &self.found[at] {
            [] => Split::One(&[]),
            [one] => Split::One(one.raw.bytes()),
            parts => Split::Many(parts.iter().map(|part| part.raw.bytes()).collect()),
        }
    }

    fn list(
        &mut self,
        field: &'s Field,
        at: std::ops::Range<usize>,
        depth: u32,
    ) -> Result<(), Error> {
        self.out.push(b'[');
        let begin = self.out.len();
        for index in at {
            let raw = self.found[index].raw;
            match &field.value {
                Value::Message(shape) => {
                    self.comma(begin);
                    self.message(*shape, &Split::One(raw.bytes()), depth + 1)?;
                }
                Value::Scalar(scalar) => match raw {
                    Raw::Bytes(mut packed) if scalar.is_packable() => {
                        while let Some(raw) = scalar.unpack(&mut packed)? {
                            self.comma(begin);
                            self.scalar(scalar, field.number, Some(raw))?;
                        }
                    }
                    raw => {
                        self.comma(begin);
                        self.scalar(scalar, field.number, Some(raw))?;
                    }
                },
            }
        }
        self.out.push(b']');
        Ok(())
    }

    /// Separates what follows from what was written since `begin`, if anything was.
    fn comma(&mut self, begin: usize) {
        if self.out.len() > begin {
            self.out.push(b',');
        }
    }

    /// An object; of entries with one key the last counts.
    fn map(
        &mut self,
        field: &'s Field,
        at: std::ops::Range<usize>,
        depth: u32,
    ) -> Result<(), Error> {
        let Value::Message(entry) = field.value else {
            return Err(Error::Type(field.number));
        };
        let fields = self.shapes.fields(entry);
        let (key, value) = (fields.get(0), fields.get(1));
        let mut entries: IndexMap<Vec<u8>, Split<'b>> = IndexMap::new();
        for index in at {
            let bytes = self.found[index].raw.bytes();
            let base = self.found.len();
            self.find(fields, &Split::One(bytes))?;
            let second = base + self.found[base..].partition_point(|found| found.field < 1);
            let begin = self.out.len();
            let last = (base..second).last().map(|last| self.found[last].raw);
            self.scalar(self.scalar_of(key)?, key.number, last)?;
            let mut text = self.out.split_off(begin);
            if text.first() != Some(&b'"') {
                text.insert(0, b'"');
                text.push(b'"');
            }
            self.found.truncate(base);
            entries.insert(text, Split::One(bytes));
        }
        self.out.push(b'{');
        let begin = self.out.len();
        for (text, bytes) in entries {
            self.comma(begin);
            self.out.extend_from_slice(&text);
            self.out.push(b':');
            let base = self.found.len();
            self.find(fields, &bytes)?;
            let second = base + self.found[base..].partition_point(|found| found.field < 1);
            let all = second..self.found.len();
            match &value.value {
                Value::Message(shape) => {
                    let inner = self.merged(all);
                    self.message(*shape, &inner, depth + 2)?;
                }
                Value::Scalar(scalar) => {
                    let last = all.last().map(|last| self.found[last].raw);
                    self.scalar(scalar, value.number, last)?;
                }
            }
            self.found.truncate(base);
        }
        self.out.push(b'}');
        Ok(())
    }

    fn scalar_of(&self, field: &'s Field) -> Result<&'s Scalar, Error> {
        match &field.value {
            Value::Scalar(scalar) => Ok(scalar),
            Value::Message(_) => Err(Error::Type(field.number)),
        }
    }

    /// A value, or the default of its type.
    fn scalar(&mut self, scalar: &Scalar, number: u32, raw: Option<Raw<'b>>) -> Result<(), Error> {
        let bits = raw.map_or(0, Raw::bits);
        match &scalar.form {
            Form::Bool => self
                .out
                .extend_from_slice(if bits == 0 { b"false" } else { b"true" }),
            Form::Int32 => serde_json::to_writer(&mut self.out, &wire::low(bits).cast_signed())?,
            Form::Sint32 => serde_json::to_writer(&mut self.out, &wire::zigzag32(bits))?,
            Form::Uint32 => serde_json::to_writer(&mut self.out, &wire::low(bits))?,
            Form::Int64 => self.quoted(bits.cast_signed())?,
            Form::Sint64 => self.quoted(wire::zigzag64(bits))?,
            Form::Uint64 => self.quoted(bits)?,
            Form::Float => {
                let value = f32::from_bits(wire::low(bits));
                match unspoken(f64::from(value)) {
                    Some(word) => self.out.extend_from_slice(word),
                    None => serde_json::to_writer(&mut self.out, &value)?,
                }
            }
            Form::Double => {
                let value = f64::from_bits(bits);
                match unspoken(value) {
                    Some(word) => self.out.extend_from_slice(word),
                    None => serde_json::to_writer(&mut self.out, &value)?,
                }
            }
            Form::String => {
                let bytes = raw.map_or(&[][..], |raw| raw.bytes());
                let text = std::str::from_utf8(bytes).map_err(|_| Error::Text(number))?;
                serde_json::to_writer(&mut self.out, text)?;
            }
            Form::Bytes => {
                let bytes = raw.map_or(&[][..], |raw| raw.bytes());
                let text = base64::display::Base64Display::new(
                    bytes,
                    &base64::engine::general_purpose::STANDARD,
                );
                self.out.extend_from_slice(format!("\"{text}\"").as_bytes());
            }
            Form::Enum { names, first } => {
                let value = raw.map_or(*first, |_| wire::low(bits).cast_signed());
                match names.binary_search_by_key(&value, |name| name.number) {
                    Ok(at) => self.out.extend_from_slice(&names[at].json),
                    Err(_) => serde_json::to_writer(&mut self.out, &value)?,
                }
            }
            Form::Null => self.out.extend_from_slice(b"null"),
        }
        Ok(())
    }

    /// Numbers of 64 bits are text, because JavaScript's are not so long.
    fn quoted(&mut self, value: impl serde::Serialize) -> Result<(), Error> {
        self.out.push(b'"');
        serde_json::to_writer(&mut self.out, &value)?;
        self.out.push(b'"');
        Ok(())
    }

    fn timestamp(&mut self, bytes: &Split<'b>) -> Result<(), Error> {
        let mut time = prost_types::Timestamp::default();
        for part in bytes.parts() {
            prost::Message::merge(&mut time, part)?;
        }
        // of 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999999Z there is text
        time.normalize();
        if !(-62_135_596_800..=253_402_300_799).contains(&time.seconds) {
            return Err(Error::Time);
        }
        self.out.extend_from_slice(format!("\"{time}\"").as_bytes());
        Ok(())
    }

    fn dynamic(&mut self, message: &MessageDescriptor, bytes: &Split<'b>) -> Result<(), Error> {
        let mut dynamic = DynamicMessage::new(message.clone());
        for part in bytes.parts() {
            prost::Message::merge(&mut dynamic, part)?;
        }
        debug_assert_eq!(&dynamic.descriptor(), message);
        let options = SerializeOptions::new().skip_default_fields(false);
        let mut serializer = serde_json::Serializer::new(&mut self.out);
        Ok(dynamic.serialize_with_options(&mut serializer, &options)?)
    }
}

/// Numbers that JSON has no number for.
fn unspoken(value: f64) -> Option<&'static [u8]> {
    if value.is_nan() {
        Some(b"\"NaN\"")
    } else if value == f64::INFINITY {
        Some(b"\"Infinity\"")
    } else if value == f64::NEG_INFINITY {
        Some(b"\"-Infinity\"")
    } else {
        None
    }
}
