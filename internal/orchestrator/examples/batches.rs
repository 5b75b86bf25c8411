//! What the orchestrator's share of a place-order costs, by the size of its batches, on a real
//! PostgreSQL without Kafka: `cargo run --release -p palinode-orchestrator --example batches`.
//!
//! Each saga is one start and five replies; a batch is one transaction. Shown for each saga, so
//! divide by six for a transition.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use palinode_db::{Area, Db};
use palinode_messaging::{Received, Record, SagaHeaders, Topic};
use palinode_orchestrator::{Stepper, place_order_1};

use palinode_pb::google::r#type::Money;
use palinode_pb::inventory::v1::{ReserveStockResult, StockLine};
use palinode_pb::order::v1::PlaceOrder;
use palinode_pb::payment::v1::ChargePaymentResult;
use palinode_pb::saga::v1::step_reply::{Answer, Done};
use palinode_pb::saga::v1::{StartSaga, StepReply};
use palinode_pb::shipping::v1::{Address, ArrangeShippingResult};
use palinode_saga::Direction;
use palinode_telemetry::TraceContext;
use palinode_testkit::database::TestDatabase;
use palinode_values::{Clock, EventId, OrderId, SagaId};
use prost::{Message, Name};
use prost_types::Any;

#[path = "../../participant/examples/measure/spent.rs"]
mod spent;

/// Sagas measured for each size of batch.
const SAGAS: usize = 2_000;

#[tokio::main]
async fn main() {
    let (db, database) = spent::database(Area::Saga).await;
    let plan = place_order_1().expect("it is well-formed");
    let mut stepper = Stepper::new(db.clone(), vec![plan])
        .await
        .expect("the plan is stored");
    // warms up both sides, and fills the table a little
    run(&mut stepper, &database, 1_000, 100).await;
    for size in spent::SIZES {
        let sagas = if size == 1 { SAGAS / 10 } else { SAGAS };
        let before = spent::Spent::now(&database).await;
        run(&mut stepper, &database, sagas, size).await;
        let spent = spent::Spent::now(&database).await.since(&before);
        println!("{size:>4} a batch: {}", spent.shown(sagas));
        spent::empty_outbox(&database).await;
    }
    sizes(&db).await;
}

/// Runs that many sagas from their start to their end, a step of all of them after the other.
async fn run(stepper: &mut Stepper, database: &TestDatabase, sagas: usize, size: usize) {
    let clock = Clock::system();
    let ids: Vec<SagaId> = (0..sagas).map(|_| SagaId::new(&clock)).collect();
    let reserved = ReserveStockResult {
        reservation_id: OrderId::new(&clock).to_string(),
    };
    let charged = ChargePaymentResult {
        payment_id: OrderId::new(&clock).to_string(),
    };
    let arranged = ArrangeShippingResult {
        shipment_id: OrderId::new(&clock).to_string(),
    };
    // the last answers of one saga come together, as they mostly do
    type Make<'m> = &'m dyn Fn(SagaId) -> Vec<Received>;
    let stages: [Make<'_>; 5] = [
        &|id| vec![start(id, &clock)],
        &|id| vec![done(id, "reserve-stock", Some(any(&reserved)), &clock)],
        &|id| vec![done(id, "charge-payment", Some(any(&charged)), &clock)],
        &|id| vec![done(id, "arrange-shipping", Some(any(&arranged)), &clock)],
        &|id| {
            ["commit-stock", "confirm-order"]
                .map(|step| done(id, step, None, &clock))
                .to_vec()
        },
    ];
    for (at, make) in stages.iter().enumerate() {
        let records: Vec<Received> = ids.iter().flat_map(|id| make(*id)).collect();
        // as many sagas a batch in each stage
        let of_saga = if at == 4 { 2 } else { 1 };
        for batch in records.chunks(size * of_saga) {
            stepper.handle(batch).await.expect("it is committed");
        }
    }
    let last = stepper.saga(ids[sagas - 1]).await.expect("it is there");
    assert_eq!(last.version, 6, "it has ended");
    spent::empty_outbox(database).await;
}

fn start(id: SagaId, clock: &Clock) -> Received {
    let order = OrderId::new(clock);
    let line = |sku: &str| StockLine {
        sku: sku.to_owned(),
        quantity: 1,
    };
    let input = PlaceOrder {
        order_id: order.to_string(),
        user_id: "alice".to_owned(),
        lines: vec![line("mug"), line("lamp")],
        address: Some(Address {
            country: "DE".to_owned(),
            ..Address::default()
        }),
        total: Some(Money {
            currency_code: "EUR".to_owned(),
            units: 42,
            nanos: 0,
        }),
        ..PlaceOrder::default()
    };
    let message = StartSaga {
        saga_id: id.to_string(),
        plan: "place-order".to_owned(),
        business_key: order.to_string(),
        input: Some(any(&input)),
    };
    received(id, Topic::ORCHESTRATOR_COMMANDS, None, &message, clock)
}

fn done(id: SagaId, step: &str, output: Option<Any>, clock: &Clock) -> Received {
    let headers = SagaHeaders {
        saga_id: id,
        plan: "place-order@1".to_owned(),
        plan_hash: "0".repeat(64),
        step: step.to_owned(),
        direction: Direction::Forward,
        probe: false,
        may_fail: false,
        attempt: 1,
        seq: 1,
        deadline: None,
    };
    let message = StepReply {
        answer: Some(Answer::Done(Done { output })),
    };
    let topic = Topic::ORCHESTRATOR_REPLIES;
    received(id, topic, Some(headers), &message, clock)
}

fn received<M: Message + Name>(
    id: SagaId,
    topic: Topic,
    saga: Option<SagaHeaders>,
    message: &M,
    clock: &Clock,
) -> Received {
    let record = Record {
        topic,
        key: id.key(),
        event_id: EventId::new(clock),
        kind: M::full_name().into(),
        body: message.encode_to_vec().into(),
        trace: TraceContext::root(),
        saga,
    };
    let mut headers = record.fixed_headers("order");
    headers.push("ce_id", record.event_id.to_string());
    headers.push("traceparent", record.trace.traceparent());
    Received {
        topic: topic.name("test").into(),
        partition: 0,
        offset: 0,
        key: record.key.into(),
        body: record.body,
        headers,
    }
}

fn any<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: format!("type.googleapis.com/{}", M::full_name()),
        value: message.encode_to_vec(),
    }
}

/// How the tables look after all that.
#[expect(clippy::disallowed_methods, reason = "no query data for examples")]
async fn sizes(db: &Db) {
    let tables: Vec<(String, i64, i64, i64)> = sqlx::query_as(
        "SELECT relname::text, n_tup_ins, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
          WHERE relname ~ '^saga' AND n_tup_ins > 0 ORDER BY relname",
    )
    .fetch_all(db.pool())
    .await
    .expect("the server answers");
    for (table, inserted, updated, hot) in tables {
        println!("{table:<24} {inserted:>8} inserted  {updated:>8} updated, {hot:>8} of it HOT");
    }
    let row: (f64, i32) = sqlx::query_as(
        "SELECT avg(pg_column_size(s.*))::float8, max(pg_column_size(s.*)) FROM saga s",
    )
    .fetch_one(db.pool())
    .await
    .expect("the server answers");
    println!("a head row has {:.0} bytes, {} at the most", row.0, row.1);
}
