use std::collections::BTreeSet;
use std::time::Duration;

use http::{Method, StatusCode};
use palinode_db::Area;
use palinode_lab::Gateway;
use palinode_lab::invariants::check;
use palinode_lab::seed::{ARTICLES, CATEGORIES};
use palinode_testkit::eventually;
use serde_json::json;

use crate::rig::Rig;

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_demos_articles_are_listed_for_everybody_a_page_after_another() {
    let rig = Rig::start(async |_| {}).await;
    let nobody = Gateway::at(rig.gateway.server()).unwrap();
    let (mut skus, mut token) = (BTreeSet::new(), String::new());
    loop {
        let path =
            format!("/v1/products?sort=PRODUCT_SORT_PRICE_DESCENDING&pageSize=4&pageToken={token}");
        let page = nobody.get(&path).await.unwrap().success().unwrap();
        for product in page["products"].as_array().unwrap() {
            skus.insert(product["sku"].as_str().unwrap().to_owned());
        }
        token = page["nextPageToken"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(skus, ARTICLES.map(|article| article.sku.to_owned()).into());
    let categories = nobody.get("/v1/categories").await.unwrap();
    let categories = categories.success().unwrap();
    let count = categories["categories"].as_array().unwrap().len();
    assert_eq!(count, CATEGORIES.len());
    rig.stop_services().await;
}

/// What an administrator creates has stock a moment later, once, and the books are right.
#[tokio::test]
async fn a_product_that_is_created_has_stock_and_can_be_changed_until_it_is_deleted() {
    let rig = Rig::start(async |_| {}).await;
    let body = json!({
        "sku": "spoon", "name": "Tea spoon", "categoryId": "table", "initialStock": "100",
        "price": {"currencyCode": "EUR", "units": "4", "nanos": 900_000_000},
    });
    let made = rig.gateway.post("/v1/products", &body, Some("k1")).await;
    let made = made.unwrap();
    assert_eq!(made.status, StatusCode::CREATED);
    let spoon = made.success().unwrap();
    let path = format!("/v1/products/{}", spoon["productId"].as_str().unwrap());
    let again = rig.gateway.post("/v1/products", &body, Some("k1")).await;
    assert_eq!(again.unwrap().success().unwrap(), spoon);
    let taken = rig.gateway.post("/v1/products", &body, None).await.unwrap();
    assert_eq!(taken.status, StatusCode::CONFLICT);
    assert_eq!(taken.json()["reason"], "SKU_TAKEN");

    let stock = eventually(LIMIT, "inventory has heard of it", async || {
        let stock = rig.gateway.get("/v1/stock/spoon").await.unwrap();
        stock.success().ok()
    });
    assert_eq!(stock.await["available"], "100");
    let bent = json!({"delta": "-10", "reason": "bent"});
    let adjusted = rig
        .gateway
        .post("/v1/stock/spoon:adjust", &bent, None)
        .await;
    assert_eq!(adjusted.unwrap().success().unwrap()["available"], "90");

    let patch = async |revision: &str| {
        let body = json!({"name": "Silver spoon", "revision": revision}).to_string();
        let answer = rig.gateway.send(Method::PATCH, &path, None, body.into());
        answer.await.unwrap()
    };
    let changed = patch("1").await.success().unwrap();
    assert_eq!(changed["revision"], "2");
    assert_eq!(changed["price"], spoon["price"]);
    assert_eq!(patch("1").await.json()["reason"], "REVISION_CHANGED");
    let found = rig.gateway.get("/v1/products?query=silver+sp").await;
    let found = found.unwrap().success().unwrap();
    assert_eq!(found["products"], json!([changed]));

    let gone = rig.gateway.send(Method::DELETE, &path, None, "".into());
    assert!(gone.await.unwrap().status.is_success());
    let missing = rig.gateway.get(&path).await.unwrap();
    assert_eq!(missing.json()["reason"], "PRODUCT_NOT_FOUND");
    let taken = rig.gateway.post("/v1/products", &body, None).await.unwrap();
    assert_eq!(taken.json()["reason"], "SKU_TAKEN");

    let mut catalog = rig.connect(Area::Catalog).await;
    eventually(LIMIT, "everybody is told", async || {
        let pending = sqlx::query_scalar::<_, i64>("SELECT outbox_pending()");
        let pending = pending.fetch_one(&mut catalog).await.unwrap();
        (pending == 0).then_some(())
    })
    .await;
    let backing = rig.stop_services().await;
    let judged = check(&backing.database_url).await.unwrap();
    assert!(
        judged
            .iter()
            .all(|invariant| invariant.violations.is_empty()),
        "{judged:#?}"
    );
}
