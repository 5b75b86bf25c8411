use palinode_lab::Gateway;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::shop::{Shop, order, with};

const USER: &str = "mallory";

/// What came back: status, media type, body.
struct Answer {
    status: u16,
    media_type: String,
    body: Json,
}

/// By hand, so that anything can be sent.
async fn send(gateway: &Gateway, media_type: &str, body: &[u8]) -> Answer {
    let address = gateway.server().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/orders HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         authorization: {}\r\n\
         content-type: {media_type}\r\ncontent-length: {}\r\n\r\n",
        gateway.pass().await.unwrap().header.to_str().unwrap(),
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // the gateway may have heard enough before the end
    stream.write_all(body).await.ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let header = |name: &str| {
        let value = head.lines().find_map(|line| line.strip_prefix(name));
        value.unwrap_or_default().trim().to_owned()
    };
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        media_type: header("content-type:"),
        body: serde_json::from_str(body).unwrap(),
    }
}

fn without(mut order: Json, field: &str) -> Json {
    order.as_object_mut().unwrap().remove(field).unwrap();
    order
}

#[tokio::test]
async fn bad_input_is_told_by_field_and_nothing_is_written() {
    let shop = Shop::shared().await;
    let customer = shop.gateway.user(USER);
    let good = || without(order(USER, "mug-red"), "userId");
    let line = |line: Json| with(good(), "/lines/0", line);
    let quantity = |quantity: Json| line(json!({"sku": "mug-red", "quantity": quantity}));
    let payment = |method: Json| with(good(), "/paymentMethod", method);
    let card = |token: &str| payment(json!({"card": {"token": token}}));
    let priced = json!({"sku": "mug-red", "quantity": 1, "unitPrice": {"units": "1"}});
    let two = json!([{"sku": "mug-red", "quantity": 1}, {"sku": "mug-red", "quantity": 2}]);
    let mut totalled = good();
    totalled["total"] = json!({"currencyCode": "EUR", "units": "1"});

    for (body, field) in [
        (
            line(json!({"sku": "no-such", "quantity": 1})),
            "lines[0].sku",
        ),
        (line(json!({"quantity": 1})), "lines[0].sku"),
        (quantity(json!(0)), "lines[0].quantity"),
        (quantity(json!(-1)), "lines[0].quantity"),
        (quantity(json!(1.5)), "lines[0].quantity"),
        (quantity(json!("many")), "lines[0].quantity"),
        (quantity(json!(1_000_000_000)), "lines[0].quantity"),
        (line(priced), "lines[0].unitPrice"),
        (totalled, "total"),
        (with(good(), "/lines", two), "lines[1].sku"),
        (with(good(), "/lines", json!([])), "lines"),
        (without(good(), "lines"), "lines"),
        (without(good(), "address"), "address"),
        (
            with(good(), "/address/country", json!("Germany")),
            "address.country",
        ),
        (with(good(), "/address/city", json!("")), "address.city"),
        (without(good(), "paymentMethod"), "paymentMethod"),
        (payment(json!({})), "paymentMethod"),
        (payment(json!({"gold": {}})), "paymentMethod.gold"),
        (
            payment(json!({"card": {"token": "tok_visa"}, "wallet": {}})),
            "paymentMethod.wallet",
        ),
        (card(""), "paymentMethod.card.token"),
        (
            {
                let mut named = good();
                named["userId"] = json!("alice");
                named
            },
            "userId",
        ),
    ] {
        let body = body.to_string();
        let answer = send(&customer, "application/json", body.as_bytes()).await;
        let problem = &answer.body;
        assert_eq!(answer.status, 400, "{body} gives {problem}");
        assert_eq!(answer.media_type, "application/problem+json", "{body}");
        let named = problem["errors"].as_array().map(Vec::as_slice);
        let named: Vec<_> = named
            .unwrap_or_default()
            .iter()
            .map(|e| &e["field"])
            .collect();
        assert_eq!(named, [field], "{body} gives {problem}");
    }

    let json = "application/json";
    let large = format!("{}{}", " ".repeat(1 << 20), good());
    for (media_type, body, status) in [
        (json, r#"{"lines": "#, 400),
        (json, "[]", 400),
        (json, "\u{0}", 400),
        (json, &large, 413),
        ("text/plain", &good().to_string(), 415),
    ] {
        let answer = send(&customer, media_type, body.as_bytes()).await;
        let told = (answer.status, &*answer.media_type);
        assert_eq!(
            told,
            (status, "application/problem+json"),
            "{}",
            answer.body
        );
        assert_ne!(answer.body["detail"], "");
    }

    assert_eq!(shop.orders_of(USER).await, Vec::<Json>::new());
    // and the body they all were made from is good
    let answer = send(&customer, json, good().to_string().as_bytes()).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(shop.orders_of(USER).await.len(), 1);
}
