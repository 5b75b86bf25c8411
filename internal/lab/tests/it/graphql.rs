//! GraphQL on the real services.

use std::time::Duration;

use palinode_auth::Role;
use palinode_lab::Gateway;
use palinode_lab::passes::{Passes, Who};
use palinode_lab::seed::product_id_of;
use palinode_testkit::eventually;
use serde_json::{Value as Json, json};

use crate::rig::{Rig, mugs, wallet};

const LIMIT: Duration = Duration::from_secs(30);
const NOWHERE: &str = "0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42";

const PLACE: &str = "mutation ($input: PlaceOrder!) {
  placeOrder(input: $input) {
    id user_id price_total quantity order_products { product_id quantity price }
  }
}";

async fn ask(gateway: &Gateway, document: &str, variables: Json, key: Option<&str>) -> Json {
    let body = json!({"query": document, "variables": variables});
    let answer = gateway.post("/query", &body, key).await.unwrap();
    assert_eq!(answer.status, 200, "{:#}", answer.json());
    answer.json()
}

fn data(answer: &Json) -> &Json {
    assert_eq!(answer.get("errors"), None, "{answer:#}");
    &answer["data"]
}

fn one(sku: &str, quantity: i32) -> Json {
    let product = product_id_of(sku).to_string();
    json!({"input": {"order_products": [{"product_id": product, "quantity": quantity}]}})
}

/// Code, reason and words of a refusal; of anything else: nothing.
type Told = Option<(String, String, String)>;

fn told(part: &Json, words: &Json) -> Told {
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    Some((text(&part["code"]), text(&part["reason"]), text(words)))
}

/// One thing that can be asked for in both ways.
struct Pair {
    verb: &'static str,
    path: String,
    body: Json,
    document: &'static str,
    variables: Json,
}

impl Pair {
    async fn by_rest(&self, gateway: &Gateway) -> Told {
        let verb = self.verb.parse().unwrap();
        let body = match &self.body {
            Json::Null => String::new(),
            body => body.to_string(),
        };
        let answer = gateway.send(verb, &self.path, None, body.into()).await;
        let answer = answer.unwrap();
        let problem = answer.json();
        match answer.status.is_success() {
            true => None,
            false => told(&problem, &problem["detail"]),
        }
    }

    async fn by_graphql(&self, gateway: &Gateway) -> Told {
        let answer = ask(gateway, self.document, self.variables.clone(), None).await;
        let error = answer["errors"].as_array().map(|errors| &errors[0]);
        error.and_then(|error| told(&error["extensions"], &error["message"]))
    }
}

fn pairs(order: &str) -> Vec<Pair> {
    let pair = |verb, path: &str, body, document, variables| Pair {
        verb,
        path: path.to_owned(),
        body,
        document,
        variables,
    };
    let mug = product_id_of("mug-blue").to_string();
    let get =
        |path: &str, document, id: &str| pair("GET", path, Json::Null, document, json!({"id": id}));
    let list = |path: &str, document| pair("GET", path, Json::Null, document, json!({}));
    let update =
        "mutation ($input: UpdateInventory!) { updateInventory(input: $input) { success } }";
    let sku = format!("plate-{NOWHERE}");
    let price = json!({"currencyCode": "EUR", "units": "3"});
    let nothing = json!({
        "lines": [{"sku": "mug-blue", "quantity": 0}],
        "address": mugs("alice", "DE", wallet())["address"],
        "paymentMethod": wallet(),
    });
    let product = json!({"name": "Plate", "description": "Flat", "price": 300, "stock": 1});
    vec![
        list("/v1/users", "{ users { id } }"),
        get(
            "/v1/users/alice",
            "query ($id: ID!) { user(id: $id) { id } }",
            "alice",
        ),
        get(
            "/v1/users/nobody",
            "query ($id: ID!) { user(id: $id) { id } }",
            "nobody",
        ),
        list("/v1/products", "{ products { id stock } }"),
        get(
            &format!("/v1/products/{mug}"),
            "query ($id: ID!) { product(id: $id) { id } }",
            &mug,
        ),
        get(
            &format!("/v1/products/{NOWHERE}"),
            "query ($id: ID!) { product(id: $id) { id } }",
            NOWHERE,
        ),
        get(
            "/v1/products/7",
            "query ($id: ID!) { product(id: $id) { id } }",
            "7",
        ),
        list("/v1/orders", "{ orders { id } }"),
        get(
            &format!("/v1/orders/{order}"),
            "query ($id: ID!) { order(id: $id) { id order_products { product_id } } }",
            order,
        ),
        get(
            &format!("/v1/orders/{NOWHERE}"),
            "query ($id: ID!) { order(id: $id) { id } }",
            NOWHERE,
        ),
        pair("POST", "/v1/orders", nothing, PLACE, one("mug-blue", 0)),
        pair(
            "POST",
            "/v1/products",
            json!({"sku": sku, "name": "Plate", "description": "Flat", "price": price}),
            "mutation ($input: CreateProduct!) { createProduct(input: $input) { id } }",
            json!({"input": product}),
        ),
        pair(
            "POST",
            "/v1/stock/mug-blue:adjust",
            json!({"delta": "1"}),
            update,
            json!({"input": {"id": mug, "type": 1, "number": 1}}),
        ),
        pair(
            "POST",
            "/v1/stock/mug-blue:adjust",
            json!({"delta": "-1000000000"}),
            update,
            json!({"input": {"id": mug, "type": 2, "number": 1_000_000_000}}),
        ),
        pair(
            "DELETE",
            &format!("/v1/products/{NOWHERE}"),
            Json::Null,
            update,
            json!({"input": {"id": NOWHERE, "type": 3, "number": 0}}),
        ),
        pair(
            "POST",
            "/v1/sessions",
            json!({"login": "alice@example.org", "password": "coffee"}),
            r#"mutation { login(input: {email: "alice@example.org", password: "coffee"}) { token } }"#,
            json!({}),
        ),
    ]
}

#[tokio::test]
async fn graphql_refuses_whom_and_what_rest_refuses_in_the_same_words() {
    let rig = Rig::start(async |_| {}).await;
    let placed = rig
        .gateway
        .order(&mugs("alice", "DE", wallet()), None)
        .await;
    let placed = placed.unwrap().success().unwrap();
    let pairs = pairs(placed["orderId"].as_str().unwrap());
    let passes = Passes::minted(&rig.backing.database_url).await.unwrap();
    let nobody = Gateway::at(rig.gateway.server()).unwrap();
    let mut callers = vec![
        ("nobody", nobody.clone()),
        ("liar", nobody.clone().with_token("made.up.now").unwrap()),
    ];
    for (name, role) in [
        ("alice", Role::Customer),
        ("bob", Role::Customer),
        ("staff", Role::Staff),
        ("operator", Role::Operator),
        ("service", Role::Service),
        ("admin", Role::Admin),
    ] {
        let pass = passes.of(&Who::with(name, role)).await.unwrap();
        let token = pass
            .header
            .to_str()
            .unwrap()
            .split_once(' ')
            .unwrap()
            .1
            .to_owned();
        callers.push((name, nobody.clone().with_token(&token).unwrap()));
    }
    let (mut refused, mut wrong) = (0, Vec::new());
    for (name, gateway) in &callers {
        for pair in &pairs {
            // five wrong passwords are told something else
            if pair.path == "/v1/sessions" && *name != "nobody" {
                continue;
            }
            let rest = pair.by_rest(gateway).await;
            let graphql = pair.by_graphql(gateway).await;
            refused += u32::from(rest.is_some());
            if rest != graphql {
                wrong.push(format!(
                    "{} {} by {name}: {rest:?}, {graphql:?}",
                    pair.verb, pair.path
                ));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(refused > 40, "{refused} of {}", callers.len() * pairs.len());
    rig.stop_services().await;
}

#[tokio::test]
async fn who_registers_signs_in_and_buys_in_graphql_alone() {
    let rig = Rig::start(async |_| {}).await;
    let nobody = Gateway::at(rig.gateway.server()).unwrap();
    let register = r#"mutation { registerUser(input: {
        email: "carol@example.org", username: "carol", password: "carol-likes-tea", type: 0
      }) { id email username type } }"#;
    let registered = ask(&nobody, register, json!({}), None).await;
    let carol = data(&registered)["registerUser"].clone();
    assert_eq!(carol["username"], "carol");
    let login = r#"mutation { login(input: {email: "carol@example.org", password: "carol-likes-tea"}) { token } }"#;
    let session = ask(&nobody, login, json!({}), None).await;
    let token = data(&session)["login"]["token"].as_str().unwrap();
    let carol_calls = nobody.clone().with_token(token).unwrap();
    let herself = "query ($id: ID!) { user(id: $id) { id email username type } }";
    let seen = ask(&carol_calls, herself, json!({"id": carol["id"]}), None).await;
    assert_eq!(data(&seen)["user"], carol);

    // her wallet is empty: nothing of the order is left, and the saga says so
    let refused = eventually(LIMIT, "the wallet is opened", async || {
        let refused = ask(&carol_calls, PLACE, one("mug-blue", 1), None).await;
        let reason = &refused["errors"][0]["extensions"]["reason"];
        (reason != "NO_WALLET").then_some(refused)
    })
    .await;
    let told = &refused["errors"][0]["extensions"];
    assert_eq!(told["code"], "REFUSED", "{refused:#}");
    assert_eq!(told["reason"], "INSUFFICIENT_FUNDS");
    let saga = format!("/v1/sagas/{}", told["saga_id"].as_str().unwrap());
    let saga = rig.gateway.get(&saga).await.unwrap().success().unwrap();
    assert_eq!(saga["plan"], "place-order");

    // alice has money, and a key that makes a repeat harmless
    let alice = rig.gateway.user("alice");
    let key = Some("graphql-1");
    let placed = ask(&alice, PLACE, one("tea-tray", 2), key).await;
    assert_eq!(placed.get("extensions"), None, "it is decided: {placed:#}");
    let order = data(&placed)["placeOrder"].clone();
    let tray = product_id_of("tea-tray").to_string();
    assert_eq!(order["user_id"], "alice");
    assert_eq!(order["price_total"], 3_800);
    assert_eq!(order["quantity"], 2);
    let line = json!({"product_id": tray, "quantity": 2, "price": 1_900});
    assert_eq!(order["order_products"], json!([line]));
    let again = ask(&alice, PLACE, one("tea-tray", 2), key).await;
    assert_eq!(data(&again)["placeOrder"], order);
    let other = ask(&alice, PLACE, one("tea-tray", 3), key).await;
    assert_eq!(
        other["errors"][0]["extensions"]["reason"],
        "IDEMPOTENCY_KEY_REUSED"
    );
    let orders = ask(
        &alice,
        "{ orders { id user_id price_total quantity } }",
        json!({}),
        None,
    )
    .await;
    let id = &order["id"];
    let listed = json!([{"id": id, "user_id": "alice", "price_total": 3_800, "quantity": 2}]);
    assert_eq!(data(&orders)["orders"], listed);
    let path = format!("/v1/orders/{}", id.as_str().unwrap());
    let by_rest = alice.get(&path).await.unwrap().success().unwrap();
    assert_eq!(by_rest["status"], "ORDER_STATUS_CONFIRMED");

    // what is sold no more is known by no id
    let delete =
        "mutation ($input: UpdateInventory!) { updateInventory(input: $input) { success } }";
    let input = json!({"input": {"id": tray, "type": 3, "number": 0}});
    data(&ask(&rig.gateway, delete, input, None).await);
    let look =
        "query ($id: ID!) { order(id: $id) { order_products { product_id quantity price } } }";
    let kept = ask(&alice, look, json!({"id": id}), None).await;
    let line = json!({"product_id": "", "quantity": 2, "price": 1_900});
    assert_eq!(data(&kept)["order"]["order_products"], json!([line]));
    let gone = ask(&alice, PLACE, one("tea-tray", 1), None).await;
    assert_eq!(
        gone["errors"][0]["extensions"]["reason"],
        "PRODUCT_NOT_FOUND"
    );
    rig.stop_services().await;
}

#[tokio::test]
async fn a_product_is_created_once_and_its_stock_goes_up_and_down() {
    let rig = Rig::start(async |_| {}).await;
    let create = r#"mutation { createProduct(input: {
        name: "Sugar bowl", description: "With a lid", price: 2190, stock: 5
      }) { id name description price stock } }"#;
    let created = ask(&rig.gateway, create, json!({}), Some("bowl-1")).await;
    let bowl = data(&created)["createProduct"].clone();
    assert_eq!(bowl["stock"], 5);
    let again = ask(&rig.gateway, create, json!({}), Some("bowl-1")).await;
    assert_eq!(data(&again)["createProduct"], bowl);
    let look = "query ($id: ID!) { product(id: $id) { id name description price stock } }";
    let id = json!({"id": bowl["id"]});
    let stock = async |pieces: i32| {
        eventually(LIMIT, "inventory has heard of it", async || {
            let seen = ask(&rig.gateway, look, id.clone(), None).await;
            let seen = data(&seen)["product"].clone();
            (seen["stock"] == pieces).then_some(seen)
        })
        .await
    };
    assert_eq!(stock(5).await, bowl);
    let update =
        "mutation ($input: UpdateInventory!) { updateInventory(input: $input) { success } }";
    let change = async |kind: i32, number: i32, key: &str| {
        let input = json!({"id": bowl["id"], "type": kind, "number": number});
        ask(&rig.gateway, update, json!({"input": input}), Some(key)).await
    };
    for key in ["bowl-2", "bowl-2"] {
        data(&change(1, 10, key).await);
    }
    stock(15).await;
    data(&change(2, 14, "bowl-3").await);
    stock(1).await;
    let below = change(2, 2, "bowl-4").await;
    assert_eq!(
        below["errors"][0]["extensions"]["code"], "REFUSED",
        "{below:#}"
    );
    rig.stop_services().await;
}
