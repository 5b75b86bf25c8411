//! `buf.validate` options as they stand in descriptors: what is taken is known, what is left is told.

use prost_reflect::{
    DynamicMessage, ExtensionDescriptor, FieldDescriptor, MessageDescriptor, OneofDescriptor, Value,
};

/// A message of rules, such as `buf.validate.StringRules`.
pub(super) struct Rules {
    /// Full name of the field.
    field: String,
    /// What stands before the name of a rule: `string.`.
    prefix: String,
    message: DynamicMessage,
}

impl Rules {
    /// The rules of a field, if it has some.
    pub(super) fn of(field: &FieldDescriptor) -> Option<Self> {
        let extension = extension(field.parent_message(), "buf.validate.field")?;
        let mut options = field.options();
        let Some(Value::Message(message)) = options.take_extension(&extension) else {
            return None;
        };
        Some(Self {
            field: field.full_name().to_owned(),
            prefix: String::new(),
            message,
        })
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        if !self.message.has_field_by_name(name) {
            return None;
        }
        self.message.take_field_by_name(name)
    }

    pub(super) fn take_bool(&mut self, name: &str) -> bool {
        self.take(name).and_then(|value| value.as_bool()) == Some(true)
    }

    pub(super) fn take_len(&mut self, name: &str) -> Option<u64> {
        self.take(name).and_then(|value| value.as_u64())
    }

    pub(super) fn take_text(&mut self, name: &str) -> Option<String> {
        let value = self.take(name)?;
        value.as_str().map(str::to_owned)
    }

    pub(super) fn take_list(&mut self, name: &str) -> Vec<Value> {
        match self.take(name) {
            Some(Value::List(values)) => values,
            _ => Vec::new(),
        }
    }

    /// Rules below these; none where there are none.
    pub(super) fn take_rules(&mut self, name: &str) -> Option<Self> {
        match self.take(name) {
            Some(Value::Message(message)) => Some(Self {
                field: self.field.clone(),
                prefix: format!("{}{name}.", self.prefix),
                message,
            }),
            _ => None,
        }
    }

    /// At least and at most, as Rust writes them.
    pub(super) fn take_span(
        &mut self,
        (exact, min, max): (&str, &str, &str),
    ) -> Result<String, String> {
        let (exact, min, max) = (self.take_len(exact), self.take_len(min), self.take_len(max));
        let (min, max) = (exact.or(min).unwrap_or(0), exact.or(max));
        if max.is_some_and(|max| max < min) {
            return Err(self.wrong("nothing has the length that is asked for"));
        }
        let max = max.map_or("usize::MAX".to_owned(), |max| max.to_string());
        Ok(format!("({min}, {max})"))
    }

    pub(super) fn wrong(&self, words: &str) -> String {
        format!("{}: {words}", self.field)
    }

    /// All that was taken is all that there was.
    pub(super) fn done(self) -> Result<(), String> {
        let names = self
            .message
            .fields()
            .map(|(field, _)| field.name().to_owned());
        let extensions = self.message.extensions();
        let extensions = extensions.map(|(of, _)| format!("({})", of.full_name()));
        let unknown = self.message.unknown_fields();
        let unknown = unknown.map(|field| format!("number {}", field.number()));
        let first = names.chain(extensions).chain(unknown).next();
        match first {
            None => Ok(()),
            Some(name) => {
                let words = format!("the rule {}{name} is not supported here", self.prefix);
                Err(self.wrong(&words))
            }
        }
    }
}

fn extension(of: &MessageDescriptor, name: &str) -> Option<ExtensionDescriptor> {
    of.parent_pool().get_extension_by_name(name)
}

/// Rules of a message as a whole are none of ours.
pub(super) fn no_message_rules(message: &MessageDescriptor) -> Result<(), String> {
    let Some(extension) = extension(message, "buf.validate.message") else {
        return Ok(());
    };
    match message.options().take_extension(&extension) {
        Some(Value::Message(rules)) => Rules {
            field: message.full_name().to_owned(),
            prefix: "message.".to_owned(),
            message: rules,
        }
        .done(),
        _ => Ok(()),
    }
}

/// Whether one field of it has to be given.
pub(super) fn is_required(oneof: &OneofDescriptor) -> Result<bool, String> {
    let Some(extension) = extension(oneof.parent_message(), "buf.validate.oneof") else {
        return Ok(false);
    };
    let Some(Value::Message(message)) = oneof.options().take_extension(&extension) else {
        return Ok(false);
    };
    let mut rules = Rules {
        field: oneof.full_name().to_owned(),
        prefix: "oneof.".to_owned(),
        message,
    };
    let is_required = rules.take_bool("required");
    rules.done().map(|()| is_required)
}
