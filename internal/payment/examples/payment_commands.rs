//! What commands of payment cost, by the size of the batch:
//! `cargo run --release -p palinode-payment --example payment_commands`.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use palinode_db::Area;
use palinode_outbox::Doorbell;
use palinode_payment::{participant, seed};
use palinode_pb::payment::v1::payment_method::{Card, Method, Wallet};
use palinode_pb::payment::v1::{ChargePayment, PaymentMethod};
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
    let (db, database) = spent::database(Area::Payment).await;
    let clock = Clock::system();
    let wallets: Vec<_> = (0..100)
        .map(|n| (format!("user-{n}").parse().expect("a user"), 1_000_000_000))
        .collect();
    seed(&db, &wallets).await.expect("wallets are filled");
    let mut participant = participant(db, Doorbell::new(), Tracer::disabled(), clock.clone());
    let charge = |at: usize, method: Method| {
        let message = ChargePayment {
            order_id: OrderId::new(&clock).to_string(),
            user_id: format!("user-{}", at % 100),
            payment_method: Some(PaymentMethod {
                method: Some(method),
            }),
            total: Some(palinode_pb::google::r#type::Money {
                currency_code: "EUR".to_owned(),
                units: 1,
                nanos: 0,
            }),
        };
        Saga::at("payment").action("charge-payment", &message)
    };
    let wallets = |n| {
        (0..n)
            .map(|at| charge(at, Method::Wallet(Wallet {})))
            .collect()
    };
    measure(
        "charge a wallet",
        &SIZES,
        &database,
        &mut participant,
        wallets,
    )
    .await;
    let token = || "tok_visa".to_owned();
    let cards = |n| {
        let card = |at| charge(at, Method::Card(Card { token: token() }));
        (0..n).map(card).collect()
    };
    measure("take up a card", &SIZES, &database, &mut participant, cards).await;
}
