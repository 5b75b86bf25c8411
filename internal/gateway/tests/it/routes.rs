use axum::body::Body;
use http::{Method, StatusCode};
use serde_json::json;

use crate::edge::{Edge, ORDER};

#[tokio::test]
async fn the_index_lists_the_routes_of_the_protos() {
    let edge = Edge::start().await;
    let index = String::from_utf8(edge.get("/").await.body.to_vec()).unwrap();
    for line in [
        "POST   /v1/orders\n",
        "GET    /v1/sagas/{saga_id}/history\n",
        "POST   /v1/shipments/{shipment_id}:dispatch\n",
        "GET    /readyz\n",
    ] {
        assert!(index.contains(line), "{index}");
    }
    edge.stop().await;
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_taken() {
    let edge = Edge::start().await;
    edge.get("/v1/nothing").await.problem(404, "NOT_FOUND");
    edge.get("/errors/NO_SUCH_REASON")
        .await
        .problem(404, "NOT_FOUND");
    let answer = edge
        .send(Method::DELETE, "/v1/orders", &[], Body::empty())
        .await;
    answer.problem(405, "METHOD_NOT_ALLOWED");
    assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS, POST");
    let answer = edge.send(Method::POST, "/readyz", &[], Body::empty()).await;
    answer.problem(405, "METHOD_NOT_ALLOWED");
    edge.stop().await;
}

#[tokio::test]
async fn every_answer_has_the_headers_of_the_edge() {
    let edge = Edge::start().await;
    for path in ["/", "/healthz", "/v1/orders?userId=alice", "/v1/nothing"] {
        let answer = edge.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        let trace = answer.header("traceresponse").split('-').nth(1).unwrap();
        assert_eq!(answer.header("x-request-id"), trace, "{path}");
    }
    edge.stop().await;
}

#[tokio::test]
async fn a_handler_that_panics_answers_as_an_internal_error() {
    let edge = Edge::start().await;
    let path = format!("/v1/orders/{ORDER}:cancel");
    let answer = edge.post(&path, &json!({})).await;
    let problem = answer.problem(500, "INTERNAL");
    assert_eq!(problem["detail"], "an internal error occurred");
    assert_eq!(
        edge.get("/v1/orders?userId=alice").await.status,
        StatusCode::OK
    );
    edge.stop().await;
}

#[tokio::test]
async fn a_gateway_is_ready_until_it_stops() {
    let edge = Edge::start().await;
    assert_eq!(edge.get("/healthz").await.status, StatusCode::OK);
    assert_eq!(edge.get("/readyz").await.status, StatusCode::OK);
    edge.stop().await;
}

#[tokio::test]
async fn a_request_in_flight_is_answered_after_the_stop() {
    let edge = Edge::start().await;
    let path = format!("/v1/orders/{ORDER}");
    let in_flight = edge.get(&path);
    let stop = async {
        edge.waits.taken_up.notified().await;
        edge.tasks.stop_token().cancel();
        edge.waits.answer.notify_one();
    };
    let (answer, ()) = tokio::join!(in_flight, stop);
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["orderId"], ORDER);
    edge.stop().await;
}

/// Where the description stands for readers; `WRITE_DOCS=1` writes it anew.
const OPENAPI: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/reference/openapi.json"
);

#[tokio::test]
async fn the_description_that_is_served_is_the_one_that_is_checked_in() {
    let edge = Edge::start().await;
    let answer = edge.get("/openapi.json").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "application/json");
    let served = String::from_utf8(answer.body.to_vec()).unwrap();
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(OPENAPI, &served).unwrap();
    }
    let checked_in = std::fs::read_to_string(OPENAPI).unwrap_or_default();
    assert!(
        served == checked_in,
        "docs/reference/openapi.json is old: WRITE_DOCS=1 cargo test -p palinode-gateway description"
    );
    edge.stop().await;
}

#[tokio::test]
async fn the_page_of_the_api_needs_nothing_but_this_server() {
    let edge = Edge::start().await;
    let page = edge.get("/docs").await;
    let policy = page.header("content-security-policy").to_owned();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
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
    assert_eq!(count, 3, "{html}");
    edge.stop().await;
}

/// The collection of requests for editors.
const COLLECTION: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/guides/api.http"
));

/// Whether a path of the collection is one of a template: `{…}` and `{{…}}` stand for what is between slashes.
fn is_of(path: &str, template: &str) -> bool {
    let parts = |text: &str| -> Vec<String> { text.split('/').map(str::to_owned).collect() };
    let (path, template) = (parts(path), parts(template));
    let fits = |part: &String, wanted: &String| match wanted.split_once('}') {
        Some((variable, verb)) if variable.starts_with('{') => match part.rsplit_once(':') {
            Some((_, said)) => verb.strip_prefix(':') == Some(said),
            None => verb.is_empty(),
        },
        _ => part == wanted,
    };
    path.len() == template.len() && path.iter().zip(&template).all(|(a, b)| fits(a, b))
}

#[tokio::test]
async fn the_collection_for_editors_has_every_call_and_no_other() {
    let edge = Edge::start().await;
    let description = edge.get("/openapi.json").await.json();
    edge.stop().await;
    let mut calls = Vec::new();
    for (template, operations) in description["paths"].as_object().unwrap() {
        let verbs = operations.as_object().unwrap().keys();
        calls.extend(verbs.map(|verb| (verb.to_uppercase(), template.clone())));
    }
    // not of a proto
    calls.push(("POST".to_owned(), "/graphql".to_owned()));
    let requests = COLLECTION.lines().filter_map(|line| {
        let (verb, rest) = line.split_once(" {{api}}")?;
        let path = rest.split('?').next().unwrap_or(rest);
        Some((verb.to_owned(), path.to_owned()))
    });
    let requests: Vec<_> = requests.collect();
    let matches = |(verb, path): &(String, String), (of, template): &(String, String)| {
        verb == of && is_of(path, template)
    };
    for call in &calls {
        assert!(
            requests.iter().any(|request| matches(request, call)),
            "docs/guides/api.http has no {} {}",
            call.0,
            call.1
        );
    }
    for request in &requests {
        assert!(
            calls.iter().any(|call| matches(request, call)),
            "there is no {} {}",
            request.0,
            request.1
        );
    }
}
