//! The service as a process hosts it, beside the card processor and identity, with a broker in the process.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use palinode_auth::{Grant, Role};
use palinode_db::{Area, Db, Options};
use palinode_identity::Mint;
use palinode_messaging::{InProcessBroker, Kafka, Record, SagaHeaders, TOPICS, commands_of};
use palinode_outbox::{Held, append, fill_topics};
use palinode_pb::google::r#type::Money;
use palinode_pb::payment::v1 as pb;
use palinode_pb::payment::v1::payment_service_client::PaymentServiceClient;
use palinode_rpc::{Code, Credentials, channel};
use palinode_saga::Direction;
use palinode_service::{Config, Context, Opening, Tasks, service};
use palinode_telemetry::{Meter, TraceContext, Tracer};
use palinode_testkit::database::test_database;
use palinode_testkit::eventually;
use palinode_values::{Clock, EventId, OrderId, SagaId};
use prost::{Message, Name};
use tokio::net::TcpListener;

const LIMIT: Duration = Duration::from_secs(30);
const PARTITIONS: i32 = 2;

fn config(kafka: &Kafka, url: &str, processor: SocketAddr, identity: SocketAddr) -> Config {
    let variables = [
        ("PALINODE_KAFKA", kafka.bootstrap.clone()),
        ("PALINODE_TOPIC_PREFIX", kafka.prefix.clone()),
        ("PALINODE_BROKER", "in-process".to_owned()),
        ("PALINODE_DATABASE_URL", url.to_owned()),
        ("PALINODE_CARDPROCESSOR", processor.to_string()),
        ("PALINODE_IDENTITY", identity.to_string()),
    ];
    let variables: BTreeMap<_, _> = variables
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    Config::from_map(&variables).unwrap()
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn open(name: &str, config: Config, listener: TcpListener, tasks: &Tasks) -> Context {
    let opening = Opening {
        spec: service(name).unwrap(),
        config: Arc::new(config),
        listener,
        tasks: tasks.clone(),
        tracer: Tracer::disabled(),
        meter: Meter::disabled(),
        clock: Clock::system(),
        shared: palinode_service::Shared::default(),
    };
    Context::open(opening).await.unwrap()
}

fn charge(order: OrderId, method: pb::payment_method::Method) -> Record {
    let clock = Clock::system();
    let saga_id = SagaId::new(&clock);
    let command = pb::ChargePayment {
        order_id: order.to_string(),
        user_id: "alice".to_owned(),
        payment_method: Some(pb::PaymentMethod {
            method: Some(method),
        }),
        total: Some(eur(12)),
    };
    Record {
        topic: commands_of("payment").unwrap(),
        key: saga_id.key(),
        event_id: EventId::new(&clock),
        kind: pb::ChargePayment::full_name().into(),
        body: command.encode_to_vec().into(),
        trace: TraceContext::root(),
        saga: Some(SagaHeaders {
            saga_id,
            plan: "place-order@1".to_owned(),
            plan_hash: "00".to_owned(),
            step: "charge-payment".to_owned(),
            direction: Direction::Forward,
            probe: false,
            may_fail: true,
            attempt: 1,
            seq: 1,
            deadline: None,
        }),
    }
}

/// What somebody shows with a call.
fn shown(mint: &Mint, subject: &str, role: Role) -> Credentials {
    let grant = Grant {
        subject: subject.parse().unwrap(),
        roles: vec![role],
        session: None,
        lifetime: LIMIT * 2,
    };
    let credentials = Credentials::default();
    credentials.set(&mint.token(&grant).unwrap());
    credentials
}

fn eur(units: i64) -> Money {
    Money {
        currency_code: "EUR".to_owned(),
        units,
        nanos: 0,
    }
}

/// Writes records into the service's own outbox, whose relay publishes them.
async fn publish(db: &Db, records: &[Record]) {
    let mut tx = db.begin().await.unwrap();
    let held = Held::by_insert(&tx, records.iter().map(|record| record.key.clone()));
    append(&mut tx, &held, records, "orchestrator")
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

async fn fill(url: &str, kafka: &Kafka) -> Db {
    let options = Options {
        url: url.to_owned(),
        service: "test".to_owned(),
        connections_max: 2,
    };
    let db = Db::connect(&options).await.unwrap();
    let topics: Vec<_> = TOPICS
        .iter()
        .map(|spec| (spec.topic, kafka.topic_name(spec.topic), PARTITIONS))
        .collect();
    fill_topics(&db, &topics).await.unwrap();
    db
}

#[tokio::test(flavor = "multi_thread")]
async fn wallet_and_card_are_charged_by_commands_from_the_broker() {
    let (_broker, kafka) = InProcessBroker::start("it", PARTITIONS).unwrap();
    let own = test_database(Area::Payment).await;
    let outside = test_database(Area::CardProcessor).await;
    let keys = test_database(Area::Identity).await;
    let db = fill(&own.url, &kafka).await;
    let tasks = Tasks::new();

    let (socket, identity) = listener().await;
    let mint = Mint::open(&fill(&keys.url, &kafka).await).await.unwrap();
    let settings = config(&kafka, &keys.url, identity, identity);
    let context = open("identity", settings, socket, &tasks).await;
    context.host(palinode_identity::build).await.unwrap();

    let (socket, processor) = listener().await;
    let settings = config(&kafka, &outside.url, processor, identity);
    let context = open("cardprocessor", settings, socket, &tasks).await;
    context.host(palinode_cardprocessor::build).await.unwrap();

    let (socket, address) = listener().await;
    let settings = config(&kafka, &own.url, processor, identity);
    let context = open("payment", settings, socket, &tasks).await;
    let readiness = context.readiness.clone();
    context.host(palinode_payment::build).await.unwrap();
    tokio::time::timeout(LIMIT, readiness.ready())
        .await
        .unwrap();

    let mut client = PaymentServiceClient::new(channel(&address.to_string().parse().unwrap()));
    let credit = pb::CreditWalletRequest {
        user_id: "alice".to_owned(),
        amount: Some(eur(20)),
    };
    let unasked = client.credit_wallet(credit.clone()).await.unwrap_err();
    assert_eq!(unasked.code(), Code::Unauthenticated);
    let admin = shown(&mint, "carol", Role::Admin);
    client.credit_wallet(admin.sign(credit)).await.unwrap();

    use pb::payment_method::{Card, Method, Wallet};
    let token = "tok_visa".to_owned();
    let methods = [Method::Wallet(Wallet {}), Method::Card(Card { token })];
    let clock = Clock::system();
    let records = methods.map(|method| charge(OrderId::new(&clock), method));
    publish(&db, &records).await;
    eventually(
        LIMIT,
        "both are captured, and all is published",
        async || {
            let done = sqlx::query_scalar!(
                r#"SELECT (SELECT count(*) FROM payment WHERE state = 'captured') = 2
                  AND (SELECT count(*) FROM outbox) = 0 AS "done!""#
            );
            let done = done.fetch_one(db.pool()).await;
            done.unwrap().then_some(())
        },
    )
    .await;

    let get = pb::GetWalletRequest {
        user_id: "alice".to_owned(),
    };
    let wallet = client
        .get_wallet(shown(&mint, "alice", Role::Customer).sign(get))
        .await
        .unwrap()
        .into_inner()
        .wallet;
    assert_eq!(wallet.unwrap().balance, Some(eur(8)));
    assert_eq!(
        palinode_payment::audit(&db).await.unwrap(),
        Vec::<String>::new()
    );
    drop(client);
    tasks.stop(LIMIT).await.unwrap();
    assert_eq!(*tasks.failed().borrow(), None);
}
