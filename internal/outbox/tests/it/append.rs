use palinode_db::{Area, Db, Options, Tx};
use palinode_messaging::{Headers, Record, Topic, lane_of};
use palinode_outbox::{Error, Held, MESSAGE_BYTES_MAX, append};
use palinode_telemetry::TraceContext;
use palinode_testkit::database::{TestDatabase, test_database};
use palinode_values::{Clock, EventId};

async fn database() -> (TestDatabase, Db) {
    let database = test_database(Area::Order).await;
    let options = Options {
        url: database.url.clone(),
        service: "test".to_owned(),
        connections_max: 4,
    };
    let db = Db::connect(&options).await.unwrap();
    (database, db)
}

fn record(key: &str, body: Vec<u8>) -> Record {
    let mut trace = TraceContext::root();
    trace.tracestate = Some("vendor=1".into());
    Record {
        topic: Topic::from_suffix("order.events").unwrap(),
        key: key.as_bytes().to_vec(),
        event_id: EventId::new(&Clock::system()),
        kind: "palinode.order.v1.OrderPlaced".into(),
        body: body.into(),
        trace,
        saga: None,
    }
}

fn held(tx: &Tx, keys: &[&str]) -> Held {
    Held::by_insert(tx, keys.iter().map(|key| key.as_bytes().to_vec()))
}

async fn bodies(db: &Db) -> Vec<Vec<u8>> {
    sqlx::query_scalar!("SELECT payload FROM outbox ORDER BY id")
        .fetch_all(db.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn ids_follow_the_order_of_the_slice() {
    let (_database, db) = database().await;
    let mut tx = db.begin().await.unwrap();
    let held = held(&tx, &["a", "b"]);
    let expected: Vec<_> = (0..100_u8).map(|number| vec![number]).collect();
    let key = |number: usize| if number.is_multiple_of(3) { "a" } else { "b" };
    let records: Vec<_> = expected
        .iter()
        .enumerate()
        .map(|(number, body)| record(key(number), body.clone()))
        .collect();
    append(&mut tx, &held, &records, "order").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(bodies(&db).await, expected);
}

#[tokio::test]
async fn a_row_carries_everything_the_relay_needs() {
    let (_database, db) = database().await;
    let mut tx = db.begin().await.unwrap();
    let held = held(&tx, &["a"]);
    let record = record("a", vec![7]);
    append(&mut tx, &held, std::slice::from_ref(&record), "order")
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let row = sqlx::query!(
        "SELECT lane, topic, event_id, key, traceparent, tracestate, baggage, headers FROM outbox"
    )
    .fetch_one(db.pool())
    .await
    .unwrap();
    assert_eq!(row.lane, lane_of(b"a"));
    assert_eq!(row.topic, record.topic.number());
    assert_eq!(row.event_id, record.event_id.0);
    assert_eq!(row.key, b"a");
    assert_eq!(row.traceparent, Some(record.trace.traceparent()));
    assert_eq!(row.tracestate.as_deref(), Some("vendor=1"));
    assert_eq!(row.baggage, None);
    let headers = Headers::decode(row.headers).unwrap();
    assert_eq!(headers, record.fixed_headers("order"));
}

#[tokio::test]
async fn what_is_rolled_back_was_never_there() {
    let (_database, db) = database().await;
    let mut tx = db.begin().await.unwrap();
    let held = held(&tx, &["a"]);
    let records = [record("a", vec![1])];
    append(&mut tx, &held, &records, "order").await.unwrap();
    drop(tx);
    assert!(bodies(&db).await.is_empty());
}

#[tokio::test]
async fn a_key_that_is_not_held_is_refused_and_nothing_is_appended() {
    let (_database, db) = database().await;
    let mut tx = db.begin().await.unwrap();
    let held = held(&tx, &["a"]);
    let records = [record("a", vec![1]), record("b", vec![2])];
    let error = append(&mut tx, &held, &records, "order").await.unwrap_err();
    assert!(
        matches!(&error, Error::NotHeld { key } if key == "b"),
        "{error}"
    );
    let both = held.merge(Held::by_lock(&tx, [b"b".to_vec()]));
    append(&mut tx, &both, &records, "order").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(bodies(&db).await, [vec![1], vec![2]]);
}

#[tokio::test]
async fn a_message_that_no_broker_would_take_is_refused_before_the_commit() {
    let (_database, db) = database().await;
    let mut tx = db.begin().await.unwrap();
    let held = held(&tx, &["a"]);
    let largest = record("a", vec![0; MESSAGE_BYTES_MAX]);
    append(&mut tx, &held, &[largest], "order").await.unwrap();
    let larger = record("a", vec![0; MESSAGE_BYTES_MAX + 1]);
    let error = append(&mut tx, &held, &[larger], "order").await;
    assert!(matches!(error, Err(Error::TooLarge { .. })), "{error:?}");
}

#[tokio::test]
async fn nothing_to_say_needs_no_statement() {
    let (_database, db) = database().await;
    let mut tx = db.begin().await.unwrap();
    append(&mut tx, &Held::default(), &[], "order")
        .await
        .unwrap();
}
