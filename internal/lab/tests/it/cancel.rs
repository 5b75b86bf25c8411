use std::time::Duration;

use palinode_db::Area;
use palinode_lab::invariants::check;
use palinode_testkit::eventually;
use serde_json::{Value as Json, json};

use crate::rig::{Rig, card, mugs, wallet};

const LIMIT: Duration = Duration::from_secs(30);

/// An order that is confirmed.
async fn confirmed(rig: &Rig, payment: Json) -> Json {
    let body = mugs("alice", "DE", payment);
    let placed = rig.gateway.order(&body, None).await;
    let placed = placed.unwrap().success().unwrap();
    let order = rig.decided(placed["orderId"].as_str().unwrap()).await;
    assert_eq!(order["status"], "ORDER_STATUS_CONFIRMED", "{order:#}");
    order
}

async fn all_is_well(rig: &Rig) {
    eventually(LIMIT, "all invariants hold", async || {
        let findings = check(&rig.backing.database_url).await.unwrap();
        let broken = findings
            .iter()
            .any(|finding| !finding.violations.is_empty());
        (!broken).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_order_gives_everything_back() {
    let rig = Rig::start(async |_| {}).await;
    for payment in [wallet(), card()] {
        let order = confirmed(&rig, payment).await;
        let cancelling = rig.cancel(&order).await;
        let cancellation = cancelling["cancellation"]["cancellationId"].clone();
        let cancelled = rig.settled(&order).await;
        assert_eq!(
            cancelled["status"], "ORDER_STATUS_CANCELLED",
            "{cancelled:#}"
        );
        assert_eq!(cancelled["cancellation"]["cancellationId"], cancellation);
        let shipment = order["shipmentId"].as_str().unwrap();
        let shipment = rig.gateway.get(&format!("/v1/shipments/{shipment}")).await;
        let shipment = shipment.unwrap().success().unwrap();
        assert_eq!(shipment["state"], "SHIPMENT_STATE_RECALLED");
        let saga = cancelled["cancellation"]["sagaId"].as_str().unwrap();
        let saga = eventually(LIMIT, "the saga is over", async || {
            let saga = rig.gateway.get(&format!("/v1/sagas/{saga}")).await;
            let saga = saga.unwrap().success().unwrap();
            (saga["state"] == "SAGA_STATE_COMPLETED").then_some(saga)
        })
        .await;
        assert_eq!(saga["plan"], "cancel-order");
    }
    all_is_well(&rig).await;
}

#[tokio::test]
async fn a_parcel_that_was_handed_over_keeps_the_order() {
    let rig = Rig::start(async |_| {}).await;
    let order = confirmed(&rig, wallet()).await;
    let shipment = order["shipmentId"].as_str().unwrap();
    let dispatch = format!("/v1/shipments/{shipment}:dispatch");
    let dispatched = rig.gateway.post(&dispatch, &json!({}), None).await;
    dispatched.unwrap().success().unwrap();
    rig.cancel(&order).await;
    let kept = rig.settled(&order).await;
    assert_eq!(kept["status"], "ORDER_STATUS_CONFIRMED", "{kept:#}");
    assert_eq!(kept["cancellation"]["refusedReason"], "SHIPMENT_DISPATCHED");
    all_is_well(&rig).await;
}

/// Version 2 of the plan asks for a carrier before it takes money.
#[tokio::test]
async fn a_new_version_runs_beside_the_old_one() {
    let rig = Rig::running(&["place-order@2"], async |_| {}).await;
    let order = confirmed(&rig, card()).await;
    let saga = order["sagaId"].as_str().unwrap();
    let saga = rig.gateway.get(&format!("/v1/sagas/{saga}")).await;
    assert_eq!(saga.unwrap().success().unwrap()["planVersion"], 2);

    let body = mugs("alice", "AQ", card());
    let placed = rig.gateway.order(&body, None).await;
    let placed = placed.unwrap().success().unwrap();
    let id = placed["orderId"].as_str().unwrap();
    let rejected = rig.decided(id).await;
    assert_eq!(rejected["reason"], "NO_CARRIER");
    let mut payments = rig.connect(Area::Payment).await;
    let charged: (i64,) = sqlx::query_as("SELECT count(*) FROM payment WHERE order_id = $1::uuid")
        .bind(id)
        .fetch_one(&mut payments)
        .await
        .unwrap();
    assert_eq!(
        charged.0, 0,
        "nothing was charged, so nothing was given back"
    );
    all_is_well(&rig).await;
}
