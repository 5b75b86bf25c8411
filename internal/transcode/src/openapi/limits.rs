//! The rules of fields (`buf.validate`) in the words of JSON Schema, as far as it has words for them.
//!
//! They are read from the pool; one that does not know the option has no rules. What cannot be said,
//! such as bytes of UTF-8 or CEL, is left out: a value that the schema allows may still be refused.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, OneofDescriptor, Value};
use serde_json::{Map, Value as Json, json};

/// `buf.validate.FieldRules`.
#[derive(Debug, Clone)]
pub(crate) struct Rules(DynamicMessage);

impl Rules {
    pub(crate) fn of(field: &FieldDescriptor) -> Option<Self> {
        let pool = field.parent_message().parent_pool();
        let extension = pool.get_extension_by_name("buf.validate.field")?;
        match field.options().take_extension(&extension) {
            Some(Value::Message(rules)) => Some(Self(rules)),
            _ => None,
        }
    }

    /// A rule that is set, such as `string.max_len`.
    fn get(&self, path: &str) -> Option<Value> {
        let (of, name) = path.rsplit_once('.').unwrap_or(("", path));
        let message = if of.is_empty() {
            self.0.clone()
        } else {
            self.below(of)?.0
        };
        let is_set = message.has_field_by_name(name);
        let value = message.get_field_by_name(name).filter(|_| is_set)?;
        Some(value.into_owned())
    }

    /// Rules of a part, such as `repeated.items`.
    fn below(&self, path: &str) -> Option<Self> {
        let value = self.get(path)?;
        value.as_message().cloned().map(Self)
    }

    fn len(&self, path: &str) -> Option<u64> {
        self.get(path)?.as_u64()
    }

    fn says(&self, path: &str) -> bool {
        self.get(path).and_then(|value| value.as_bool()) == Some(true)
    }

    fn number(&self, of: &str, rule: &str) -> Option<Json> {
        number(&self.get(&format!("{of}.{rule}"))?)
    }
}

/// Whether a message without this field breaks a rule.
pub(crate) fn is_required(field: &FieldDescriptor) -> bool {
    let Some(rules) = Rules::of(field) else {
        return false;
    };
    let ignore = rules.get("ignore").and_then(|value| value.as_enum_number());
    if ignore == Some(3) {
        return false;
    }
    if rules.says("required") {
        return true;
    }
    if field.supports_presence() || ignore == Some(1) {
        return false;
    }
    let some = |path: &str| rules.len(path).is_some_and(|len| len > 0);
    if field.is_list() {
        return some("repeated.min_items");
    }
    match field.kind() {
        _ if field.is_map() => some("map.min_pairs"),
        Kind::String => {
            ["string.min_len", "string.len", "string.min_bytes"]
                .into_iter()
                .any(some)
                || rules.says("string.uuid")
                || rules.says("string.email")
        }
        Kind::Bytes => some("bytes.min_len") || some("bytes.len"),
        Kind::Enum(of) => {
            let zero = of.default_value();
            allowed(&rules, &of).is_some_and(|names| !names.contains(&zero.name().to_owned()))
        }
        kind => {
            let (of, zero) = (name_of(&kind), Some(0.0));
            let above = |rule| rules.number(of, rule).and_then(|n| n.as_f64());
            above("gte") > zero || above("gt") >= zero
        }
    }
}

/// Whether one of its fields has to be given.
pub(crate) fn is_one_required(oneof: &OneofDescriptor) -> bool {
    let pool = oneof.parent_message().parent_pool();
    let extension = pool.get_extension_by_name("buf.validate.oneof");
    let rules = extension.and_then(|of| oneof.options().take_extension(&of));
    match rules {
        Some(Value::Message(rules)) => Rules(rules).says("required"),
        _ => false,
    }
}

/// A list of `one`, limited.
pub(crate) fn list(rules: Option<&Rules>, kind: &Kind, mut one: Json) -> Json {
    if let Some(items) = rules.and_then(|rules| rules.below("repeated.items")) {
        value(&items, kind, &mut one);
    }
    let mut schema = json!({"type": "array", "items": one});
    if let (Some(rules), Json::Object(schema)) = (rules, &mut schema) {
        let min = rules.len("repeated.min_items");
        let min = min.or(rules.says("required").then_some(1));
        put(schema, "minItems", min);
        put(schema, "maxItems", rules.len("repeated.max_items"));
        let unique = rules.says("repeated.unique");
        put(schema, "uniqueItems", unique.then_some(true));
    }
    schema
}

/// A map to `one`, limited; JSON has text for keys, whatever their kind.
pub(crate) fn map(rules: Option<&Rules>, (key, kind): (&Kind, &Kind), mut one: Json) -> Json {
    if let Some(values) = rules.and_then(|rules| rules.below("map.values")) {
        value(&values, kind, &mut one);
    }
    let mut schema = json!({"type": "object", "additionalProperties": one});
    if let (Some(rules), Json::Object(schema)) = (rules, &mut schema) {
        if let (Kind::String, Some(keys)) = (key, rules.below("map.keys")) {
            let mut names = json!({});
            value(&keys, key, &mut names);
            put(schema, "propertyNames", Some(names));
        }
        let min = rules.len("map.min_pairs");
        let min = min.or(rules.says("required").then_some(1));
        put(schema, "minProperties", min);
        put(schema, "maxProperties", rules.len("map.max_pairs"));
    }
    schema
}

/// Limits the schema of one value.
pub(crate) fn value(rules: &Rules, kind: &Kind, schema: &mut Json) {
    let Json::Object(schema) = schema else {
        return;
    };
    match kind {
        Kind::Message(_) => {}
        Kind::String => text(rules, schema),
        Kind::Bytes => {
            // base64 has four characters for three bytes; padding need not be sent
            let exact = rules.len("bytes.len");
            let min = exact.or(rules.len("bytes.min_len"));
            let max = exact.or(rules.len("bytes.max_len"));
            put(schema, "minLength", min.map(|min| (min * 4).div_ceil(3)));
            put(schema, "maxLength", max.map(|max| max.div_ceil(3) * 4));
        }
        Kind::Enum(of) => put(schema, "enum", allowed(rules, of)),
        Kind::Bool => {
            let only = rules.get("bool.const").and_then(|value| value.as_bool());
            put(schema, "const", only);
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => {
            digits(rules, kind, schema);
        }
        _ => range(rules, name_of(kind), schema),
    }
}

fn text(rules: &Rules, schema: &mut Map<String, Json>) {
    let exact = rules.len("string.len");
    let needed = rules.says("required").then_some(1);
    let min = exact.or(rules.len("string.min_len")).or(needed);
    // a character has one byte at the least
    let max = exact.or(rules.len("string.max_len"));
    let max = max.or(rules.len("string.len_bytes"));
    let max = max.or(rules.len("string.max_bytes"));
    put(schema, "minLength", min);
    put(schema, "maxLength", max);
    put(
        schema,
        "pattern",
        rules.get("string.pattern").and_then(word),
    );
    put(schema, "const", rules.get("string.const").and_then(word));
    put(schema, "enum", words(rules.get("string.in"), word));
    let uuid = rules.says("string.uuid").then_some("uuid");
    let format = uuid.or(rules.says("string.email").then_some("email"));
    put(schema, "format", format);
}

fn range(rules: &Rules, of: &str, schema: &mut Map<String, Json>) {
    for (inclusive, exclusive, names) in [
        ("gte", "gt", ("minimum", "exclusiveMinimum")),
        ("lte", "lt", ("maximum", "exclusiveMaximum")),
    ] {
        put(schema, names.0, rules.number(of, inclusive));
        if let Some(bound) = rules.number(of, exclusive) {
            schema.remove(names.0);
            put(schema, names.1, Some(bound));
        }
    }
    put(schema, "const", rules.number(of, "const"));
    let list = rules.get(&format!("{of}.in"));
    put(schema, "enum", words(list, |value| number(&value)));
}

/// Numbers of 64 bits are text: a pattern says their sign, and how many digits they have.
fn digits(rules: &Rules, kind: &Kind, schema: &mut Map<String, Json>) {
    let of = name_of(kind);
    let bound = |names: [&str; 2]| {
        let mut values = names
            .iter()
            .filter_map(|name| rules.get(&format!("{of}.{name}")));
        values.next().and_then(|value| whole(&value))
    };
    let (lower, upper) = (bound(["gte", "gt"]), bound(["lte", "lt"]));
    let is_unsigned = matches!(kind, Kind::Uint64 | Kind::Fixed64);
    if lower.is_none() && upper.is_none() {
        return;
    }
    let zero_is_out = lower.is_some_and(|n| n > 0)
        || rules.get(&format!("{of}.gt")).and_then(|v| whole(&v)) == Some(0);
    let widest = if is_unsigned { 19 } else { 18 };
    let width = |n: i128| n.unsigned_abs().to_string().len();
    let may_be_negative = !is_unsigned && lower.is_none_or(|n| n < 0);
    let count = match (lower, upper) {
        (Some(lower), Some(upper)) if may_be_negative => width(lower).max(width(upper)),
        (_, Some(upper)) if !may_be_negative => width(upper),
        _ => widest,
    };
    let pattern = match (zero_is_out, may_be_negative) {
        (true, _) => format!("^[1-9][0-9]{{0,{}}}$", count - 1),
        (false, false) => format!("^[0-9]{{1,{count}}}$"),
        (false, true) => format!("^-?[0-9]{{1,{count}}}$"),
    };
    put(schema, "pattern", Some(pattern));
}

/// The names that are left of an enum; `None`: all.
fn allowed(rules: &Rules, of: &prost_reflect::EnumDescriptor) -> Option<Vec<String>> {
    let numbers = |path: &str| -> Vec<i32> {
        let list = rules.get(path);
        let list = list.as_ref().and_then(Value::as_list);
        list.unwrap_or_default()
            .iter()
            .filter_map(Value::as_i32)
            .collect()
    };
    let only = rules.get("enum.const").and_then(|value| value.as_i32());
    let (one_of, not_in) = (numbers("enum.in"), numbers("enum.not_in"));
    let must = rules.says("required");
    if only.is_none() && one_of.is_empty() && not_in.is_empty() && !must {
        return None;
    }
    let is_allowed = |number: i32| {
        only.is_none_or(|only| only == number)
            && (one_of.is_empty() || one_of.contains(&number))
            && !not_in.contains(&number)
            && !(must && number == 0)
    };
    let values = of.values().filter(|value| is_allowed(value.number()));
    Some(values.map(|value| value.name().to_owned()).collect())
}

fn name_of(kind: &Kind) -> &'static str {
    match kind {
        Kind::Double => "double",
        Kind::Float => "float",
        Kind::Int32 => "int32",
        Kind::Int64 => "int64",
        Kind::Uint32 => "uint32",
        Kind::Uint64 => "uint64",
        Kind::Sint32 => "sint32",
        Kind::Sint64 => "sint64",
        Kind::Fixed32 => "fixed32",
        Kind::Fixed64 => "fixed64",
        Kind::Sfixed32 => "sfixed32",
        Kind::Sfixed64 => "sfixed64",
        Kind::Bool | Kind::String | Kind::Bytes | Kind::Enum(_) | Kind::Message(_) => "none",
    }
}

fn put(schema: &mut Map<String, Json>, name: &str, value: Option<impl Into<Json>>) {
    if let Some(value) = value {
        schema.insert(name.to_owned(), value.into());
    }
}

fn word(value: Value) -> Option<Json> {
    value.as_str().map(Json::from)
}

fn words(list: Option<Value>, one: impl Fn(Value) -> Option<Json>) -> Option<Vec<Json>> {
    match list {
        Some(Value::List(values)) => Some(values.into_iter().filter_map(one).collect()),
        _ => None,
    }
}

fn number(value: &Value) -> Option<Json> {
    match value {
        Value::I32(n) => Some(json!(n)),
        Value::U32(n) => Some(json!(n)),
        Value::I64(n) => Some(json!(n)),
        Value::U64(n) => Some(json!(n)),
        Value::F32(n) if n.is_finite() => Some(json!(n)),
        Value::F64(n) if n.is_finite() => Some(json!(n)),
        _ => None,
    }
}

fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::I64(n) => Some(i128::from(*n)),
        Value::U64(n) => Some(i128::from(*n)),
        _ => None,
    }
}
