//! Percent-decoding of paths and queries, strict: a broken escape is an error, not a literal.

/// A `%` without two hex digits, or bytes that are not UTF-8.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadEscape;

/// What stays as it is while the rest is decoded.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    /// Everything is decoded.
    Segment,
    /// `%2F` stays, so that a slash inside a segment differs from one between segments.
    Segments,
    /// `+` is a space.
    Query,
}

/// Decodes one path segment.
pub(crate) fn segment(text: &str) -> Result<String, BadEscape> {
    decode(text, Mode::Segment)
}

/// Decodes one of several path segments that will stand side by side.
pub(crate) fn one_of_segments(text: &str) -> Result<String, BadEscape> {
    decode(text, Mode::Segments)
}

/// The names and values of a query, in order, repetitions kept; a name alone has an empty value.
pub(crate) fn query_pairs(query: &str) -> Result<Vec<(String, String)>, BadEscape> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name, Mode::Query)?, decode(value, Mode::Query)?))
        })
        .collect()
}

fn decode(text: &str, mode: Mode) -> Result<String, BadEscape> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'%' => {
                let (digits, tail) = rest.split_at_checked(2).ok_or(BadEscape)?;
                rest = tail;
                let byte = hex(digits[0])? << 4 | hex(digits[1])?;
                if byte == b'/' && mode == Mode::Segments {
                    bytes.push(b'%');
                    bytes.extend_from_slice(digits);
                } else {
                    bytes.push(byte);
                }
            }
            b'+' if mode == Mode::Query => bytes.push(b' '),
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).map_err(|_| BadEscape)
}

fn hex(digit: u8) -> Result<u8, BadEscape> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(BadEscape),
    }
}

#[cfg(test)]
mod tests {
    use super::{BadEscape, one_of_segments, query_pairs, segment};

    #[test]
    fn escapes_are_decoded_once_and_strictly() {
        let check = |text: &str, expect: Result<&str, BadEscape>| {
            assert_eq!(segment(text), expect.map(str::to_owned), "{text}");
        };
        check("plain", Ok("plain"));
        check("a%20b+c", Ok("a b+c"));
        check("%2525", Ok("%25"));
        check("a%2Fb", Ok("a/b"));
        check("caf%C3%A9", Ok("café"));
        check("%", Err(BadEscape));
        check("%4", Err(BadEscape));
        check("%zz", Err(BadEscape));
        check("%+1", Err(BadEscape));
        check("%ff", Err(BadEscape));
        assert_eq!(one_of_segments("a%2fb%20c"), Ok("a%2fb c".to_owned()));
    }

    #[test]
    fn queries_are_pairs_in_order() {
        let pairs = query_pairs("a=1&&b=x+y%3D&a=2&c").unwrap();
        let expect = [("a", "1"), ("b", "x y="), ("a", "2"), ("c", "")];
        let expect = expect.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(pairs, expect);
        assert_eq!(query_pairs("a=%"), Err(BadEscape));
    }
}
