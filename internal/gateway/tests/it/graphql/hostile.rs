//! Documents that are made to cost more than they should.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::shop::{Open, Shop, product_id, refusal};

/// What any document is answered within, on a machine that has other things to do.
const SOON: Duration = Duration::from_secs(10);

async fn refused(shop: &Open, document: &str, reason: &str) {
    let at = Instant::now();
    let answer = shop.ask(document).await;
    let start: String = document.chars().take(80).collect();
    assert!(at.elapsed() < SOON, "{start}: {:?}", at.elapsed());
    let told = answer["errors"][0]["extensions"]["reason"].as_str();
    assert_eq!(told, Some(reason), "{start}: {:#}", answer["errors"][0]);
    assert_eq!(answer.get("data"), None);
    assert_eq!(answer["errors"][0]["extensions"]["code"], "INVALID");
    assert!(shop.asked().is_empty(), "{start}");
}

/// `head` and then `depth` times the same, as deep.
fn nested(head: &str, within: &str, depth: usize) -> String {
    format!("{head}{}{}", within.repeat(depth), "}".repeat(depth))
}

#[tokio::test]
async fn eight_fields_deep_and_no_deeper() {
    let shop = Shop {
        products: 1,
        ..Shop::default()
    }
    .open()
    .await;
    // no such field: but that is not what is told
    let deep = nested("{ order ", "{ a ", 8);
    refused(&shop, &format!("{deep} }}"), "QUERY_TOO_DEEP").await;
    let fits = nested("{ order ", "{ a ", 7);
    refused(&shop, &format!("{fits} }}"), "INVALID_REQUEST").await;
    // by fragments as well
    let by_fragments = "{ ...f } fragment f on Query { a { b { c { d { ...g } } } } }
        fragment g on X { e { f { g { h { i } } } } }";
    refused(&shop, by_fragments, "QUERY_TOO_DEEP").await;
    for depth in [100, 3_000] {
        let document = nested("", "{ a ", depth);
        let answer = shop.ask(&document).await;
        assert_eq!(refusal(&answer).0, "INVALID");
    }
    shop.stop().await;
}

#[tokio::test]
async fn fields_weigh_what_they_ask_for() {
    let shop = Shop {
        products: 1,
        lines: 1,
        orders: 1,
        ..Shop::default()
    }
    .open()
    .await;
    let many = |count: usize, field: &str| {
        let fields: Vec<_> = (0..count).map(|at| format!("a{at}: {field}")).collect();
        fields.join(" ")
    };
    let id = product_id(1);
    let order = format!(r#"order(id: "{id}") {{ id }}"#);
    // six for each
    refused(
        &shop,
        &format!("{{ {} }}", many(34, &order)),
        "QUERY_TOO_COMPLEX",
    )
    .await;
    let answer = shop.ask(&format!("{{ {} }}", many(33, &order))).await;
    assert_eq!(answer["data"].as_object().unwrap().len(), 33);
    shop.asked();
    // twenty for each
    let products = many(11, "products { id }");
    refused(&shop, &format!("{{ {products} }}"), "QUERY_TOO_COMPLEX").await;
    // ten for each
    let one = format!("{{ products {{ {} }} }}", many(20, "name"));
    refused(&shop, &one, "QUERY_TOO_COMPLEX").await;
    let login = r#"login(input: {email: "a", password: "b"}) { token }"#;
    refused(
        &shop,
        &format!("mutation {{ {} }}", many(4, login)),
        "QUERY_TOO_COMPLEX",
    )
    .await;
    let place = r#"placeOrder(input: {order_products: []}) { id }"#;
    refused(
        &shop,
        &format!("mutation {{ {} }}", many(5, place)),
        "QUERY_TOO_COMPLEX",
    )
    .await;
    // whichever operation is asked for
    let hidden = format!("query a {{ products {{ id }} }} query b {{ {products} }}");
    let body = json!({"query": hidden, "operationName": "a"});
    let answer = shop.send(&body, &[]).await.json();
    assert_eq!(refusal(&answer).1, "QUERY_TOO_COMPLEX");
    // nothing is free that is told of each entry
    let names: Vec<_> = (0..500).map(|at| format!("a{at}: __typename")).collect();
    let named = format!("{{ products {{ {} }} }}", names.join(" "));
    refused(&shop, &named, "QUERY_TOO_COMPLEX").await;
    // what clients of the predecessor ask for fits, all of it at once
    let usual = format!(
        r#"{{ products {{ id name description price stock }} orders {{ id user_id price_total quantity }}
              order(id: "{id}") {{ id user_id price_total quantity order_products {{ product_id quantity price }} }} }}"#
    );
    let answer = shop.ask(&usual).await;
    assert_eq!(answer.get("errors"), None, "{answer:#}");
    shop.stop().await;
}

#[tokio::test]
async fn fragments_are_no_way_around() {
    let shop = Shop {
        products: 1,
        ..Shop::default()
    }
    .open()
    .await;
    for cycle in [
        "{ ...a } fragment a on Query { ...a }",
        "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }",
        "{ products { ...a } } fragment a on Product { id ...b } fragment b on Product { ...a }",
        "{ __typename } fragment a on Query { products { ...b } } fragment b on Product { ...b }",
    ] {
        refused(&shop, cycle, "QUERY_TOO_DEEP").await;
    }
    // each names the next twice: 2^30 fields, in a kilobyte
    let link = |at: usize| format!("fragment f{at} on Query {{ ...f{0} ...f{0} }}", at + 1);
    let links: Vec<_> = (0..30).map(link).collect();
    let last = "fragment f30 on Query { products { id } }";
    let bomb = format!("{{ ...f0 }} {} {last}", links.join(" "));
    refused(&shop, &bomb, "QUERY_TOO_COMPLEX").await;
    // the same, of fields that weigh nothing, and not named by any operation
    let last = "fragment f30 on Query { __typename }";
    let bomb = format!("{{ __typename }} {} {last}", links.join(" "));
    refused(&shop, &bomb, "QUERY_TOO_COMPLEX").await;
    // a chain that is longer than any stack
    let link = |at: usize| format!("fragment f{at} on Query {{ ...f{} }}", at + 1);
    let links: Vec<_> = (0..1_400).map(link).collect();
    let chain = format!(
        "{{ ...f0 }} {} fragment f1400 on Query {{ __typename }}",
        links.join(" ")
    );
    refused(&shop, &chain, "QUERY_TOO_DEEP").await;
    shop.stop().await;
}

#[tokio::test]
async fn text_that_nests_without_end_ends_nothing() {
    let shop = Shop::default().open().await;
    let open = |head: &str, bracket: &str| {
        let document = format!("{head}{}", bracket.repeat(60_000 / bracket.len()));
        json!({"query": document})
    };
    for body in [
        open("", "{"),
        open("{", "a{"),
        open("{ a(b: ", "["),
        open("{ a(b: ", "{c:"),
        open("query($a: ", "["),
        open("{", "...{"),
        open("{", "@a(b:["),
    ] {
        let answer = shop.send(&body, &[]).await;
        assert_eq!(answer.json()["errors"][0]["extensions"]["code"], "INVALID");
    }
    let variables = format!(
        r#"{{"query": "{{ __typename }}", "variables": {{"a": {}}}}}"#,
        "[".repeat(60_000)
    );
    let body = axum::body::Body::from(variables);
    let answer = shop
        .edge
        .send(http::Method::POST, "/graphql", &[], body)
        .await;
    assert_eq!(answer.status, 400);
    assert_eq!(shop.edge.get("/healthz").await.status, 200);
    shop.stop().await;
}

#[tokio::test]
async fn a_wide_document_is_refused_soon() {
    let shop = Shop::default().open().await;
    let same = format!("{{ {} }}", "__typename ".repeat(5_900));
    refused(&shop, &same, "QUERY_TOO_COMPLEX").await;
    let directives = format!("{{ __typename {} }}", "@skip(if: false) ".repeat(3_000));
    refused(&shop, &directives, "INVALID_REQUEST").await;
    let operations: Vec<_> = (0..2_000)
        .map(|at| format!("query q{at}{{__typename}}"))
        .collect();
    let at = Instant::now();
    shop.ask(&operations.join(" ")).await;
    assert!(at.elapsed() < SOON);
    shop.stop().await;
}

#[tokio::test]
async fn numbers_that_no_int_holds_are_refused() {
    let shop = Shop {
        products: 1,
        ..Shop::default()
    }
    .open()
    .await;
    let place = "mutation ($quantity: Int!) {
      placeOrder(input: {order_products: [{product_id: \"x-1\", quantity: $quantity}]}) { id }
    }";
    for quantity in [
        json!(2_147_483_648_u64),
        json!(-2_147_483_649_i64),
        json!(18_446_744_073_709_551_615_u64),
        json!(1.5),
        json!("1"),
        Json::Null,
    ] {
        let answer = shop.ask_as(place, json!({"quantity": quantity}), &[]).await;
        assert_eq!(refusal(&answer).0, "INVALID", "{quantity}");
    }
    for literal in [
        "2147483648",
        "99999999999999999999999999",
        "1e3",
        "-2147483649",
    ] {
        let document = format!(
            r#"mutation {{ updateInventory(input: {{id: "x-1", type: 1, number: {literal}}}) {{ success }} }}"#
        );
        let answer = shop.ask(&document).await;
        let code = answer["errors"][0]["extensions"]["code"].as_str();
        assert_eq!(code, Some("INVALID"), "{literal}: {answer:#}");
    }
    assert!(shop.asked().is_empty());
    shop.stop().await;
}

/// What GraphiQL and every other client asks first.
const INTROSPECTION: &str = "query IntrospectionQuery {
  __schema {
    description
    queryType { name kind } mutationType { name kind } subscriptionType { name kind }
    types { ...FullType }
    directives { name description isRepeatable locations args(includeDeprecated: true) { ...InputValue } }
  }
}
fragment FullType on __Type {
  kind name description specifiedByURL isOneOf
  fields(includeDeprecated: true) {
    name description args(includeDeprecated: true) { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason
  }
  inputFields(includeDeprecated: true) { ...InputValue }
  interfaces { ...TypeRef }
  enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
  possibleTypes { ...TypeRef }
}
fragment InputValue on __InputValue {
  name description type { ...TypeRef } defaultValue isDeprecated deprecationReason
}
fragment TypeRef on __Type {
  kind name
  ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name
    ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } } } }
}";

#[tokio::test]
async fn the_schema_is_told_and_not_over_and_over() {
    let shop = Shop::default().open().await;
    let answer = shop.ask(INTROSPECTION).await;
    assert_eq!(answer.get("errors"), None, "{}", answer["errors"]);
    let types = answer["data"]["__schema"]["types"].as_array().unwrap();
    assert!(types.iter().any(|named| named["name"] == "AllOrdersOrder"));
    let twice = INTROSPECTION.replace(
        "  __schema {",
        "  again: __schema { types { ...FullType } } __schema {",
    );
    let twice = twice.replace("again: ", "b: __schema { types { ...FullType } } again: ");
    refused(&shop, &twice, "QUERY_TOO_COMPLEX").await;
    // from types to fields to types: every round has ten times as many
    let round = "fields { type { ";
    let around = format!(
        "{{ __schema {{ types {{ {} name {} }} }} }}",
        round.repeat(4),
        "}".repeat(8)
    );
    refused(&shop, &around, "QUERY_TOO_COMPLEX").await;
    let deep = format!(
        "{{ __schema {{ queryType {{ {} name {} }} }} }}",
        "ofType { ".repeat(20),
        "}".repeat(20)
    );
    refused(&shop, &deep, "QUERY_TOO_DEEP").await;
    shop.stop().await;
}
