use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Method, Request, StatusCode};
use palinode_transcode::{Builder, Transcoder};
use serde_json::json;
use tokio::net::TcpListener;
use tonic::transport::Channel;

use crate::shop::{Edge, SERVICE, Shop, never};

/// A transcoder over a channel to that address.
fn edge_to(shop: &Shop, address: &str, options: impl FnOnce(Builder) -> Builder) -> Edge {
    let channel = Channel::from_shared(format!("http://{address}"))
        .unwrap()
        .connect_lazy();
    let builder = Transcoder::builder(shop.pool()).service(SERVICE, channel);
    Edge(options(builder).build().unwrap().router())
}

/// Serves the shop on a port of its own until the test's runtime ends.
async fn listen(shop: &Shop) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let shop = shop.clone();
    let router = Router::new().fallback(move |request: Request<Body>| {
        let shop = shop.clone();
        async move { shop.call(request).await }
    });
    #[expect(clippy::disallowed_methods, reason = "the test's runtime ends it")]
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[tokio::test]
async fn a_call_goes_over_a_real_channel() {
    let shop = Shop::new();
    shop.answers(json!({"id": "o-1"}));
    let edge = edge_to(&shop, &listen(&shop).await, |builder| builder);
    let reply = edge.get("/v1/orders/o-1").await;
    assert_eq!(
        (reply.status, &reply.json["id"]),
        (StatusCode::OK, &json!("o-1"))
    );
    let call = shop.only_call();
    assert_eq!(call.headers["content-type"], "application/grpc");
    // What is left of 30 seconds, in a unit of at most eight digits.
    let timeout = call.headers["grpc-timeout"].to_str().unwrap().to_owned();
    assert!(
        timeout.starts_with("29") || timeout.starts_with("30"),
        "{timeout}"
    );
}

#[tokio::test]
async fn a_service_that_is_not_there_is_503_without_internals() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let reply = edge_to(&Shop::new(), &address, |builder| builder)
        .get("/v1/orders")
        .await;
    let problem = reply.problem(503);
    assert_eq!(problem["code"], "UNAVAILABLE");
    assert_eq!(problem["detail"], "the service cannot be reached");
}

#[tokio::test]
async fn a_service_that_drops_the_connection_is_503() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    #[expect(clippy::disallowed_methods, reason = "the test's runtime ends it")]
    tokio::spawn(async move {
        loop {
            drop(listener.accept().await);
        }
    });
    let reply = edge_to(&Shop::new(), &address, |builder| builder)
        .get("/v1/orders")
        .await;
    assert_eq!(
        reply.problem(503)["detail"],
        "the service cannot be reached"
    );
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_504_at_the_deadline() {
    let shop = Shop::new();
    shop.hangs();
    let address = listen(&shop).await;
    let short = |builder: Builder| builder.deadline(Duration::from_secs(2));
    for edge in [edge_to(&shop, &address, short), shop.edge_with(short)] {
        let reply = edge.get("/v1/orders").await;
        let problem = reply.problem(504);
        assert_eq!(problem["code"], "DEADLINE_EXCEEDED");
        let detail = "the service did not answer in time; the outcome is unknown";
        assert_eq!(problem["detail"], detail);
        shop.only_call();
    }
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_408_at_the_deadline() {
    let shop = Shop::new();
    let edge = shop.edge_with(|builder| builder.deadline(Duration::from_millis(50)));
    let request = Request::builder().method(Method::POST).uri("/v1/orders");
    let reply = edge.request(request.body(never()).unwrap()).await;
    assert_eq!(reply.problem(408)["code"], "REQUEST_TIMEOUT");
    shop.was_not_called();
}
