use palinode_db::{Area, Db};
use palinode_outbox::Doorbell;
use palinode_telemetry::Tracer;
use palinode_testkit::database::test_database;
use palinode_testkit::tables::in_every_state;
use palinode_values::{Clock, Currency, Money, PaymentId, ShipmentId, Sku, UserId};

use super::{Desk, asked, request};
use crate::app::cart::{remove_line, set_line, show};
use crate::app::decide::decide;
use crate::app::forget::Forgetting;
use crate::app::place::{Asked, Key, Placed, place, place_alone};
use crate::app::quote::{Quoted, quote};
use crate::domain::{Decision, Fulfilment, Goods, Listing, Product, Request, STATUS_WORDS, Sort};
use crate::store;

/// Tables that do not grow with sagas.
const SMALL: [&str; 4] = ["product", "retention", "outbox_topic", "deleted_user"];

/// Places `count` orders, and confirms them.
async fn sell(db: &Db, count: usize, size: usize) {
    let desk = Desk {
        db: db.with_fixed_plans(),
        clock: Clock::system(),
        doorbell: Doorbell::new(),
        tracer: Tracer::disabled(),
        prefix: "test".to_owned(),
    };
    let wanted = request(&[("mug", 1), ("pen", 2)]);
    let calls: Vec<Asked> = (0..count)
        .map(|_| {
            let key = PaymentId::new(&desk.clock).to_string();
            let fingerprint = b"a".to_vec();
            asked(&wanted, Some(&Key { key, fingerprint }))
        })
        .collect();
    for batch in calls.chunks(size) {
        let placed = place(&desk, batch).await.into_iter();
        let orders = placed.map(|placed| match placed.unwrap() {
            Placed::New(order) | Placed::Before(order) => order.id,
        });
        let confirm = Decision::Confirm(Fulfilment {
            payment_id: PaymentId::new(&desk.clock),
            shipment_id: ShipmentId::new(&desk.clock),
        });
        let decisions: Vec<_> = orders.map(|order| (order, &confirm)).collect();
        let mut tx = desk.db.begin().await.unwrap();
        decide(&mut tx, &decisions).await.unwrap();
        tx.commit().await.unwrap();
    }
}

/// Orders by carts and quotes, and looks at them.
async fn shop(db: &Db, count: usize) {
    let db = db.with_fixed_plans();
    let desk = Desk {
        db: db.clone(),
        clock: Clock::system(),
        doorbell: Doorbell::new(),
        tracer: Tracer::disabled(),
        prefix: "test".to_owned(),
    };
    let [mug, pen] = ["mug", "pen"].map(|sku| sku.parse::<Sku>().unwrap());
    // of a few carts an index would be of no use
    for number in 0..1_000 {
        let user: UserId = format!("looker-{number}").parse().unwrap();
        set_line(&db, &user, &mug, 1).await.unwrap();
    }
    for number in 0..count {
        let user: UserId = format!("user-{number}").parse().unwrap();
        set_line(&db, &user, &mug, 1).await.unwrap();
        set_line(&db, &user, &pen, 1).await.unwrap();
        remove_line(&db, &user, &pen).await.unwrap();
        show(&db, &user).await.unwrap();
        let quoted = quote(&desk, &user, &[], None).await.unwrap();
        let (Quoted::New(quote) | Quoted::Before(quote)) = quoted;
        for goods in [Goods::Quote(quote.id), Goods::Cart] {
            let request = Request {
                user: user.clone(),
                goods,
                ..request(&[])
            };
            place_alone(&desk, asked(&request, None)).await.unwrap();
        }
        set_line(&db, &user, &mug, 1).await.unwrap();
    }
    for status in STATUS_WORDS.map(Some).into_iter().chain([None]) {
        for sort in [
            Sort::Newest,
            Sort::Oldest,
            Sort::Total,
            Sort::TotalDescending,
        ] {
            for user in [Some("alice".parse().unwrap()), None] {
                let listing = Listing {
                    user,
                    status,
                    sort,
                    after: None,
                };
                store::order::list(&db, &listing, 10).await.unwrap();
            }
        }
    }
    let long_ago = "2020-01-01T00:00:00Z".parse().unwrap();
    store::quote::purge(&db, long_ago, 10).await.unwrap();
}

/// Forgets who has placed all of them.
async fn forget(db: &Db) {
    let mut tx = db.begin().await.unwrap();
    let alice = ["alice".parse().unwrap()];
    store::deleted_user::note(&mut tx, &alice).await.unwrap();
    tx.commit().await.unwrap();
    sqlx::query!("UPDATE deleted_user SET next_look_at = now()")
        .execute(db.pool())
        .await
        .unwrap();
    let forgetting = Forgetting { db: db.clone() };
    forgetting.steps(500).await.unwrap();
}

/// Every statement finds its rows by an index.
#[tokio::test]
async fn no_table_that_grows_is_read_whole() {
    let database = test_database(Area::Order).await;
    let db = database.db().await;
    let product = |sku: &str| Product {
        sku: sku.parse().unwrap(),
        name: sku.to_uppercase(),
        price: Money::new(100, Currency::EUR),
    };
    let products = ["mug", "pen"].map(product);
    store::product::seed(&db, &products).await.unwrap();
    db.close().await;
    let used = in_every_state(&database, &SMALL, async |db| {
        sell(db, 4, 1).await;
        sell(db, 1_000, 200).await;
        shop(db, 20).await;
        forget(db).await;
    });
    used.await;
}
