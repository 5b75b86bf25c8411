use palinode_lab::Gateway;
use palinode_testkit::eventually;
use serde_json::{Value as Json, json};
use tokio::sync::OnceCell;

use crate::tool::{SOON, Tool};

/// A stack, as its customers see it.
pub(crate) struct Shop {
    pub(crate) gateway: Gateway,
}

impl Shop {
    pub(crate) fn at(url: &str) -> Self {
        Self {
            gateway: Gateway::of_dev(url).unwrap(),
        }
    }

    /// On the one `palinode dev` that tests share, each with users and SKUs of its own.
    pub(crate) async fn shared() -> Self {
        static DEV: OnceCell<(Tool, String)> = OnceCell::const_new();
        let start = async || {
            let dev = Tool::start(&["dev", "--port", "0"]);
            let url = dev.ready().await;
            (dev, url)
        };
        let (_, url) = DEV.get_or_init(start).await;
        // a client belongs to the runtime of its test
        Self::at(url)
    }

    pub(crate) async fn get(&self, path: &str) -> Json {
        self.gateway.get(path).await.unwrap().success().unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &Json) -> Json {
        let answer = self.gateway.post(path, body, None).await.unwrap();
        answer.success().unwrap()
    }

    /// Places an order, and returns its id.
    pub(crate) async fn place(&self, order: &Json) -> String {
        let answer = self.gateway.order(order, None).await.unwrap();
        id(&answer.success().unwrap())
    }

    /// The id of the user of that name.
    pub(crate) async fn id_of(&self, user: &str) -> String {
        self.gateway.user(user).pass().await.unwrap().user
    }

    /// For the tool: the token of an administrator.
    pub(crate) async fn token(&self) -> String {
        let pass = self.gateway.pass().await.unwrap();
        let header = pass.header.to_str().unwrap();
        header.strip_prefix("Bearer ").unwrap().to_owned()
    }

    /// Waits until all are decided, and returns them.
    pub(crate) async fn decided(&self, ids: &[String]) -> Vec<Json> {
        let mut orders = Vec::new();
        for id in ids {
            let path = format!("/v1/orders/{id}");
            let decided = async || {
                let order = self.get(&path).await;
                (order["status"] != "ORDER_STATUS_PENDING").then_some(order)
            };
            orders.push(eventually(SOON, "the order is decided", decided).await);
        }
        orders
    }

    /// Waits until a saga has ended, which is a little after its order was decided.
    pub(crate) async fn ended(&self, saga: &str) {
        let path = format!("/v1/sagas/{saga}");
        let ended = async || {
            let state = self.get(&path).await["state"].clone();
            ["SAGA_STATE_COMPLETED", "SAGA_STATE_COMPENSATED"]
                .contains(&state.as_str().unwrap())
                .then_some(())
        };
        eventually(SOON, "the saga ends", ended).await;
    }

    pub(crate) async fn orders_of(&self, user: &str) -> Vec<Json> {
        let user = self.id_of(user).await;
        let path = format!("/v1/orders?userId={user}&pageSize=200");
        let page = self.get(&path).await;
        assert_eq!(page["nextPageToken"], "", "all fit on one page");
        page["orders"].as_array().unwrap().clone()
    }

    /// What is in a wallet, in cents.
    pub(crate) async fn money(&self, user: &str) -> i64 {
        let user = self.id_of(user).await;
        cents(&self.get(&format!("/v1/wallets/{user}")).await["balance"])
    }

    pub(crate) async fn credit(&self, user: &str, euros: u32) {
        let body = json!({"amount": {"currencyCode": "EUR", "units": euros.to_string()}});
        let user = self.id_of(user).await;
        self.post(&format!("/v1/wallets/{user}:credit"), &body)
            .await;
    }

    /// Pieces that are there, and how many of them are held.
    pub(crate) async fn stock(&self, sku: &str) -> (i64, i64) {
        let stock = self.get(&format!("/v1/stock/{sku}")).await;
        (number(&stock["onHand"]), number(&stock["held"]))
    }
}

/// One piece, to Germany, paid from the wallet.
pub(crate) fn order(user: &str, sku: &str) -> Json {
    json!({
        "userId": user,
        "lines": [{"sku": sku, "quantity": 1}],
        "address": {
            "name": "A. Customer",
            "street": "Hauptstr. 1",
            "postalCode": "10115",
            "city": "Berlin",
            "country": "DE"
        },
        "paymentMethod": {"wallet": {}}
    })
}

/// The same with another value of one field.
pub(crate) fn with(mut order: Json, pointer: &str, value: Json) -> Json {
    *order.pointer_mut(pointer).unwrap() = value;
    order
}

pub(crate) fn id(order: &Json) -> String {
    order["orderId"].as_str().unwrap().to_owned()
}

pub(crate) fn cents(money: &Json) -> i64 {
    assert_eq!(money["currencyCode"], "EUR");
    number(&money["units"]) * 100 + money["nanos"].as_i64().unwrap() / 10_000_000
}

/// A 64-bit integer, which is a string in JSON.
fn number(value: &Json) -> i64 {
    value.as_str().unwrap().parse().unwrap()
}
