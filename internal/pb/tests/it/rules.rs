//! Every kind of rule, at its boundaries.

use palinode_pb::validate::Validate;

use crate::generated::rules::v1::{
    Colour, Enums, Free, Line, Lists, Nested, Numbers, Texts, nested,
};

const ID: &str = "0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42";

/// Field, reason and words of each violation.
#[track_caller]
fn check(message: &impl Validate, expect: &[(&str, &str, &str)]) {
    let list = message.validate().err().map(|invalid| invalid.into_list());
    let list = list.unwrap_or_default();
    let found: Vec<_> = list
        .iter()
        .map(|v| (v.field.as_str(), v.reason, v.description.as_str()))
        .collect();
    assert_eq!(found, expect);
}

fn texts() -> Texts {
    Texts {
        required: "x".to_owned(),
        span: "ab".to_owned(),
        exact: "abc".to_owned(),
        pattern: "DE".to_owned(),
        own_pattern: "xx".to_owned(),
        email: "ada@example.com".to_owned(),
        uuid: ID.to_owned(),
        only: "yes".to_owned(),
        needed: Some(String::new()),
        ..Texts::default()
    }
}

#[test]
fn text_within_its_rules_passes() {
    check(&texts(), &[]);
    let edge = Texts {
        span: "äöüß".to_owned(),
        bytes: "abcd".to_owned(),
        maybe_uuid: ID.to_owned(),
        word: "backward".to_owned(),
        given: Some("x".to_owned()),
        ..texts()
    };
    check(&edge, &[]);
}

#[test]
fn every_wrong_text_is_told_at_once_and_once() {
    let email = "must be an email address such as ada@example.com";
    let uuid = "must be a UUID such as 0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42";
    check(
        &Texts::default(),
        &[
            ("required", "REQUIRED", "must be given"),
            ("span", "REQUIRED", "must be given"),
            ("exact", "REQUIRED", "must be given"),
            (
                "pattern",
                "MALFORMED",
                "must be two capital letters such as DE (ISO 3166-1)",
            ),
            ("own_pattern", "MALFORMED", "must match ^x+$"),
            ("email", "MALFORMED", email),
            ("uuid", "MALFORMED", uuid),
            ("only", "UNKNOWN_VALUE", "must be yes"),
            ("needed", "REQUIRED", "must be given"),
        ],
    );
    let wrong = Texts {
        span: "ä".to_owned(),
        exact: "abcd".to_owned(),
        bytes: "äöü".to_owned(),
        pattern: "DEU".to_owned(),
        maybe_uuid: "x".to_owned(),
        word: "sideways".to_owned(),
        given: Some(String::new()),
        ..texts()
    };
    check(
        &wrong,
        &[
            ("span", "TOO_SHORT", "must be 2 to 4 characters"),
            ("exact", "TOO_LONG", "must be 3 characters"),
            ("bytes", "TOO_LONG", "must be at most 4 bytes of UTF-8"),
            (
                "pattern",
                "MALFORMED",
                "must be two capital letters such as DE (ISO 3166-1)",
            ),
            ("maybe_uuid", "MALFORMED", uuid),
            (
                "word",
                "UNKNOWN_VALUE",
                "must be forward, backward or empty",
            ),
            ("given", "REQUIRED", "must be given"),
        ],
    );
    let long = Texts {
        span: "abcde".to_owned(),
        ..texts()
    };
    check(&long, &[("span", "TOO_LONG", "must be 2 to 4 characters")]);
}

#[test]
fn a_number_is_in_its_range() {
    let right = Numbers {
        page: 200,
        above: 1,
        below: 9,
        between: u64::MAX,
        share: 0.999,
        one_of: -1,
        needed: -5,
        rate: 5,
        agreed: true,
    };
    check(&right, &[]);
    let low = Numbers {
        page: -1,
        above: 0,
        below: 10,
        between: 1,
        share: f64::NAN,
        one_of: 2,
        needed: 0,
        rate: 4,
        agreed: false,
    };
    check(
        &low,
        &[
            ("page", "OUT_OF_RANGE", "must be 0 to 200"),
            ("above", "OUT_OF_RANGE", "must be more than 0"),
            ("below", "OUT_OF_RANGE", "must be less than 10"),
            (
                "between",
                "OUT_OF_RANGE",
                "must be more than 1 and at most 18446744073709551615",
            ),
            (
                "share",
                "OUT_OF_RANGE",
                "must be at least 0 and less than 1",
            ),
            ("one_of", "UNKNOWN_VALUE", "must be -1, 0 or 1"),
            ("needed", "REQUIRED", "must be given"),
            ("rate", "OUT_OF_RANGE", "must be at least 5"),
            ("agreed", "UNKNOWN_VALUE", "must be true"),
        ],
    );
    let high = Numbers {
        page: 201,
        share: 1.0,
        rate: 0,
        ..right
    };
    check(
        &high,
        &[
            ("page", "OUT_OF_RANGE", "must be 0 to 200"),
            (
                "share",
                "OUT_OF_RANGE",
                "must be at least 0 and less than 1",
            ),
        ],
    );
}

#[test]
fn an_enum_has_the_values_that_its_proto_names() {
    let of = |defined: i32, chosen: i32| Enums {
        defined,
        chosen,
        blue: Colour::Blue.into(),
    };
    check(&of(0, 1), &[]);
    check(&of(2, 2), &[]);
    let all = "must be COLOUR_UNSPECIFIED, COLOUR_RED or COLOUR_BLUE";
    let chosen = "must be COLOUR_RED or COLOUR_BLUE";
    check(
        &of(3, 0),
        &[
            ("defined", "UNKNOWN_VALUE", all),
            ("chosen", "REQUIRED", chosen),
        ],
    );
    check(&of(0, -1), &[("chosen", "UNKNOWN_VALUE", chosen)]);
    let red = Enums {
        blue: Colour::Red.into(),
        ..of(0, 1)
    };
    check(&red, &[("blue", "UNKNOWN_VALUE", "must be COLOUR_BLUE")]);
}

fn line(sku: &str, quantity: i32) -> Line {
    Line {
        sku: sku.to_owned(),
        quantity,
    }
}

fn lists() -> Lists {
    Lists {
        lines: vec![line("mug", 1)],
        pair: vec![1, 2],
        ..Lists::default()
    }
}

#[test]
fn a_list_has_as_many_entries_as_it_may() {
    check(&lists(), &[]);
    let empty = Lists::default();
    check(
        &empty,
        &[
            ("lines", "REQUIRED", "must have at least one entry"),
            ("pair", "REQUIRED", "must have at least one entry"),
        ],
    );
    let short = Lists {
        pair: vec![1],
        ..lists()
    };
    check(
        &short,
        &[("pair", "TOO_FEW", "must have at least 2 entries")],
    );
    let full = Lists {
        lines: vec![line("mug", 1); 100],
        ..lists()
    };
    check(&full, &[]);
    // entries of a list that is too long are not looked at
    let long = Lists {
        lines: vec![line("no sku", 0); 101],
        ..lists()
    };
    check(
        &long,
        &[("lines", "TOO_MANY", "must have at most 100 entries")],
    );
}

#[test]
fn entries_are_told_by_their_place() {
    let sku = "must be 1 to 64 characters of A-Z a-z 0-9 . _ -";
    let wrong = Lists {
        names: vec!["a".to_owned(), String::new(), "a".to_owned()],
        lines: vec![line("mug", 1), line("a mug", 0), line("mug", 1_001)],
        labels: [("ok".to_owned(), 1), ("x y".to_owned(), 0)].into(),
        by_number: [(-7, line("", 1))].into(),
        colours: vec![0, 9],
        ..lists()
    };
    check(
        &wrong,
        &[
            ("names[1]", "REQUIRED", "must be given"),
            ("names[2]", "DUPLICATE", "stands in the list already"),
            ("lines[1].sku", "MALFORMED", sku),
            ("lines[1].quantity", "OUT_OF_RANGE", "must be 1 to 1000"),
            ("lines[2].quantity", "OUT_OF_RANGE", "must be 1 to 1000"),
            (r#"labels["x y"]"#, "OUT_OF_RANGE", "must be at least 1"),
            ("by_number[-7].sku", "MALFORMED", sku),
            (
                "colours[1]",
                "UNKNOWN_VALUE",
                "must be COLOUR_UNSPECIFIED, COLOUR_RED or COLOUR_BLUE",
            ),
        ],
    );
    let labels = (0..3).map(|i| (i.to_string(), 1)).collect();
    let many = Lists { labels, ..lists() };
    check(
        &many,
        &[("labels", "TOO_MANY", "must have at most 2 entries")],
    );
    let labels = [("k".repeat(71), 1)].into();
    let long = Lists { labels, ..lists() };
    let key = format!("labels[\"{}…\"]", "k".repeat(63));
    check(
        &long,
        &[(&key, "TOO_LONG", "must be at most 70 characters")],
    );
}

fn nested() -> Nested {
    Nested {
        needed: Some(line("mug", 1)),
        at: Some(prost_types::Timestamp::default()),
        choice: Some(nested::Choice::AsNone(false)),
        body: vec![0; 4].into(),
        ..Nested::default()
    }
}

#[test]
fn messages_in_messages_are_looked_into() {
    check(&nested(), &[]);
    let words = "must be as_line, as_text or as_none";
    check(
        &Nested::default(),
        &[
            ("needed", "REQUIRED", "must be given"),
            ("at", "REQUIRED", "must be given"),
            ("choice", "REQUIRED", words),
            ("body", "REQUIRED", "must be given"),
        ],
    );
    let inner = |id: &str| nested::Inner { id: id.to_owned() };
    let deep = Nested {
        line: Some(line("mug", 0)),
        choice: Some(nested::Choice::AsText("abc".to_owned())),
        body: vec![0; 5].into(),
        again: Some(Box::new(Nested {
            choice: Some(nested::Choice::AsLine(line("mug", -1))),
            inner: vec![inner(ID), inner("")],
            // a oneof below has no name of its own in JSON
            again: Some(Box::new(Nested {
                choice: None,
                ..nested()
            })),
            ..nested()
        })),
        ..nested()
    };
    let uuid = "must be a UUID such as 0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42";
    check(
        &deep,
        &[
            ("line.quantity", "OUT_OF_RANGE", "must be 1 to 1000"),
            ("as_text", "TOO_LONG", "must be at most 2 characters"),
            ("body", "TOO_LONG", "must be 1 to 4 bytes"),
            (
                "again.as_line.quantity",
                "OUT_OF_RANGE",
                "must be 1 to 1000",
            ),
            (
                "again.again",
                "REQUIRED",
                "must be as_line, as_text or as_none",
            ),
            ("again.inner[1].id", "MALFORMED", uuid),
        ],
    );
}

#[test]
fn what_has_no_rules_passes() {
    let free = Free {
        anything: "x".repeat(1_000_000),
    };
    check(&free, &[]);
}
