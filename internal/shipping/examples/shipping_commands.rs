//! What commands of shipping cost, by the size of the batch:
//! `cargo run --release -p palinode-shipping --example shipping_commands`.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use palinode_db::Area;
use palinode_outbox::Doorbell;
use palinode_pb::inventory::v1::StockLine;
use palinode_pb::shipping::v1::{Address, ArrangeShipping, QuoteShipping};
use palinode_shipping::participant;
use palinode_telemetry::Tracer;
use palinode_testkit::commands::Saga;
use palinode_values::{Clock, OrderId};

#[path = "../../participant/examples/measure/batches.rs"]
mod batches;
#[path = "../../participant/examples/measure/spent.rs"]
mod spent;

use batches::measure;
use spent::SIZES;

#[tokio::main]
async fn main() {
    let (db, database) = spent::database(Area::Shipping).await;
    let clock = Clock::system();
    let mut participant = participant(db, Doorbell::new(), Tracer::disabled(), clock.clone());
    let address = || Address {
        name: "Ada".to_owned(),
        street: "Main Street 1".to_owned(),
        postal_code: "10115".to_owned(),
        city: "Berlin".to_owned(),
        country: "DE".to_owned(),
    };
    let quote = |_at| {
        let message = QuoteShipping {
            order_id: OrderId::new(&clock).to_string(),
            address: Some(address()),
        };
        Saga::at("shipping").action("quote-shipping", &message)
    };
    let quotes = |n| (0..n).map(quote).collect();
    measure("quote", &SIZES, &database, &mut participant, quotes).await;
    let arrange = |at: usize| {
        let line = |sku: usize| StockLine {
            sku: format!("sku-{}", sku % 20),
            quantity: 1,
        };
        let message = ArrangeShipping {
            order_id: OrderId::new(&clock).to_string(),
            user_id: format!("user-{}", at % 100),
            address: Some(address()),
            lines: vec![line(at), line(at + 7)],
            ..ArrangeShipping::default()
        };
        Saga::at("shipping").action("arrange-shipping", &message)
    };
    let arrangements = |n| (0..n).map(arrange).collect();
    measure("arrange", &SIZES, &database, &mut participant, arrangements).await;
}
