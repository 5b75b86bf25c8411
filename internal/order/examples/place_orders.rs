//! What placing an order costs, by the number of calls at once:
//! `cargo run --release -p palinode-order --example place_orders`.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use palinode_auth::Caller;
use palinode_db::Area;
use palinode_order::Product;
use palinode_outbox::Doorbell;
use palinode_pb::inventory::v1::StockLine;
use palinode_pb::order::v1::PlaceOrderRequest;
use palinode_pb::order::v1::order_service_server::OrderService;
use palinode_pb::payment::v1::PaymentMethod;
use palinode_pb::payment::v1::payment_method::{Method, Wallet};
use palinode_pb::shipping::v1::Address;
use palinode_rpc::call_of;
use palinode_telemetry::Tracer;
use palinode_testkit::database::TestDatabase;
use palinode_values::{Clock, Currency, Money};

#[path = "../../participant/examples/measure/spent.rs"]
mod spent;

use spent::{SIZES, Spent};

/// Orders of one measurement.
const ORDERS: usize = 4_000;

#[tokio::main]
async fn main() {
    let (db, database) = spent::database(Area::Order).await;
    let product = |n: i64| Product {
        sku: format!("sku-{n}").parse().expect("a SKU"),
        name: format!("Thing {n}"),
        price: Money::new(100 + n, Currency::EUR),
    };
    let products: Vec<_> = (0..20).map(product).collect();
    palinode_order::seed(&db, &products)
        .await
        .expect("products are put in");
    let (tracer, clock) = (Tracer::disabled(), Clock::system());
    let (orders, clerk) = palinode_order::rpc(db, Doorbell::new(), tracer, clock);
    tokio::select! {
        () = measure_all(&orders, &database) => {}
        () = clerk => {}
    }
}

async fn measure_all(orders: &impl OrderService, database: &TestDatabase) {
    let mut placed = 0;
    for calls in SIZES {
        let count = if calls == 1 { ORDERS / 4 } else { ORDERS };
        place(orders, calls, 200, &mut placed).await;
        spent::empty_outbox(database).await;
        let before = Spent::now(database).await;
        place(orders, calls, count, &mut placed).await;
        let cost = Spent::now(database).await.since(&before);
        println!("place {calls:>4} at once: {}", cost.shown(count));
    }
}

async fn place(orders: &impl OrderService, calls: usize, count: usize, placed: &mut usize) {
    let mut out = FuturesUnordered::new();
    for _ in 0..count {
        if out.len() == calls {
            out.next().await;
        }
        *placed += 1;
        let number = *placed;
        out.push(async move {
            let line = |sku: usize| StockLine {
                sku: format!("sku-{}", sku % 20),
                quantity: 1,
            };
            let user = format!("user-{}", number % 100);
            let caller = Caller::customer(user.parse().expect("an id"));
            let message = PlaceOrderRequest {
                lines: vec![line(number), line(number + 7)],
                address: Some(Address {
                    name: "Ada".to_owned(),
                    street: "Main Street 1".to_owned(),
                    postal_code: "10115".to_owned(),
                    city: "Berlin".to_owned(),
                    country: "DE".to_owned(),
                }),
                payment_method: Some(PaymentMethod {
                    method: Some(Method::Wallet(Wallet {})),
                }),
                ..PlaceOrderRequest::default()
            };
            let mut request = call_of(caller, message);
            let key = format!("key-{number}").parse().expect("ASCII");
            request.metadata_mut().insert("idempotency-key", key);
            orders.place_order(request).await.expect("it is placed");
        });
    }
    while out.next().await.is_some() {}
}
