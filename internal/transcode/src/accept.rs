//! What a client wants to be answered with (RFC 9110, 12.5.1).

use http::{HeaderMap, header};

/// The offer that the `Accept` headers like best; of equals the first. None: they take none of
/// these. Without such a header everything is fine.
pub(crate) fn choose<'o>(headers: &HeaderMap, offers: &[&'o str]) -> Option<&'o str> {
    let mut ranges = Vec::new();
    for value in headers.get_all(header::ACCEPT) {
        // what is no text says nothing
        let text = value.to_str().unwrap_or_default();
        ranges.extend(text.split(',').filter_map(Range::parse));
    }
    if ranges.is_empty() {
        return offers.first().copied();
    }
    let mut best: Option<(&str, u16)> = None;
    for offer in offers {
        let of_offer = ranges.iter().filter_map(|range| range.weight(offer));
        // the most specific range decides
        let Some((_, weight)) = of_offer.max_by_key(|(detail, _)| *detail) else {
            continue;
        };
        if weight > best.map_or(0, |(_, weight)| weight) {
            best = Some((offer, weight));
        }
    }
    best.map(|(offer, _)| offer)
}

/// One member of the header.
struct Range<'h> {
    kind: &'h str,
    subtype: &'h str,
    /// In thousandths.
    weight: u16,
}

impl<'h> Range<'h> {
    fn parse(text: &'h str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let weight = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
        });
        let weight = match weight {
            Some(weight) => thousandths(weight)?,
            None => 1_000,
        };
        Some(Self {
            kind,
            subtype,
            weight,
        })
    }

    /// How exactly it names the offer, and how much it wants it.
    fn weight(&self, offer: &str) -> Option<(u8, u16)> {
        let (kind, subtype) = offer.split_once('/')?;
        let detail = match (self.kind, self.subtype) {
            ("*", "*") => 0,
            (own, "*") if own.eq_ignore_ascii_case(kind) => 1,
            (own, sub) if own.eq_ignore_ascii_case(kind) && sub.eq_ignore_ascii_case(subtype) => 2,
            _ => return None,
        };
        Some((detail, self.weight))
    }
}

fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: u16 = whole.parse().ok().filter(|whole| *whole <= 1)?;
    if fraction.len() > 3 {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    Some((whole * 1_000 + fraction).min(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_decides_and_without_a_word_the_first_is_taken() {
        let lines = "application/x-ndjson";
        let check = |accept: &[&str], expect: Option<&str>| {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(header::ACCEPT, value.parse().unwrap());
            }
            let offers = [lines, "text/event-stream"];
            assert_eq!(choose(&headers, &offers), expect, "{accept:?}");
        };
        check(&[], Some(lines));
        check(&["*/*"], Some(lines));
        check(&["text/event-stream"], Some("text/event-stream"));
        check(&["Text/*;q=0.5"], Some("text/event-stream"));
        check(
            &["application/x-ndjson;q=0.2, text/*"],
            Some("text/event-stream"),
        );
        check(
            &["*/*", "application/x-ndjson; q=0"],
            Some("text/event-stream"),
        );
        check(&["text/html,application/xml;q=0.9,*/*;q=0.8"], Some(lines));
        check(&["image/png"], None);
        check(&["*/*;q=0"], None);
        // what cannot be read says nothing
        check(&["nonsense"], Some(lines));
        check(&["*/*;q=2"], Some(lines));
    }
}
