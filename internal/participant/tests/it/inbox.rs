use bytes::Bytes;
use palinode_db::{Error, Tx};
use palinode_messaging::{BatchHandler, Committed, Failure, Headers, Received};
use palinode_participant::{EventHandler, Inbox, Undecodable};

use crate::fixture::Fixture;

/// Writes the event's text as a product's name.
struct Products;

impl EventHandler for Products {
    type Event = String;

    fn decode(&self, kind: &str, body: &Bytes) -> Result<Option<String>, Undecodable> {
        match (kind, String::from_utf8(body.to_vec())) {
            ("test.Named", Ok(text)) => Ok(Some(text)),
            ("test.Named", Err(error)) => Err(Undecodable(error.to_string())),
            _ => Ok(None),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "no query data for tests")]
    async fn handle(&self, mut tx: Tx, events: &[String]) -> Result<Tx, Error> {
        for text in events {
            sqlx::query("INSERT INTO product VALUES ($1, NULL, $1, 1, 'EUR', 0)")
                .bind(text)
                .execute(tx.conn())
                .await?;
        }
        Ok(tx)
    }
}

fn record(offset: i64, kind: &str, body: &'static [u8]) -> Received {
    let mut headers = Headers::with_capacity(32);
    headers.push("ce_type", kind.as_bytes());
    Received {
        topic: "test.identity.events".into(),
        partition: 0,
        offset,
        key: "key".into(),
        body: body.into(),
        headers,
    }
}

#[tokio::test]
async fn events_are_handled_and_what_cannot_be_read_is_parked_in_one_transaction() {
    let fixture = Fixture::new().await;
    let mut inbox = Inbox::new(fixture.db.clone(), Products);
    let batch = [
        record(0, "test.Named", b"mug"),
        record(1, "test.Named", b"\xff"),
        record(2, "test.Unknown", b"\xff"),
        record(3, "test.Named", b"pen"),
    ];
    let Committed = inbox.handle(&batch).await.unwrap();
    assert_eq!(fixture.count("product").await, 2);
    assert_eq!(fixture.count("consumer_parked").await, 1);

    // the same again cannot be written, and nothing of its batch is
    let failing = [
        record(4, "test.Named", b"\xff"),
        record(5, "test.Named", b"mug"),
    ];
    let failure = inbox.handle(&failing).await.unwrap_err();
    assert!(matches!(failure, Failure::Batch(_)), "{failure:?}");
    assert_eq!(fixture.count("consumer_parked").await, 1);
    let Committed = inbox.park(&failing[1], "twice").await.unwrap();
    assert_eq!(fixture.count("consumer_parked").await, 2);
}
