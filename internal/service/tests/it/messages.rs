//! From an outbox to a consumer of the same service, by the relay in its process and by one of its
//! own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use palinode_db::Area;
use palinode_messaging::{
    BatchHandler, BrokerKind, Committed, Failure, InProcessBroker, Kafka, Received, Record, Topic,
};
use palinode_outbox::{Held, append, fill_topics};
use palinode_service::{Config, Context, Opening, StartError, Tasks, build_relay, service};
use palinode_telemetry::{Meter, TraceContext, Tracer};
use palinode_testkit::database::{TestDatabase, test_database};
use palinode_values::{Clock, EventId};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const LIMIT: Duration = Duration::from_secs(20);
const PARTITIONS: i32 = 2;

/// Hands the bodies of what it gets to the test.
struct Listener(mpsc::UnboundedSender<Vec<u8>>);

impl BatchHandler for Listener {
    async fn handle(&mut self, batch: &[Received]) -> Result<Committed, Failure> {
        for record in batch {
            self.0.send(record.body.to_vec()).map_err(Failure::batch)?;
        }
        Ok(Committed)
    }

    async fn park(&mut self, _: &Received, error: &str) -> Result<Committed, Failure> {
        panic!("nothing is parked here: {error}");
    }
}

fn config(variables: &[(&str, &str)], kafka: &Kafka) -> Config {
    let mut all = BTreeMap::from([
        ("PALINODE_KAFKA", kafka.bootstrap.as_str()),
        ("PALINODE_TOPIC_PREFIX", kafka.prefix.as_str()),
        ("PALINODE_BROKER", "in-process"),
    ]);
    all.extend(variables.iter().copied());
    let all = all
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Config::from_map(&all).unwrap()
}

async fn open(name: &str, config: Config, tasks: &Tasks) -> Result<Context, StartError> {
    Context::open(Opening {
        spec: service(name).unwrap(),
        config: Arc::new(config),
        listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        tasks: tasks.clone(),
        tracer: Tracer::disabled(),
        meter: Meter::disabled(),
        clock: Clock::system(),
        shared: palinode_service::Shared::default(),
    })
    .await
}

/// A database whose outbox knows the topics of `kafka`.
async fn database(kafka: &Kafka) -> TestDatabase {
    let database = test_database(Area::Order).await;
    let options = palinode_db::Options {
        url: database.url.clone(),
        service: "test".to_owned(),
        connections_max: 1,
    };
    let db = palinode_db::Db::connect(&options).await.unwrap();
    let topics = palinode_messaging::TOPICS;
    let topics: Vec<_> = topics
        .iter()
        .map(|spec| (spec.topic, kafka.topic_name(spec.topic), PARTITIONS))
        .collect();
    fill_topics(&db, &topics).await.unwrap();
    database
}

fn events() -> Topic {
    Topic::from_suffix("order.events").unwrap()
}

async fn write(context: &Context, body: &'static [u8]) {
    let key = b"0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42".to_vec();
    let mut tx = context.db().begin().await.unwrap();
    let held = Held::by_insert(&tx, [key.clone()]);
    let record = Record {
        topic: events(),
        key,
        event_id: EventId::new(&context.clock),
        kind: "palinode.order.v1.OrderPlaced".into(),
        body: body.into(),
        trace: TraceContext::root(),
        saga: None,
    };
    append(&mut tx, &held, &[record], "order").await.unwrap();
    tx.commit().await.unwrap();
    context.doorbell.ring();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_appended_reaches_a_consumer_by_the_relay_in_the_process() {
    let (_broker, kafka) = InProcessBroker::start("it", PARTITIONS).unwrap();
    let database = database(&kafka).await;
    let tasks = Tasks::new();
    let config = config(&[("PALINODE_DATABASE_URL", &database.url)], &kafka);
    let context = open("order", config, &tasks).await.unwrap();
    let (bodies, mut heard) = mpsc::unbounded_channel();
    context
        .consume("order", &[events()], Listener(bodies))
        .unwrap();
    context.spawn_relay().unwrap();
    tokio::time::timeout(LIMIT, context.readiness.ready())
        .await
        .unwrap();

    write(&context, b"first").await;
    write(&context, b"second").await;
    for expect in [&b"first"[..], b"second"] {
        let body = tokio::time::timeout(LIMIT, heard.recv()).await.unwrap();
        assert_eq!(body.as_deref(), Some(expect));
    }
    tasks.stop(LIMIT).await.unwrap();
    assert_eq!(*tasks.failed().borrow(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_not_ready_before_its_consumer_has_partitions() {
    let nobody = Kafka {
        bootstrap: "127.0.0.1:1".to_owned(),
        prefix: "it".to_owned(),
        broker: BrokerKind::InProcess,
    };
    let database = database(&nobody).await;
    let tasks = Tasks::new();
    let config = config(&[("PALINODE_DATABASE_URL", &database.url)], &nobody);
    let context = open("order", config, &tasks).await.unwrap();
    let (bodies, _heard) = mpsc::unbounded_channel();
    context
        .consume("order", &[events()], Listener(bodies))
        .unwrap();
    assert_eq!(context.readiness.missing(), ["consumer order"]);
    tasks.stop(LIMIT).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_of_its_own_publishes_what_others_append() {
    let (_broker, kafka) = InProcessBroker::start("it", PARTITIONS).unwrap();
    let database = database(&kafka).await;
    let tasks = Tasks::new();
    let own = [
        ("PALINODE_DATABASE_URL", database.url.as_str()),
        ("PALINODE_RELAY", "none"),
    ];
    let context = open("order", config(&own, &kafka), &tasks).await.unwrap();
    let (bodies, mut heard) = mpsc::unbounded_channel();
    context
        .consume("order", &[events()], Listener(bodies))
        .unwrap();
    context.spawn_relay().unwrap(); // does nothing: the settings say so
    write(&context, b"kept").await;

    let list = format!("order={}", database.url);
    let relay = open(
        "relay",
        config(&[("PALINODE_DATABASES", &list)], &kafka),
        &tasks,
    );
    let relay = relay.await.unwrap();
    let readiness = relay.readiness.clone();
    relay.host(build_relay).await.unwrap();
    tokio::time::timeout(LIMIT, readiness.ready())
        .await
        .unwrap();
    let body = tokio::time::timeout(LIMIT, heard.recv()).await.unwrap();
    assert_eq!(body.as_deref(), Some(&b"kept"[..]));
    tasks.stop(LIMIT).await.unwrap();
    assert_eq!(*tasks.failed().borrow(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_kind_is_refused_with_the_way_out() {
    let (_broker, kafka) = InProcessBroker::start("it", PARTITIONS).unwrap();
    let refused = async |name: &str, url: &str| {
        let config = config(&[("PALINODE_DATABASE_URL", url)], &kafka);
        let error = open(name, config, &Tasks::new()).await.unwrap_err();
        format!("{:#}", anyhow::Error::from(error))
    };
    let card_processor = test_database(Area::CardProcessor).await;
    let words = refused("order", &card_processor.url).await;
    assert!(
        words.contains("`palinode migrate`"),
        "an older schema: {words}"
    );
    let order = test_database(Area::Order).await;
    let words = refused("order", &order.url).await;
    assert!(words.contains("`palinode migrate`"), "no topics: {words}");
    let nobody = "postgres://postgres:secret@127.0.0.1:1/nothing";
    let words = refused("order", nobody).await;
    assert!(
        words.contains("postgres://postgres:***@127.0.0.1:1/nothing"),
        "{words}"
    );
    assert!(!words.contains("secret"), "{words}");
}
