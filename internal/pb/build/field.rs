//! The code that checks one field.

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, Value};

use super::names::{any_of, snake};
use super::rules::Rules;
use super::{Patterns, has_rules, is_foreign};

/// What the rules of a field say beside those of its kind.
#[derive(Default)]
struct Presence {
    is_required: bool,
    skips_zero: bool,
    is_ignored: bool,
}

impl Presence {
    fn take(rules: &mut Rules) -> Result<Self, String> {
        let ignore = rules.take("ignore");
        let ignore = ignore.and_then(|value| value.as_enum_number());
        let (skips_zero, is_ignored) = match ignore {
            None | Some(0) => (false, false),
            Some(1) => (true, false),
            Some(3) => (false, true),
            Some(_) => return Err(rules.wrong("this ignore is not supported")),
        };
        Ok(Self {
            is_required: rules.take_bool("required"),
            skips_zero,
            is_ignored,
        })
    }
}

/// The check of a field of `self`; empty where there is nothing to look for.
pub(super) fn code(field: &FieldDescriptor, patterns: &mut Patterns) -> Result<String, String> {
    let name = field.name();
    let place = format!("self.{}", snake(name));
    let mut rules = Rules::of(field);
    let presence = presence(&mut rules)?;
    let value = if field.is_list() || field.is_map() {
        many(field, rules, &presence, &place, patterns)?
    } else if field.supports_presence() {
        let check = one(field, rules, &Presence::default(), "value", patterns)?;
        let check = unless_zero(field, &presence, "value", check);
        match (check.is_empty(), presence.is_required) {
            (true, false) => String::new(),
            (true, true) => format!("if {place}.is_none() {{ required(&at, invalid); }}\n"),
            (false, false) => format!("if let Some(value) = &{place} {{\n{check}}}\n"),
            (false, true) => format!(
                "match &{place} {{\nSome(value) => {{\n{check}}}\nNone => required(&at, invalid),\n}}\n"
            ),
        }
    } else {
        let check = one(field, rules, &presence, &format!("&{place}"), patterns)?;
        unless_zero(field, &presence, &format!("&{place}"), check)
    };
    Ok(placed(name, &presence, value))
}

/// The check of a field of a oneof that is given: `value` is a reference to it.
pub(super) fn given(field: &FieldDescriptor, patterns: &mut Patterns) -> Result<String, String> {
    let mut rules = Rules::of(field);
    let presence = presence(&mut rules)?;
    if presence.is_required {
        let words = "the rule required is not supported here: it is one of several";
        return Err(format!("{}: {words}", field.full_name()));
    }
    let check = one(field, rules, &Presence::default(), "value", patterns)?;
    let check = unless_zero(field, &presence, "value", check);
    Ok(placed(field.name(), &presence, check))
}

fn presence(rules: &mut Option<Rules>) -> Result<Presence, String> {
    rules
        .as_mut()
        .map_or_else(|| Ok(Presence::default()), Presence::take)
}

fn placed(name: &str, presence: &Presence, check: String) -> String {
    if check.is_empty() || presence.is_ignored {
        return String::new();
    }
    format!("{{\nlet at = root.field({name:?});\n{check}}}\n")
}

/// What is zero or empty is as good as not given.
fn unless_zero(field: &FieldDescriptor, presence: &Presence, value: &str, check: String) -> String {
    let is_message = matches!(field.kind(), Kind::Message(_));
    if check.is_empty() || !presence.skips_zero || is_message {
        return check;
    }
    let given = match field.kind() {
        Kind::String | Kind::Bytes => format!("!({value}).is_empty()"),
        _ => format!("!is_zero({value})"),
    };
    format!("if {given} {{\n{check}}}\n")
}

fn many(
    field: &FieldDescriptor,
    rules: Option<Rules>,
    presence: &Presence,
    place: &str,
    patterns: &mut Patterns,
) -> Result<String, String> {
    let mut rules = rules;
    let kind = if field.is_map() { "map" } else { "repeated" };
    let mut own = rules.as_mut().and_then(|rules| rules.take_rules(kind));
    if let Some(rules) = rules {
        rules.done()?;
    }
    let mut entries = "(0, usize::MAX)".to_owned();
    let (mut inner, mut unique) = (String::new(), String::new());
    if let Kind::Message(entry) = field.kind()
        && field.is_map()
    {
        let (keys, values) = match &mut own {
            Some(own) => {
                entries = own.take_span(("", "min_pairs", "max_pairs"))?;
                (own.take_rules("keys"), own.take_rules("values"))
            }
            None => (None, None),
        };
        let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
        let keys = element(&key, keys, "key", patterns)?;
        let values = element(&value, values, "value", patterns)?;
        if !keys.is_empty() || !values.is_empty() {
            inner = format!(
                "for (key, value) in &{place} {{\nlet _unused = (key, value);\n\
                 if invalid.is_full() {{ return; }}\nlet at = at.key(key);\n{keys}{values}}}\n"
            );
        }
    } else {
        let items = match &mut own {
            Some(own) => {
                entries = own.take_span(("", "min_items", "max_items"))?;
                if own.take_bool("unique") {
                    if let Kind::Message(_) | Kind::Float | Kind::Double = field.kind() {
                        return Err(own.wrong("the rule repeated.unique is not supported here"));
                    }
                    unique = format!("unique({place}.iter(), &at, invalid);\n");
                }
                own.take_rules("items")
            }
            None => None,
        };
        let items = element(field, items, "value", patterns)?;
        if !items.is_empty() {
            inner = format!(
                "for (index, value) in {place}.iter().enumerate() {{\n\
                 if invalid.is_full() {{ return; }}\nlet at = at.item(index);\n{items}}}\n"
            );
        }
    }
    if let Some(own) = own {
        own.done()?;
    }
    let is_required = presence.is_required;
    if !is_required && entries == "(0, usize::MAX)" {
        return Ok(format!("{inner}{unique}"));
    }
    let list = format!(
        "list({place}.len(), &List {{ required: {is_required}, entries: {entries} }}, &at, invalid)"
    );
    let check = if inner.is_empty() && unique.is_empty() {
        format!("let _is_short = {list};\n")
    } else {
        format!("if {list} {{\n{inner}{unique}}}\n")
    };
    Ok(if presence.skips_zero {
        format!("if !{place}.is_empty() {{\n{check}}}\n")
    } else {
        check
    })
}

/// The check of an entry: `value` is a reference to it.
fn element(
    field: &FieldDescriptor,
    rules: Option<Rules>,
    value: &str,
    patterns: &mut Patterns,
) -> Result<String, String> {
    let mut rules = rules;
    let presence = presence(&mut rules)?;
    let check = one(field, rules, &presence, value, patterns)?;
    let check = unless_zero(field, &presence, value, check);
    Ok(if presence.is_ignored {
        String::new()
    } else {
        check
    })
}

/// The check of one value: `value` is a reference to it.
fn one(
    field: &FieldDescriptor,
    mut rules: Option<Rules>,
    presence: &Presence,
    value: &str,
    patterns: &mut Patterns,
) -> Result<String, String> {
    let must = presence.is_required;
    let kind = field.kind();
    if let Kind::Message(message) = &kind {
        if let Some(rules) = rules {
            rules.done()?;
        }
        let looks_in = !is_foreign(message) && has_rules(message);
        return Ok(if looks_in {
            format!("({value}).check(&at, invalid);\n")
        } else {
            String::new()
        });
    }
    let own = rules
        .as_mut()
        .and_then(|rules| rules.take_rules(rules_of(&kind)));
    if let Some(rules) = rules {
        rules.done()?;
    }
    let Some(mut own) = own else {
        return Ok(match &kind {
            _ if !must => String::new(),
            Kind::String | Kind::Bytes => {
                format!("if ({value}).is_empty() {{ required(&at, invalid); }}\n")
            }
            _ => format!("if is_zero({value}) {{ required(&at, invalid); }}\n"),
        });
    };
    let code = match &kind {
        Kind::String => text(&mut own, must, value, patterns)?,
        Kind::Bytes => {
            let len = own.take_span(("len", "min_len", "max_len"))?;
            format!(
                "bytes(({value}).as_ref(), &Bytes {{ required: {must}, len: {len} }}, &at, invalid);\n"
            )
        }
        Kind::Bool => {
            let only = own.take("const").and_then(|value| value.as_bool());
            format!("boolean(*({value}), {only:?}, {must}, &at, invalid);\n")
        }
        Kind::Enum(of) => choice(&mut own, of, must, value)?,
        _ => number(&mut own, must, value)?,
    };
    own.done()?;
    Ok(code)
}

fn rules_of(kind: &Kind) -> &'static str {
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
        Kind::Bool => "bool",
        Kind::String => "string",
        Kind::Bytes => "bytes",
        Kind::Enum(_) => "enum",
        Kind::Message(_) => "",
    }
}

fn text(
    own: &mut Rules,
    must: bool,
    value: &str,
    patterns: &mut Patterns,
) -> Result<String, String> {
    let chars = own.take_span(("len", "min_len", "max_len"))?;
    let bytes = own.take_span(("len_bytes", "min_bytes", "max_bytes"))?;
    let format = match (own.take_bool("uuid"), own.take_bool("email")) {
        (true, _) => "Some(Format::Uuid)",
        (_, true) => "Some(Format::Email)",
        _ => "None",
    };
    let pattern = match own.take_text("pattern") {
        Some(pattern) => {
            let named = patterns.name(&pattern);
            let name = named.map_err(|error| own.wrong(&format!("string.pattern: {error}")))?;
            format!("Some(&{name})")
        }
        None => "None".to_owned(),
    };
    let only = own.take("const").into_iter();
    let one_of: Vec<String> = only
        .chain(own.take_list("in"))
        .filter_map(|value| value.as_str().map(|text| format!("{text:?}")))
        .collect();
    Ok(format!(
        "text({value}, &Text {{ required: {must}, chars: {chars}, bytes: {bytes}, \
         format: {format}, pattern: {pattern}, one_of: &[{}] }}, &at, invalid);\n",
        one_of.join(", ")
    ))
}

fn number(own: &mut Rules, must: bool, value: &str) -> Result<String, String> {
    let (gt, gte, lt, lte) = (
        own.take("gt"),
        own.take("gte"),
        own.take("lt"),
        own.take("lte"),
    );
    let bounds = [gt.as_ref().or(gte.as_ref()), lt.as_ref().or(lte.as_ref())].map(|b| b.map(float));
    if let [Some(lower), Some(upper)] = bounds
        && (lower > upper || lower == upper && (gt.is_some() || lt.is_some()))
    {
        return Err(
            own.wrong("no number is in the range (what lies outside of one is not supported)")
        );
    }
    let bound = |excluded: Option<Value>, included: Option<Value>| match (excluded, included) {
        (Some(value), _) => literal(&value).map(|text| format!("Bound::Excluded({text})")),
        (_, Some(value)) => literal(&value).map(|text| format!("Bound::Included({text})")),
        (None, None) => Some("Bound::Unbounded".to_owned()),
    };
    let only = own.take("const").into_iter();
    let one_of: Option<Vec<String>> = only
        .chain(own.take_list("in"))
        .map(|value| literal(&value))
        .collect();
    let (Some(lower), Some(upper), Some(one_of)) = (bound(gt, gte), bound(lt, lte), one_of) else {
        return Err(own.wrong("a rule is no finite number"));
    };
    Ok(format!(
        "number(*({value}), &Number {{ required: {must}, range: ({lower}, {upper}), \
         one_of: &[{}] }}, &at, invalid);\n",
        one_of.join(", ")
    ))
}

fn float(value: &Value) -> f64 {
    match value {
        Value::I32(value) => f64::from(*value),
        Value::U32(value) => f64::from(*value),
        Value::I64(value) => *value as f64,
        Value::U64(value) => *value as f64,
        Value::F32(value) => f64::from(*value),
        Value::F64(value) => *value,
        _ => f64::NAN,
    }
}

fn literal(value: &Value) -> Option<String> {
    match value {
        Value::I32(value) => Some(format!("{value}_i32")),
        Value::U32(value) => Some(format!("{value}_u32")),
        Value::I64(value) => Some(format!("{value}_i64")),
        Value::U64(value) => Some(format!("{value}_u64")),
        Value::F32(value) if value.is_finite() => Some(format!("{value:?}_f32")),
        Value::F64(value) if value.is_finite() => Some(format!("{value:?}_f64")),
        _ => None,
    }
}

fn choice(own: &mut Rules, of: &EnumDescriptor, must: bool, value: &str) -> Result<String, String> {
    let numbers = |values: Vec<Value>| -> Vec<i32> {
        values.iter().filter_map(|value| value.as_i32()).collect()
    };
    let only = numbers(own.take("const").into_iter().collect());
    let one_of = numbers(own.take_list("in"));
    let not_in = numbers(own.take_list("not_in"));
    let defined_only = own.take_bool("defined_only");
    if !not_in.is_empty() && !defined_only {
        return Err(own.wrong("the rule enum.not_in is supported beside enum.defined_only only"));
    }
    let is_allowed = |number: &i32| {
        (only.is_empty() || only.contains(number))
            && (one_of.is_empty() || one_of.contains(number))
            && !not_in.contains(number)
    };
    let allowed: Vec<_> = of
        .values()
        .filter(|value| is_allowed(&value.number()))
        .collect();
    let is_unspecified = |name: &str| name.ends_with("_UNSPECIFIED");
    let names: Vec<String> = allowed
        .iter()
        .map(|value| value.name().to_owned())
        .filter(|name| !must || !is_unspecified(name))
        .collect();
    let allowed: Vec<i32> = allowed.iter().map(|value| value.number()).collect();
    if allowed.is_empty() {
        return Err(own.wrong("no value is left"));
    }
    Ok(format!(
        "choice(*({value}), &Choice {{ required: {must}, allowed: &{allowed:?}, names: {:?} }}, \
         &at, invalid);\n",
        any_of(&names)
    ))
}
