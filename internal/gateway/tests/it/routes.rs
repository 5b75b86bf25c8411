use axum::body::Body;
use http::{Method, StatusCode};

use crate::edge::Edge;

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
    assert_eq!(answer.header("allow"), "GET, HEAD, POST");
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
    let problem = edge.get("/v1/offers").await.problem(500, "INTERNAL");
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
    let in_flight = edge.get("/v1/orders/1");
    let stop = async {
        edge.waits.taken_up.notified().await;
        edge.tasks.stop_token().cancel();
        edge.waits.answer.notify_one();
    };
    let (answer, ()) = tokio::join!(in_flight, stop);
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["orderId"], "1");
    edge.stop().await;
}
