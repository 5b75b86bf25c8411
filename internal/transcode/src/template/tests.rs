use super::{Segment, Span, Template};

/// Writes a template's parts in one line: segments, variables with their spans, verb.
fn outline(text: &str) -> String {
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(error) => return format!("error: {error}"),
    };
    let segments: Vec<&str> = template
        .segments
        .iter()
        .map(|segment| match segment {
            Segment::Literal(text) => text,
            Segment::Any => "*",
            Segment::Rest => "**",
        })
        .collect();
    let mut line = segments.join(" ");
    for variable in &template.variables {
        let span = match &variable.span {
            Span::One(at) => at.to_string(),
            Span::Several(range) => format!("{range:?}"),
            Span::Tail(from) => format!("{from}.."),
        };
        line += &format!(" | {}={span}", variable.field);
    }
    if let Some(verb) = template.verb {
        line += &format!(" | :{verb}");
    }
    line
}

#[test]
fn templates_that_parse() {
    let check = |text: &str, expect: &str| assert_eq!(outline(text), expect, "{text}");
    check("/v1/orders", "v1 orders");
    check("/.well-known/jwks.json", ".well-known jwks.json");
    check("/v1/orders/{id}", "v1 orders * | id=2");
    check("/v1/{order.id}/lines", "v1 * lines | order.id=1");
    check("/v1/{name=orders/*}", "v1 orders * | name=1..3");
    check("/v1/{name=orders}", "v1 orders | name=1");
    check("/v1/{a}/{b=x/*/y}:go", "v1 * x * y | a=1 | b=2..5 | :go");
    check("/v1/files/{path=**}", "v1 files ** | path=2..");
    check("/v1/*/**:list", "v1 * ** | :list");
    check("/v1/orders/{id}:cancel", "v1 orders * | id=2 | :cancel");
}

#[test]
fn templates_that_do_not() {
    let check = |text: &str, expect: &str| {
        let line = outline(text);
        assert!(
            line.starts_with("error: ") && line.contains(expect),
            "{text}: {line}"
        );
    };
    check("", "starts with '/'");
    check("v1/orders", "starts with '/'");
    check("/", "empty");
    check("/v1//orders", "empty");
    check("/v1/orders/", "empty");
    check("/v1/{id", "ends with '}'");
    check("/v1/{}", "field path");
    check("/v1/{a..b}", "field path");
    check("/v1/{1a}", "field path");
    check("/v1/{a={b}}", "inside a variable");
    check("/v1/{a}/{a}", "bound twice");
    check("/v1/**/x", "'**' is the last");
    check("/v1/{a=**}/{b}", "'**' is the last");
    check("/v1/x:", "empty");
    check("/v1/x:a/b", "unexpected");
    check("/v1/a b", "unexpected");
    check("/v1/a?b", "unexpected");
}
