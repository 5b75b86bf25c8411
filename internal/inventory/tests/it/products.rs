#![expect(clippy::unwrap_used, reason = "a test ends where its fixture fails")]

use palinode_auth::{Caller, Role};
use palinode_inventory::seed;
use palinode_messaging::{BatchHandler, Committed, Headers, Received};
use palinode_pb::catalog::v1::{Product, ProductCreated, ProductDeleted, ProductUpdated};
use palinode_pb::inventory::v1::inventory_service_server::InventoryService;
use palinode_pb::inventory::v1::{AdjustStockRequest, GetStockRequest};
use palinode_rpc::{Failure, call_of};
use prost::{Message, Name};
use tonic::Request;

use crate::fixture::Fixture;

fn event<M: Message + Name>(event: &M) -> Received {
    let mut headers = Headers::with_capacity(64);
    headers.push("ce_type", M::full_name().as_bytes());
    Received {
        topic: "palinode.catalog.events".into(),
        partition: 0,
        offset: 0,
        key: "a product".into(),
        body: event.encode_to_vec().into(),
        headers,
    }
}

fn product(sku: &str) -> Product {
    Product {
        sku: sku.to_owned(),
        ..Product::default()
    }
}

fn created(sku: &str, initial_stock: i64) -> Received {
    event(&ProductCreated {
        product: Some(product(sku)),
        initial_stock,
    })
}

fn updated(sku: &str) -> Received {
    let product = Some(product(sku));
    event(&ProductUpdated { product })
}

fn deleted(sku: &str) -> Received {
    event(&ProductDeleted {
        sku: sku.to_owned(),
        ..ProductDeleted::default()
    })
}

async fn hear(fixture: &Fixture, batch: &[Received]) {
    let at = |(offset, record): (i64, &Received)| Received {
        offset,
        ..record.clone()
    };
    let batch: Vec<_> = (0..).zip(batch).map(at).collect();
    let Committed = fixture.products().handle(&batch).await.unwrap();
}

#[expect(clippy::disallowed_methods, reason = "no query data for tests")]
async fn count(fixture: &Fixture, sql: &'static str) -> i64 {
    let one = sqlx::query_scalar(sql).fetch_one(fixture.db.pool());
    one.await.unwrap()
}

const MOVEMENTS: &str = "SELECT count(*) FROM movement";

#[tokio::test]
async fn a_product_that_is_created_has_its_first_stock_once() {
    let fixture = Fixture::with(&[]).await;
    hear(&fixture, &[created("mug", 7), created("pot", 0)]).await;
    assert_eq!(fixture.row("mug").await, (7, 0, 0));
    assert_eq!(fixture.row("pot").await, (0, 0, 0));
    assert_eq!(fixture.broken().await, [""; 0]);
    assert_eq!(count(&fixture, MOVEMENTS).await, 1);

    let (mug, pot) = (created("mug", 7), created("pot", 0));
    hear(&fixture, &[mug.clone(), pot, mug.clone(), mug]).await;
    assert_eq!(fixture.row("mug").await, (7, 0, 0));
    assert_eq!(count(&fixture, MOVEMENTS).await, 1);
}

#[tokio::test]
async fn where_there_is_stock_already_nothing_is_added() {
    let fixture = Fixture::with(&[("mug", 10), ("samovar", 0)]).await;
    hear(&fixture, &[created("samovar", 5), created("mug", 10)]).await;
    assert_eq!(fixture.row("mug").await, (10, 0, 0));
    assert_eq!(fixture.row("samovar").await, (0, 0, 0));
    assert_eq!(fixture.broken().await, ["samovar"; 0]);
    // and a seed that comes later than the event is a seed
    hear(&fixture, &[created("pot", 4)]).await;
    seed(&fixture.db, &[("pot".parse().unwrap(), 6)])
        .await
        .unwrap();
    assert_eq!(fixture.row("pot").await, (10, 0, 0));
}

#[tokio::test]
async fn changes_and_deletions_leave_the_stock_alone_whenever_they_come() {
    let fixture = Fixture::with(&[]).await;
    hear(&fixture, &[deleted("mug"), updated("mug")]).await;
    assert_eq!(count(&fixture, "SELECT count(*) FROM stock").await, 0);
    hear(
        &fixture,
        &[created("mug", 3), updated("mug"), deleted("mug")],
    )
    .await;
    hear(&fixture, &[created("mug", 3)]).await;
    assert_eq!(fixture.row("mug").await, (3, 0, 0));
    assert_eq!(fixture.broken().await, [""; 0]);
    assert_eq!(
        count(&fixture, "SELECT count(*) FROM consumer_parked").await,
        0
    );
}

#[tokio::test]
async fn two_that_hear_of_the_same_products_at_once_open_them_once() {
    let fixture = Fixture::with(&[]).await;
    let names: Vec<String> = (0..50).map(|n| format!("sku-{n}")).collect();
    let forward: Vec<_> = names.iter().map(|sku| created(sku, 2)).collect();
    let backward: Vec<_> = forward.iter().rev().cloned().collect();
    let (one, other) = (hear(&fixture, &forward), hear(&fixture, &backward));
    tokio::join!(one, other);
    assert_eq!(count(&fixture, MOVEMENTS).await, 50);
    assert_eq!(
        count(&fixture, "SELECT sum(on_hand)::bigint FROM stock").await,
        100
    );
    assert_eq!(fixture.broken().await, [""; 0]);
}

#[tokio::test]
async fn what_cannot_be_an_opening_is_parked_and_the_others_are_opened() {
    let fixture = Fixture::with(&[]).await;
    let mut garbage = created("pot", 1);
    garbage.body = vec![0xff].into();
    let nameless = event(&ProductCreated::default());
    hear(
        &fixture,
        &[
            garbage,
            created("a b", 1),
            nameless,
            created("pan", -1),
            created("mug", 1),
        ],
    )
    .await;
    assert_eq!(fixture.row("mug").await, (1, 0, 0));
    assert_eq!(count(&fixture, "SELECT count(*) FROM stock").await, 1);
    assert_eq!(
        count(&fixture, "SELECT count(*) FROM consumer_parked").await,
        4
    );
}

fn staff<T>(message: T) -> Request<T> {
    call_of(
        Caller::customer("ada".parse().expect("a user id")).with(Role::Staff),
        message,
    )
}

#[tokio::test]
async fn stock_of_what_nobody_has_created_cannot_be_adjusted() {
    let fixture = Fixture::with(&[]).await;
    let rpc = fixture.rpc();
    for delta in [5, -5] {
        let request = AdjustStockRequest {
            sku: "mug".to_owned(),
            delta,
            reason: "delivered".to_owned(),
        };
        let refused = rpc.adjust_stock(staff(request)).await.unwrap_err();
        assert_eq!(Failure::from(refused).reason, "UNKNOWN_SKU");
    }
    hear(&fixture, &[created("mug", 0)]).await;
    let request = AdjustStockRequest {
        sku: "mug".to_owned(),
        delta: 5,
        reason: "delivered".to_owned(),
    };
    rpc.adjust_stock(staff(request)).await.unwrap();
    let sku = "mug".to_owned();
    let stock = rpc.get_stock(Request::new(GetStockRequest { sku })).await;
    assert_eq!(stock.unwrap().into_inner().stock.unwrap().available, 5);
    assert_eq!(fixture.broken().await, [""; 0]);
}
