//! What is looked for, and what it is looked for in: cut into words in one way, so that both fit.
//!
//! Not left to the database: which letters it knows depends on its locale, and its parser takes a part
//! of a text for a host or a path, of which no single word can be found.

/// What a search looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sought(String);

impl Sought {
    /// The words of what somebody has typed; `None`: there are none.
    pub(crate) fn of(typed: &str) -> Option<Self> {
        let words = words(typed);
        if words.is_empty() {
            return None;
        }
        let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        // whoever types is in the middle of the last one
        Some(Self(format!("{}:*", quoted.join(" & "))))
    }

    /// As `to_tsquery` reads it. Words are letters and digits, so that nothing in them means something to it.
    pub(crate) fn tsquery(&self) -> &str {
        &self.0
    }
}

/// What a product is found by.
pub(crate) fn sought(sku: &str, name: &str, description: &str) -> String {
    let all = [sku, name, description];
    let words: Vec<String> = all.iter().flat_map(|text| words(text)).collect();
    words.join(" ")
}

/// What products are sorted by when they are by name: in the order of Unicode, whatever the case.
pub(crate) fn sort_name(name: &str) -> String {
    name.to_lowercase()
}

fn words(text: &str) -> Vec<String> {
    // in lower case first: that of İ has a mark which is no letter
    let text = text.to_lowercase();
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_letters_and_digits_in_lower_case() {
        let check = |typed: &str, expect: Option<&str>| {
            let found = Sought::of(typed);
            assert_eq!(found.as_ref().map(Sought::tsquery), expect, "{typed:?}");
        };
        check("Mug", Some("'mug':*"));
        check("  blue   MUG ", Some("'blue' & 'mug':*"));
        check("mug-blue", Some("'mug' & 'blue':*"));
        check("ÄPFEL", Some("'äpfel':*"));
        check(
            "a'b\\c | !d <-> e:*B",
            Some("'a' & 'b' & 'c' & 'd' & 'e' & 'b':*"),
        );
        check("", None);
        check(" -- !!! ()", None);
    }

    #[test]
    fn a_product_is_found_by_its_sku_its_name_and_its_description() {
        let all = sought(
            "mug-blue_1.0",
            "Blue Mug",
            "See https://example.org/mug.html",
        );
        assert_eq!(all, "mug blue 1 0 blue mug see https example org mug html");
    }
}
