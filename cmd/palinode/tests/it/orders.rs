use serde_json::{Value as Json, json};

use crate::shop::{Shop, cents, id, order, with};
use crate::tool::run;

/// No other test has orders of it confirmed.
const SKU: &str = "vase-ming";

#[tokio::test]
async fn a_sound_order_is_confirmed_and_a_refused_one_leaves_nothing() {
    let shop = Shop::shared().await;
    shop.credit("carol", 50_000).await;
    let more = json!({"delta": "10", "reason": "for the test"});
    shop.post(&format!("/v1/stock/{SKU}:adjust"), &more).await;
    let poor = shop.money("bob").await;
    let stock = shop.stock(SKU).await;

    let sound = order("carol", SKU);
    let card = |token: &str| {
        let method = json!({"card": {"token": token}});
        with(order("carol", SKU), "/paymentMethod", method)
    };
    let placed = [
        shop.place(&sound).await,
        shop.place(&card("tok_visa")).await,
        shop.place(&order("bob", SKU)).await,
        shop.place(&order("carol", "sold-out")).await,
        shop.place(&with(sound, "/address/country", json!("AQ")))
            .await,
        shop.place(&card("tok_declined")).await,
    ];
    let decided = shop.decided(&placed).await;

    let (confirmed, rejected) = decided.split_at(2);
    for order in confirmed {
        assert_eq!(order["status"], "ORDER_STATUS_CONFIRMED", "{order}");
        let part = async |of: &str, field: &str| {
            let id = order[field].as_str().unwrap();
            shop.get(&format!("/v1/{of}/{id}")).await
        };
        let payment = part("payments", "paymentId").await;
        assert_eq!(payment["orderId"], order["orderId"]);
        assert_eq!(payment["amount"], order["total"]);
        let shipment = part("shipments", "shipmentId").await;
        assert_eq!(shipment["orderId"], order["orderId"]);
    }
    let reasons = [
        "INSUFFICIENT_FUNDS",
        "OUT_OF_STOCK",
        "NO_CARRIER",
        "CARD_DECLINED",
    ];
    for (order, reason) in rejected.iter().zip(reasons) {
        assert_eq!(order["status"], "ORDER_STATUS_REJECTED", "{order}");
        assert_eq!(order["reason"], reason);
        assert_ne!(order["reasonDetail"], "");
        assert_eq!(
            (&order["paymentId"], &order["shipmentId"]),
            (&json!(""), &json!(""))
        );
        let page = shop.gateway.get(&format!("/errors/{reason}")).await;
        assert!(page.unwrap().status.is_success(), "{reason} has a page");
    }

    for order in &decided {
        shop.ended(order["sagaId"].as_str().unwrap()).await;
    }
    // one was paid from the wallet, two took a piece, and of the others nothing is left
    let price = cents(&confirmed[0]["total"]);
    assert_eq!(shop.money("carol").await, 5_000_000 - price);
    assert_eq!(shop.money("bob").await, poor);
    assert_eq!(shop.stock(SKU).await, (stock.0 - 2, 0));
    assert_eq!(shop.stock("sold-out").await, (0, 0));
}

#[tokio::test]
async fn a_saga_is_listed_shown_and_told() {
    let shop = Shop::shared().await;
    shop.credit("dora", 100).await;
    let nowhere = with(order("dora", "mug-red"), "/address/country", json!("AQ"));
    let placed = [
        shop.place(&order("dora", "mug-red")).await,
        shop.place(&nowhere).await,
    ];
    let orders = shop.decided(&placed).await;
    let [done, undone] = [0, 1].map(|n: usize| orders[n]["sagaId"].as_str().unwrap());
    for saga in [done, undone] {
        shop.ended(saga).await;
    }
    let ask = async |question: &[&str]| {
        let token = shop.token().await;
        let at = ["--server", shop.gateway.server(), "--token", &token];
        run(&[&["saga"], question, &at].concat())
            .await
            .with(0)
            .stdout
    };
    let json = async |question: &[&str]| {
        let answer = ask(&[question, &["--json"]].concat()).await;
        serde_json::from_str::<Json>(&answer).unwrap()
    };

    // other tests place orders too: a list is not ours alone
    let list = ask(&["list", "--limit", "200"]).await;
    let row = |saga: &str| list.lines().find(|line| line.starts_with(saga)).unwrap();
    assert!(row(done).contains("COMPLETED"), "{list}");
    assert!(row(undone).contains("COMPENSATED"), "{list}");
    let list = json(&["list", "--limit", "200", "--state", "compensated"]).await;
    let sagas = list["sagas"].as_array().unwrap();
    assert!(sagas.iter().any(|saga| saga["sagaId"] == undone));
    assert!(
        sagas
            .iter()
            .all(|saga| saga["state"] == "SAGA_STATE_COMPENSATED")
    );

    let shown = json(&["show", undone]).await;
    assert_eq!(shown["businessKey"], id(&orders[1]));
    let steps: Vec<_> = shown["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| {
            let word = |field: &str| step[field].as_str().unwrap();
            (word("name"), word("state"), word("reason"))
        })
        .collect();
    assert_eq!(
        steps,
        [
            ("open-order", "undone", ""),
            ("reserve-stock", "undone", ""),
            ("charge-payment", "undone", ""),
            ("arrange-shipping", "failed", "NO_CARRIER"),
            ("commit-stock", "idle", ""),
            ("confirm-order", "idle", ""),
        ]
    );
    let shown = ask(&["show", undone]).await;
    for words in [undone, "COMPENSATED", "arrange-shipping", "NO_CARRIER"] {
        assert!(shown.contains(words), "no {words:?} in\n{shown}");
    }

    let told = json(&["history", undone]).await;
    let effects: Vec<_> = told["entries"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|entry| entry["effects"].as_array().unwrap())
        .map(|effect| effect.as_str().unwrap())
        .collect();
    assert_eq!(
        effects,
        [
            "send reserve-stock #1",
            "send charge-payment #1",
            "send arrange-shipping #1",
            "undo charge-payment #1",
            "undo reserve-stock #1",
            "undo open-order #1",
            "end compensated",
        ]
    );
    let told = ask(&["history", done]).await;
    assert!(
        told.lines().last().unwrap().ends_with("end completed"),
        "{told}"
    );
}

#[tokio::test]
async fn a_key_gives_one_order_however_often_it_is_sent() {
    let shop = Shop::shared().await;
    shop.credit("erin", 100).await;
    let send = async |order: &Json| {
        let key = Some("only-once");
        shop.gateway.order(order, key).await.unwrap()
    };
    let mugs = order("erin", "mug-red");
    let first = send(&mugs).await;
    assert_eq!(first.status, 201);
    let ours = id(&first.json());
    shop.decided(std::slice::from_ref(&ours)).await;

    let second = send(&mugs).await;
    assert_eq!((second.status.as_u16(), id(&second.json())), (200, ours));
    let other = send(&with(mugs, "/lines/0/quantity", json!(2))).await;
    assert_eq!(other.status, 409);
    assert_eq!(other.json()["reason"], "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(shop.orders_of("erin").await.len(), 1);
    assert_eq!(shop.money("erin").await, 10_000 - 1_290);
}
