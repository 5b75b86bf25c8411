use std::ops::Bound;

use super::*;

fn found(check: impl Fn(&At<'_>, &mut Invalid)) -> Option<(&'static str, String)> {
    let mut invalid = Invalid::default();
    check(&At::Root, &mut invalid);
    let mut list = invalid.into_list();
    list.pop().map(|one| (one.reason, one.description))
}

#[test]
fn a_range_is_told_in_words() {
    let check = |range: (Bound<i32>, Bound<i32>), words: &str| {
        let rules = Number {
            required: false,
            range,
            one_of: &[],
        };
        let (reason, description) = found(|at, invalid| number(7, &rules, at, invalid)).unwrap();
        assert_eq!((reason, description.as_str()), ("OUT_OF_RANGE", words));
    };
    use Bound::{Excluded, Included, Unbounded};
    check((Included(1), Included(6)), "must be 1 to 6");
    check((Included(8), Unbounded), "must be at least 8");
    check((Excluded(7), Unbounded), "must be more than 7");
    check((Unbounded, Included(6)), "must be at most 6");
    check((Unbounded, Excluded(7)), "must be less than 7");
    check(
        (Excluded(0), Excluded(7)),
        "must be more than 0 and less than 7",
    );
}

#[test]
fn an_id_is_hyphenated_in_any_case() {
    let rules = Text {
        format: Some(Format::Uuid),
        ..Text::ANY
    };
    let is_id = |value: &str| found(|at, invalid| text(value, &rules, at, invalid)).is_none();
    assert!(is_id("0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42"));
    assert!(is_id("0197A1C2-7B1E-7C3A-9D2F-3F5B0C9E1A42"));
    for bad in [
        "",
        "0197a1c27b1e7c3a9d2f3f5b0c9e1a42",
        "0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a4",
        "0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a4g",
        "0197a1c2+7b1e-7c3a-9d2f-3f5b0c9e1a42",
        "{0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42}",
    ] {
        assert!(!is_id(bad), "{bad:?}");
    }
}

#[test]
fn an_address_of_email_is_that_of_html() {
    let rules = Text {
        format: Some(Format::Email),
        ..Text::ANY
    };
    let is_one = |value: &str| found(|at, invalid| text(value, &rules, at, invalid)).is_none();
    assert!(is_one("ada@example.com") && is_one("a.b+c@localhost"));
    for bad in [
        "",
        "ada",
        "@example.com",
        "ada@",
        "ada@-x.com",
        "a b@c.de",
        "ada@c.de\n",
    ] {
        assert!(!is_one(bad), "{bad:?}");
    }
}

#[test]
fn a_key_of_a_map_is_quoted_and_cut() {
    let root = At::Root;
    let labels = root.field("labels");
    assert_eq!(labels.key(&"a\"b").to_string(), r#"labels["a\"b"]"#);
    assert_eq!(
        labels.key(&7).item(2).field("x").to_string(),
        "labels[7][2].x"
    );
    let long = "ä".repeat(1_000);
    let shown = labels.key(&long).to_string();
    assert!(
        shown.ends_with("ä…\"]") && shown.chars().count() < 80,
        "{shown}"
    );
}

#[test]
fn what_is_told_has_an_end() {
    let mut invalid = Invalid::default();
    for index in 0..VIOLATIONS_MAX + 5 {
        invalid.add(&At::Root.item(index), "REQUIRED", "must be given");
    }
    assert!(invalid.is_full());
    assert_eq!(invalid.list().len(), VIOLATIONS_MAX);
    let words = invalid.to_string();
    assert!(
        words.starts_with("[0] must be given; [1] must be given; "),
        "{words}"
    );
    assert!(words.ends_with("[4] must be given; and 95 more"), "{words}");

    let mut invalid = Invalid::default();
    for index in 0..20 {
        invalid.add(
            &At::Root.item(index),
            "MALFORMED",
            "x".repeat(TEXT_BYTES_MAX / 10),
        );
    }
    assert!(invalid.is_full());
    assert_eq!(invalid.list().len(), 9);
}
