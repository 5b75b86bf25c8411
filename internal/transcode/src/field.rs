//! Fields of a request message, addressed by a dotted path and filled from text.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use serde_json::Value as Json;

use crate::json;

/// A field reached from a message through singular message fields; never empty.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FieldPath {
    parents: Vec<FieldDescriptor>,
    leaf: FieldDescriptor,
}

/// What a field can take from a path or a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextShape {
    /// One text.
    One,
    /// Any number of texts.
    Many,
    /// A map, or a message whose JSON is not one scalar.
    None,
}

impl FieldPath {
    /// Follows `a.b.c` from a message, by JSON or original names; none when there is no such field.
    pub(crate) fn resolve(message: &MessageDescriptor, path: &str) -> Option<Self> {
        let mut message = message.clone();
        let mut parents = Vec::new();
        let (ancestors, name) = match path.rsplit_once('.') {
            Some((ancestors, name)) => (Some(ancestors), name),
            None => (None, path),
        };
        for ancestor in ancestors.into_iter().flat_map(|names| names.split('.')) {
            let field = json::field_of(&message, ancestor)?;
            if field.is_list() || field.is_map() {
                return None;
            }
            message = field.kind().as_message()?.clone();
            parents.push(field);
        }
        let leaf = json::field_of(&message, name)?;
        Some(Self { parents, leaf })
    }

    /// The path in JSON names.
    pub(crate) fn name(&self) -> String {
        let fields = self.parents.iter().chain([&self.leaf]);
        fields
            .map(FieldDescriptor::json_name)
            .collect::<Vec<_>>()
            .join(".")
    }

    /// The field that takes the value.
    pub(crate) fn leaf(&self) -> &FieldDescriptor {
        &self.leaf
    }

    /// The field of the outermost message that this path starts with.
    pub(crate) fn first(&self) -> &FieldDescriptor {
        self.parents.first().unwrap_or(&self.leaf)
    }

    pub(crate) fn text_shape(&self) -> TextShape {
        let scalar = match self.leaf.kind() {
            Kind::Message(message) => json::is_text(&message),
            _ => true,
        };
        match (scalar, self.leaf.is_list()) {
            (true, false) => TextShape::One,
            (true, true) => TextShape::Many,
            (false, _) => TextShape::None,
        }
    }

    /// Whether the leaf can be a path variable: one value, and not a message.
    pub(crate) fn is_plain_scalar(&self) -> bool {
        !self.leaf.is_list() && self.leaf.kind().as_message().is_none()
    }

    /// The field's value, when it is set.
    pub(crate) fn get(&self, message: &DynamicMessage) -> Option<Value> {
        fn descend(
            message: &DynamicMessage,
            parents: &[FieldDescriptor],
            leaf: &FieldDescriptor,
        ) -> Option<Value> {
            let (next, rest) = match parents.split_first() {
                Some((parent, rest)) => (parent, Some(rest)),
                None => (leaf, None),
            };
            if !message.has_field(next) {
                return None;
            }
            let value = message.get_field(next);
            match rest {
                Some(rest) => descend(value.as_message()?, rest, leaf),
                None => Some(value.into_owned()),
            }
        }
        descend(message, &self.parents, &self.leaf)
    }

    /// Sets the field, making the messages on the way.
    pub(crate) fn set(&self, message: &mut DynamicMessage, value: Value) {
        let mut message = message;
        for parent in &self.parents {
            message = message
                .get_field_mut(parent)
                .as_message_mut()
                .expect("resolve let only singular messages pass");
        }
        message.set_field(&self.leaf, value);
    }

    /// Whether another member of the leaf's oneof is set.
    pub(crate) fn has_rival(&self, message: &DynamicMessage) -> bool {
        let Some(oneof) = self.leaf.containing_oneof() else {
            return false;
        };
        oneof
            .fields()
            .filter(|field| *field != self.leaf)
            .any(|leaf| {
                let parents = self.parents.clone();
                Self { parents, leaf }.get(message).is_some()
            })
    }

    /// Reads texts (exactly one unless the field is repeated) as the field's value.
    ///
    /// # Errors
    /// What the text must look like, in words.
    pub(crate) fn parse(&self, texts: &[String]) -> Result<Value, String> {
        let mut items: Vec<Json> = texts.iter().map(|text| self.text_to_json(text)).collect();
        let json = match self.leaf.is_list() {
            true => Json::Array(items),
            false if items.len() == 1 => items.remove(0),
            false => return Err("is given more than once".to_owned()),
        };
        json::read_field(&self.leaf, json).ok_or_else(|| json::expectation(&self.leaf.kind()))
    }

    /// Proto3 JSON takes numbers as strings; only booleans and enum numbers must lose the quotes.
    fn text_to_json(&self, text: &str) -> Json {
        let is_bool = match self.leaf.kind() {
            Kind::Bool => true,
            Kind::Message(message) => message.full_name() == "google.protobuf.BoolValue",
            Kind::Enum(_) => return text.parse::<i32>().map_or_else(|_| text.into(), Json::from),
            _ => false,
        };
        match text {
            "true" if is_bool => Json::Bool(true),
            "false" if is_bool => Json::Bool(false),
            _ => text.into(),
        }
    }
}
