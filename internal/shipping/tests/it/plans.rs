#![expect(clippy::unwrap_used, reason = "a test ends where its helper fails")]

use palinode_db::{Area, Db};
use palinode_messaging::{BatchHandler, Committed, Received};
use palinode_outbox::Doorbell;
use palinode_shipping::participant;
use palinode_telemetry::Tracer;
use palinode_testkit::database::test_database;
use palinode_testkit::tables::in_every_state;
use palinode_values::{Clock, OrderId, SagaId};

use crate::fixture::Order;

/// Tables that do not grow with sagas.
const SMALL: [&str; 3] = ["carrier", "retention", "outbox_topic"];

async fn ship(db: &Db, count: usize, size: usize) {
    let clock = Clock::system();
    let order = |_| Order {
        id: OrderId::new(&clock),
        saga: SagaId::new(&clock),
    };
    let orders: Vec<Order> = (0..count).map(order).collect();
    let quotes = orders.iter().map(|order| order.quote("DE"));
    let shipments = orders.iter().map(|order| order.ship("DE"));
    let commands: Vec<Received> = quotes.chain(shipments).collect();
    let (bell, tracer) = (Doorbell::new(), Tracer::disabled());
    let mut participant = participant(db.clone(), bell, tracer, clock);
    for batch in commands.chunks(size) {
        let Committed = participant.handle(batch).await.unwrap();
    }
}

/// Every statement finds its rows by an index; a guard row is written once.
#[tokio::test]
async fn no_table_that_grows_is_read_whole_and_guard_rows_are_written_once() {
    let database = test_database(Area::Shipping).await;
    let used = in_every_state(&database, &SMALL, async |db| {
        ship(db, 4, 1).await;
        ship(db, 1_000, 200).await;
    });
    let used = used.await;
    // but for the first batch of each participant, who has seen no carrier yet: 1 and 200 quotes
    let updates: i64 = used.values().map(|used| used.updates).sum();
    assert_eq!(updates, 3 * 201, "{used:?}");
}
