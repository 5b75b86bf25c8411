//! JSON Schema (2020-12, that of OpenAPI 3.1) of messages in proto3 JSON.

use std::collections::BTreeMap;

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value as Json, json};

use super::comments::Comments;
use super::limits::{self, Rules};

/// Schemas by full name, made when they are referred to.
#[derive(Debug, Default)]
pub(crate) struct Schemas {
    pub(crate) comments: Comments,
    done: BTreeMap<String, Json>,
}

impl Schemas {
    /// All that were referred to.
    pub(crate) fn into_map(self) -> Map<String, Json> {
        self.done.into_iter().collect()
    }

    /// A field as a member of its message.
    pub(crate) fn member(&mut self, field: &FieldDescriptor) -> Json {
        let mut schema = self.field(field);
        let words = self.comments.of_field(field);
        if let (Json::Object(schema), false) = (&mut schema, words.is_empty()) {
            schema.insert("description".to_owned(), words.into());
        }
        schema
    }

    /// A field's value.
    pub(crate) fn field(&mut self, field: &FieldDescriptor) -> Json {
        let rules = Rules::of(field);
        let kind = field.kind();
        if let (true, Kind::Message(entry)) = (field.is_map(), &kind) {
            let key = entry.map_entry_key_field().kind();
            let value = entry.map_entry_value_field().kind();
            let one = self.kind(&value);
            return limits::map(rules.as_ref(), (&key, &value), one);
        }
        let mut one = self.kind(&kind);
        if field.is_list() {
            return limits::list(rules.as_ref(), &kind, one);
        }
        if let Some(rules) = &rules {
            limits::value(rules, &kind, &mut one);
        }
        one
    }

    /// One value: numbers of 64 bits are strings, as they do not fit into a JavaScript number.
    pub(crate) fn kind(&mut self, kind: &Kind) -> Json {
        match kind {
            Kind::Double => json!({"type": "number", "format": "double"}),
            Kind::Float => json!({"type": "number", "format": "float"}),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({
                "type": "integer", "format": "int32", "minimum": i32::MIN, "maximum": i32::MAX,
            }),
            Kind::Uint32 | Kind::Fixed32 => json!({
                "type": "integer", "minimum": 0, "maximum": u32::MAX,
            }),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({
                "type": "string", "format": "int64", "pattern": "^-?[0-9]{1,18}$",
            }),
            Kind::Uint64 | Kind::Fixed64 => json!({
                "type": "string", "format": "uint64", "pattern": "^[0-9]{1,19}$",
            }),
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Enum(names) => self.enumeration(names),
            Kind::Message(message) => self.message(message),
        }
    }

    fn enumeration(&mut self, of: &EnumDescriptor) -> Json {
        let name = of.full_name();
        if !self.done.contains_key(name) {
            let mut words = self.comments.of_enum(of);
            let mut names = Vec::new();
            for value in of.values() {
                names.push(Json::from(value.name()));
                let comment = self.comments.of_value(&value);
                if !comment.is_empty() {
                    words.push_str(&format!("\n\n`{}`: {comment}", value.name()));
                }
            }
            let mut schema = json!({"type": "string", "enum": names});
            describe(&mut schema, words.trim_start());
            self.done.insert(name.to_owned(), schema);
        }
        reference(name)
    }

    /// A message: by reference, or as what its own JSON is.
    pub(crate) fn message(&mut self, of: &MessageDescriptor) -> Json {
        let name = of.full_name();
        if let Some(schema) = self.well_known(of) {
            return schema;
        }
        if !self.done.contains_key(name) {
            // a message may hold itself
            self.done.insert(name.to_owned(), Json::Null);
            let mut schema = self.object(of, &[]);
            describe(&mut schema, &self.comments.of_message(of));
            self.done.insert(name.to_owned(), schema);
        }
        reference(name)
    }

    /// The object of a message without some of its fields.
    pub(crate) fn object(&mut self, of: &MessageDescriptor, without: &[FieldDescriptor]) -> Json {
        let mut members = Map::new();
        for field in of.fields().filter(|field| !without.contains(field)) {
            let schema = self.member(&field);
            members.insert(field.json_name().to_owned(), schema);
        }
        let mut schema = json!({
            "type": "object", "properties": members, "additionalProperties": false,
        });
        let required = required(of, without);
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        let choices = choices(of, without);
        if !choices.is_empty() {
            schema["allOf"] = choices.into();
        }
        schema
    }

    fn well_known(&mut self, of: &MessageDescriptor) -> Option<Json> {
        let name = of.full_name().strip_prefix("google.protobuf.")?;
        let schema = match name {
            "Timestamp" => json!({"type": "string", "format": "date-time"}),
            "Duration" => json!({
                "type": "string", "pattern": "^-?[0-9]{1,12}(\\.[0-9]{1,9})?s$",
            }),
            "FieldMask" => json!({"type": "string"}),
            "Empty" => json!({"type": "object", "additionalProperties": false}),
            "Struct" => json!({"type": "object"}),
            "ListValue" => json!({"type": "array"}),
            "Value" => json!({}),
            "Any" => json!({
                "type": "object", "required": ["@type"],
                "properties": {"@type": {"type": "string"}},
            }),
            _ => match of.get_field_by_name("value") {
                Some(value) if name.ends_with("Value") => self.kind(&value.kind()),
                _ => return None,
            },
        };
        Some(schema)
    }
}

/// The members that have to be given.
pub(crate) fn required(of: &MessageDescriptor, without: &[FieldDescriptor]) -> Vec<String> {
    let fields = of.fields().filter(|field| !without.contains(field));
    let required = fields.filter(limits::is_required);
    required.map(|field| field.json_name().to_owned()).collect()
}

/// Of a `oneof` only one member may be given, or exactly one.
fn choices(of: &MessageDescriptor, without: &[FieldDescriptor]) -> Vec<Json> {
    let mut choices = Vec::new();
    for oneof in of.oneofs() {
        let names: Vec<_> = oneof
            .fields()
            .filter(|field| !without.contains(field))
            .map(|field| field.json_name().to_owned())
            .collect();
        for (at, first) in names.iter().enumerate() {
            for second in &names[at + 1..] {
                choices.push(json!({"not": {"required": [first, second]}}));
            }
        }
        if limits::is_one_required(&oneof) && !names.is_empty() {
            let one = names.iter().map(|name| json!({"required": [name]}));
            choices.push(json!({"anyOf": one.collect::<Vec<_>>()}));
        }
    }
    choices
}

pub(crate) fn reference(name: &str) -> Json {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

pub(crate) fn describe(schema: &mut Json, words: &str) {
    if !words.is_empty() {
        schema["description"] = words.into();
    }
}
