use http::HeaderName;
use palinode_transcode::{BuildError, Transcoder};
use tonic::transport::Channel;

use crate::shop::{SERVICE, pool};

/// Builds a service `t.T` of these methods over fixed messages.
fn build(methods: &str) -> Result<Transcoder, BuildError> {
    let source = format!(
        r#"syntax = "proto3";
        package t;
        import "google/api/annotations.proto";
        message In {{ string id = 1; In inner = 2; repeated string many = 3; map<string, In> map = 4; }}
        message Out {{ string id = 1; }}
        service T {{ {methods} }}"#
    );
    Transcoder::builder(pool(Some(("t.proto", source))))
        .service("t.T", channel())
        .build()
}

fn channel() -> Channel {
    Channel::from_static("http://127.0.0.1:1").connect_lazy()
}

fn method(name: &str, rule: &str) -> String {
    format!("rpc {name}(In) returns (Out) {{ option (google.api.http) = {{ {rule} }}; }}")
}

#[tokio::test]
async fn rules_that_cannot_work_are_refused() {
    let check = |rule: &str, expect: &str| {
        let error = build(&method("M", rule)).unwrap_err();
        let mut text = error.to_string();
        if let Some(source) = std::error::Error::source(&error) {
            text += &format!(": {source}");
        }
        assert!(text.contains(expect), "{rule}: {text}");
        assert!(text.contains("t.T.M"), "{text}");
    };
    check("get: \"/{x}\"", "there is no field x");
    check("get: \"/{inner.x}\"", "there is no field inner.x");
    check("get: \"/{id.x}\"", "there is no field id.x");
    check(
        "get: \"/{many}\"",
        "field many is in the path but not scalar",
    );
    check(
        "get: \"/{inner}\"",
        "field inner is in the path but not scalar",
    );
    check("get: \"/{map}\"", "field map is in the path but not scalar");
    check("get: \"/{map.id}\"", "there is no field map.id");
    check(
        "get: \"/{id\"",
        "template \"/{id\": a variable ends with '}' at offset 4",
    );
    check("post: \"/a\" body: \"x\"", "there is no field x");
    check("post: \"/a\" response_body: \"x\"", "there is no field x");
    check("get: \"/a\" body: \"*\"", "GET and HEAD have no body");
    check(
        "custom: { kind: \"*\" path: \"/a\" }",
        "\"*\" is not an HTTP method",
    );
    check(
        "custom: { kind: \"A B\" path: \"/a\" }",
        "\"A B\" is not an HTTP method",
    );
    check("body: \"*\"", "a rule has no pattern");
    check(
        "get: \"/a\" additional_bindings { get: \"/b\" additional_bindings { get: \"/c\" } }",
        "an additional binding has additional bindings",
    );
    check(
        "get: \"/{id}\" additional_bindings { get: \"/{inner.id}\" }",
        "is the same route as",
    );
}

#[tokio::test]
async fn ambiguous_routes_are_refused_with_both_names() {
    let methods = [
        method("A", "get: \"/v1/orders/{id}\""),
        method("B", "get: \"/v1/{id=orders/*}\""),
    ];
    let error = build(&methods.concat()).unwrap_err();
    let expect = "GET /v1/{id=orders/*} of t.T.B is the same route as /v1/orders/{id} of t.T.A";
    assert_eq!(error.to_string(), expect);
}

#[tokio::test]
async fn annotated_streams_of_requests_are_refused_and_others_left_out() {
    let stream = |rule: &str| format!("rpc S(stream In) returns (Out) {{ {rule} }}");
    let annotated = stream("option (google.api.http) = { get: \"/s\" };");
    assert!(matches!(
        build(&annotated),
        Err(BuildError::Streaming { .. })
    ));
    let unary = method("M", "get: \"/m\"");
    let transcoder = build(&(unary + &stream(""))).unwrap();
    assert_eq!(transcoder.routes().len(), 1);
    assert!(matches!(
        build(&stream("")),
        Err(BuildError::NoRoutes { .. })
    ));
}

#[tokio::test]
async fn services_must_be_known_and_given_once() {
    let builder = || Transcoder::builder(pool(None));
    let error = builder()
        .service("shop.v1.None", channel())
        .build()
        .unwrap_err();
    assert!(matches!(error, BuildError::UnknownService { .. }));
    let twice = builder()
        .service(SERVICE, channel())
        .service(SERVICE, channel());
    assert!(matches!(
        twice.build(),
        Err(BuildError::DuplicateService { .. })
    ));
}

#[tokio::test]
async fn headers_of_grpc_itself_cannot_be_passed_on() {
    for name in ["grpc-timeout", "content-type", "te", "details-bin"] {
        let name = HeaderName::from_static(name);
        let builder = || Transcoder::builder(pool(None)).service(SERVICE, channel());
        let forward = builder().forward_headers([name.clone()]).build();
        assert!(matches!(forward, Err(BuildError::Header { .. })), "{name}");
        let back = builder().return_headers([name.clone()]).build();
        assert!(matches!(back, Err(BuildError::Header { .. })), "{name}");
    }
}

#[tokio::test]
async fn the_routes_are_listed_in_order() {
    let transcoder = Transcoder::builder(pool(None))
        .service(SERVICE, channel())
        .build()
        .unwrap();
    let short = |method: &str| method.rsplit('.').next().unwrap_or_default().to_owned();
    let routes = transcoder.routes().into_iter();
    let lines: Vec<String> = routes
        .map(|route| format!("{} {} {}", route.verb, route.template, short(&route.method)))
        .collect();
    let expect = [
        "POST /v1/orders PlaceOrder",
        "GET /v1/orders/{id} GetOrder",
        "GET /v1/users/{filter.user_id}/orders/{id} GetOrder",
        "GET /v1/orders/{id}/lines GetOrder",
        "GET /v1/orders ListOrders",
        "PATCH /v1/orders/{order.id} UpdateOrder",
        "POST /v1/orders/{id}:cancel CancelOrder",
        "DELETE /v1/orders/{id} DeleteOrder",
        "GET /v1/{name=shelves/*}/files/{path=**} GetFile",
        "PROPFIND /v1/{name=shelves/*} GetFile",
        "GET /v1/orders/{id}:watch WatchOrder",
        "GET /v1/orders/{id}/receipt GetReceipt",
        "PUT /v1/orders/{order_id}/receipt PutReceipt",
    ];
    assert_eq!(lines, expect);
}
