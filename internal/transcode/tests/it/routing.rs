use axum::Router;
use axum::routing::get;
use http::{Method, StatusCode};
use palinode_transcode::MatchedRoute;
use serde_json::json;

use crate::shop::{Edge, Shop};

#[tokio::test]
async fn every_verb_and_binding_reaches_its_method() {
    let shop = Shop::new();
    let edge = shop.edge();
    let cases = [
        ("POST", "/v1/orders", "PlaceOrder", json!({})),
        ("GET", "/v1/orders/o-1", "GetOrder", json!({"id": "o-1"})),
        (
            "GET",
            "/v1/orders/o-1/lines",
            "GetOrder",
            json!({"id": "o-1"}),
        ),
        (
            "GET",
            "/v1/users/u%2F1/orders/o-1",
            "GetOrder",
            json!({"id": "o-1", "filter": {"userId": "u/1"}}),
        ),
        ("GET", "/v1/orders", "ListOrders", json!({})),
        (
            "PATCH",
            "/v1/orders/o-1",
            "UpdateOrder",
            json!({"order": {"id": "o-1"}}),
        ),
        (
            "POST",
            "/v1/orders/7:cancel",
            "CancelOrder",
            json!({"id": "7"}),
        ),
        (
            "DELETE",
            "/v1/orders/o-1",
            "DeleteOrder",
            json!({"id": "o-1"}),
        ),
        (
            "GET",
            "/v1/shelves/a/files/b/c%2Fd",
            "GetFile",
            json!({"name": "shelves/a", "path": "b/c%2Fd"}),
        ),
        (
            "PROPFIND",
            "/v1/shelves/a",
            "GetFile",
            json!({"name": "shelves/a"}),
        ),
    ];
    for (verb, path, method, message) in cases {
        let reply = edge.send(verb.parse().unwrap(), path, "").await;
        assert_eq!(
            reply.status,
            StatusCode::OK,
            "{verb} {path}: {}",
            reply.json
        );
        let call = shop.only_call();
        assert_eq!(
            (call.method.as_str(), call.message),
            (method, message),
            "{verb} {path}"
        );
    }
}

#[tokio::test]
async fn a_path_without_route_is_404_and_with_other_verbs_405() {
    let shop = Shop::new();
    let edge = shop.edge();
    for path in [
        "/",
        "/v1",
        "/v1/orders/",
        "/v2/orders",
        "/v1/orders/1/other",
    ] {
        let reply = edge.get(path).await;
        let problem = reply.problem(404);
        assert_eq!(problem["code"], "NOT_FOUND");
        assert_eq!(problem["type"], "about:blank");
        assert_eq!(problem["instance"], path);
    }
    let check = async |verb: Method, path: &str, allow: &str| {
        let reply = edge.send(verb, path, "").await;
        assert_eq!(reply.problem(405)["code"], "METHOD_NOT_ALLOWED");
        assert_eq!(reply.header("allow"), allow, "{path}");
    };
    check(Method::PUT, "/v1/orders", "GET, HEAD, OPTIONS, POST").await;
    check(
        Method::POST,
        "/v1/orders/1",
        "DELETE, GET, HEAD, OPTIONS, PATCH",
    )
    .await;
    check(Method::GET, "/v1/orders/1:cancel", "OPTIONS, POST").await;
    edge.get("/v1/orders/%zz").await.problem(400);
    shop.was_not_called();
}

#[tokio::test]
async fn options_tells_what_a_path_takes() {
    let shop = Shop::new();
    let reply = shop.edge().send(Method::OPTIONS, "/v1/shelves/a", "").await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    assert_eq!(reply.header("allow"), "OPTIONS, PROPFIND");
    let nothing = shop.edge().send(Method::OPTIONS, "/v1/nothing", "").await;
    nothing.problem(404);
    shop.was_not_called();
}

#[tokio::test]
async fn head_is_answered_as_get() {
    let shop = Shop::new();
    let reply = shop.edge().send(Method::HEAD, "/v1/orders/o-1", "").await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(shop.only_call().method, "GetOrder");
}

#[tokio::test]
async fn it_can_be_the_fallback_of_another_router() {
    let shop = Shop::new();
    let own = Router::new().route("/health", get(|| async { "\"fine\"" }));
    let edge = Edge(own.fallback_service(shop.edge().0));
    assert_eq!(edge.get("/health").await.json, "fine");
    assert_eq!(edge.get("/v1/orders/o-1").await.status, StatusCode::OK);
    edge.get("/v1/nothing").await.problem(404);
}

#[tokio::test]
async fn the_response_tells_which_route_answered() {
    let shop = Shop::new();
    let reply = shop.edge().get("/v1/orders/o-1/lines").await;
    let MatchedRoute(route) = reply.extensions.get().unwrap();
    assert_eq!(route.verb, Method::GET);
    assert_eq!(route.template, "/v1/orders/{id}/lines");
    assert_eq!(route.method, "shop.v1.ShopService.GetOrder");
    assert!(
        shop.edge()
            .get("/none")
            .await
            .extensions
            .get::<MatchedRoute>()
            .is_none()
    );
}
