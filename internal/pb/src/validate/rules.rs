//! One function for each kind of value: it is given the value and its rules, and says whether they hold.

use std::collections::HashSet;
use std::fmt::Display;
use std::hash::Hash;
use std::ops::{Bound, RangeBounds};
use std::sync::LazyLock;

use regex::Regex;

use super::{At, Invalid};

/// A regular expression, and what it asks for.
#[derive(Debug)]
pub struct Pattern {
    pub regex: LazyLock<Regex>,
    /// The rest of a sentence, such as `must be two capital letters`.
    pub words: &'static str,
}

/// Compiles an expression that the build has compiled before.
#[must_use]
pub fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the build compiles every pattern")
}

/// A form that text has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Hyphenated, in any case (RFC 9562).
    Uuid,
    /// An address as HTML knows it.
    Email,
}

/// Rules of text.
#[derive(Debug)]
pub struct Text {
    /// Not empty.
    pub required: bool,
    /// At least and at most. Units: characters, that is Unicode scalar values.
    pub chars: (usize, usize),
    /// At least and at most, in UTF-8.
    pub bytes: (usize, usize),
    pub format: Option<Format>,
    pub pattern: Option<&'static Pattern>,
    /// The values that there are; none: all.
    pub one_of: &'static [&'static str],
}

impl Text {
    pub const ANY: Self = Self {
        required: false,
        chars: (0, usize::MAX),
        bytes: (0, usize::MAX),
        format: None,
        pattern: None,
        one_of: &[],
    };
}

/// Rules of a number: a range, or a list.
#[derive(Debug)]
pub struct Number<T: 'static> {
    /// Not zero.
    pub required: bool,
    pub range: (Bound<T>, Bound<T>),
    /// The values that there are; none: all.
    pub one_of: &'static [T],
}

/// Rules of bytes.
#[derive(Debug)]
pub struct Bytes {
    /// Not empty.
    pub required: bool,
    /// At least and at most.
    pub len: (usize, usize),
}

/// Rules of a list or a map.
#[derive(Debug)]
pub struct List {
    /// Not empty.
    pub required: bool,
    /// At least and at most.
    pub entries: (usize, usize),
}

/// Rules of an enum.
#[derive(Debug)]
pub struct Choice {
    /// Not zero.
    pub required: bool,
    /// The numbers that there are.
    pub allowed: &'static [i32],
    /// Their names: `CLAIM_DONE or CLAIM_NOT_DONE`.
    pub names: &'static str,
}

/// Whether a number, a boolean or an enum is as if it were not given.
pub fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

pub fn required(at: &At<'_>, invalid: &mut Invalid) {
    invalid.add(at, "REQUIRED", "must be given");
}

pub fn text(value: &str, rules: &Text, at: &At<'_>, invalid: &mut Invalid) {
    if value.is_empty() && (rules.required || rules.chars.0 > 0 || rules.bytes.0 > 0) {
        required(at, invalid);
    } else if let Some(reason) = outside(rules.chars, || value.chars().count()) {
        invalid.add(
            at,
            reason,
            format!("must be {} characters", span(rules.chars)),
        );
    } else if let Some(reason) = outside(rules.bytes, || value.len()) {
        let words = format!("must be {} bytes of UTF-8", span(rules.bytes));
        invalid.add(at, reason, words);
    } else if let Some(words) = rules.format.and_then(|format| misfit(value, format)) {
        invalid.add(at, "MALFORMED", words);
    } else if let Some(pattern) = rules.pattern.filter(|p| !p.regex.is_match(value)) {
        invalid.add(at, "MALFORMED", pattern.words);
    } else if !rules.one_of.is_empty() && !rules.one_of.contains(&value) {
        invalid.add(at, "UNKNOWN_VALUE", among(rules.one_of));
    }
}

pub fn number<T: Copy + PartialOrd + Display + Default>(
    value: T,
    rules: &Number<T>,
    at: &At<'_>,
    invalid: &mut Invalid,
) {
    if rules.required && value == T::default() {
        required(at, invalid);
    } else if !rules.range.contains(&value) {
        invalid.add(at, "OUT_OF_RANGE", range_words(&rules.range));
    } else if !rules.one_of.is_empty() && !rules.one_of.contains(&value) {
        invalid.add(at, "UNKNOWN_VALUE", among(rules.one_of));
    }
}

pub fn boolean(value: bool, only: Option<bool>, must: bool, at: &At<'_>, invalid: &mut Invalid) {
    if must && !value {
        required(at, invalid);
    } else if let Some(only) = only.filter(|only| *only != value) {
        invalid.add(at, "UNKNOWN_VALUE", format!("must be {only}"));
    }
}

pub fn bytes(value: &[u8], rules: &Bytes, at: &At<'_>, invalid: &mut Invalid) {
    if value.is_empty() && (rules.required || rules.len.0 > 0) {
        required(at, invalid);
    } else if let Some(reason) = outside(rules.len, || value.len()) {
        invalid.add(at, reason, format!("must be {} bytes", span(rules.len)));
    }
}

pub fn choice(value: i32, rules: &Choice, at: &At<'_>, invalid: &mut Invalid) {
    let is_allowed = rules.allowed.contains(&value);
    if value == 0 && (rules.required || !is_allowed) {
        invalid.add(at, "REQUIRED", format!("must be {}", rules.names));
    } else if !is_allowed {
        invalid.add(at, "UNKNOWN_VALUE", format!("must be {}", rules.names));
    }
}

/// Whether the entries are to be looked at: no list that is too long is.
pub fn list(len: usize, rules: &List, at: &At<'_>, invalid: &mut Invalid) -> bool {
    let (min, max) = rules.entries;
    if len == 0 && (rules.required || min > 0) {
        invalid.add(at, "REQUIRED", "must have at least one entry");
    } else if len < min {
        invalid.add(at, "TOO_FEW", format!("must have at least {min} entries"));
    } else if len > max {
        let entries = if max == 1 { "entry" } else { "entries" };
        invalid.add(at, "TOO_MANY", format!("must have at most {max} {entries}"));
        return false;
    }
    true
}

/// Every entry that stands before it already is a violation.
pub fn unique<T: Hash + Eq>(values: impl Iterator<Item = T>, at: &At<'_>, invalid: &mut Invalid) {
    let mut seen = HashSet::new();
    for (index, value) in values.enumerate() {
        if invalid.is_full() {
            return;
        }
        if !seen.insert(value) {
            invalid.add(&at.item(index), "DUPLICATE", "stands in the list already");
        }
    }
}

fn outside((min, max): (usize, usize), len: impl FnOnce() -> usize) -> Option<&'static str> {
    if (min, max) == (0, usize::MAX) {
        return None;
    }
    match len() {
        len if len < min => Some("TOO_SHORT"),
        len if len > max => Some("TOO_LONG"),
        _ => None,
    }
}

fn span((min, max): (usize, usize)) -> String {
    match (min, max) {
        (min, max) if min == max => min.to_string(),
        (0, max) => format!("at most {max}"),
        (min, usize::MAX) => format!("at least {min}"),
        (min, max) => format!("{min} to {max}"),
    }
}

fn range_words<T: Display>(range: &(Bound<T>, Bound<T>)) -> String {
    if let (Bound::Included(min), Bound::Included(max)) = range {
        return format!("must be {min} to {max}");
    }
    let lower = match &range.0 {
        Bound::Included(min) => Some(format!("at least {min}")),
        Bound::Excluded(min) => Some(format!("more than {min}")),
        Bound::Unbounded => None,
    };
    let upper = match &range.1 {
        Bound::Included(max) => Some(format!("at most {max}")),
        Bound::Excluded(max) => Some(format!("less than {max}")),
        Bound::Unbounded => None,
    };
    let both: Vec<String> = lower.into_iter().chain(upper).collect();
    format!("must be {}", both.join(" and "))
}

/// `must be forward or backward`; empty text comes last, as a word.
fn among<T: Display>(values: &[T]) -> String {
    let (empty, mut words): (Vec<String>, Vec<String>) = values
        .iter()
        .map(ToString::to_string)
        .partition(String::is_empty);
    words.extend(empty.first().map(|_| "empty".to_owned()));
    let last = words.pop().unwrap_or_default();
    if words.is_empty() {
        format!("must be {last}")
    } else {
        format!("must be {} or {last}", words.join(", "))
    }
}

fn misfit(value: &str, format: Format) -> Option<&'static str> {
    let (fits, words) = match format {
        Format::Uuid => (
            is_uuid(value),
            "must be a UUID such as 0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42",
        ),
        Format::Email => (
            EMAIL.is_match(value),
            "must be an email address such as ada@example.com",
        ),
    };
    (!fits).then_some(words)
}

fn is_uuid(value: &str) -> bool {
    value.len() == 36
        && value.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Source: the HTML standard, valid email address; as protovalidate has it.
static EMAIL: LazyLock<Regex> = LazyLock::new(|| {
    let label = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?";
    regex(&format!(
        r"^[a-zA-Z0-9.!#$%&'*+/=?^_`{{|}}~-]+@{label}(?:\.{label})*$"
    ))
});
