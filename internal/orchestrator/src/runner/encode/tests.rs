use palinode_saga::Plan;
use prost_reflect::ReflectMessage;

use super::*;

/// What the bindings mean, field by field, by reflection.
fn by_reflection(message: &Message, payloads: &Payloads, cause: Option<&Cause>) -> DynamicMessage {
    let dynamic = |name: &str| DynamicMessage::new(DESCRIPTORS.get_message_by_name(name).unwrap());
    let mut command = dynamic(&message.name);
    for binding in &message.bindings {
        let field = command.descriptor().get_field_by_name(&binding.field);
        let field = field.unwrap();
        let (slot, name) = match &binding.source {
            Source::Input { field } => (INPUT.into(), field),
            Source::Output { step, field } => (output_slot(step), field),
            Source::CauseReason => {
                let text = cause.map_or("", Cause::reason).to_owned();
                command.set_field(&field, prost_reflect::Value::String(text));
                continue;
            }
            Source::CauseDetail => {
                let text = cause.map(Cause::detail).unwrap_or_default();
                command.set_field(&field, prost_reflect::Value::String(text));
                continue;
            }
        };
        let Some(payload) = payloads.get(&slot) else {
            continue;
        };
        let mut source = dynamic(&payload.kind);
        source.merge(payload.body.clone()).unwrap();
        let from = source.descriptor().get_field_by_name(name).unwrap();
        if source.has_field(&from) {
            command.set_field(&field, source.get_field(&from).into_owned());
        }
    }
    command
}

/// A message of that kind with something in every field.
fn filled(kind: &str) -> Payload {
    let descriptor = DESCRIPTORS.get_message_by_name(kind).unwrap();
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        let value = match field.kind() {
            prost_reflect::Kind::Message(of) => {
                let inner = filled(of.full_name());
                let mut message = DynamicMessage::new(of);
                message.merge(inner.body).unwrap();
                prost_reflect::Value::Message(message)
            }
            prost_reflect::Kind::String => {
                prost_reflect::Value::String(format!("{} of {kind}", field.name()))
            }
            prost_reflect::Kind::Int32 => prost_reflect::Value::I32(-7),
            prost_reflect::Kind::Int64 => prost_reflect::Value::I64(1 << 40),
            prost_reflect::Kind::Enum(_) => prost_reflect::Value::EnumNumber(1),
            other => panic!("no value for {other:?}"),
        };
        let value = if field.is_list() {
            prost_reflect::Value::List(vec![value.clone(), value])
        } else {
            value
        };
        message.set_field(&field, value);
    }
    Payload {
        kind: kind.into(),
        body: message.encode_to_vec().into(),
    }
}

fn resolved(plan: Plan) -> Plan {
    plan.resolve(&DescriptorSchema::default()).unwrap()
}

#[test]
fn a_command_has_what_its_bindings_say() {
    let cause = Cause::Failed {
        step: "charge-payment".to_owned(),
        reason: "DECLINED".to_owned(),
        detail: "no money".to_owned(),
    };
    let mut checked = 0;
    for plan in crate::plans().unwrap().into_iter().map(resolved) {
        let mut all = Payloads::default();
        all.add(&INPUT.into(), filled(plan.input()));
        let input_only = all.clone();
        for step in plan.steps() {
            if let Ok(kind) = output_kind(&plan, &step.name) {
                all.add(&output_slot(&step.name), filled(&kind));
            }
        }
        for (step, codec) in plan.steps().iter().zip(StepCodec::of(&plan)) {
            let pairs = [
                (&step.action, codec.action),
                (&step.compensation, codec.compensation),
            ];
            for (message, codec) in pairs {
                let Some((message, codec)) = message.as_ref().zip(codec) else {
                    continue;
                };
                for payloads in [&all, &input_only] {
                    let built = codec.encode(payloads, Some(&cause)).unwrap();
                    let expected = by_reflection(message, payloads, Some(&cause));
                    assert_eq!(built, expected.encode_to_vec(), "{}", message.name);
                    checked += 1;
                }
            }
        }
    }
    assert!(checked >= 40, "only {checked} commands were compared");
}

#[test]
fn what_cannot_be_read_is_no_command() {
    let plan = resolved(crate::place_order_1().unwrap());
    let reserve = &StepCodec::of(&plan)[1].action;
    let reserve = reserve.as_ref().unwrap();
    let none = reserve.encode(&Payloads::default(), None).unwrap_err();
    assert!(matches!(none, EncodeError::NoInput), "{none}");
    let mut cut = Payloads::default();
    let mut input = filled(plan.input());
    input.body.truncate(input.body.len() - 1);
    cut.add(&INPUT.into(), input);
    let unreadable = reserve.encode(&cut, None).unwrap_err();
    assert!(
        matches!(unreadable, EncodeError::Unreadable { .. }),
        "{unreadable}"
    );
}

#[test]
fn payloads_survive_the_stored_form_and_the_first_of_a_slot_stays() {
    let mut payloads = Payloads::default();
    payloads.add(&"a".into(), filled("palinode.order.v1.PlaceOrder"));
    let first = payloads.pack(0).unwrap();
    payloads.add(&"b".into(), filled("palinode.order.v1.ConfirmOrder"));
    let second = payloads.pack(1).unwrap();
    assert_eq!(payloads.pack(2), None);
    let mut read = Payloads::default();
    read.unpack(&first).unwrap();
    read.unpack(&second).unwrap();
    read.unpack(&first).unwrap();
    assert_eq!(read, payloads);
}

#[test]
fn the_last_word_of_an_operator_counts_however_it_is_stored() {
    let slot = "hand/a".into();
    let (one, other) = (
        filled("palinode.order.v1.PlaceOrder"),
        filled("palinode.order.v1.ConfirmOrder"),
    );
    let mut payloads = Payloads::default();
    payloads.add(&slot, one.clone());
    let first = payloads.pack(0).unwrap();
    payloads.add(&slot, one);
    assert_eq!(payloads.pack(1), None, "he has said that already");
    let mut said = Payloads::default();
    said.add(&slot, other.clone());
    payloads.append(said);
    let second = payloads.pack(1).unwrap();
    let mut read = Payloads::default();
    read.unpack(&first).unwrap();
    read.unpack(&second).unwrap();
    assert_eq!(read.get("hand/a"), Some(&other));
}
