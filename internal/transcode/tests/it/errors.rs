use std::collections::BTreeMap;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, StatusCode};
use palinode_transcode::StatusRule;
use prost::Message;
use prost_types::{Any, Duration};
use serde_json::json;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use crate::shop::Shop;

// The google.rpc messages, written here once more: the crate's own are not trusted to test it.

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(btree_map = "string, string", tag = "3")]
    metadata: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    field_violations: Vec<FieldViolation>,
}

#[derive(Clone, PartialEq, Message)]
struct FieldViolation {
    #[prost(string, tag = "1")]
    field: String,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(string, tag = "3")]
    reason: String,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Duration>,
}

fn any(name: &str, message: &impl Message) -> Any {
    Any {
        type_url: format!("type.googleapis.com/google.rpc.{name}"),
        value: message.encode_to_vec(),
    }
}

fn out_of_stock() -> Any {
    any(
        "ErrorInfo",
        &ErrorInfo {
            reason: "OUT_OF_STOCK".to_owned(),
            domain: "shop".to_owned(),
            metadata: BTreeMap::from([("sku".to_owned(), "A".to_owned())]),
        },
    )
}

fn status(code: Code, message: &str, details: Vec<Any>) -> Status {
    let rpc = RpcStatus {
        code: code as i32,
        message: message.to_owned(),
        details,
    };
    Status::with_details(code, message, Bytes::from(rpc.encode_to_vec()))
}

#[tokio::test]
async fn every_code_has_googles_http_status() {
    let shop = Shop::new();
    let edge = shop.edge();
    let check = async |code: Code, http: u16, word: &str| {
        shop.fails(Status::new(code, "some words"));
        let reply = edge.get("/v1/orders").await;
        let problem = reply.problem(http);
        assert_eq!(problem["code"], word);
        assert_eq!(problem["type"], "about:blank");
        assert_eq!(problem["instance"], "/v1/orders");
    };
    check(Code::Cancelled, 499, "CANCELLED").await;
    check(Code::Unknown, 500, "UNKNOWN").await;
    check(Code::InvalidArgument, 400, "INVALID_ARGUMENT").await;
    check(Code::DeadlineExceeded, 504, "DEADLINE_EXCEEDED").await;
    check(Code::NotFound, 404, "NOT_FOUND").await;
    check(Code::AlreadyExists, 409, "ALREADY_EXISTS").await;
    check(Code::PermissionDenied, 403, "PERMISSION_DENIED").await;
    check(Code::ResourceExhausted, 429, "RESOURCE_EXHAUSTED").await;
    check(Code::FailedPrecondition, 400, "FAILED_PRECONDITION").await;
    check(Code::Aborted, 409, "ABORTED").await;
    check(Code::OutOfRange, 400, "OUT_OF_RANGE").await;
    check(Code::Unimplemented, 501, "UNIMPLEMENTED").await;
    check(Code::Internal, 500, "INTERNAL").await;
    check(Code::Unavailable, 503, "UNAVAILABLE").await;
    check(Code::DataLoss, 500, "DATA_LOSS").await;
    check(Code::Unauthenticated, 401, "UNAUTHENTICATED").await;
}

#[tokio::test]
async fn details_become_reason_fields_and_retry_after() {
    let shop = Shop::new();
    let violation = |field: &str, reason: &str| FieldViolation {
        field: field.to_owned(),
        description: "must be positive".to_owned(),
        reason: reason.to_owned(),
    };
    let wrong = BadRequest {
        field_violations: vec![
            violation("lines[0].unit_price", "TOO_SMALL"),
            violation("a_b", ""),
        ],
    };
    let retry = RetryInfo {
        retry_delay: Some(Duration {
            seconds: 2,
            nanos: 1,
        }),
    };
    let unknown = any("LocalizedMessage", &ErrorInfo::default());
    let details = vec![
        unknown,
        out_of_stock(),
        any("BadRequest", &wrong),
        any("RetryInfo", &retry),
    ];
    shop.fails(status(Code::FailedPrecondition, "not enough of A", details));
    let table = |code| match code {
        Code::FailedPrecondition => StatusRule {
            http: StatusCode::UNPROCESSABLE_ENTITY,
            code: "Refused",
        },
        other => StatusRule::google(other),
    };
    let reply = shop
        .edge_with(|builder| builder.status_table(table))
        .get("/v1/orders")
        .await;
    let expect = json!({
        "type": "/errors/OUT_OF_STOCK",
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "not enough of A",
        "code": "Refused",
        "reason": "OUT_OF_STOCK",
        "instance": "/v1/orders",
        "errors": [
            {"field": "lines[0].unitPrice", "reason": "TOO_SMALL", "detail": "must be positive"},
            {"field": "aB", "detail": "must be positive"},
        ],
        "metadata": {"sku": "A"},
    });
    assert_eq!(*reply.problem(422), expect);
    assert_eq!(reply.header("retry-after"), "3");
}

#[tokio::test]
async fn an_internal_failure_tells_nothing_but_the_trace() {
    let shop = Shop::new();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    for code in [Code::Internal, Code::Unknown, Code::DataLoss] {
        shop.fails(status(
            code,
            "relation \"orders\" is missing",
            vec![out_of_stock()],
        ));
        let request = Request::get("/v1/orders")
            .header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"))
            .body(Body::empty())
            .unwrap();
        let reply = shop.edge().request(request).await;
        let expect = json!({
            "type": "about:blank",
            "title": "Internal Server Error",
            "status": 500,
            "detail": "an internal error occurred",
            "code": StatusRule::google(code).code,
            "instance": "/v1/orders",
            "trace_id": trace,
        });
        assert_eq!(*reply.problem(500), expect);
    }
}

#[tokio::test]
async fn the_trace_in_a_problem_is_the_one_the_interceptor_set() {
    let shop = Shop::new();
    let edge = shop.edge_with(|builder| {
        builder.interceptor(|metadata, _| {
            let parent = "00-11111111111111111111111111111111-2222222222222222-01";
            metadata.insert("traceparent", parent.parse().unwrap());
        })
    });
    let reply = edge.get("/v1/none").await;
    assert_eq!(
        reply.problem(404)["trace_id"],
        "11111111111111111111111111111111"
    );
    let request = Request::get("/").header("traceparent", "00-<script>-1-1");
    let reply = shop
        .edge()
        .request(request.body(Body::empty()).unwrap())
        .await;
    assert!(reply.problem(404).get("trace_id").is_none());
}

#[tokio::test]
async fn metadata_of_an_error_crosses_by_name_too() {
    let shop = Shop::new();
    let mut metadata = MetadataMap::new();
    metadata.insert("retry-after", "9".parse().unwrap());
    metadata.insert("x-secret", "s".parse().unwrap());
    shop.fails(Status::with_metadata(
        Code::Unavailable,
        "draining",
        metadata,
    ));
    let reply = shop.edge().get("/v1/orders").await;
    assert_eq!(reply.problem(503)["detail"], "draining");
    assert_eq!(
        (reply.header("retry-after"), reply.header("x-secret")),
        ("9", "")
    );
}

#[tokio::test]
async fn details_that_cannot_be_read_are_passed_over() {
    let shop = Shop::new();
    shop.fails(Status::with_details(
        Code::NotFound,
        "gone",
        Bytes::from_static(b"\xff\xff"),
    ));
    assert_eq!(
        shop.edge().get("/v1/orders").await.problem(404)["detail"],
        "gone"
    );
    let broken = Any {
        type_url: "type.googleapis.com/google.rpc.ErrorInfo".to_owned(),
        value: vec![0xff],
    };
    shop.fails(status(Code::NotFound, "gone", vec![broken]));
    assert!(
        shop.edge()
            .get("/v1/orders")
            .await
            .problem(404)
            .get("reason")
            .is_none()
    );
}
