use palinode_db::{Area, Db};
use palinode_outbox::Doorbell;
use palinode_telemetry::Tracer;
use palinode_testkit::database::test_database;
use palinode_testkit::tables::in_every_state;
use palinode_values::{Clock, Currency, Money, PaymentId, ShipmentId};

use super::{Desk, asked, request};
use crate::app::decide::decide;
use crate::app::forget::Forgetting;
use crate::app::place::{Asked, Key, Placed, place};
use crate::domain::{Decision, Fulfilment, Offer};
use crate::store;

/// Tables that do not grow with sagas.
const SMALL: [&str; 4] = ["offer", "retention", "outbox_topic", "deleted_user"];

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
    let offer = |sku: &str| Offer {
        sku: sku.parse().unwrap(),
        name: sku.to_uppercase(),
        price: Money::new(100, Currency::EUR),
    };
    let offers = ["mug", "pen"].map(offer);
    store::offer::seed(&db, &offers).await.unwrap();
    db.close().await;
    let used = in_every_state(&database, &SMALL, async |db| {
        sell(db, 4, 1).await;
        sell(db, 1_000, 200).await;
        forget(db).await;
    });
    used.await;
}
