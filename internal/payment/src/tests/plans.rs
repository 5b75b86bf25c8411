use palinode_db::{Area, Db};
use palinode_messaging::{BatchHandler, Committed, Received};
use palinode_outbox::Doorbell;
use palinode_telemetry::Tracer;
use palinode_testkit::database::test_database;
use palinode_testkit::tables::in_every_state;
use palinode_values::Clock;

use super::fixture::Order;
use crate::{participant, seed};

/// Tables that do not grow with sagas.
const SMALL: [&str; 3] = ["wallet", "retention", "outbox_topic"];

/// Charges `count` wallets and as many cards, and refunds the wallets.
async fn sell(db: &Db, count: usize, size: usize) {
    let users = ["alice", "bob"];
    let orders = (0..count).map(|n| Order::by_wallet(users[n % 2], 1));
    let orders: Vec<Order> = orders.collect();
    let cards = (0..count).map(|_| Order::by_card("tok_visa", 1).charge());
    let commands: Vec<Received> = orders
        .iter()
        .map(Order::charge)
        .chain(cards)
        .chain(orders.iter().map(Order::refund))
        .collect();
    let (bell, tracer, clock) = (Doorbell::new(), Tracer::disabled(), Clock::system());
    let mut participant = participant(db.clone(), bell, tracer, clock);
    for batch in commands.chunks(size) {
        let Committed = participant.handle(batch).await.unwrap();
    }
}

/// Every statement finds its rows by an index, and a balance changes where it stands.
#[tokio::test]
async fn no_table_that_grows_is_read_whole_and_wallets_stay_on_their_page() {
    let database = test_database(Area::Payment).await;
    let db = database.db().await;
    let wallets = ["alice", "bob"].map(|user| (user.parse().unwrap(), 1_000_000));
    seed(&db, &wallets).await.unwrap();
    db.close().await;
    let used = in_every_state(&database, &SMALL, async |db| {
        sell(db, 4, 1).await;
        sell(db, 600, 200).await;
    });
    let wallet = used.await["wallet"];
    assert!(wallet.is_mostly_hot(), "{wallet:?}");
}
