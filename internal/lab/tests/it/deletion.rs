use std::time::Duration;

use http::{Method, StatusCode};
use palinode_db::Area;
use palinode_lab::Gateway;
use palinode_lab::invariants::check;
use palinode_testkit::eventually;
use serde_json::{Value as Json, json};

use crate::rig::{Rig, card, mugs, wallet};

const LIMIT: Duration = Duration::from_secs(60);

/// Somebody who has registered and signed in.
struct Person {
    id: String,
    gateway: Gateway,
}

fn credentials() -> Json {
    json!({"login": "nadia", "password": "rain-on-a-tin-roof"})
}

async fn registered(rig: &Rig) -> Person {
    let nobody = Gateway::at(rig.gateway.server()).unwrap();
    let registration = json!({
        "email": "nadia@example.org", "userName": "nadia", "password": credentials()["password"],
        "firstName": "Nadia", "lastName": "Rain",
    });
    let user = nobody.post("/v1/users", &registration, None).await;
    let user = user.unwrap().success().unwrap();
    let session = nobody.post("/v1/sessions", &credentials(), None).await;
    let session = session.unwrap().success().unwrap();
    let token = session["accessToken"].as_str().unwrap();
    Person {
        id: user["userId"].as_str().unwrap().to_owned(),
        gateway: nobody.with_token(token).unwrap(),
    }
}

impl Person {
    /// Places an order, and waits until it is decided.
    async fn order(&self, rig: &Rig, payment: Json) -> Json {
        let mut body = mugs(&self.id, "DE", payment);
        body.as_object_mut().unwrap().remove("userId");
        let placed = self.gateway.post("/v1/orders", &body, None).await;
        let placed = placed.unwrap().success().unwrap();
        rig.decided(placed["orderId"].as_str().unwrap()).await
    }
}

/// Whoever is deleted leaves a closed wallet and orders without his name; what is still under way for him
/// ends as for everybody else.
#[tokio::test]
async fn who_is_deleted_leaves_neither_wallet_nor_name() {
    let rig = Rig::start(async |_| {}).await;
    let nadia = registered(&rig).await;
    let path = format!("/v1/wallets/{}", nadia.id);
    let opened = eventually(LIMIT, "the wallet is opened", async || {
        nadia.gateway.get(&path).await.unwrap().success().ok()
    });
    assert_eq!(opened.await["balance"]["currencyCode"], "EUR");
    let credit = json!({"amount": {"currencyCode": "EUR", "units": "100", "nanos": 0}});
    let credit_path = format!("{path}:credit");
    let credited = rig.gateway.post(&credit_path, &credit, None).await;
    credited.unwrap().success().unwrap();
    let bought = nadia.order(&rig, wallet()).await;
    let by_card = nadia.order(&rig, card()).await;
    let saga = by_card["sagaId"].as_str().unwrap();
    eventually(LIMIT, "the saga is over", async || {
        let saga = rig.gateway.get(&format!("/v1/sagas/{saga}")).await;
        let saga = saga.unwrap().success().unwrap();
        (saga["state"] == "SAGA_STATE_COMPLETED").then_some(())
    })
    .await;

    let gone = nadia
        .gateway
        .send(Method::DELETE, "/v1/users/me", None, "".into());
    assert!(gone.await.unwrap().status.is_success());
    let nobody = Gateway::at(rig.gateway.server()).unwrap();
    let again = nobody.post("/v1/sessions", &credentials(), None).await;
    assert_eq!(again.unwrap().status, StatusCode::UNAUTHORIZED);
    eventually(LIMIT, "the wallet is closed", async || {
        let answer = rig.gateway.get(&path).await.unwrap();
        (answer.status == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
    for order in [&bought, &by_card] {
        let path = format!("/v1/orders/{}", order["orderId"].as_str().unwrap());
        let order = eventually(LIMIT, "the name is gone", async || {
            let order = rig.gateway.get(&path).await.unwrap().success().unwrap();
            (order["address"]["name"] == "deleted").then_some(order)
        })
        .await;
        assert!(!order.to_string().contains("Hauptstr"), "{order:#}");
        assert_eq!(order["status"], "ORDER_STATUS_CONFIRMED");
    }

    // her token lives for some minutes: the wallet stays closed to it, and a cancellation gives back
    let late = nadia.order(&rig, wallet()).await;
    assert_eq!(late["reason"], "WALLET_CLOSED", "{late:#}");
    let bought_path = format!("/v1/orders/{}:cancel", bought["orderId"].as_str().unwrap());
    eventually(LIMIT, "the cancellation is taken", async || {
        let answer = rig.gateway.post(&bought_path, &json!({}), None).await;
        answer.unwrap().success().ok()
    })
    .await;
    assert_eq!(
        rig.settled(&bought).await["status"],
        "ORDER_STATUS_CANCELLED"
    );

    let mut ledger = rig.connect(Area::Payment).await;
    let unclaimed: i64 = sqlx::query_scalar(
        "SELECT sum(amount_minor)::bigint FROM ledger_entry WHERE account = 'unclaimed'",
    )
    .fetch_one(&mut ledger)
    .await
    .unwrap();
    assert_eq!(unclaimed, 10_000, "what was left, and what came back");
    eventually(LIMIT, "all invariants hold", async || {
        let findings = check(&rig.backing.database_url).await.unwrap();
        let broken = findings
            .iter()
            .any(|finding| !finding.violations.is_empty());
        (!broken).then_some(())
    })
    .await;
}
