use http::{HeaderName, StatusCode};
use serde_json::json;

use crate::shop::Shop;

#[tokio::test]
async fn a_response_is_proto3_json_with_defaults() {
    let shop = Shop::new();
    shop.answers(json!({"id": "o-1", "totalMinor": "9007199254740993", "gift": {}}));
    let reply = shop.edge().get("/v1/orders/o-1").await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header("content-type"), "application/json");
    let expect = json!({
        "id": "o-1",
        "userId": "",
        "totalMinor": "9007199254740993",
        "state": "STATE_UNSPECIFIED",
        "lines": [],
        "gift": {"sku": "", "quantity": 0},
    });
    assert_eq!(reply.json, expect);
}

#[tokio::test]
async fn a_response_body_is_one_field() {
    let shop = Shop::new();
    shop.answers(json!({"id": "o-1", "lines": [{"sku": "A"}]}));
    let reply = shop.edge().get("/v1/orders/o-1/lines").await;
    assert_eq!(reply.json, json!([{"sku": "A", "quantity": 0}]));
    shop.answers(json!({}));
    assert_eq!(
        shop.edge().get("/v1/orders/o-1/lines").await.json,
        json!([])
    );
}

#[tokio::test]
async fn a_service_sets_the_status_of_a_success_where_that_is_on() {
    let shop = Shop::new();
    let status = |code: &str| {
        shop.answers_with(
            json!({}),
            &[("x-http-code", code), ("location", "/v1/orders/o-1")],
        );
    };
    let name = HeaderName::from_static("x-http-code");
    let edge = shop.edge_with(|builder| builder.status_from_metadata(name));
    status("201");
    let reply = edge.post("/v1/orders", json!({})).await;
    assert_eq!(reply.status, StatusCode::CREATED);
    assert_eq!(reply.header("location"), "/v1/orders/o-1");
    assert_eq!(reply.header("x-http-code"), "");
    status("204");
    let reply = edge.post("/v1/orders", json!({})).await;
    assert_eq!(
        (reply.status, reply.json),
        (StatusCode::NO_CONTENT, json!(null))
    );
    for code in ["404", "20", "soon"] {
        status(code);
        assert_eq!(
            edge.post("/v1/orders", json!({})).await.status,
            StatusCode::OK,
            "{code}"
        );
    }
    status("201");
    assert_eq!(
        shop.edge().post("/v1/orders", json!({})).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn response_metadata_crosses_only_by_name() {
    let shop = Shop::new();
    shop.answers_with(
        json!({}),
        &[("etag", "\"1\""), ("x-own", "a"), ("x-secret", "b")],
    );
    let reply = shop.edge().get("/v1/orders").await;
    assert_eq!((reply.header("etag"), reply.header("x-own")), ("\"1\"", ""));
    let own = HeaderName::from_static("x-own");
    let reply = shop
        .edge_with(|builder| builder.return_headers([own]))
        .get("/v1/orders")
        .await;
    assert_eq!((reply.header("etag"), reply.header("x-own")), ("", "a"));
    assert_eq!(reply.header("x-secret"), "");
}
