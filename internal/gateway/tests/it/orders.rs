use axum::body::Body;
use http::{Method, StatusCode};
use serde_json::{Value as Json, json};

use crate::edge::{Edge, ORDER};

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// An order that keeps the rules, as far as its lines do.
fn order(lines: Json) -> Json {
    let address = json!({
        "name": "Alice", "street": "Main 1", "postalCode": "10115", "city": "Berlin", "country": "DE",
    });
    let method = json!({"wallet": {}});
    json!({"lines": lines, "address": address, "paymentMethod": method})
}

#[tokio::test]
async fn a_placed_order_is_created_at_its_location() {
    let edge = Edge::start().await;
    let body = order(json!([{"sku": "mug-red", "quantity": 2}])).to_string();
    let headers = [
        ("idempotency-key", "k-1"),
        ("traceparent", CALLER),
        ("x-request-id", "r-1"),
        ("authorization", "Bearer t-1"),
        ("x-user-id", "mallory"),
    ];
    let answer = edge
        .send(Method::POST, "/v1/orders", &headers, Body::from(body))
        .await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.header("location"), format!("/v1/orders/{ORDER}"));
    assert_eq!(answer.header("x-request-id"), "r-1");
    let order = answer.json();
    assert_eq!(order["orderId"], ORDER);
    assert_eq!(order["status"], "ORDER_STATUS_PENDING");
    assert_eq!(order["reason"], "k-1", "the key reaches the service");
    assert_eq!(order["userId"], "Bearer t-1", "and so does the token");
    let trace = "0af7651916cd43dd8448eb211c80319c";
    assert_eq!(
        order["reasonDetail"], trace,
        "the trace reaches the service"
    );
    assert!(
        answer
            .header("traceresponse")
            .starts_with(&format!("00-{trace}-"))
    );
    edge.stop().await;
}

#[tokio::test]
async fn every_wrong_field_is_named_as_in_json() {
    let edge = Edge::start().await;
    let lines = json!([{"sku": "a", "quantity": 0}, {"sku": "b", "quantity": -1}]);
    let mut wrong = order(lines);
    wrong["address"]["postalCode"] = json!("");
    let answer = edge.post("/v1/orders", &wrong).await;
    let problem = answer.problem(400, "INVALID");
    assert_eq!(problem["type"], "/errors/INVALID_REQUEST");
    assert_eq!(problem["instance"], "/v1/orders");
    let trace = problem["trace_id"].as_str().unwrap();
    assert!(answer.header("traceresponse").contains(trace));
    let fields: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["field"].as_str().unwrap())
        .collect();
    assert_eq!(
        fields,
        [
            "lines[0].quantity",
            "lines[1].quantity",
            "address.postalCode"
        ]
    );
    let first = json!({
        "field": "lines[0].quantity", "reason": "OUT_OF_RANGE", "detail": "must be 1 to 1000",
    });
    assert_eq!(problem["errors"][0], first);
    assert_eq!(problem["detail"], "3 fields of the request are wrong");
    edge.stop().await;
}

#[tokio::test]
async fn what_the_contract_does_not_know_never_reaches_the_service() {
    let edge = Edge::start().await;
    for (body, field) in [
        (r#"{"price": 1}"#, "price"),
        (
            r#"{"lines": [{"sku": "a", "unitPrice": 1}]}"#,
            "lines[0].unitPrice",
        ),
        (
            r#"{"lines": [{"sku": "a", "quantity": "many"}]}"#,
            "lines[0].quantity",
        ),
    ] {
        let answer = edge
            .send(Method::POST, "/v1/orders", &[], Body::from(body))
            .await;
        let problem = answer.problem(400, "INVALID");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
    let answer = edge
        .send(Method::POST, "/v1/orders", &[], Body::from(r#"{"lines": "#))
        .await;
    answer.problem(400, "INVALID");
    edge.stop().await;
}

#[tokio::test]
async fn a_refusal_tells_reason_and_ids() {
    let edge = Edge::start().await;
    let lines = json!([{"sku": "mug-blue", "quantity": 3}]);
    let answer = edge.post("/v1/orders", &order(lines)).await;
    let problem = answer.problem(422, "REFUSED");
    assert_eq!(problem["reason"], "OUT_OF_STOCK");
    assert_eq!(problem["detail"], "only 2 of mug-blue are left");
    assert_eq!(problem["metadata"]["sku"], "mug-blue");
    edge.stop().await;
}

#[tokio::test]
async fn a_bad_idempotency_key_is_refused() {
    let edge = Edge::start().await;
    let body = order(json!([{"sku": "mug-red", "quantity": 2}]));
    let body = Body::from(body.to_string());
    let headers = [("idempotency-key", "two words")];
    let answer = edge.send(Method::POST, "/v1/orders", &headers, body).await;
    let problem = answer.problem(400, "INVALID");
    assert_eq!(problem["errors"][0]["field"], "idempotency-key");
    edge.stop().await;
}

#[tokio::test]
async fn an_oversized_body_is_not_read() {
    let edge = Edge::start().await;
    let body = format!(r#"{{"comment": "{}"}}"#, "x".repeat(64 * 1024));
    let answer = edge
        .send(Method::POST, "/v1/orders", &[], Body::from(body))
        .await;
    answer.problem(413, "PAYLOAD_TOO_LARGE");
    edge.stop().await;
}

#[tokio::test]
async fn a_service_that_is_away_is_unavailable() {
    let edge = Edge::alone().await;
    let body = json!({"lines": []});
    edge.post("/v1/orders", &body)
        .await
        .problem(503, "UNAVAILABLE");
    edge.stop().await;
}

#[tokio::test]
async fn an_order_is_watched_as_lines_or_as_events() {
    let edge = Edge::start().await;
    let path = format!("/v1/orders/{ORDER}:watch");
    let answer = edge.get(&path).await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    let lines: Vec<serde_json::Value> = body
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[1]["status"], "ORDER_STATUS_CONFIRMED");
    assert_eq!(lines[2]["error"]["code"], "UNAVAILABLE");
    let headers = [("accept", "text/event-stream"), ("last-event-id", "0")];
    let answer = edge.send(Method::GET, &path, &headers, Body::empty()).await;
    assert_eq!(answer.header("content-type"), "text/event-stream");
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(
        !body.contains("PENDING") && body.contains("id: 1\n"),
        "{body}"
    );
    assert!(body.contains("event: error\n"), "{body}");
    edge.stop().await;
}
