use http::Method;
use palinode_transcode::{ApiInfo, RequestHeader, Transcoder};
use prost_reflect::DescriptorPool;
use serde_json::{Value as Json, json};
use tonic::transport::Channel;

use crate::shop::{SERVICE, pool};

fn document() -> Json {
    document_of(pool(None), SERVICE)
}

fn document_of(pool: DescriptorPool, service: &str) -> Json {
    let channel = Channel::from_static("http://127.0.0.1:1").connect_lazy();
    let builder = Transcoder::builder(pool).service(service, channel);
    let transcoder = builder.resume_field("resume_token").build().unwrap();
    transcoder.openapi(&ApiInfo {
        title: "Shop".to_owned(),
        version: "1".to_owned(),
        description: "Sells.".to_owned(),
        headers: vec![RequestHeader {
            name: "Idempotency-Key",
            description: "Names the request.",
            pattern: "^[!-~]{1,128}$",
            is_of: |route| route.verb == Method::POST,
        }],
        wants_token: |route| route.verb != Method::GET,
    })
}

fn parameters(operation: &Json) -> Vec<String> {
    let all = operation["parameters"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let text = |json: &Json| json.as_str().unwrap().to_owned();
    all.iter()
        .map(|one| format!("{} {}", text(&one["in"]), text(&one["name"])))
        .collect()
}

#[tokio::test]
async fn every_route_is_an_operation_with_the_words_of_the_protos() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["title"], "Shop");
    assert_eq!(
        document["tags"],
        json!([{"name": "ShopService", "description": "Sells things."}])
    );
    let place = &document["paths"]["/v1/orders"]["post"];
    assert_eq!(place["operationId"], "ShopService_PlaceOrder");
    assert_eq!(place["summary"], "Places an order");
    assert_eq!(
        place["description"],
        "It is kept for ever.\n\nNot to be repeated."
    );
    assert_eq!(place["security"], json!([{"token": []}]));
    assert_eq!(
        document["components"]["securitySchemes"]["token"]["scheme"],
        "bearer"
    );
    // two methods, one path: the names of the first
    let order = document["paths"]["/v1/orders/{id}"].as_object().unwrap();
    let mut verbs: Vec<_> = order.keys().map(String::as_str).collect();
    verbs.sort_unstable();
    assert_eq!(verbs, ["delete", "get", "patch"]);
    assert_eq!(parameters(&order["patch"])[0], "path id");
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/v1/users/{filter.userId}/orders/{id}",
        "/v1/orders/{id}/lines",
        "/v1/orders/{id}:cancel",
        "/v1/orders/{id}:watch",
        "/v1/shelves/{name}/files/{path}",
    ] {
        assert!(paths.contains_key(path), "{path}: {:?}", paths.keys());
    }
    assert_eq!(
        document["paths"]["/v1/orders/{id}/lines"]["get"]["operationId"],
        "ShopService_GetOrder_3"
    );
}

#[tokio::test]
async fn a_parameter_is_what_a_query_may_have() {
    let document = document();
    let list = &document["paths"]["/v1/orders"]["get"];
    assert_eq!(list["security"], Json::Null);
    let names = parameters(list);
    for name in [
        "query filter.userId",
        "query filter.states",
        "query pageSize",
        "query sku",
    ] {
        assert!(names.iter().any(|known| known == name), "{name}: {names:?}");
    }
    // a map cannot be one
    assert!(
        !names.iter().any(|name| name.contains("labels")),
        "{names:?}"
    );
    let cancel = &document["paths"]["/v1/orders/{id}:cancel"]["post"];
    assert_eq!(parameters(cancel), ["path id", "header Idempotency-Key"]);
    let body = &cancel["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["properties"], json!({"why": {"type": "string"}}));
    let watch = &document["paths"]["/v1/orders/{id}:watch"]["get"];
    assert_eq!(
        parameters(watch),
        ["path id", "query resumeToken", "header Last-Event-ID"]
    );
}

#[tokio::test]
async fn a_schema_is_the_proto3_json_of_its_message() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let request = &schemas["shop.v1.PlaceOrderRequest"];
    let members = &request["properties"];
    assert_eq!(
        members["lines"],
        json!({
            "type": "array", "items": {"$ref": "#/components/schemas/shop.v1.Line"},
        })
    );
    assert_eq!(
        members["wantedBy"],
        json!({"type": "string", "format": "date-time"})
    );
    assert_eq!(members["labels"]["additionalProperties"]["type"], "integer");
    assert_eq!(members["proof"]["contentEncoding"], "base64");
    assert_eq!(
        request["allOf"],
        json!([{"not": {"required": ["walletId", "cardToken"]}}])
    );
    assert_eq!(schemas["shop.v1.State"]["enum"][1], "STATE_PENDING");
    assert_eq!(
        schemas["shop.v1.Line"]["properties"]["sku"]["description"],
        "What it is."
    );
    assert_eq!(
        schemas["shop.v1.Order"]["properties"]["totalMinor"]["type"],
        "string"
    );
    // `optional` is no choice between members
    assert_eq!(schemas["shop.v1.Order"]["allOf"], Json::Null);
    assert_eq!(schemas["Problem"]["required"][0], "type");
}

/// A service whose request has `fields`; its body has all of them but `id`, which is in the path, and
/// another method has them in its query.
fn limited(fields: &str) -> Json {
    let source = format!(
        r#"syntax = "proto3"; package l.v1;
        import "google/api/annotations.proto"; import "buf/validate/validate.proto";
        service S {{
          rpc Put(R) returns (A) {{ option (google.api.http) = {{ post: "/v1/{{id}}" body: "*" }}; }}
          rpc Get(R) returns (A) {{ option (google.api.http) = {{ get: "/v1/{{id}}" }}; }}
        }}
        enum E {{ E_UNSPECIFIED = 0; E_ONE = 1; E_TWO = 2; }}
        message P {{ string x = 1 [(buf.validate.field).string.max_len = 5]; }}
        message A {{}}
        message R {{ string id = 1 [(buf.validate.field).string.uuid = true]; {fields} }}"#
    );
    document_of(pool(Some(("l.proto", source))), "l.v1.S")
}

fn body_of(document: &Json) -> &Json {
    let body = &document["paths"]["/v1/{id}"]["post"]["requestBody"];
    &body["content"]["application/json"]["schema"]
}

/// The schema of a field with rules.
#[track_caller]
fn check(kind: &str, rules: &str, expect: Json) {
    let document = limited(&format!("{kind} f = 2 [(buf.validate.field){rules}];"));
    let properties = &body_of(&document)["properties"];
    assert_eq!(properties["f"], expect, "{kind} {rules}");
}

fn text(more: Json) -> Json {
    let mut schema = json!({"type": "string"});
    let members = more.as_object().unwrap().clone();
    schema.as_object_mut().unwrap().extend(members);
    schema
}

fn int(min: i64, max: i64) -> Json {
    json!({"type": "integer", "format": "int32", "minimum": min, "maximum": max})
}

#[tokio::test]
async fn the_rules_of_text_are_limits_of_its_schema() {
    check(
        "string",
        r#".string = {min_len: 1, max_len: 9, pattern: "^a+$"}"#,
        text(json!({"minLength": 1, "maxLength": 9, "pattern": "^a+$"})),
    );
    check(
        "string",
        ".string.len = 3",
        text(json!({"minLength": 3, "maxLength": 3})),
    );
    check(
        "string",
        ".string.max_bytes = 3",
        text(json!({"maxLength": 3})),
    );
    check(
        "string",
        ".string.uuid = true",
        text(json!({"format": "uuid"})),
    );
    check(
        "string",
        ".string.email = true",
        text(json!({"format": "email"})),
    );
    check("string", ".required = true", text(json!({"minLength": 1})));
    check(
        "string",
        r#".string = {in: ["", "a"]}"#,
        text(json!({"enum": ["", "a"]})),
    );
    check(
        "string",
        r#".string.const = "a""#,
        text(json!({"const": "a"})),
    );
    let base64 = json!({"contentEncoding": "base64", "minLength": 2, "maxLength": 8});
    check("bytes", ".bytes = {min_len: 1, max_len: 4}", text(base64));
}

#[tokio::test]
async fn the_rules_of_a_number_are_limits_of_its_schema() {
    check("int32", ".int32 = {gte: 0, lte: 200}", int(0, 200));
    check(
        "int32",
        ".int32.gt = 0",
        json!({"type": "integer", "format": "int32", "exclusiveMinimum": 0, "maximum": i32::MAX}),
    );
    check(
        "double",
        ".double = {gte: 0.5, lt: 1}",
        json!({"type": "number", "format": "double", "minimum": 0.5, "exclusiveMaximum": 1.0}),
    );
    check(
        "uint32",
        ".uint32 = {in: [1, 2]}",
        json!({"type": "integer", "minimum": 0, "maximum": u32::MAX, "enum": [1, 2]}),
    );
    check(
        "bool",
        ".bool.const = true",
        json!({"type": "boolean", "const": true}),
    );
    // 64 bits are text
    let int64 = |pattern: &str| text(json!({"format": "int64", "pattern": pattern}));
    check("int64", ".int64.gte = 0", int64("^[0-9]{1,18}$"));
    check(
        "int64",
        ".int64 = {gt: 0, lte: 1000}",
        int64("^[1-9][0-9]{0,3}$"),
    );
    check(
        "int64",
        ".int64 = {gte: -1000, lte: 99}",
        int64("^-?[0-9]{1,4}$"),
    );
    check("int64", ".int64.lte = 99", int64("^-?[0-9]{1,18}$"));
    check(
        "uint64",
        ".uint64.lt = 100",
        text(json!({"format": "uint64", "pattern": "^[0-9]{1,3}$"})),
    );
}

#[tokio::test]
async fn the_rules_of_enums_lists_and_maps_are_limits_of_their_schemas() {
    let reference = "#/components/schemas/l.v1.E";
    check(
        "E",
        ".enum = {defined_only: true, not_in: [0]}",
        json!({"$ref": reference, "enum": ["E_ONE", "E_TWO"]}),
    );
    check("E", ".enum.defined_only = true", json!({"$ref": reference}));
    check(
        "repeated string",
        ".repeated = {min_items: 1, max_items: 3, unique: true, items: {string: {max_len: 2}}}",
        json!({
            "type": "array", "items": {"type": "string", "maxLength": 2},
            "minItems": 1, "maxItems": 3, "uniqueItems": true,
        }),
    );
    check(
        "map<string, int32>",
        ".map = {max_pairs: 2, keys: {string: {max_len: 5}}, values: {int32: {gte: 1, lte: 2}}}",
        json!({
            "type": "object", "additionalProperties": int(1, 2),
            "propertyNames": {"maxLength": 5}, "maxProperties": 2,
        }),
    );
}

#[tokio::test]
async fn what_has_to_be_given_is_required_where_it_is_looked_for() {
    let document = limited(
        "string name = 2 [(buf.validate.field).string.min_len = 1];
         repeated P parts = 3 [(buf.validate.field).required = true];
         int32 size = 4 [(buf.validate.field).int32 = {gte: 0, lte: 9}];
         int32 count = 5 [(buf.validate.field).int32.gte = 1];
         string maybe = 6 [(buf.validate.field).string.uuid = true,
                           (buf.validate.field).ignore = IGNORE_IF_ZERO_VALUE];
         oneof way { option (buf.validate.oneof).required = true; P by = 7; string at = 8; }
         E kind = 9 [(buf.validate.field).enum = {defined_only: true, not_in: [0]}];
         optional string given = 10 [(buf.validate.field).string.min_len = 1];",
    );
    let body = body_of(&document);
    assert_eq!(body["required"], json!(["name", "parts", "count", "kind"]));
    assert_eq!(
        body["allOf"],
        json!([
            {"not": {"required": ["by", "at"]}},
            {"anyOf": [{"required": ["by"]}, {"required": ["at"]}]},
        ])
    );
    let path = &document["paths"]["/v1/{id}"];
    assert_eq!(path["post"]["requestBody"]["required"], true);
    let id = &path["post"]["parameters"][0];
    assert_eq!(id["schema"], json!({"type": "string", "format": "uuid"}));
    let query = path["get"]["parameters"].as_array().unwrap();
    let of = |name: &str| query.iter().find(|one| one["name"] == name).unwrap();
    assert_eq!(of("name")["required"], true);
    assert_eq!(of("size")["required"], false);
    assert_eq!(of("size")["schema"]["maximum"], 9);
    // only if there is a `by`
    assert_eq!(of("by.x")["required"], false);
    assert_eq!(of("by.x")["schema"]["maxLength"], 5);
    let part = &document["components"]["schemas"]["l.v1.P"];
    assert_eq!(part["properties"]["x"]["maxLength"], 5);
}

/// Every reference has a target, and every target is referred to.
#[tokio::test]
async fn a_document_is_whole() {
    let document = document();
    let mut referred = std::collections::BTreeSet::new();
    collect(&document, &mut referred);
    for reference in &referred {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    for name in document["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys()
    {
        assert!(
            referred.contains(&format!("#/components/schemas/{name}")),
            "{name}"
        );
    }
}

fn collect(json: &Json, into: &mut std::collections::BTreeSet<String>) {
    match json {
        Json::Object(members) => {
            for (name, value) in members {
                if let ("$ref", Some(reference)) = (name.as_str(), value.as_str()) {
                    into.insert(reference.to_owned());
                }
                collect(value, into);
            }
        }
        Json::Array(items) => items.iter().for_each(|item| collect(item, into)),
        _ => {}
    }
}
