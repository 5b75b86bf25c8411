//! Whatever a request carries has a maximum.

use std::collections::BTreeSet;

use palinode_pb::DESCRIPTORS;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, Value};

/// Requests of our own services, and commands of sagas.
fn checked() -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let services = DESCRIPTORS.services();
    let ours = services.filter(|service| service.package_name().starts_with("palinode."));
    let inputs = ours.flat_map(|service| service.methods().map(|m| m.input()).collect::<Vec<_>>());
    let commands = DESCRIPTORS
        .all_messages()
        .filter(|message| message.parent_file().name().ends_with("_messages.proto"))
        .filter(|message| !is_answer(message));
    for message in inputs.chain(commands) {
        reach(&message, &mut reached);
    }
    reached
}

/// Why an order ends, in a participant's words: that it ends does not depend on them.
const WORDS: [&str; 4] = [
    "palinode.order.v1.RejectOrder.reason",
    "palinode.order.v1.RejectOrder.detail",
    "palinode.order.v1.KeepOrder.reason",
    "palinode.order.v1.KeepOrder.detail",
];

/// What participants say is written by us and checked by nobody.
fn is_answer(message: &MessageDescriptor) -> bool {
    let name = message.full_name();
    name.ends_with("Result") || name.starts_with("palinode.saga.v1.StepReply")
}

fn reach(message: &MessageDescriptor, reached: &mut BTreeSet<String>) {
    // a well-known type is as large as the request may be
    if message.package_name() == "google.protobuf"
        || !reached.insert(message.full_name().to_owned())
    {
        return;
    }
    for field in message.fields() {
        if let Kind::Message(part) = field.kind() {
            reach(&part, reached);
        }
    }
}

/// The rules of a field, such as `repeated`; none, where there are none.
fn rules(field: &FieldDescriptor) -> Option<Value> {
    let extension = DESCRIPTORS.get_extension_by_name("buf.validate.field")?;
    field.options().take_extension(&extension)
}

fn at<'a>(value: &'a Value, path: &str) -> Option<std::borrow::Cow<'a, Value>> {
    let mut value = std::borrow::Cow::Borrowed(value);
    for name in path.split('.') {
        let message = value.as_message()?;
        if !message.has_field_by_name(name) {
            return None;
        }
        value = std::borrow::Cow::Owned(message.get_field_by_name(name)?.into_owned());
    }
    Some(value)
}

fn is_limited(field: &FieldDescriptor) -> bool {
    let rules = rules(field);
    let has = |path: &str| {
        rules
            .as_ref()
            .is_some_and(|rules| at(rules, path).is_some())
    };
    let text = |of: &str| {
        [
            "max_len",
            "len",
            "max_bytes",
            "len_bytes",
            "uuid",
            "in",
            "const",
        ]
        .iter()
        .any(|rule| has(&format!("{of}.{rule}")))
    };
    let value = |kind: &Kind, below: &str| match kind {
        Kind::String => text(&format!("{below}string")),
        Kind::Bytes => has(&format!("{below}bytes.max_len")) || has(&format!("{below}bytes.len")),
        _ => true,
    };
    match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            has("map.max_pairs")
                && value(&entry.map_entry_key_field().kind(), "map.keys.")
                && value(&entry.map_entry_value_field().kind(), "map.values.")
        }
        kind if field.is_list() => has("repeated.max_items") && value(&kind, "repeated.items."),
        kind => value(&kind, ""),
    }
}

#[test]
fn every_text_list_and_bytes_of_a_request_has_a_maximum() {
    let checked = checked();
    assert!(checked.contains("palinode.order.v1.PlaceOrderRequest"));
    assert!(checked.contains("palinode.shipping.v1.Address"));
    let messages = checked
        .iter()
        .filter_map(|name| DESCRIPTORS.get_message_by_name(name));
    let fields = messages.flat_map(|message| message.fields().collect::<Vec<_>>());
    let unlimited: Vec<String> = fields
        .filter(|field| !field.parent_message().is_map_entry())
        .filter(|field| !WORDS.contains(&field.full_name()))
        .filter(|field| !is_limited(field))
        .map(|field| field.full_name().to_owned())
        .collect();
    assert!(
        unlimited.is_empty(),
        "without a maximum in buf.validate: {unlimited:#?}"
    );
}

/// An annotation tells what the code that pages reads is able to take.
#[test]
fn every_page_has_a_maximum() {
    for name in checked() {
        let message = DESCRIPTORS.get_message_by_name(&name).unwrap();
        let Some(size) = message.get_field_by_name("page_size") else {
            continue;
        };
        let rules = rules(&size).unwrap_or(Value::Bool(false));
        let max = at(&rules, "int32.lte").and_then(|value| value.as_i32());
        let min = at(&rules, "int32.gte").and_then(|value| value.as_i32());
        assert_eq!((min, max), (Some(0), Some(200)), "{name}");
    }
}
