//! The processor over loopback gRPC, on a real PostgreSQL.

use palinode_db::{Area, Db, Options};
use palinode_pb::cardprocessor::v1::card_processor_service_client::CardProcessorServiceClient;
use palinode_pb::cardprocessor::v1::{
    ChargeRequest, ChargeResponse, LookupRequest, Outcome, RefundRequest, RefundResponse,
};
use palinode_rpc::{Channel, Door, Failure, Server, channel};
use palinode_telemetry::Tracer;
use palinode_testkit::database::{TestDatabase, test_database};
use palinode_values::{Clock, ErrorCode};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Status;

struct Fixture {
    _database: TestDatabase,
    db: Db,
    _server: JoinSet<()>,
    client: CardProcessorServiceClient<Channel>,
}

impl Fixture {
    async fn new() -> Self {
        let database = test_database(Area::CardProcessor).await;
        let (url, service) = (database.url.clone(), "test".to_owned());
        let db = Db::connect(&Options {
            url,
            service,
            connections_max: 8,
        })
        .await
        .expect("the database answers");
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it is bound").to_string();
        let address = address.parse().expect("an address is an authority");
        let server = Server::new(Tracer::disabled(), Clock::system(), Door::Open)
            .add_service(palinode_cardprocessor::service(db.clone()));
        let mut tasks = JoinSet::new();
        let never = CancellationToken::new();
        tasks.spawn(async move { server.serve(listener, never).await.expect("it serves") });
        let client = CardProcessorServiceClient::new(channel(&address));
        Self {
            _database: database,
            db,
            _server: tasks,
            client,
        }
    }

    async fn charge(&self, request: ChargeRequest) -> Result<ChargeResponse, Status> {
        Ok(self.client.clone().charge(request).await?.into_inner())
    }

    /// Wants all of a charge of 500 back.
    async fn refund(&self, key: &str, charge_key: &str) -> Result<RefundResponse, Status> {
        self.refund_part(key, charge_key, 500).await
    }

    async fn refund_part(
        &self,
        key: &str,
        charge_key: &str,
        amount_minor: i64,
    ) -> Result<RefundResponse, Status> {
        let (idempotency_key, charge_key) = (key.to_owned(), charge_key.to_owned());
        let request = RefundRequest {
            idempotency_key,
            charge_key,
            amount_minor,
        };
        Ok(self.client.clone().refund(request).await?.into_inner())
    }

    async fn look_up(&self, key: &str) -> (bool, Outcome, String) {
        let request = LookupRequest {
            idempotency_key: key.to_owned(),
        };
        let found = self
            .client
            .clone()
            .lookup(request)
            .await
            .expect("a key can be looked up")
            .into_inner();
        (found.found, found.outcome(), found.reference)
    }
}

fn charge(key: &str, token: &str, amount_minor: i64) -> ChargeRequest {
    ChargeRequest {
        idempotency_key: key.to_owned(),
        card_token: token.to_owned(),
        amount_minor,
        currency: "EUR".to_owned(),
    }
}

fn code<T>(result: Result<T, Status>) -> ErrorCode {
    let Err(status) = result else {
        panic!("it was not refused")
    };
    Failure::from(status).code
}

#[tokio::test]
async fn a_key_charges_once_however_often_it_comes() {
    let fixture = Fixture::new().await;
    let first = fixture.charge(charge("k1", "tok_visa", 500)).await.unwrap();
    assert_eq!(first.outcome(), Outcome::Approved);
    let repeats = (0..8).map(|_| fixture.charge(charge("k1", "tok_visa", 500)));
    for repeat in futures_util::future::join_all(repeats).await {
        assert_eq!(repeat.unwrap(), first);
    }
    assert_eq!(
        fixture.look_up("k1").await,
        (true, Outcome::Approved, first.charge_id)
    );
    assert_eq!(
        fixture.look_up("k2").await,
        (false, Outcome::Unspecified, String::new())
    );
}

#[tokio::test]
async fn a_key_with_another_body_is_refused() {
    let fixture = Fixture::new().await;
    fixture.charge(charge("k1", "tok_visa", 500)).await.unwrap();
    for other in [
        charge("k1", "tok_visa", 501),
        charge("k1", "tok_other", 500),
    ] {
        assert_eq!(code(fixture.charge(other).await), ErrorCode::Conflict);
    }
    assert_eq!(code(fixture.refund("k1", "k1").await), ErrorCode::Conflict);
    fixture.refund("r1", "k1").await.unwrap();
    assert_eq!(code(fixture.refund("r1", "k0").await), ErrorCode::Conflict);
    assert_eq!(
        code(fixture.charge(charge("r1", "tok_visa", 500)).await),
        ErrorCode::Conflict
    );
}

#[tokio::test]
async fn the_token_tells_the_outcome() {
    let fixture = Fixture::new().await;
    let declined = fixture
        .charge(charge("k1", "tok_declined", 500))
        .await
        .unwrap();
    let (outcome, code) = (declined.outcome(), declined.decline_code.as_str());
    assert_eq!((outcome, code), (Outcome::Declined, "card_declined"));
    let slow = fixture.charge(charge("k2", "tok_slow", 500)).await.unwrap();
    assert_eq!(slow.outcome(), Outcome::Approved);
}

#[tokio::test]
async fn a_charge_is_paid_back_once_whatever_the_key() {
    let fixture = Fixture::new().await;
    fixture.charge(charge("k1", "tok_visa", 500)).await.unwrap();
    let keys: Vec<String> = (0..6).map(|n| format!("r{n}")).collect();
    let refunds = keys.iter().map(|key| fixture.refund(key, "k1"));
    let answers = futures_util::future::join_all(refunds).await;
    let approved = answers
        .iter()
        .filter(|a| a.as_ref().unwrap().outcome() == Outcome::Approved);
    assert_eq!(approved.count(), 1);
    for (key, answer) in keys.iter().zip(answers) {
        let answer = answer.unwrap();
        assert_eq!(fixture.refund(key, "k1").await.unwrap(), answer);
        if answer.outcome() != Outcome::Approved {
            assert_eq!(answer.decline_code, "already_refunded");
        }
    }
}

#[tokio::test]
async fn parts_are_paid_back_up_to_the_charge_and_each_once() {
    let fixture = Fixture::new().await;
    fixture.charge(charge("k1", "tok_visa", 500)).await.unwrap();
    // each key twice, all at once: two of the three parts fit
    let keys = ["r1", "r2", "r3", "r1", "r2", "r3"];
    let refunds = keys.map(|key| fixture.refund_part(key, "k1", 200));
    let answers = futures_util::future::join_all(refunds).await;
    let answers: Vec<RefundResponse> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers[..3], answers[3..]);
    let refused: Vec<&str> = answers[..3]
        .iter()
        .filter(|answer| answer.outcome() != Outcome::Approved)
        .map(|answer| answer.decline_code.as_str())
        .collect();
    assert_eq!(refused, ["exceeds_charge"]);

    let rest = fixture.refund_part("r4", "k1", 100).await.unwrap();
    assert_eq!(rest.outcome(), Outcome::Approved);
    let none = fixture.refund_part("r5", "k1", 1).await.unwrap();
    assert_eq!(none.decline_code, "already_refunded");
    let other = fixture.refund_part("r4", "k1", 99).await;
    assert_eq!(code(other), ErrorCode::Conflict);
    for amount in [0, -1] {
        let bad = fixture.refund_part("r6", "k1", amount).await;
        assert_eq!(code(bad), ErrorCode::Invalid);
    }
}

#[tokio::test]
async fn what_was_not_charged_is_not_paid_back() {
    let fixture = Fixture::new().await;
    fixture
        .charge(charge("k1", "tok_declined", 500))
        .await
        .unwrap();
    for (key, charge_key) in [("r1", "k1"), ("r2", "k2")] {
        let refund = fixture.refund(key, charge_key).await.unwrap();
        assert_eq!(refund.outcome(), Outcome::Declined);
        assert_eq!(refund.decline_code, "unknown_charge");
    }
}

/// What its holder does at the bank.
#[expect(clippy::disallowed_methods, reason = "no query data for tests")]
async fn open_the_card_again(fixture: &Fixture) {
    sqlx::query("UPDATE processed SET token = 'tok_visa' WHERE token = 'tok_closed'")
        .execute(fixture.db.pool())
        .await
        .expect("the table is there");
}

#[tokio::test]
async fn a_refund_that_was_declined_may_be_asked_for_again_under_its_key() {
    let fixture = Fixture::new().await;
    fixture
        .charge(charge("k1", "tok_closed", 500))
        .await
        .unwrap();
    for _ in 0..2 {
        let declined = fixture.refund("r1", "k1").await.unwrap();
        assert_eq!(declined.outcome(), Outcome::Declined);
        assert_eq!(declined.decline_code, "card_closed");
    }
    assert_eq!(fixture.look_up("r1").await.1, Outcome::Declined);
    assert_eq!(code(fixture.refund("r1", "k0").await), ErrorCode::Conflict);

    open_the_card_again(&fixture).await;
    let approved = fixture.refund("r1", "k1").await.unwrap();
    assert_eq!(approved.outcome(), Outcome::Approved);
    assert_eq!(fixture.refund("r1", "k1").await.unwrap(), approved);
    let other = fixture.refund("r2", "k1").await.unwrap();
    assert_eq!(other.decline_code, "already_refunded");
}

#[tokio::test]
async fn a_malformed_request_is_refused() {
    let fixture = Fixture::new().await;
    let mut no_currency = charge("k1", "tok_visa", 5);
    no_currency.currency = "euro".to_owned();
    for bad in [
        charge("", "tok_visa", 5),
        charge("k 1", "tok_visa", 5),
        charge("k1", "", 5),
        charge("k1", "tok_visa", 0),
        no_currency,
    ] {
        assert_eq!(code(fixture.charge(bad).await), ErrorCode::Invalid);
    }
    assert!(!fixture.look_up("k1").await.0);
}
