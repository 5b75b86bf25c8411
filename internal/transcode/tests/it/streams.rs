use std::time::Duration;

use axum::body::Body;
use http::{HeaderName, Method, Request, StatusCode};
use serde_json::{Value as Json, json};
use tonic::Status;

use crate::shop::Shop;

const WATCH: &str = "/v1/orders/o-1:watch";

fn order(state: &str, resume_token: &str) -> Json {
    json!({"order": {"id": "o-1", "state": state}, "resumeToken": resume_token})
}

fn two() -> [Json; 2] {
    [order("STATE_PENDING", "1"), order("STATE_CONFIRMED", "2")]
}

#[tokio::test]
async fn a_stream_is_lines_of_json() {
    let shop = Shop::new();
    shop.streams(&two(), Some(Status::ok("")));
    for accept in ["*/*", "application/json", "application/x-ndjson"] {
        let (headers, body) = shop.edge().get_text(WATCH, ("accept", accept)).await;
        assert_eq!(headers["content-type"], "application/x-ndjson");
        let states: Vec<Json> = body
            .lines()
            .map(|line| serde_json::from_str::<Json>(line).unwrap()["state"].clone())
            .collect();
        assert_eq!(states, ["STATE_PENDING", "STATE_CONFIRMED"]);
        assert_eq!(shop.only_call().message, json!({"id": "o-1"}));
    }
}

#[tokio::test]
async fn a_browser_gets_events_and_goes_on_where_it_was() {
    let shop = Shop::new();
    shop.streams(&two(), Some(Status::ok("")));
    let edge = shop.edge_with(|builder| builder.resume_field("resume_token"));
    let (headers, body) = edge.get_text(WATCH, ("accept", "text/event-stream")).await;
    assert_eq!(headers["content-type"], "text/event-stream");
    let events: Vec<_> = body.trim_end().split("\n\n").collect();
    assert_eq!(events.len(), 2, "{body}");
    let lines: Vec<_> = events[1].lines().collect();
    let data = lines.iter().find_map(|line| line.strip_prefix("data: "));
    let data: Json = serde_json::from_str(data.unwrap()).unwrap();
    assert_eq!(data["state"], "STATE_CONFIRMED");
    assert!(lines.contains(&"id: 2"), "{lines:?}");
    shop.only_call();

    edge.get_text(WATCH, ("last-event-id", "2")).await;
    let message = json!({"id": "o-1", "resumeToken": "2"});
    assert_eq!(shop.only_call().message, message);
    // what is asked for in words goes before
    let explicit = format!("{WATCH}?resumeToken=1");
    edge.get_text(&explicit, ("last-event-id", "2")).await;
    assert_eq!(shop.only_call().message["resumeToken"], "1");
    // without the option nothing is taken from it
    shop.edge().get_text(WATCH, ("last-event-id", "2")).await;
    assert_eq!(shop.only_call().message, json!({"id": "o-1"}));
}

#[tokio::test]
async fn a_stream_that_fails_says_so_at_its_end() {
    let shop = Shop::new();
    shop.streams(&two()[..1], Some(Status::not_found("it is gone")));
    let (_, body) = shop.edge().get_text(WATCH, ("accept", "*/*")).await;
    let last: Json = serde_json::from_str(body.lines().last().unwrap()).unwrap();
    let error = &last["error"];
    assert_eq!(
        (&error["status"], &error["code"]),
        (&json!(404), &json!("NOT_FOUND"))
    );
    assert_eq!(error["detail"], "it is gone");
    assert_eq!(error["instance"], WATCH);

    shop.streams(&two()[..1], Some(Status::internal("a secret")));
    let edge = shop.edge();
    let (_, body) = edge.get_text(WATCH, ("accept", "text/event-stream")).await;
    assert!(body.contains("event: error\n"), "{body}");
    assert!(!body.contains("a secret"), "{body}");
}

#[tokio::test]
async fn a_stream_that_cannot_begin_is_a_problem() {
    let shop = Shop::new();
    shop.fails(Status::not_found("no such order"));
    let reply = shop.edge().get(WATCH).await;
    assert_eq!(reply.problem(404)["detail"], "no such order");
    shop.hangs();
    let edge = shop.edge_with(|builder| builder.deadline(Duration::from_millis(20)));
    edge.get(WATCH).await.problem(504);
}

#[tokio::test]
async fn a_stream_does_not_last_for_ever() {
    let shop = Shop::new();
    shop.streams(&two(), None);
    let limit = Duration::from_millis(50);
    let edge = shop.edge_with(|builder| builder.stream_limit(limit));
    let (_, body) = edge.get_text(WATCH, ("accept", "*/*")).await;
    assert_eq!(body.lines().count(), 3, "{body}");
    assert!(
        body.lines().last().unwrap().contains("DEADLINE_EXCEEDED"),
        "{body}"
    );
}

#[tokio::test]
async fn who_takes_nothing_that_there_is_gets_nothing_else() {
    let shop = Shop::new();
    let edge = shop.edge();
    let ask = async |path: &str| {
        let request = Request::get(path).header("accept", "image/png");
        edge.request(request.body(Body::empty()).unwrap()).await
    };
    let reply = ask(WATCH).await;
    assert_eq!(reply.problem(406)["code"], "NOT_ACCEPTABLE");
    ask("/v1/orders/o-1").await.problem(406);
    shop.was_not_called();
}

#[tokio::test]
async fn a_raw_answer_is_what_the_service_says_it_is() {
    let shop = Shop::new();
    shop.answers(json!({"contentType": "text/plain", "data": "cGFpZA=="}));
    let path = "/v1/orders/o-1/receipt";
    let (headers, body) = shop.edge().get_text(path, ("accept", "text/*")).await;
    assert_eq!(
        (&headers["content-type"], body.as_str()),
        (&"text/plain".parse().unwrap(), "paid")
    );
    shop.answers(json!({}));
    let (headers, body) = shop.edge().get_text(path, ("accept", "*/*")).await;
    assert_eq!(headers["content-type"], "application/octet-stream");
    assert_eq!(body, "");
}

#[tokio::test]
async fn a_raw_body_reaches_the_service_as_it_is() {
    let shop = Shop::new();
    let kind = HeaderName::from_static("content-type");
    let request = Request::builder()
        .method(Method::PUT)
        .uri("/v1/orders/o-1/receipt")
        .header(kind, "image/png")
        .body(Body::from("paid"))
        .unwrap();
    let reply = shop.edge().request(request).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.json);
    let message = json!({
        "orderId": "o-1", "receipt": {"contentType": "image/png", "data": "cGFpZA=="},
    });
    assert_eq!(shop.only_call().message, message);
}
