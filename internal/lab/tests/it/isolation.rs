use futures_util::StreamExt;
use futures_util::stream;
use palinode_db::Area;
use palinode_lab::seed::{POOR, SOLD_OUT, shopper};
use serde_json::json;

use crate::rig::Rig;

const UNITS: i64 = 100;
const BUYERS: u32 = 1_000;
/// Calls at the same time.
const AT_ONCE: usize = 64;

/// More buyers than units, all at once, and many of them cannot pay: each unit that somebody held
/// in vain goes to somebody who can.
#[tokio::test(flavor = "multi_thread")]
async fn every_unit_is_sold_as_long_as_somebody_can_pay() {
    let rig = Rig::start(async |_| {}).await;
    let put_in = json!({"delta": UNITS.to_string(), "reason": "delivery"});
    let path = format!("/v1/stock/{SOLD_OUT}:adjust");
    let answer = rig.gateway.post(&path, &put_in, None).await.unwrap();
    answer.success().unwrap();

    let placed: Vec<String> = stream::iter(0..BUYERS)
        .map(|number| {
            let (gateway, user) = (rig.gateway.clone(), buyer(number));
            async move {
                let order = json!({
                    "userId": user,
                    "lines": [{"sku": SOLD_OUT, "quantity": 1}],
                    "address": {"name": "Ada", "street": "Hauptstr. 1", "postalCode": "10115",
                                "city": "Berlin", "country": "DE"},
                    "paymentMethod": {"wallet": {}},
                });
                let answer = gateway.order(&order, None).await.unwrap();
                let order = answer.success().unwrap();
                order["orderId"].as_str().unwrap().to_owned()
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;

    let mut confirmed = 0;
    for order in &placed {
        let order = rig.decided(order).await;
        if order["status"] == "ORDER_STATUS_CONFIRMED" {
            confirmed += 1;
            assert_ne!(order["userId"], POOR);
        } else {
            let reason = order["reason"].as_str().unwrap();
            let expected = ["OUT_OF_STOCK", "INSUFFICIENT_FUNDS"];
            assert!(expected.contains(&reason), "{reason}");
        }
    }
    assert_eq!(confirmed, UNITS);
    let row: (i64, i64, i64, i64) =
        sqlx::query_as("SELECT on_hand, held, sold, waiting FROM stock WHERE sku = $1")
            .bind(SOLD_OUT)
            .fetch_one(&mut rig.connect(Area::Inventory).await)
            .await
            .unwrap();
    assert_eq!(row, (0, 0, UNITS, 0));
}

/// Three of four cannot pay.
fn buyer(number: u32) -> String {
    if number.is_multiple_of(4) {
        shopper(number / 4)
    } else {
        POOR.to_owned()
    }
}
