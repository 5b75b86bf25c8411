//! Requests against the rules that stand in their protos (`buf.validate`).
//!
//! The build writes [`Validate`] for every message: with rules for what a request or a command is made
//! of, with none for the rest. [`crate::codec`] runs it on every request. A value is told one
//! violation, the first of: required, length, format, pattern, list of values.
//!
//! Shape: [`VIOLATIONS_MAX`] violations at the most, of [`TEXT_BYTES_MAX`] together: an answer has to fit
//! into headers. A list that is too long is not looked into. How deep messages nest is limited by
//! their decoding (100).
//! Source: <https://protovalidate.com/reference/rules/>.

use std::fmt;

mod rules;

pub use rules::{
    Bytes, Choice, Format, List, Number, Pattern, Text, boolean, bytes, choice, is_zero, list,
    number, regex, required, text, unique,
};

/// Violations that are told of one message; more are not looked for.
pub const VIOLATIONS_MAX: usize = 100;
/// Text of all violations: with its frames and in base64 it stays below 16 KiB, which is what a client
/// accepts as headers. Units: bytes.
pub const TEXT_BYTES_MAX: usize = 8 * 1024;
/// Violations that stand in a line of text.
const SHOWN_MAX: usize = 5;
/// What is shown of the key of a map. Units: characters.
const KEY_CHARS_MAX: usize = 64;

/// A value that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path in the message, in the names of the proto: `lines[0].unit_price`, `labels["x"]`.
    pub field: String,
    /// `REQUIRED`, `TOO_SHORT`, `TOO_LONG`, `TOO_FEW`, `TOO_MANY`, `DUPLICATE`, `MALFORMED`,
    /// `OUT_OF_RANGE` or `UNKNOWN_VALUE`.
    pub reason: &'static str,
    /// The rest of a sentence that the field's name begins: `must be 1 to 1000`.
    pub description: String,
}

/// What is wrong with a message, in the order of its fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invalid {
    list: Vec<Violation>,
    text_bytes: usize,
    is_full: bool,
}

impl Invalid {
    /// Notes a violation, as long as there is room.
    pub fn add(&mut self, at: &At<'_>, reason: &'static str, description: impl Into<String>) {
        let (field, description) = (at.to_string(), description.into());
        self.text_bytes += field.len() + reason.len() + description.len();
        self.is_full |= self.list.len() >= VIOLATIONS_MAX || self.text_bytes > TEXT_BYTES_MAX;
        if !self.is_full || self.list.is_empty() {
            self.list.push(Violation {
                field,
                reason,
                description,
            });
        }
    }

    /// Whether nothing more is noted.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// The violations.
    #[must_use]
    pub fn list(&self) -> &[Violation] {
        &self.list
    }

    /// The violations.
    #[must_use]
    pub fn into_list(self) -> Vec<Violation> {
        self.list
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, one) in self.list.iter().take(SHOWN_MAX).enumerate() {
            let between = if index == 0 { "" } else { "; " };
            write!(f, "{between}{} {}", one.field, one.description)?;
        }
        match self.list.len().saturating_sub(SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl std::error::Error for Invalid {}

/// Where a value stands in its message; it is written out for violations only.
#[derive(Debug, Clone, Copy)]
pub enum At<'a> {
    Root,
    Field(&'a At<'a>, &'static str),
    Item(&'a At<'a>, usize),
    Key(&'a At<'a>, &'a dyn fmt::Debug),
}

impl<'a> At<'a> {
    #[must_use]
    pub fn field(&'a self, name: &'static str) -> Self {
        Self::Field(self, name)
    }

    #[must_use]
    pub fn item(&'a self, index: usize) -> Self {
        Self::Item(self, index)
    }

    /// A oneof: JSON has no name for it, so it is told as the message it belongs to.
    #[must_use]
    pub fn one_of(&'a self, name: &'static str) -> Self {
        match self {
            Self::Root => self.field(name),
            below => *below,
        }
    }

    #[must_use]
    pub fn key(&'a self, key: &'a dyn fmt::Debug) -> Self {
        Self::Key(self, key)
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(of, name) => write!(f, "{of}.{name}"),
            Self::Item(of, index) => write!(f, "{of}[{index}]"),
            Self::Key(of, key) => {
                let key = format!("{key:?}");
                match key.char_indices().nth(KEY_CHARS_MAX) {
                    Some((cut, _)) => write!(f, "{of}[{}…\"]", &key[..cut]),
                    None => write!(f, "{of}[{key}]"),
                }
            }
        }
    }
}

/// A message that is checked when it arrives.
pub trait Validate {
    /// Adds what is wrong with this message, which stands `at`; nothing where it has no rules.
    fn check(&self, at: &At<'_>, invalid: &mut Invalid) {
        let _no_rules = (at, invalid);
    }

    /// Looks for everything that is wrong.
    ///
    /// # Errors
    /// The violations, of which there is one at least.
    fn validate(&self) -> Result<(), Invalid> {
        let mut invalid = Invalid::default();
        self.check(&At::Root, &mut invalid);
        if invalid.list.is_empty() {
            Ok(())
        } else {
            Err(invalid)
        }
    }
}

/// `google.protobuf.Empty`
impl Validate for () {}

impl<T: Validate> Validate for Box<T> {
    fn check(&self, at: &At<'_>, invalid: &mut Invalid) {
        T::check(self, at, invalid);
    }
}

#[cfg(test)]
mod tests;
