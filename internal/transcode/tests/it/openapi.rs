use http::Method;
use palinode_transcode::{ApiInfo, RequestHeader, Transcoder};
use serde_json::{Value as Json, json};
use tonic::transport::Channel;

use crate::shop::{SERVICE, pool};

fn document() -> Json {
    let channel = Channel::from_static("http://127.0.0.1:1").connect_lazy();
    let builder = Transcoder::builder(pool(None)).service(SERVICE, channel);
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
