use axum::body::Body;
use http::{Method, Request, StatusCode};
use serde_json::{Value as Json, json};

use crate::shop::{Shop, never, pieces};

#[tokio::test]
async fn a_body_takes_json_and_original_names() {
    let shop = Shop::new();
    let body = json!({
        "user_id": "u-1",
        "lines": [{"sku": "A", "quantity": 2}, {"sku": "B", "quantity": "3"}],
        "labels": {"gift": 1},
        "state": "STATE_PENDING",
        "wantedBy": "2025-01-31T12:00:00Z",
        "walletId": "w-1",
        "notes": {"free": [1, "x"]},
        "gift": null,
        "proof": "AQI=",
    });
    let reply = shop.edge().post("/v1/orders", body).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.json);
    let expect = json!({
        "userId": "u-1",
        "lines": [{"sku": "A", "quantity": 2}, {"sku": "B", "quantity": 3}],
        "labels": {"gift": 1},
        "state": "STATE_PENDING",
        "wantedBy": "2025-01-31T12:00:00Z",
        "walletId": "w-1",
        "notes": {"free": [1.0, "x"]},
        "proof": "AQI=",
    });
    assert_eq!(shop.only_call().message, expect);
}

#[tokio::test]
async fn every_wrong_field_of_a_body_is_named_with_its_path() {
    let shop = Shop::new();
    let edge = shop.edge();
    let check = async |body: Json, expect: &[&str]| {
        let reply = edge.post("/v1/orders", body.clone()).await;
        assert_eq!(reply.wrong_fields(), expect, "{body}");
    };
    check(json!({"price": 1}), &["price UNKNOWN_FIELD"]).await;
    check(
        json!({"lines": [{"sku": "A", "unitPrice": 5}]}),
        &["lines[0].unitPrice UNKNOWN_FIELD"],
    )
    .await;
    check(
        json!({"extras": {"a": {"x": 1}}}),
        &["extras[\"a\"].x UNKNOWN_FIELD"],
    )
    .await;
    check(json!({"gift": {"nope": {}}}), &["gift.nope UNKNOWN_FIELD"]).await;
    check(json!({"user_id": 7}), &["userId INVALID_VALUE"]).await;
    check(json!({"lines": {}}), &["lines INVALID_VALUE"]).await;
    check(json!({"lines": [7]}), &["lines[0] INVALID_VALUE"]).await;
    check(json!({"labels": []}), &["labels INVALID_VALUE"]).await;
    check(
        json!({"labels": {"a": "x"}}),
        &["labels[\"a\"] INVALID_VALUE"],
    )
    .await;
    check(json!({"state": "STATE_LOST"}), &["state INVALID_VALUE"]).await;
    check(json!({"wantedBy": "soon"}), &["wantedBy INVALID_VALUE"]).await;
    check(json!({"proof": "?"}), &["proof INVALID_VALUE"]).await;
    check(json!({"gift": "x"}), &["gift INVALID_VALUE"]).await;
    let line = "type.googleapis.com/shop.v1.Line";
    check(
        json!({"surprise": {"@type": line, "sku": 1, "quantity": 2, "price": 3}}),
        &["surprise.price UNKNOWN_FIELD", "surprise.sku INVALID_VALUE"],
    )
    .await;
    for url in ["type.googleapis.com/shop.v1.Lime", "shop.v1.Line", ""] {
        let surprise = json!({"surprise": {"@type": url, "sku": "A"}});
        check(surprise, &["surprise INVALID_VALUE"]).await;
    }
    for quantity in [
        json!(1.5),
        json!(3_000_000_000_u64),
        json!("x"),
        json!(true),
        json!([]),
    ] {
        check(
            json!({"lines": [{"quantity": 1}, {"quantity": quantity}]}),
            &["lines[1].quantity INVALID_VALUE"],
        )
        .await;
    }
    check(
        json!({"aa": 1, "lines": [{"sku": 1}, {"b": 2}], "userId": "fine"}),
        &[
            "aa UNKNOWN_FIELD",
            "lines[0].sku INVALID_VALUE",
            "lines[1].b UNKNOWN_FIELD",
        ],
    )
    .await;
    check(
        json!({"walletId": "w", "cardToken": "c"}),
        &["walletId CONFLICT"],
    )
    .await;
    shop.was_not_called();
}

#[tokio::test]
async fn the_detail_says_what_a_field_must_be() {
    let edge = Shop::new().edge();
    let reply = edge
        .post("/v1/orders", json!({"lines": [{"quantity": "x"}]}))
        .await;
    assert_eq!(
        reply.problem(400)["detail"],
        "lines[0].quantity must be a 32-bit integer"
    );
    let reply = edge.post("/v1/orders", json!({"state": "X"})).await;
    let names = "STATE_UNSPECIFIED, STATE_PENDING, STATE_CONFIRMED";
    assert_eq!(
        reply.json["errors"][0]["detail"],
        format!("must be one of {names}")
    );
    let reply = edge.post("/v1/orders", json!({"a": 1, "b": 2})).await;
    assert_eq!(reply.json["detail"], "2 fields of the request are wrong");
}

#[tokio::test]
async fn no_more_than_fifty_wrong_fields_are_listed() {
    let lines: Vec<Json> = (0..200).map(|_| json!({"sku": 1, "x": 2})).collect();
    let reply = Shop::new()
        .edge()
        .post("/v1/orders", json!({"lines": lines}))
        .await;
    assert_eq!(reply.wrong_fields().len(), 50);
}

#[tokio::test]
async fn a_body_that_fits_no_message_is_refused_as_a_whole() {
    let shop = Shop::new();
    let edge = shop.edge();
    let check = async |body: &str, expect: &str| {
        let reply = edge.send(Method::POST, "/v1/orders", body).await;
        let problem = reply.problem(400);
        assert_eq!(problem["code"], "INVALID_ARGUMENT");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(expect), "{body}: {detail}");
    };
    check("{", "not valid JSON: EOF").await;
    check("{\"a\" 1}", "line 1 column 6").await;
    check("{} {}", "trailing characters").await;
    check("[]", "does not fit").await;
    check("null", "does not fit").await;
    check("\"\u{1}\"", "not valid JSON").await;
    check(&"[".repeat(200), "recursion limit").await;
    shop.was_not_called();
}

#[tokio::test]
async fn the_content_type_must_be_json() {
    let shop = Shop::new();
    let edge = shop.edge();
    let send = async |kind: Option<&str>, body: &'static str| {
        let mut request = Request::post("/v1/orders");
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        edge.request(request.body(Body::from(body)).unwrap()).await
    };
    for kind in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("json"),
    ] {
        let reply = send(kind, "{}").await;
        assert_eq!(
            reply.problem(415)["code"],
            "UNSUPPORTED_MEDIA_TYPE",
            "{kind:?}"
        );
    }
    send(Some("text/plain"), "").await.problem(415);
    shop.was_not_called();
    for kind in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/a+json",
    ] {
        assert_eq!(
            send(Some(kind), "{}").await.status,
            StatusCode::OK,
            "{kind}"
        );
        shop.only_call();
    }
    assert_eq!(send(None, "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_oversized_body_is_refused_whether_or_not_it_declares_its_size() {
    let shop = Shop::new();
    let edge = shop.edge_with(|builder| builder.body_limit(64));
    let body = |len: usize| format!("{{\"userId\": \"{}\"}}", "x".repeat(len - 14));
    let reply = edge.send(Method::POST, "/v1/orders", &body(64)).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.json);
    shop.only_call();
    let request = || Request::post("/v1/orders").header("content-type", "application/json");
    let undeclared = request().body(pieces(&body(65))).unwrap();
    let reply = edge.request(undeclared).await;
    assert_eq!(reply.problem(413)["code"], "PAYLOAD_TOO_LARGE");
    // Declared: refused though not a byte of it ever arrives.
    let declared = request()
        .header("content-length", "65")
        .body(never())
        .unwrap();
    edge.request(declared).await.problem(413);
    shop.was_not_called();
}

#[tokio::test]
async fn a_body_where_none_is_taken_is_refused() {
    let shop = Shop::new();
    let reply = shop.edge().send(Method::DELETE, "/v1/orders/1", "{}").await;
    assert_eq!(reply.problem(400)["detail"], "this request takes no body");
    shop.was_not_called();
}

#[tokio::test]
async fn query_parameters_of_every_kind_fill_the_message() {
    let shop = Shop::new();
    let edge = shop.edge();
    let check = async |query: &str, expect: Json| {
        let reply = edge.get(&format!("/v1/orders?{query}")).await;
        assert_eq!(reply.status, StatusCode::OK, "{query}: {}", reply.json);
        assert_eq!(shop.only_call().message, expect, "{query}");
    };
    check("", json!({})).await;
    check("pageSize=5", json!({"pageSize": 5})).await;
    check("page_size=5", json!({"pageSize": 5})).await;
    check("withLines=true", json!({"withLines": true})).await;
    check("withLines=false", json!({})).await;
    check("ratio=0.5", json!({"ratio": 0.5})).await;
    check("sku=a+b&sku=%26", json!({"sku": ["a b", "&"]})).await;
    check("filter.userId=u-1", json!({"filter": {"userId": "u-1"}})).await;
    check(
        "filter.user_id=u-1&filter.totalMin=9007199254740993",
        json!({"filter": {"userId": "u-1", "totalMin": "9007199254740993"}}),
    )
    .await;
    check(
        "filter.states=STATE_PENDING&filter.states=2",
        json!({"filter": {"states": ["STATE_PENDING", "STATE_CONFIRMED"]}}),
    )
    .await;
    check(
        "filter.since=2025-01-31T12:00:00Z&filter.age=1.5s",
        json!({"filter": {"since": "2025-01-31T12:00:00Z", "age": "1.500s"}}),
    )
    .await;
    check(
        "filter.paid=false&filter.points=0",
        json!({"filter": {"paid": false, "points": "0"}}),
    )
    .await;
    check("pageToken=", json!({"pageToken": ""})).await;
}

#[tokio::test]
async fn wrong_query_parameters_are_named() {
    let shop = Shop::new();
    let edge = shop.edge();
    let check = async |uri: &str, expect: &[&str]| {
        assert_eq!(edge.get(uri).await.wrong_fields(), expect, "{uri}");
    };
    check("/v1/orders?nope=1", &["nope UNKNOWN_PARAMETER"]).await;
    check(
        "/v1/orders?filter.nope=1",
        &["filter.nope UNKNOWN_PARAMETER"],
    )
    .await;
    check("/v1/orders?filter=x", &["filter UNKNOWN_PARAMETER"]).await;
    check("/v1/orders?labels=x", &["labels UNKNOWN_PARAMETER"]).await;
    check("/v1/orders?sku.x=1", &["sku.x UNKNOWN_PARAMETER"]).await;
    check("/v1/orders?=1", &[" UNKNOWN_PARAMETER"]).await;
    check("/v1/orders?pageSize=x", &["pageSize INVALID_VALUE"]).await;
    check("/v1/orders?pageSize=", &["pageSize INVALID_VALUE"]).await;
    check(
        "/v1/orders?pageSize=1&page_size=2",
        &["pageSize INVALID_VALUE"],
    )
    .await;
    check("/v1/orders?withLines=1", &["withLines INVALID_VALUE"]).await;
    check(
        "/v1/orders?filter.states=LOST",
        &["filter.states INVALID_VALUE"],
    )
    .await;
    check(
        "/v1/orders?filter.since=soon",
        &["filter.since INVALID_VALUE"],
    )
    .await;
    check(
        "/v1/orders?pageToken=a&offset=1",
        &["pageToken INVALID_VALUE"],
    )
    .await;
    check("/v1/orders/1?id=1", &["id UNKNOWN_PARAMETER"]).await;
    let reply = edge.post("/v1/orders?userId=u", json!({})).await;
    assert_eq!(reply.wrong_fields(), ["userId UNKNOWN_PARAMETER"]);
    assert_eq!(reply.json["detail"], "userId belongs in the body");
    let reply = edge
        .send(Method::PATCH, "/v1/orders/1?order.comment=u", "{}")
        .await;
    assert_eq!(reply.wrong_fields(), ["order.comment UNKNOWN_PARAMETER"]);
    edge.get("/v1/orders?sku=%f").await.problem(400);
    shop.was_not_called();
}

#[tokio::test]
async fn the_path_has_the_last_word() {
    let shop = Shop::new();
    let edge = shop.edge();
    edge.post("/v1/orders/7:cancel", json!({"id": 7, "why": "late"}))
        .await;
    assert_eq!(shop.only_call().message, json!({"id": "7", "why": "late"}));
    let reply = edge.post("/v1/orders/7:cancel", json!({"id": "8"})).await;
    assert_eq!(reply.wrong_fields(), ["id CONTRADICTS_PATH"]);
    let reply = edge.post("/v1/orders/x:cancel", json!({})).await;
    assert_eq!(reply.wrong_fields(), ["id INVALID_VALUE"]);
    shop.was_not_called();
}

#[tokio::test]
async fn a_body_can_be_one_field_beside_path_and_query() {
    let shop = Shop::new();
    let edge = shop.edge();
    let patch = async |body: Json| {
        edge.send(
            Method::PATCH,
            "/v1/orders/o-1?mask=comment",
            &body.to_string(),
        )
        .await
    };
    patch(json!({"comment": "hi", "lines": []})).await;
    let expect = json!({"order": {"id": "o-1", "comment": "hi"}, "mask": "comment"});
    assert_eq!(shop.only_call().message, expect);
    let reply = patch(json!({"id": "o-2"})).await;
    assert_eq!(reply.wrong_fields(), ["order.id CONTRADICTS_PATH"]);
    let reply = patch(json!({"lines": [{"x": 1}]})).await;
    assert_eq!(reply.wrong_fields(), ["order.lines[0].x UNKNOWN_FIELD"]);
    let reply = patch(json!("text")).await;
    assert_eq!(reply.wrong_fields(), ["order INVALID_VALUE"]);
    shop.was_not_called();
}

#[tokio::test]
async fn headers_cross_only_by_name() {
    let shop = Shop::new();
    let send = |name: &str| {
        Request::get("/v1/orders")
            .header(name, "one")
            .header(name, "two")
            .body(Body::empty())
            .unwrap()
    };
    let edge = shop.edge();
    for name in [
        "traceparent",
        "tracestate",
        "idempotency-key",
        "authorization",
        "prefer",
    ] {
        edge.request(send(name)).await;
        let headers = shop.only_call().headers;
        assert_eq!(
            headers.get_all(name).iter().collect::<Vec<_>>(),
            ["one", "two"],
            "{name}"
        );
    }
    for name in ["cookie", "x-user-id", "grpc-timeout", "host"] {
        edge.request(send(name)).await;
        let headers = shop.only_call().headers;
        assert!(
            !headers.get_all(name).iter().any(|value| value == "one"),
            "{name}"
        );
    }
    let edge = shop.edge_with(|builder| {
        builder
            .forward_headers([http::HeaderName::from_static("x-own")])
            .interceptor(|metadata, parts| {
                let text = parts.extensions.get::<&'static str>().unwrap();
                metadata.insert("x-from-layer", text.parse().unwrap());
            })
    });
    let mut request = send("x-own");
    request
        .headers_mut()
        .insert("authorization", "none".parse().unwrap());
    request.extensions_mut().insert("seen");
    edge.request(request).await;
    let headers = shop.only_call().headers;
    assert_eq!(headers["x-own"], "one");
    assert_eq!(headers["x-from-layer"], "seen");
    assert!(!headers.contains_key("authorization"));
}
