//! How requests and answers look over HTTP.

use axum::body::Body;
use http::{Method, StatusCode};
use serde_json::{Value as Json, json};

use super::shop::{Shop, refusal};
use crate::edge::Edge;

/// Where the schema stands for readers; `WRITE_DOCS=1` writes it anew.
const SCHEMA: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/reference/schema.graphql"
);

#[tokio::test]
async fn the_schema_that_is_served_is_the_description_that_is_checked_in() {
    let edge = Edge::alone().await;
    let answer = edge.get("/schema.graphql").await;
    let served = String::from_utf8(answer.body.to_vec()).unwrap();
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(SCHEMA, &served).unwrap();
    }
    let checked_in = std::fs::read_to_string(SCHEMA).unwrap_or_default();
    assert!(
        served == checked_in,
        "docs/reference/schema.graphql is old: WRITE_DOCS=1 cargo test -p palinode-gateway description"
    );
    edge.stop().await;
}

/// What clients of the predecessor rely on: names and shapes, nothing of it null.
#[tokio::test]
async fn the_schema_has_every_shape_that_it_had_before() {
    let edge = Edge::alone().await;
    let answer = edge.get("/schema.graphql").await;
    let schema = String::from_utf8(answer.body.to_vec()).unwrap();
    edge.stop().await;
    let plain: String = schema.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    for part in [
        "user(id: ID!): User!",
        "users: [User!]!",
        "product(id: ID!): Product!",
        "products: [Product!]!",
        "order(id: ID!): Order!",
        "orders: [AllOrdersOrder!]!",
        "registerUser(input: NewUser!): User!",
        "login(input: Login!): Token!",
        "createProduct(input: CreateProduct!): Product!",
        "updateInventory(input: UpdateInventory!): UpdateInventoryResponse!",
        "placeOrder(input: PlaceOrder!): Order!",
        "order_products: [OrderProduct!]!",
        "order_products: [PlaceOrderProduct!]!",
        "product_id: ID!",
        "price_total: Int!",
        "user_id: ID!",
        "type: Int!",
        "stock: Int!",
        "success: Boolean!",
        "token: String!",
    ] {
        assert!(plain.contains(&format!("\n{part}\n")), "{part}\n{schema}");
    }
}

#[tokio::test]
async fn what_is_no_request_is_refused_by_its_status() {
    let shop = Shop::default().open().await;
    let post = async |body: &str, kind: &'static str| {
        let request = http::Request::post(format!("http://{}/graphql", shop.edge.address()))
            .header("content-type", kind)
            .body(Body::from(body.to_owned()))
            .unwrap();
        shop.edge.send_whole(request).await
    };
    for body in [
        "",
        "{",
        "null",
        "7",
        "{}",
        r#"{"query": 7}"#,
        r#"{"query": "{ products { id } }", "variables": [1]}"#,
        r#"{"query": "{ products { id } }", "operationName": 7}"#,
        // a batch
        r#"[{"query": "{ products { id } }"}]"#,
    ] {
        let answer = post(body, "application/json").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        let json = answer.json();
        assert_eq!(refusal(&json), ("INVALID".into(), "INVALID_REQUEST".into()));
        assert_eq!(json.get("data"), None);
    }
    let query = r#"{"query": "{ products { id } }"}"#;
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ] {
        post(query, kind)
            .await
            .problem(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    let large = format!(r#"{{"query": "{}"}}"#, "#".repeat(64 * 1024));
    let problem = post(&large, "application/json")
        .await
        .problem(413, "PAYLOAD_TOO_LARGE");
    assert_eq!(problem["reason"], "REQUEST_TOO_LARGE");
    assert!(shop.asked().is_empty());
    shop.stop().await;
}

#[tokio::test]
async fn a_wrong_document_is_told_in_the_form_that_the_client_takes() {
    let shop = Shop::default().open().await;
    let own = "application/graphql-response+json";
    let documents = [
        "{ products {",
        "{ nothing }",
        "{ products }",
        "mutation { placeOrder { id } }",
        "query a { products { id } } query b { products { id } }",
        "subscription { products { id } }",
    ];
    for document in documents {
        let body = json!({"query": document});
        let answer = shop.send(&body, &[]).await;
        assert_eq!(answer.status, StatusCode::OK, "{document}");
        assert_eq!(answer.header("content-type"), "application/json");
        let json = answer.json();
        assert_eq!(json.get("data"), None, "{document}: {json:#}");
        let answer = shop.send(&body, &[("accept", own)]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{document}");
        assert_eq!(answer.header("content-type"), own);
        let code = &answer.json()["errors"][0]["extensions"]["code"];
        assert_eq!(code, "INVALID", "{document}");
    }
    assert!(shop.asked().is_empty());
    // what a service refuses is an answer
    let body = json!({"query": "{ users { id } }"});
    let answer = shop.send(&body, &[("accept", own)]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["data"], Json::Null);
    shop.stop().await;
}

#[tokio::test]
async fn one_of_several_operations_is_chosen_by_its_name() {
    let shop = Shop {
        products: 1,
        ..Shop::default()
    }
    .open()
    .await;
    let document = "query a { products { id } } query b { products { name } }";
    let body =
        json!({"query": document, "operationName": "b", "variables": null, "extensions": {}});
    let answer = shop.send(&body, &[]).await.json();
    assert_eq!(answer["data"]["products"][0], json!({"name": "Product 1"}));
    shop.stop().await;
}

#[tokio::test]
async fn nothing_is_asked_or_done_by_get() {
    let shop = Shop {
        products: 1,
        ..Shop::default()
    }
    .open()
    .await;
    for path in ["/graphql", "/query"] {
        for document in ["%7Bproducts%7Bid%7D%7D", "mutation%7Blogin%7D"] {
            let answer = shop.edge.get(&format!("{path}?query={document}")).await;
            answer.problem(405, "METHOD_NOT_ALLOWED");
            assert_eq!(answer.header("allow"), "POST");
        }
        for method in [Method::PUT, Method::DELETE] {
            let answer = shop.edge.send(method, path, &[], Body::empty()).await;
            answer.problem(405, "METHOD_NOT_ALLOWED");
        }
    }
    assert!(shop.asked().is_empty());
    shop.stop().await;
}

#[tokio::test]
async fn the_page_needs_nothing_but_this_server() {
    let edge = Edge::alone().await;
    for path in ["/graphql", "/query"] {
        let page = edge.get(path).await;
        let policy = page.header("content-security-policy").to_owned();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';"),
            "{policy}"
        );
        assert!(!policy.contains("http"), "{policy}");
        let html = String::from_utf8(page.body.to_vec()).unwrap();
        assert!(!html.contains("https://"), "{html}");
        let files = html.split('"').filter(|text| text.starts_with("/docs/"));
        let mut count = 0;
        for file in files {
            let answer = edge.get(file).await;
            assert_eq!(answer.status, StatusCode::OK, "{file}");
            assert!(!answer.body.is_empty(), "{file}");
            count += 1;
        }
        assert_eq!(count, 5, "{html}");
    }
    edge.stop().await;
}

#[tokio::test]
async fn requests_are_counted_like_all_others() {
    let shop = Shop::default()
        .open_with(&[("PALINODE_RATE_LIMIT", "1")])
        .await;
    let body = json!({"query": "{ __typename }"});
    let mut last = shop.send(&body, &[]).await;
    for _ in 0..100 {
        if last.status == StatusCode::TOO_MANY_REQUESTS {
            break;
        }
        last = shop.send(&body, &[]).await;
    }
    last.problem(429, "LIMITED");
    shop.stop().await;
}
