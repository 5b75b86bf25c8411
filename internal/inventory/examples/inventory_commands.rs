//! What commands of inventory cost, by the size of the batch:
//! `cargo run --release -p palinode-inventory --example inventory_commands`.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use palinode_db::Area;
use palinode_inventory::{participant, seed};
use palinode_messaging::Received;
use palinode_outbox::Doorbell;
use palinode_pb::inventory::v1::{CommitStock, ReleaseStock, ReserveStock, StockLine};
use palinode_telemetry::Tracer;
use palinode_testkit::commands::Saga;
use palinode_values::{Clock, OrderId};
use uuid::Uuid;

#[path = "../../participant/examples/measure/batches.rs"]
mod batches;
#[path = "../../participant/examples/measure/spent.rs"]
mod spent;

use batches::measure;
use spent::SIZES;

#[tokio::main]
async fn main() {
    let (db, database) = spent::database(Area::Inventory).await;
    let skus: Vec<_> = (0..20)
        .map(|n| format!("sku-{n}").parse().expect("a SKU"))
        .collect();
    let stock: Vec<_> = skus.iter().cloned().map(|sku| (sku, 1_000_000)).collect();
    seed(&db, &stock).await.expect("stock is put in");
    let clock = Clock::system();
    let mut participant = participant(db, Doorbell::new(), Tracer::disabled(), clock.clone());

    let mut reserved: Vec<(Saga, OrderId)> = Vec::new();
    let reserve = |n| {
        let made: Vec<_> = (0..n)
            .map(|_| (Saga::at("inventory"), OrderId::new(&clock)))
            .collect();
        let command = |(at, (saga, order)): (usize, &(Saga, OrderId))| -> Received {
            let line = |sku: usize| StockLine {
                sku: format!("sku-{}", sku % 20),
                quantity: 1,
            };
            let message = ReserveStock {
                order_id: order.to_string(),
                lines: vec![line(at), line(at + 7)],
            };
            saga.action("reserve-stock", &message)
        };
        let commands = made.iter().enumerate().map(command).collect();
        reserved.extend(made);
        commands
    };
    measure("reserve", &SIZES, &database, &mut participant, reserve).await;

    let ids: Vec<(Uuid, Uuid)> = reservations(&database).await;
    let by_order: std::collections::HashMap<_, _> = ids.into_iter().collect();
    let mut left = reserved.into_iter();
    let mut half = left.by_ref().take(10_220).collect::<Vec<_>>().into_iter();
    let commit = |n| {
        half.by_ref()
            .take(n)
            .map(|(saga, order)| {
                let message = CommitStock {
                    order_id: order.to_string(),
                    reservation_id: by_order[&order.0].to_string(),
                };
                saga.action("commit-stock", &message)
            })
            .collect()
    };
    let sizes = &SIZES[..3];
    measure("commit", sizes, &database, &mut participant, commit).await;
    let release = |n| {
        left.by_ref()
            .take(n)
            .map(|(saga, order)| {
                let order_id = order.to_string();
                saga.undo("reserve-stock", &ReleaseStock { order_id })
            })
            .collect()
    };
    measure("release", &[200], &database, &mut participant, release).await;
}

#[expect(clippy::disallowed_methods, reason = "no query data for examples")]
async fn reservations(database: &palinode_testkit::database::TestDatabase) -> Vec<(Uuid, Uuid)> {
    sqlx::query_as("SELECT order_id, id FROM reservation")
        .fetch_all(&mut database.connect().await)
        .await
        .expect("reservations can be read")
}
