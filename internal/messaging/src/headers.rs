use std::io::Write as _;

use bytes::BufMut;

use crate::envelope::HeaderError;

/// Headers in the order in which they stand, names and values, in one piece of memory.
///
/// The stored form is what it holds, so that writing a row, reading it and handing it to Kafka
/// copies no header by itself. For each header: a byte for its name, the length of the value (u16,
/// big endian) and the value; 0 stands for a name that has no number, which follows with its length
/// (u8). What always has the same value is one byte in all: most of what a record says of itself is
/// the same for all records, and every byte of it would stand in the write-ahead log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<u8>);

/// Names with a number, from 1 on. The numbers stand in databases: names are only ever appended.
const NAMES: [&str; 23] = [
    "ce_id",
    "ce_type",
    "ce_source",
    "ce_specversion",
    "ce_time",
    "ce_subject",
    "ce_dataschema",
    "content-type",
    "id",
    "traceparent",
    "tracestate",
    "baggage",
    "saga-id",
    "saga-plan",
    "saga-plan-hash",
    "saga-step",
    "saga-direction",
    "saga-probe",
    "saga-may-fail",
    "saga-attempt",
    "saga-seq",
    "saga-deadline",
    "guard-pending",
];

/// Headers with a number for name and value, from [`FIXED_FROM`] on. Only ever appended.
const FIXED: [(&str, &str); 7] = [
    ("ce_specversion", "1.0"),
    ("content-type", "application/protobuf"),
    ("saga-direction", "forward"),
    ("saga-direction", "backward"),
    ("saga-probe", "true"),
    ("saga-may-fail", "true"),
    ("saga-attempt", "1"),
];
const FIXED_FROM: u8 = 128;
/// Of a name without a number, and of a value, more is cut off.
const NAME_MAX: usize = u8::MAX as usize;
const VALUE_MAX: usize = u16::MAX as usize;

impl Headers {
    /// No headers yet, with room for `bytes` of them.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Each header, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (header, behind) = split(rest)?;
            rest = behind;
            Some((header.name(), header.value))
        })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.iter().count()
    }

    /// Their length in the stored form, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// The value of the first header of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let wanted = number_of(name);
        let mut rest = self.0.as_slice();
        while let Some((header, behind)) = split(rest) {
            let found = match wanted {
                0 => header.number == 0 && header.name() == name,
                number => header.number == number,
            };
            if found {
                return Some(header.value);
            }
            rest = behind;
        }
        None
    }

    /// The value as text; `None` when it is missing or not UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Adds a header. Of a name that has no number only the first 255 bytes are kept, of a value the
    /// first 65,535.
    pub fn push(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        if let Some(number) = fixed_number(name, value) {
            self.0.push(number);
            return;
        }
        self.push_name(name);
        let value = value.get(..VALUE_MAX).unwrap_or(value);
        self.0
            .put_u16(u16::try_from(value.len()).unwrap_or(u16::MAX));
        self.0.put_slice(value);
    }

    /// Adds a header whose value is shown as text.
    pub fn push_shown(&mut self, name: &str, value: impl std::fmt::Display) {
        let header_at = self.0.len();
        self.push_name(name);
        let length_at = self.0.len();
        self.0.put_u16(0);
        let value_at = self.0.len();
        // writing into memory does not fail
        write!(self.0, "{value}").expect("memory takes it");
        self.0.truncate(value_at + VALUE_MAX);
        let length = u16::try_from(self.0.len() - value_at).unwrap_or(u16::MAX);
        self.0[length_at..value_at].copy_from_slice(&length.to_be_bytes());
        if let Some(number) = fixed_number(name, &self.0[value_at..]) {
            self.0.truncate(header_at);
            self.0.push(number);
        }
    }

    fn push_name(&mut self, name: &str) {
        let number = number_of(name);
        self.0.push(number);
        if number == 0 {
            let name = name.as_bytes().get(..NAME_MAX).unwrap_or(name.as_bytes());
            self.0.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
            self.0.put_slice(name);
        }
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> &[u8] {
        &self.0
    }

    /// The stored form, given away.
    #[must_use]
    pub fn into_encoded(self) -> Vec<u8> {
        self.0
    }

    /// Takes the stored form.
    ///
    /// # Errors
    /// `Truncated`: it is cut off, or has a number that a later release has given.
    pub fn decode(stored: impl Into<Vec<u8>>) -> Result<Self, HeaderError> {
        let stored = stored.into();
        let mut rest = stored.as_slice();
        while !rest.is_empty() {
            (_, rest) = split(rest).ok_or(HeaderError::Truncated)?;
        }
        Ok(Self(stored))
    }
}

/// A header as it stands in memory.
struct Stored<'a> {
    /// Of its name; 0: it has none.
    number: u8,
    /// If it has no number.
    name: &'a [u8],
    value: &'a [u8],
}

impl<'a> Stored<'a> {
    fn name(&self) -> &'a str {
        match self.number {
            0 => std::str::from_utf8(self.name).unwrap_or_default(),
            number => NAMES[usize::from(number) - 1],
        }
    }
}

/// The first header, and what is behind it.
fn split(stored: &[u8]) -> Option<(Stored<'_>, &[u8])> {
    let (number, rest) = stored.split_first()?;
    if *number >= FIXED_FROM {
        let (name, value) = FIXED.get(usize::from(number - FIXED_FROM))?;
        let header = Stored {
            number: number_of(name),
            name: &[],
            value: value.as_bytes(),
        };
        return Some((header, rest));
    }
    let (name, rest) = if *number == 0 {
        let (length, rest) = rest.split_first()?;
        rest.split_at_checked(usize::from(*length))?
    } else {
        (&[][..], rest)
    };
    NAMES.get(usize::from(number.saturating_sub(1)))?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let header = Stored {
        number: *number,
        name,
        value,
    };
    Some((header, rest))
}

fn number_of(name: &str) -> u8 {
    let place = NAMES.iter().position(|known| *known == name);
    place.map_or(0, |place| u8::try_from(place + 1).unwrap_or_default())
}

fn fixed_number(name: &str, value: &[u8]) -> Option<u8> {
    let is_it = |(of, always): &(&str, &str)| *of == name && always.as_bytes() == value;
    let place = FIXED.iter().position(is_it)?;
    Some(FIXED_FROM + u8::try_from(place).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named() -> impl Strategy<Value = String> {
        prop_oneof![
            prop::sample::select(NAMES.to_vec()).prop_map(str::to_owned),
            "[a-z_-]{1,40}",
        ]
    }

    fn valued() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::sample::select(FIXED.to_vec()).prop_map(|(_, value)| value.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..50),
        ]
    }

    #[test]
    fn what_is_the_same_for_all_records_takes_a_byte() {
        let mut headers = Headers::default();
        for (name, value) in FIXED {
            headers.push(name, value);
        }
        assert_eq!(headers.size(), FIXED.len());
        assert!(headers.iter().eq(FIXED.map(|(n, v)| (n, v.as_bytes()))));
    }

    proptest! {
        #[test]
        fn headers_survive_the_stored_form(
            pairs in prop::collection::vec((named(), valued()), 0..20)
        ) {
            let mut headers = Headers::default();
            for (name, value) in &pairs {
                headers.push(name, value);
            }
            let read = Headers::decode(headers.encode()).unwrap();
            let read: Vec<_> = read.iter().map(|(n, v)| (n.to_owned(), v.to_vec())).collect();
            prop_assert_eq!(&read, &pairs);
            for (name, _) in &pairs {
                let first = pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v);
                prop_assert_eq!(headers.get(name), first.map(Vec::as_slice));
            }
            prop_assert_eq!(headers.get("none"), None);
        }

        #[test]
        fn what_is_shown_is_what_is_pushed(name in named(), number in 0..3_u64) {
            let mut headers = Headers::default();
            headers.push_shown(&name, number);
            let mut pushed = Headers::default();
            pushed.push(&name, number.to_string());
            prop_assert_eq!(headers, pushed);
        }

        #[test]
        fn headers_that_are_cut_off_are_refused(name in named(), cut in 1..20_usize) {
            let mut headers = Headers::default();
            headers.push(&name, "a value that is in no table");
            let stored = &headers.encode()[..headers.size() - cut];
            prop_assert_eq!(Headers::decode(stored), Err(HeaderError::Truncated));
        }
    }
}
