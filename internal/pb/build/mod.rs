//! Writes what looks for wrong values: `Validate` for every message, from `buf.validate`.
//!
//! Fields: `required`, `ignore`. Text: `const len min_len max_len len_bytes min_bytes max_bytes pattern
//! email uuid in`. Numbers: `const gt gte lt lte in`. Bytes: `len min_len max_len`. Enums: `const
//! defined_only in not_in`. Lists: `min_items max_items unique items`. Maps: `min_pairs max_pairs keys
//! values`. Booleans: `const`. A oneof: `required`. Any other rule stops the build and is named: what a
//! proto says is what is checked.
//!
//! Rules hold for what requests and commands are made of. All other messages are left alone: nobody
//! checks an answer.

mod field;
mod names;
mod rules;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor, OneofDescriptor};

use names::Crate;
use rules::Rules;

/// Packages that prost writes no code for here.
const FOREIGN: [&str; 2] = ["google.protobuf", "buf.validate"];

/// The impls of all messages of `pool`; the messages that `is_root` picks, and what they are made of,
/// are checked. They are to be included beside the module that prost wrote for the pool's packages.
///
/// # Errors
/// The words name a field and its rule, if that cannot be checked or makes no sense.
pub fn write(
    pool: &DescriptorPool,
    is_root: impl Fn(&MessageDescriptor) -> bool,
) -> Result<String, String> {
    let all: Vec<MessageDescriptor> = pool
        .all_messages()
        .filter(|message| !message.is_map_entry() && !is_foreign(message))
        .collect();
    let mut checked = BTreeSet::new();
    for message in all.iter().filter(|message| is_root(message)) {
        reach(message, &mut checked);
    }
    let mut patterns = Patterns::default();
    let mut impls = String::new();
    for message in &all {
        // rules that are not understood are told of wherever they stand
        let body = body(message, &mut patterns)?;
        let name = Crate::of(message);
        if body.is_empty() || !checked.contains(message.full_name()) {
            let _ = writeln!(impls, "impl Validate for {name} {{}}");
        } else {
            let _ = writeln!(
                impls,
                "impl Validate for {name} {{\n\
                 fn check(&self, root: &At<'_>, invalid: &mut Invalid) {{\n\
                 if invalid.is_full() {{ return; }}\n{body}}}\n}}"
            );
        }
    }
    Ok(format!(
        "const _: () = {{\n#[allow(unused_imports)]\nuse ::palinode_pb::validate::*;\n\
         #[allow(unused_imports)]\nuse ::std::{{ops::Bound, sync::LazyLock}};\n{}{impls}}};\n",
        patterns.code
    ))
}

fn is_foreign(message: &MessageDescriptor) -> bool {
    FOREIGN.contains(&message.package_name())
}

/// The messages that a message is made of, itself among them.
pub fn reach(message: &MessageDescriptor, reached: &mut BTreeSet<String>) {
    if is_foreign(message) || !reached.insert(message.full_name().to_owned()) {
        return;
    }
    for part in message.fields().filter_map(|field| part(&field)) {
        reach(&part, reached);
    }
}

/// The message that the values of a field are, if they are messages.
fn part(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => match entry.map_entry_value_field().kind() {
            Kind::Message(value) => Some(value),
            _ => None,
        },
        Kind::Message(message) => Some(message),
        _ => None,
    }
}

/// Whether a look into a message finds rules.
fn has_rules(message: &MessageDescriptor) -> bool {
    let mut reached = BTreeSet::new();
    reach(message, &mut reached);
    let pool = message.parent_pool();
    let mut parts = reached.iter().filter_map(|n| pool.get_message_by_name(n));
    parts.any(|part| {
        part.fields().any(|field| Rules::of(&field).is_some())
            || part
                .oneofs()
                .any(|oneof| rules::is_required(&oneof) == Ok(true))
    })
}

/// The expressions of all messages, each compiled once.
#[derive(Default)]
struct Patterns {
    count: usize,
    code: String,
}

impl Patterns {
    /// The name of the static that holds it.
    fn name(&mut self, pattern: &str) -> Result<String, String> {
        regex::Regex::new(pattern).map_err(|error| error.to_string())?;
        self.count += 1;
        let name = format!("PATTERN_{}", self.count);
        let words = names::words(pattern);
        let _ = writeln!(
            self.code,
            "static {name}: Pattern = Pattern {{ regex: LazyLock::new(|| regex({pattern:?})), \
             words: {words:?} }};"
        );
        Ok(name)
    }
}

fn body(message: &MessageDescriptor, patterns: &mut Patterns) -> Result<String, String> {
    rules::no_message_rules(message)?;
    let mut code = String::new();
    for field in message.fields() {
        let value = match field
            .containing_oneof()
            .filter(|oneof| !oneof.is_synthetic())
        {
            // written with the first of its fields
            Some(oneof) if oneof.fields().next().as_ref() == Some(&field) => {
                one_of(message, &oneof, patterns)?
            }
            Some(_) => continue,
            None => field::code(&field, patterns)?,
        };
        code.push_str(&value);
    }
    Ok(code)
}

fn one_of(
    message: &MessageDescriptor,
    oneof: &OneofDescriptor,
    patterns: &mut Patterns,
) -> Result<String, String> {
    let mut arms = String::new();
    for field in oneof.fields() {
        let check = field::given(&field, patterns)?;
        if !check.is_empty() {
            let variant = Crate::variant(message, oneof, &field);
            let _ = writeln!(arms, "Some({variant}(value)) => {{\n{check}}}");
        }
    }
    let is_required = rules::is_required(oneof)?;
    if arms.is_empty() && !is_required {
        return Ok(String::new());
    }
    let name = oneof.name();
    if is_required {
        let names: Vec<String> = oneof.fields().map(|f| f.name().to_owned()).collect();
        let words = format!("must be {}", names::any_of(&names));
        let _ = writeln!(
            arms,
            "None => invalid.add(&root.one_of({name:?}), \"REQUIRED\", {words:?}),"
        );
    }
    let place = names::snake(name);
    Ok(format!("match &self.{place} {{\n{arms}_ => {{}}\n}}\n"))
}
