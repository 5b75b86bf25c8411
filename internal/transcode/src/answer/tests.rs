use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MapKey, MessageDescriptor, Value};
use serde_json::Value as Json;

use super::*;

static KINDS: LazyLock<MessageDescriptor> = LazyLock::new(|| {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/answer/tests");
    let files = protox::compile(["kinds.proto"], [folder]).unwrap();
    let pool = DescriptorPool::from_file_descriptor_set(files).unwrap();
    pool.get_message_by_name("kinds.v1.Kinds").unwrap()
});

/// What prost-reflect makes of the same bytes; an error where there is none.
fn by_reflection(
    message: &MessageDescriptor,
    only: Option<&FieldDescriptor>,
    bytes: &[u8],
) -> Option<Json> {
    let dynamic = DynamicMessage::decode(message.clone(), bytes).ok()?;
    let options = SerializeOptions::new().skip_default_fields(false);
    let mut text = serde_json::Serializer::new(Vec::new());
    dynamic.serialize_with_options(&mut text, &options).ok()?;
    // read again, so that the order in a map does not count
    let mut json: Json = serde_json::from_slice(&text.into_inner()).ok()?;
    match only {
        None => Some(json),
        Some(field) => Some(
            json.get_mut(field.json_name())
                .map_or(Json::Null, Json::take),
        ),
    }
}

fn written(
    message: &MessageDescriptor,
    only: Option<&FieldDescriptor>,
    bytes: &[u8],
) -> Option<Json> {
    let text = Writer::new(message, only).write(bytes).ok()?;
    let json = serde_json::from_slice(&text);
    Some(json.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&text))))
}

/// What reflection can read is written so. It also looks at what later values replace, and refuses more.
fn is_the_same(
    message: &MessageDescriptor,
    only: Option<&FieldDescriptor>,
    bytes: &[u8],
) -> Result<(), TestCaseError> {
    let written = written(message, only, bytes);
    if let Some(json) = by_reflection(message, only, bytes) {
        prop_assert_eq!(written, Some(json));
    }
    Ok(())
}

/// Fields of random numbers and types, most of them right.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    let numbers: Vec<(u32, Kind, bool, bool)> = KINDS
        .fields()
        .map(|field| {
            (
                field.number(),
                field.kind(),
                field.is_list(),
                field.is_map(),
            )
        })
        .collect();
    let field = (
        prop::sample::select(numbers),
        0_u8..20,
        prop_oneof![0_u64..300, any::<u64>(), Just(u64::MAX)],
        prop_oneof![
            Just(Vec::new()),
            "[a-z\\u{0}-\\u{20}\"é😀]{0,8}".prop_map(String::into_bytes),
            vec(any::<u8>(), 0..12),
        ],
        any::<bool>(),
    );
    let leaf = vec(field, 0..12).prop_map(|fields| {
        let mut bytes = Vec::new();
        for ((number, kind, is_list, is_map), luck, bits, content, packed) in fields {
            let right = match kind {
                _ if luck == 0 => WireType::LengthDelimited,
                // reflection takes a number for the length of a map's entry; for us it is no entry
                _ if luck == 1 && !is_map => WireType::Varint,
                Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => WireType::SixtyFourBit,
                Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => WireType::ThirtyTwoBit,
                Kind::String | Kind::Bytes | Kind::Message(_) => WireType::LengthDelimited,
                _ if is_list && packed => WireType::LengthDelimited,
                _ => WireType::Varint,
            };
            let number = if luck == 2 { 99 } else { number };
            encode_key(number, right, &mut bytes);
            match right {
                WireType::Varint => encode_varint(bits, &mut bytes),
                WireType::SixtyFourBit => bytes.extend_from_slice(&bits.to_le_bytes()),
                WireType::ThirtyTwoBit => bytes.extend_from_slice(&bits.to_le_bytes()[..4]),
                _ => {
                    encode_varint(content.len() as u64, &mut bytes);
                    bytes.extend_from_slice(&content);
                }
            }
        }
        bytes
    });
    // messages within messages: in fields, lists, both choices, and maps
    leaf.prop_recursive(4, 64, 6, |inner| {
        let into = prop::sample::select(vec![17_u32, 18, 18, 47, 52, 55, 63, 65, 66, 71, 77, 83]);
        vec((into, inner), 0..6).prop_map(|parts| {
            let mut bytes = Vec::new();
            for (number, inner) in parts {
                let inner = match number {
                    // an entry: a key, and a message
                    52 | 55 => {
                        let mut entry = Vec::new();
                        if number == 52 {
                            encode_key(1, WireType::Varint, &mut entry);
                            encode_varint(inner.len() as u64 % 3, &mut entry);
                        }
                        encode_key(2, WireType::LengthDelimited, &mut entry);
                        encode_varint(inner.len() as u64, &mut entry);
                        entry.extend_from_slice(&inner);
                        entry
                    }
                    _ => inner,
                };
                encode_key(number, WireType::LengthDelimited, &mut bytes);
                encode_varint(inner.len() as u64, &mut bytes);
                bytes.extend_from_slice(&inner);
            }
            bytes
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_written_is_what_reflection_says(bytes in vec(wire(), 1..4)) {
        let bytes = bytes.concat();
        is_the_same(&KINDS, None, &bytes)?;
    }

    #[test]
    fn a_field_alone_is_what_it_is_in_its_message(
        bytes in wire(),
        index in 0_usize..1_000,
    ) {
        let fields: Vec<_> = KINDS.fields().collect();
        let field = &fields[index % fields.len()];
        is_the_same(&KINDS, Some(field), &bytes)?;
    }

    #[test]
    fn a_message_that_is_cut_off_never_is_another(bytes in wire(), at in 0_usize..400) {
        let bytes = &bytes[..at.min(bytes.len())];
        is_the_same(&KINDS, None, bytes)?;
    }

    #[test]
    fn any_number_is_written_as_reflection_writes_it(bits in any::<u64>(), seconds in any::<i64>(), nanos in any::<i32>()) {
        let mut message = DynamicMessage::new(KINDS.clone());
        let mut set = |name: &str, value| message.set_field_by_name(name, value);
        set("double", Value::F64(f64::from_bits(bits)));
        set("float", Value::F32(f32::from_bits(wire::low(bits))));
        set("sint32", Value::I32(wire::zigzag32(bits)));
        set("sint64", Value::I64(wire::zigzag64(bits)));
        set("sfixed32", Value::I32(wire::low(bits).cast_signed()));
        set("state", Value::EnumNumber(nanos % 3));
        set("by_bool", Value::Map([(MapKey::Bool(bits % 2 == 0), Value::EnumNumber(nanos % 2))].into()));
        let bytes = message.encode_to_vec();
        is_the_same(&KINDS, None, &bytes)?;

        for seconds in [seconds, seconds % 300_000_000_000] {
            for nanos in [nanos, nanos.unsigned_abs().cast_signed() % 1_000_000_000] {
                let time = prost_types::Timestamp { seconds, nanos };
                let mut bytes = Vec::new();
                encode_key(71, WireType::LengthDelimited, &mut bytes);
                encode_varint(time.encoded_len() as u64, &mut bytes);
                time.encode(&mut bytes).unwrap();
                is_the_same(&KINDS, None, &bytes)?;
            }
        }
    }
}

#[test]
fn no_message_is_so_deep_that_the_stack_ends() {
    let mut bytes = Vec::new();
    for depth in 0..3_000 {
        let mut outer = Vec::new();
        encode_key(18, WireType::LengthDelimited, &mut outer);
        encode_varint(bytes.len() as u64, &mut outer);
        outer.extend_from_slice(&bytes);
        bytes = outer;
        if depth % 250 == 90 {
            let expected = by_reflection(&KINDS, None, &bytes);
            assert_eq!(written(&KINDS, None, &bytes), expected, "{depth} deep");
        }
    }
    assert!(matches!(
        Writer::new(&KINDS, None).write(&bytes),
        Err(Error::Depth)
    ));
}

#[test]
fn a_field_of_what_json_has_a_form_for_is_written_alone_too() {
    let structure = KINDS
        .parent_pool()
        .get_message_by_name("google.protobuf.Struct")
        .unwrap();
    let json = serde_json::json!({"a": 1.5, "b": [null, "x"]});
    let message = DynamicMessage::deserialize(structure.clone(), &json).unwrap();
    let fields = structure.get_field_by_name("fields").unwrap();
    let bytes = message.encode_to_vec();
    assert_eq!(
        written(&structure, Some(&fields), &bytes),
        Some(json.clone())
    );
    assert_eq!(written(&structure, None, &bytes), Some(json));
}

#[test]
fn what_is_no_message_is_refused() {
    let writer = Writer::new(&KINDS, None);
    let refused = |bytes: &[u8]| writer.write(bytes).expect_err("no message").to_string();
    insta::assert_debug_snapshot!([
        refused(&[0x72, 2, 0xff, 0xfe]),
        refused(&[0x72, 9, b'a']),
        refused(&[0x70, 1]),
        refused(&[0x18]),
        refused(&[0x19, 1, 2]),
        refused(&[0x07]),
        refused(&[0x9b, 0x01]),
        refused(&[0xba, 4, 2, 8, 0xff]),
        refused(&[
            0xba, 4, 11, 8, 255, 255, 255, 255, 255, 255, 255, 255, 127, 16, 0
        ]),
    ]);
}
