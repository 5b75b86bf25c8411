#![expect(clippy::unwrap_used, reason = "a test ends where its helper fails")]

use std::collections::HashMap;

use palinode_db::{Area, Db};
use palinode_inventory::{participant, seed};
use palinode_messaging::{BatchHandler, Committed, Received};
use palinode_outbox::Doorbell;
use palinode_telemetry::Tracer;
use palinode_testkit::database::{TestDatabase, test_database};
use palinode_testkit::tables::in_every_state;
use palinode_values::{Clock, OrderId, SagaId};
use uuid::Uuid;

use crate::fixture::Order;

/// Tables that do not grow with sagas.
const SMALL: [&str; 3] = ["stock", "retention", "outbox_topic"];

async fn hand_over(db: &Db, commands: &[Received], size: usize) {
    let (bell, tracer, clock) = (Doorbell::new(), Tracer::disabled(), Clock::system());
    let mut participant = participant(db.clone(), bell, tracer, clock);
    for batch in commands.chunks(size) {
        let Committed = participant.handle(batch).await.unwrap();
    }
}

/// Reserves for `count` orders; commits half of them, and releases the others.
async fn sell(db: &Db, database: &TestDatabase, count: usize, size: usize) {
    let clock = Clock::system();
    let order = |_| Order {
        id: OrderId::new(&clock),
        saga: SagaId::new(&clock),
    };
    let orders: Vec<Order> = (0..count).map(order).collect();
    let reserve: Vec<Received> = orders
        .iter()
        .map(|order| order.reserve(&[("mug", 1), ("pen", 2)]))
        .collect();
    hand_over(db, &reserve, size).await;
    let ids = reservations(database, &orders).await;
    let (sold, given_back) = orders.split_at(count / 2);
    let ends = sold.iter().map(|order| order.commit(&ids[&order.id.0]));
    let ends: Vec<_> = ends
        .chain(given_back.iter().map(|order| order.release()))
        .collect();
    hand_over(db, &ends, size).await;
}

#[expect(clippy::disallowed_methods, reason = "no query data for tests")]
async fn reservations(database: &TestDatabase, orders: &[Order]) -> HashMap<Uuid, String> {
    let orders: Vec<Uuid> = orders.iter().map(|order| order.id.0).collect();
    let mut connection = database.connect().await;
    // not what is counted
    sqlx::query("SET enable_seqscan = off")
        .execute(&mut connection)
        .await
        .unwrap();
    let found: Vec<(Uuid, String)> =
        sqlx::query_as("SELECT order_id, id::text FROM reservation WHERE order_id = ANY($1)")
            .bind(orders)
            .fetch_all(&mut connection)
            .await
            .unwrap();
    found.into_iter().collect()
}

/// Every statement finds its rows by an index, and what is updated stays on its page.
#[tokio::test]
async fn no_table_that_grows_is_read_whole_and_updates_are_hot() {
    let database = test_database(Area::Inventory).await;
    let db = database.db().await;
    let stock = ["mug", "pen"].map(|sku| (sku.parse().unwrap(), 1_000_000));
    seed(&db, &stock).await.unwrap();
    db.close().await;
    let used = in_every_state(&database, &SMALL, async |db| {
        sell(db, &database, 4, 1).await;
        sell(db, &database, 1_000, 200).await;
    });
    let used = used.await;
    for table in ["stock", "reservation"] {
        assert!(used[table].is_mostly_hot(), "{table}: {:?}", used[table]);
    }
}
