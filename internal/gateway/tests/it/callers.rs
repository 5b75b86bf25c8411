//! What callers are told before their request goes anywhere: that they are too many, or that their page is
//! of another origin.

use axum::body::Body;
use http::{Method, StatusCode};

use crate::edge::Edge;

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let edge = Edge::alone_with(&[("PALINODE_RATE_LIMIT", "1")]).await;
    let mut passed = 0;
    let refused = loop {
        let answer = edge.get("/openapi.json").await;
        assert_eq!(answer.header("ratelimit-policy"), r#""caller";q=2;w=2"#);
        if answer.status != StatusCode::OK {
            break answer;
        }
        passed += 1;
        // at this rate the machine would take a second for each
        assert!(passed < 100, "nobody is counted");
    };
    assert!(passed >= 2, "{passed}");
    let problem = refused.problem(429, "LIMITED");
    assert_eq!(problem["reason"], "RATE_LIMITED");
    assert_eq!(refused.header("ratelimit"), r#""caller";r=0;t=1"#);
    assert!(["1", "2"].contains(&refused.header("retry-after")));
    // a probe is no caller
    for _ in 0..5 {
        assert_eq!(edge.get("/healthz").await.status, StatusCode::OK);
    }
    edge.stop().await;
}

#[tokio::test]
async fn pages_of_named_origins_may_use_the_api_and_no_others() {
    let named = "https://shop.example.org";
    let edge = Edge::alone_with(&[("PALINODE_CORS_ORIGINS", named)]).await;
    let ask = async |origin: &str, method: Method| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization"),
        ];
        edge.send(method, "/v1/stock", &headers, Body::empty())
            .await
    };
    let preflight = ask(named, Method::OPTIONS).await;
    assert_eq!(preflight.status, StatusCode::OK);
    assert_eq!(preflight.header("access-control-allow-origin"), named);
    let allowed = preflight.header("access-control-allow-headers");
    assert!(allowed.contains("authorization"), "{allowed}");
    // what the service says, even that it is away, is for the page
    let answer = ask(named, Method::GET).await;
    assert_eq!(answer.header("access-control-allow-origin"), named);
    assert!(
        answer
            .header("access-control-expose-headers")
            .contains("location")
    );
    for method in [Method::OPTIONS, Method::GET] {
        let answer = ask("https://evil.example.org", method).await;
        assert!(!answer.has("access-control-allow-origin"));
    }
    edge.stop().await;
    // and where nothing is set, there are no other origins
    let edge = Edge::alone().await;
    let headers = [("origin", named)];
    let answer = edge
        .send(Method::GET, "/openapi.json", &headers, Body::empty())
        .await;
    assert!(!answer.has("access-control-allow-origin"));
    edge.stop().await;
}
