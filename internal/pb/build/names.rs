//! Names as prost writes them, and words for people.

use std::fmt;

use heck::{ToSnakeCase as _, ToUpperCamelCase as _};
use prost_reflect::{FieldDescriptor, MessageDescriptor, OneofDescriptor};

/// The Rust path of a message, seen from the module of all packages.
pub(super) struct Crate(String);

impl Crate {
    pub(super) fn of(message: &MessageDescriptor) -> Self {
        let module = module(message.parent_message().as_ref(), message.package_name());
        Self(format!("{module}{}", camel(message.name())))
    }

    /// A variant of the enum that prost makes of a oneof.
    pub(super) fn variant(
        message: &MessageDescriptor,
        oneof: &OneofDescriptor,
        field: &FieldDescriptor,
    ) -> Self {
        let module = module(Some(message), message.package_name());
        let (choice, variant) = (camel(oneof.name()), camel(field.name()));
        Self(format!("{module}{choice}::{variant}"))
    }
}

impl fmt::Display for Crate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn module(parent: Option<&MessageDescriptor>, package: &str) -> String {
    match parent {
        Some(parent) => {
            let above = module(parent.parent_message().as_ref(), package);
            format!("{above}{}::", snake(parent.name()))
        }
        None => {
            let parts = package.split('.').map(snake);
            let parts: Vec<String> = parts.collect();
            format!("self::{}::", parts.join("::"))
        }
    }
}

pub(super) fn snake(name: &str) -> String {
    escaped(name.to_snake_case())
}

fn camel(name: &str) -> String {
    escaped(name.to_upper_camel_case())
}

fn escaped(name: String) -> String {
    match name.as_str() {
        "self" | "super" | "crate" | "Self" | "extern" => format!("{name}_"),
        "as" | "break" | "const" | "continue" | "else" | "enum" | "false" | "fn" | "for" | "if"
        | "impl" | "in" | "let" | "loop" | "match" | "mod" | "move" | "mut" | "pub" | "ref"
        | "return" | "static" | "struct" | "trait" | "true" | "type" | "unsafe" | "use"
        | "where" | "while" | "dyn" | "abstract" | "become" | "box" | "do" | "final" | "macro"
        | "override" | "priv" | "typeof" | "unsized" | "virtual" | "yield" | "async" | "await"
        | "try" | "gen" => format!("r#{name}"),
        _ => name,
    }
}

/// `a, b or c`.
pub(super) fn any_of(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// What a pattern asks for; one that is not known here is told as it is.
pub(super) fn words(pattern: &str) -> String {
    let known = WORDS.iter().find(|(known, _)| *known == pattern);
    known.map_or_else(
        || format!("must match {pattern}"),
        |(_, words)| (*words).to_owned(),
    )
}

const WORDS: [(&str, &str); 10] = [
    (
        r"^[A-Za-z0-9._-]{1,64}$",
        "must be 1 to 64 characters of A-Z a-z 0-9 . _ -",
    ),
    (
        r"^[A-Za-z0-9._-]*$",
        "must be characters of A-Z a-z 0-9 . _ -",
    ),
    (r"^[a-z0-9-]*$", "must be characters of a-z 0-9 -"),
    (
        r"^[a-z0-9-]{1,64}$",
        "must be 1 to 64 characters of a-z 0-9 -",
    ),
    (
        r"^(https://[!-~]+|/[A-Za-z0-9._~%-][!-~]*)?$",
        "must be an https URL, or a path such as /pictures/mug.webp",
    ),
    (
        r"^[A-Z]{2}$",
        "must be two capital letters such as DE (ISO 3166-1)",
    ),
    (
        r"^[A-Z]{3}$",
        "must be three capital letters such as EUR (ISO 4217)",
    ),
    (r"^[!-~]*$", "must be visible ASCII characters"),
    (r"^[^\x00]*$", "must be without NUL characters"),
    (
        r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
        "must be text without control characters",
    ),
];
