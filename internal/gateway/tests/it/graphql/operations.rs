//! What each operation asks the services for, and tells.

use std::time::{Duration, Instant};

use palinode_pb::catalog::v1::CreateProductRequest;
use palinode_pb::identity::v1::RegisterUserRequest;
use palinode_pb::inventory::v1::AdjustStockRequest;
use palinode_pb::order::v1::PlaceOrderRequest;
use palinode_pb::payment::v1::payment_method::Method;
use serde_json::{Value as Json, json};

use super::shop::{PALACE, SAGA, SOLD_OUT, Shop, product_id, refusal};

const PLACE: &str = "mutation ($input: PlaceOrder!) {
  placeOrder(input: $input) {
    id user_id price_total quantity order_products { product_id quantity price }
  }
}";

fn lines(products: &[usize]) -> Json {
    let line = |at: &usize| json!({"product_id": product_id(*at), "quantity": 2});
    json!({"input": {"order_products": products.iter().map(line).collect::<Vec<_>>()}})
}

#[tokio::test]
async fn products_are_listed_with_their_stock_in_one_call_each() {
    let shop = Shop {
        products: 150,
        ..Shop::default()
    }
    .open()
    .await;
    let answer = shop
        .ask("{ products { id name description price stock } }")
        .await;
    let products = answer["data"]["products"].as_array().unwrap();
    assert_eq!(products.len(), 150);
    let third = json!({
        "id": product_id(3), "name": "Product 3", "description": "Good", "price": 103, "stock": 3,
    });
    assert_eq!(products[2], third);
    assert_eq!(products[SOLD_OUT - 1]["stock"], 0, "no row: nothing of it");
    assert_eq!(answer.as_object().unwrap().len(), 1, "{answer:#}");
    let counts = shop.counts();
    assert_eq!(counts["ListProducts"], 1);
    assert_eq!(counts["ListStock"], 1);
    // and nobody is asked for what was not asked for
    shop.ask("{ products { id } }").await;
    assert_eq!(shop.counts(), [("ListProducts".to_owned(), 1)].into());
    shop.stop().await;
}

#[tokio::test]
async fn lists_end_at_a_thousand_and_say_so() {
    let shop = Shop {
        products: 1_001,
        orders: 999,
        ..Shop::default()
    }
    .open()
    .await;
    let answer = shop
        .ask("{ all: products { id stock } orders { id } }")
        .await;
    assert_eq!(answer["data"]["all"].as_array().unwrap().len(), 1_000);
    assert_eq!(answer["data"]["orders"].as_array().unwrap().len(), 999);
    assert_eq!(answer["extensions"]["truncated"], json!(["all"]));
    let counts = shop.counts();
    let lists = ["ListProducts", "ListStock", "ListOrders"];
    assert_eq!(lists.map(|list| counts[list]), [5; 3]);
    shop.stop().await;
}

#[tokio::test]
async fn products_of_an_order_cost_one_call_however_many_there_are() {
    let document = "query ($a: ID!, $b: ID!) {
      a: order(id: $a) { id user_id price_total quantity order_products { product_id quantity price } }
      b: order(id: $b) { order_products { product_id } }
    }";
    for count in [1, 60] {
        let shop = Shop {
            products: count,
            lines: count,
            ..Shop::default()
        }
        .open()
        .await;
        let ids = json!({"a": product_id(1), "b": product_id(2)});
        let answer = shop.ask_as(document, ids, &[]).await;
        let order = &answer["data"]["a"];
        assert_eq!(order["user_id"], "alice");
        assert_eq!(order["price_total"], 5_000);
        assert_eq!(order["quantity"], 2 * count);
        let last = &order["order_products"][count - 1];
        let expect = json!({"product_id": product_id(count), "quantity": 2, "price": 100 + count});
        assert_eq!(*last, expect);
        let counts = shop.counts();
        assert_eq!(counts["GetOrder"], 2);
        // both ask within the same moment, as a rule
        assert!(counts["BatchGetProducts"] <= 2, "{counts:?}");
        shop.stop().await;
    }
}

#[tokio::test]
async fn a_line_whose_product_is_gone_has_an_empty_id() {
    let shop = Shop {
        products: 1,
        lines: 2,
        ..Shop::default()
    }
    .open()
    .await;
    let document = r#"{ order(id: "x-1") { order_products { product_id } } }"#;
    let answer = shop.ask(document).await;
    let ids = &answer["data"]["order"]["order_products"];
    assert_eq!(
        *ids,
        json!([{"product_id": product_id(1)}, {"product_id": ""}])
    );
    shop.stop().await;
}

#[tokio::test]
async fn what_a_request_shows_is_shown_to_every_service() {
    let shop = Shop {
        products: 1,
        ..Shop::default()
    }
    .open()
    .await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let traceparent = format!("00-{trace}-b7ad6b7169203331-01");
    let headers = [
        ("authorization", "Bearer t-1"),
        ("traceparent", traceparent.as_str()),
        ("x-request-id", "r-1"),
        ("idempotency-key", "k-1"),
        ("x-user-id", "mallory"),
        ("cookie", "session=alice"),
    ];
    shop.ask_as("{ products { stock } }", json!({}), &headers)
        .await;
    let asked = shop.asked();
    assert_eq!(asked.len(), 2);
    for asked in asked {
        assert_eq!(asked.header("authorization"), "Bearer t-1", "{asked:?}");
        assert!(asked.header("traceparent").contains(trace), "{asked:?}");
        assert_eq!(asked.header("x-request-id"), "r-1");
        assert_eq!(asked.header("idempotency-key"), "k-1");
        assert_eq!(asked.header("x-user-id"), "");
        assert_eq!(asked.header("cookie"), "");
        let timeout = asked.header("grpc-timeout");
        assert!(!timeout.is_empty(), "{asked:?}");
    }
    shop.stop().await;
}

#[tokio::test]
async fn an_order_is_placed_by_the_ids_of_products_and_waited_for() {
    let shop = Shop {
        products: 20,
        lines: 2,
        ..Shop::default()
    }
    .open()
    .await;
    let headers = [("idempotency-key", "k-7"), ("authorization", "Bearer t-1")];
    let answer = shop.ask_as(PLACE, lines(&[5, 2]), &headers).await;
    let order = &answer["data"]["placeOrder"];
    assert_eq!(order["id"], product_id(7), "{answer:#}");
    assert_eq!(order["order_products"][0]["product_id"], product_id(1));
    assert_eq!(answer.get("extensions"), None);
    let asked = shop.asked();
    let placed = asked
        .iter()
        .find(|asked| asked.method == "PlaceOrder")
        .unwrap();
    assert_eq!(placed.header("idempotency-key"), "k-7");
    assert_eq!(placed.header("authorization"), "Bearer t-1");
    assert_eq!(placed.header("prefer"), "wait=20");
    let message: PlaceOrderRequest = placed.message();
    let skus: Vec<_> = message.lines.iter().map(|line| line.sku.as_str()).collect();
    assert_eq!(skus, ["sku-5", "sku-2"], "in the order of the request");
    // without an address and a method: collected, and from the wallet
    let address = message.address.unwrap();
    assert_eq!(address.name, "Collected at the counter");
    palinode_pb::validate::Validate::validate(&address).unwrap();
    let method = message.payment_method.unwrap().method.unwrap();
    assert!(matches!(method, Method::Wallet(_)));

    let mut full = lines(&[5]);
    full["input"]["address"] = json!({
        "name": "Ada", "street": "Hauptstr. 1", "postal_code": "10115", "city": "Berlin", "country": "FR",
    });
    full["input"]["payment_method"] = json!({"card_token": "tok_visa"});
    shop.ask_as(PLACE, full, &[("prefer", "wait=3")]).await;
    let asked = shop.asked();
    let placed = asked
        .iter()
        .find(|asked| asked.method == "PlaceOrder")
        .unwrap();
    assert_eq!(placed.header("prefer"), "wait=3");
    let message: PlaceOrderRequest = placed.message();
    assert_eq!(message.address.unwrap().country, "FR");
    let method = message.payment_method.unwrap().method.unwrap();
    assert!(matches!(method, Method::Card(card) if card.token == "tok_visa"));
    shop.stop().await;
}

#[tokio::test]
async fn an_order_that_was_refused_is_an_error_and_one_that_takes_long_is_not() {
    let shop = Shop {
        products: 20,
        lines: 1,
        ..Shop::default()
    }
    .open()
    .await;
    let answer = shop.ask_as(PLACE, lines(&[1, SOLD_OUT]), &[]).await;
    assert_eq!(refusal(&answer), ("REFUSED".into(), "OUT_OF_STOCK".into()));
    assert_eq!(answer["data"], Json::Null);
    let error = &answer["errors"][0];
    assert_eq!(error["message"], "nothing of it is left");
    assert_eq!(error["path"], json!(["placeOrder"]));
    assert_eq!(error["extensions"]["saga_id"], SAGA);
    assert_eq!(error["extensions"]["order_id"], product_id(7));
    shop.stop().await;

    let slow = Shop {
        products: 20,
        lines: 1,
        is_slow: true,
        ..Shop::default()
    }
    .open()
    .await;
    let answer = slow.ask_as(PLACE, lines(&[1]), &[]).await;
    assert_eq!(
        answer["data"]["placeOrder"]["id"],
        product_id(7),
        "{answer:#}"
    );
    assert_eq!(answer["extensions"]["pending"], json!([product_id(7)]));
    slow.stop().await;
}

#[tokio::test]
async fn a_product_that_is_not_there_is_told_by_the_catalog() {
    let shop = Shop {
        products: 2,
        ..Shop::default()
    }
    .open()
    .await;
    let not_found = ("NOT_FOUND".to_owned(), "PRODUCT_NOT_FOUND".to_owned());
    let answer = shop.ask_as(PLACE, lines(&[1, 55]), &[]).await;
    assert_eq!(refusal(&answer), not_found);
    assert!(!shop.counts().contains_key("PlaceOrder"));
    let document = format!(r#"{{ product(id: "{}") {{ id }} }}"#, product_id(55));
    assert_eq!(refusal(&shop.ask(&document).await), not_found);
    shop.stop().await;
}

#[tokio::test]
async fn who_registers_is_a_customer_and_who_signs_in_has_a_token() {
    let shop = Shop::default().open().await;
    let register = |kind: i32| {
        format!(
            r#"mutation {{ registerUser(input: {{
                 email: "carol@example.org", username: "carol", password: "carol-likes-tea", type: {kind}
               }}) {{ id email username type }} }}"#
        )
    };
    for kind in [1, -1, 2] {
        let answer = shop.ask(&register(kind)).await;
        assert_eq!(
            refusal(&answer),
            ("INVALID".into(), "INVALID_REQUEST".into())
        );
        let wrong = &answer["errors"][0]["extensions"]["errors"][0];
        assert_eq!(wrong["field"], "input.type");
    }
    assert!(shop.asked().is_empty(), "nobody was asked");
    let answer = shop.ask(&register(0)).await;
    let carol = json!({
        "id": "carol", "email": "carol@example.org", "username": "carol", "type": 0,
    });
    assert_eq!(answer["data"]["registerUser"], carol);
    let message: RegisterUserRequest = shop.asked()[0].message();
    assert_eq!(message.password, "carol-likes-tea");

    let login = |password: &str| {
        format!(
            r#"mutation {{ login(input: {{email: "carol@example.org", password: "{password}"}}) {{ token }} }}"#
        )
    };
    let answer = shop.ask(&login("tea")).await;
    assert_eq!(
        answer["data"]["login"]["token"],
        "token of carol@example.org"
    );
    let answer = shop.ask(&login("coffee")).await;
    assert_eq!(
        refusal(&answer),
        ("LIMITED".into(), "TOO_MANY_ATTEMPTS".into())
    );
    assert_eq!(answer["errors"][0]["extensions"]["retry_after"], 30);
    let admin = shop.ask(r#"{ user(id: "admin") { type } }"#).await;
    assert_eq!(admin["data"]["user"]["type"], 1);
    shop.stop().await;
}

#[tokio::test]
async fn a_refusal_of_a_service_is_told_with_code_reason_and_trace() {
    let shop = Shop::default().open().await;
    let users = "{ users { id } }";
    let answer = shop.ask(users).await;
    assert_eq!(
        refusal(&answer),
        ("UNAUTHENTICATED".into(), "SIGN_IN_REQUIRED".into())
    );
    assert_eq!(answer["data"], Json::Null);
    let trace = answer["errors"][0]["extensions"]["trace_id"]
        .as_str()
        .unwrap();
    assert_eq!(trace.len(), 32);
    let customer = [("authorization", "Bearer alice")];
    let answer = shop.ask_as(users, json!({}), &customer).await;
    assert_eq!(
        refusal(&answer),
        ("FORBIDDEN".into(), "ROLE_REQUIRED".into())
    );
    let admin = [("authorization", "Bearer admin")];
    let answer = shop.ask_as(users, json!({}), &admin).await;
    assert_eq!(answer["data"]["users"].as_array().unwrap().len(), 1_000);
    assert_eq!(answer["extensions"]["truncated"], json!(["users"]));
    shop.stop().await;
}

#[tokio::test]
async fn a_service_that_is_away_is_unavailable() {
    let shop = Shop::default()
        .open_with(&[("PALINODE_CATALOG", "127.0.0.1:1")])
        .await;
    let answer = shop.ask("{ products { id } }").await;
    assert_eq!(refusal(&answer).0, "UNAVAILABLE");
    shop.stop().await;
}

const CREATE: &str = r#"mutation {
  createProduct(input: {name: "Blue mug", description: "Blue", price: 1290, stock: 5}) {
    id name description price stock
  }
}"#;

#[tokio::test]
async fn a_product_is_created_under_a_sku_of_its_own() {
    let shop = Shop::default().open().await;
    let answer = shop.ask(CREATE).await;
    let expect = json!({
        "id": product_id(1), "name": "Blue mug", "description": "Blue", "price": 1290, "stock": 5,
    });
    assert_eq!(answer["data"]["createProduct"], expect, "{answer:#}");
    let mut asked = shop.asked();
    assert_eq!(asked.len(), 1, "inventory has not heard of it yet");
    let first: CreateProductRequest = asked.remove(0).message();
    assert_eq!(first.initial_stock, 5);
    assert!(first.sku.starts_with("blue-mug-"), "{}", first.sku);
    palinode_pb::validate::Validate::validate(&first).unwrap();
    let sku_of = async |headers: &[(&str, &str)]| {
        shop.ask_as(CREATE, json!({}), headers).await;
        shop.asked()[0].message::<CreateProductRequest>().sku
    };
    assert_ne!(sku_of(&[]).await, first.sku);
    // a repeat has to be the same request
    let key = [("idempotency-key", "k-1")];
    let keyed = sku_of(&key).await;
    assert_eq!(sku_of(&key).await, keyed);
    assert_ne!(sku_of(&[("idempotency-key", "k-2")]).await, keyed);
    shop.stop().await;
}

#[tokio::test]
async fn stock_goes_up_and_down_and_a_product_away() {
    let shop = Shop {
        products: 3,
        ..Shop::default()
    }
    .open()
    .await;
    let update = |kind: i32, number: i32| {
        let id = product_id(2);
        format!(
            r#"mutation {{ updateInventory(input: {{id: "{id}", type: {kind}, number: {number}}}) {{ success }} }}"#
        )
    };
    for (kind, delta) in [(1, 4), (2, -4)] {
        let answer = shop.ask(&update(kind, 4)).await;
        assert_eq!(
            answer["data"]["updateInventory"]["success"], true,
            "{answer:#}"
        );
        let asked = shop.asked();
        let message: AdjustStockRequest = asked[1].message();
        assert_eq!((message.sku.as_str(), message.delta), ("sku-2", delta));
    }
    shop.ask(&update(3, 0)).await;
    assert_eq!(shop.counts(), [("DeleteProduct".to_owned(), 1)].into());
    // to take away less than nothing is not to add
    for (kind, number) in [(1, 0), (2, -4), (1, i32::MIN), (0, 1), (4, 1)] {
        let answer = shop.ask(&update(kind, number)).await;
        assert_eq!(
            refusal(&answer),
            ("INVALID".into(), "INVALID_REQUEST".into())
        );
    }
    assert!(shop.asked().is_empty());
    shop.stop().await;
}

#[tokio::test]
async fn an_amount_that_no_int_holds_is_an_error_and_not_another_amount() {
    let shop = Shop::default().open().await;
    let id = product_id(PALACE);
    let answer = shop
        .ask(&format!(r#"{{ product(id: "{id}") {{ price }} }}"#))
        .await;
    assert_eq!(
        refusal(&answer),
        ("REFUSED".into(), "INT_OUT_OF_RANGE".into())
    );
    // who does not ask for it is not bothered
    let answer = shop
        .ask(&format!(r#"{{ product(id: "{id}") {{ name }} }}"#))
        .await;
    assert_eq!(answer["data"]["product"]["name"], "Product 999");
    shop.stop().await;
}

/// The time that the order took is not that of what is asked of it.
#[tokio::test]
async fn an_order_that_was_waited_for_is_told_whole() {
    let takes = Duration::from_secs(9);
    let shop = Shop {
        products: 20,
        lines: 1,
        takes,
        ..Shop::default()
    }
    .open()
    .await;
    let began = Instant::now();
    let answer = shop.ask_as(PLACE, lines(&[5]), &[]).await;
    assert!(began.elapsed() >= takes, "longer than a call may take");
    let order = &answer["data"]["placeOrder"];
    let told = &order["order_products"][0]["product_id"];
    assert_eq!(told, &json!(product_id(1)), "{answer:#}");
    shop.stop().await;
}
