use palinode_db::Area;
use palinode_lab::sagas::{Format, Start, start};
use palinode_orchestrator::DescriptorSchema;
use palinode_pb::inventory::v1::{CommitStock, ReleaseStock, ReserveStock};
use palinode_pb::order::v1::PlaceOrder;
use palinode_saga::{Plan, step};
use palinode_values::{Clock, OrderId};
use prost::Name;
use serde_json::{Value as Json, json};
use sqlx::PgConnection;

use crate::rig::Rig;

/// A plan that no service opens: holds stock, then sells it.
fn sell_stock() -> Plan {
    let plan = Plan::new("sell-stock", 1)
        .input::<PlaceOrder>()
        .step(
            step("reserve-stock")
                .at("inventory")
                .compensatable::<ReserveStock, ReleaseStock>()
                .token("stock.hold"),
        )
        .step(
            step("commit-stock")
                .at("inventory")
                .after(["reserve-stock"])
                .pivot::<CommitStock>()
                .token("stock.sold"),
        )
        .build();
    plan.unwrap().resolve(&DescriptorSchema::default()).unwrap()
}

/// As a newer release would have left it.
async fn store(plan: &Plan, connection: &mut PgConnection) {
    sqlx::query(
        "INSERT INTO plan (name, version, hash, body, deadline)
         VALUES ($1, $2, $3, $4, make_interval(secs => 60))",
    )
    .bind(plan.name())
    .bind(i32::try_from(plan.version()).unwrap())
    .bind(plan.hash())
    .bind(serde_json::to_vec(plan).unwrap())
    .execute(connection)
    .await
    .unwrap();
}

async fn rig() -> Rig {
    Rig::start(async |backing| {
        let mut connection = crate::rig::connect(backing, Area::Saga).await;
        store(&sell_stock(), &mut connection).await;
    })
    .await
}

/// The input of a saga that sells mugs.
fn mugs(sku: &str) -> Json {
    let order = OrderId::new(&Clock::system()).to_string();
    json!({"orderId": order, "lines": [{"sku": sku, "quantity": 1}]})
}

fn wish(key: &str, input: &Json) -> Start {
    Start {
        plan: "sell-stock".to_owned(),
        message: PlaceOrder::full_name(),
        key: key.to_owned(),
        input: input.to_string(),
        wait: true,
    }
}

impl Rig {
    async fn start_saga(&self, wish: &Start) -> (anyhow::Result<bool>, String) {
        let mut out = Vec::new();
        let done = start(&self.gateway, wish, Format::Table, &mut out).await;
        (done, String::from_utf8(out).unwrap())
    }

    /// What the gateway says to a request that it refuses.
    async fn refusal(&self, request: Json) -> (u16, String, Json) {
        let answer = self
            .gateway
            .post("/v1/sagas", &request, None)
            .await
            .unwrap();
        let problem = answer.json();
        let reason = problem["reason"].as_str().unwrap().to_owned();
        (answer.status.as_u16(), reason, problem["errors"].clone())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_is_started_once_however_often_it_is_asked_for() {
    let rig = rig().await;
    let sale = mugs("mug-blue");
    let (done, told) = rig.start_saga(&wish("s-1", &sale)).await;
    assert!(done.unwrap(), "{told}");
    assert!(
        told.contains("COMPLETED") && !told.contains("before"),
        "{told}"
    );
    let (done, again) = rig.start_saga(&wish("s-1", &sale)).await;
    assert!(done.unwrap(), "{again}");
    assert_eq!(
        again,
        format!("It was started before, with the same input.\n\n{told}")
    );

    let (done, _) = rig.start_saga(&wish("s-1", &mugs("mug-red"))).await;
    let refused = done.unwrap_err().to_string();
    assert!(
        refused.contains("409") && refused.contains("another input"),
        "{refused}"
    );

    let (done, told) = rig.start_saga(&wish("s-2", &mugs("sold-out"))).await;
    assert!(!done.unwrap(), "{told}");
    assert!(
        told.contains("COMPENSATED") && told.contains("OUT_OF_STOCK"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_is_told_with_the_reason() {
    let rig = rig().await;
    let url = |name: &str| format!("type.googleapis.com/palinode.order.v1.{name}");
    let request = |plan: &str, key: &str, message: &str| {
        let input = json!({"@type": url(message)});
        json!({"plan": plan, "businessKey": key, "input": input})
    };
    let mut said = Vec::new();
    for request in [
        request("sell-socks", "s", "PlaceOrder"),
        request("place-order", "s", "PlaceOrder"),
        request("sell-stock", "", "CancelOrder"),
        request("sell-stock", "s", "CancelOrder"),
    ] {
        said.push(rig.refusal(request).await);
    }
    let wrong = |field: &str, reason: &str, detail: &str| json!({"field": field, "reason": reason, "detail": detail});
    let words = format!("must have the type {}", url("PlaceOrder"));
    let keyless = json!([wrong("businessKey", "REQUIRED", "must be given")]);
    let other = json!([wrong("input", "WRONG_TYPE", &words)]);
    assert_eq!(
        said,
        [
            (404, "PLAN_NOT_FOUND".to_owned(), Json::Null),
            (422, "OPENED_BY_STARTER".to_owned(), Json::Null),
            (400, "INVALID_REQUEST".to_owned(), keyless),
            (400, "INVALID_REQUEST".to_owned(), other),
        ]
    );

    let typo = json!({"orderId": "o", "lines": [{"skew": "mug-blue"}]});
    let (done, _) = rig.start_saga(&wish("s", &typo)).await;
    assert_eq!(
        done.unwrap_err().to_string(),
        "400 Bad Request: input.lines[0].skew is not a known field"
    );
    for (input, words) in [
        ("[]", "the fields of palinode.order.v1"),
        ("{", "is no JSON"),
    ] {
        let wish = Start {
            input: input.to_owned(),
            ..wish("s", &typo)
        };
        let (done, _) = rig.start_saga(&wish).await;
        let refused = done.unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    }
}
