#![expect(clippy::unwrap_used, reason = "a test ends where its fixture fails")]

use palinode_db::{Area, Db, Options};
use palinode_messaging::{
    BatchHandler, Committed, Headers, Received, Record, SagaHeaders, Topic, commands_of,
};
use palinode_outbox::Doorbell;
use palinode_pb::inventory::v1::StockLine;
use palinode_pb::saga::v1::StepReply;
use palinode_pb::saga::v1::step_reply::Answer;
use palinode_pb::shipping::v1::shipping_service_server::ShippingService;
use palinode_pb::shipping::v1::{
    Address, ArrangeShipping, ArrangeShippingResult, QuoteShipping, QuoteShippingResult,
    RecallShipment,
};
use palinode_saga::Direction;
use palinode_shipping::{participant, rpc};
use palinode_telemetry::{TraceContext, Tracer};
use palinode_testkit::database::{TestDatabase, test_database};
use palinode_values::{Clock, EventId, OrderId, SagaId};
use prost::{Message, Name};

pub(crate) struct Fixture {
    pub(crate) clock: Clock,
    pub(crate) db: Db,
    _database: TestDatabase,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let database = test_database(Area::Shipping).await;
        let options = Options {
            url: database.url.clone(),
            service: "test".to_owned(),
            connections_max: 8,
        };
        let db = Db::connect(&options).await.unwrap();
        Self {
            clock: Clock::system(),
            db,
            _database: database,
        }
    }

    /// A participant of its own, as another process would be.
    pub(crate) fn participant(&self) -> impl BatchHandler {
        let (bell, tracer) = (Doorbell::new(), Tracer::disabled());
        participant(self.db.clone(), bell, tracer, self.clock.clone())
    }

    pub(crate) fn rpc(&self) -> impl ShippingService {
        rpc(self.db.clone(), Doorbell::new(), self.clock.clone())
    }

    pub(crate) fn order(&self) -> Order {
        let clock = &self.clock;
        Order {
            id: OrderId::new(clock),
            saga: SagaId::new(clock),
        }
    }

    pub(crate) async fn deliver(&self, batch: &[Received]) -> Vec<Answer> {
        let Committed = self.participant().handle(batch).await.unwrap();
        self.replies().await
    }

    /// Takes the replies out of the outbox.
    pub(crate) async fn replies(&self) -> Vec<Answer> {
        let replies = self.take("orchestrator.replies").await;
        let answer = |(_, body): &(String, Vec<u8>)| {
            StepReply::decode(body.as_slice()).unwrap().answer.unwrap()
        };
        replies.iter().map(answer).collect()
    }

    /// Takes the kinds of events out of the outbox.
    pub(crate) async fn events(&self) -> Vec<String> {
        self.take("shipping.events")
            .await
            .into_iter()
            .map(|(kind, _)| kind)
            .collect()
    }

    #[expect(clippy::disallowed_methods, reason = "no query data for tests")]
    async fn take(&self, suffix: &str) -> Vec<(String, Vec<u8>)> {
        let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
            "WITH gone AS (DELETE FROM outbox WHERE topic = $1 RETURNING id, headers, payload)
             SELECT headers, payload FROM gone ORDER BY id",
        )
        .bind(Topic::from_suffix(suffix).unwrap().number())
        .fetch_all(self.db.pool())
        .await
        .unwrap();
        let kind = |headers: Vec<u8>| {
            let headers = Headers::decode(headers).unwrap();
            headers
                .text("ce_type")
                .unwrap()
                .rsplit('.')
                .next()
                .unwrap()
                .to_owned()
        };
        rows.into_iter()
            .map(|(headers, payload)| (kind(headers), payload))
            .collect()
    }
}

/// An order that is being placed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) id: OrderId,
    pub(crate) saga: SagaId,
}

pub(crate) fn address(country: &str) -> Address {
    Address {
        name: "Ada".to_owned(),
        street: "Lange Gasse 1".to_owned(),
        postal_code: "01067".to_owned(),
        city: "Dresden".to_owned(),
        country: country.to_owned(),
    }
}

pub(crate) fn lines() -> Vec<StockLine> {
    let line = |(sku, quantity): (&str, i32)| StockLine {
        sku: sku.to_owned(),
        quantity,
    };
    [("pot", 1), ("mug", 2)].map(line).to_vec()
}

impl Order {
    /// The order, as another saga sees it.
    pub(crate) fn of_another_saga(self) -> Self {
        Self {
            saga: SagaId::new(&Clock::system()),
            ..self
        }
    }

    pub(crate) fn ship(self, country: &str) -> Received {
        self.ship_to(Some(address(country)))
    }

    pub(crate) fn ship_to(self, address: Option<Address>) -> Received {
        self.arrange(address, 0, Direction::Forward, false)
    }

    pub(crate) fn ship_by(self, country: &str, carrier_version: i64) -> Received {
        self.arrange(
            Some(address(country)),
            carrier_version,
            Direction::Forward,
            false,
        )
    }

    pub(crate) fn probe(self, country: &str) -> Received {
        self.arrange(Some(address(country)), 0, Direction::Forward, true)
    }

    pub(crate) fn undo(self, country: &str) -> Received {
        self.arrange(Some(address(country)), 0, Direction::Backward, false)
    }

    pub(crate) fn quote(self, country: &str) -> Received {
        let message = QuoteShipping {
            order_id: self.id.to_string(),
            address: Some(address(country)),
        };
        self.command("quote-shipping", Direction::Forward, false, &message)
    }

    pub(crate) fn recall(self, shipment_id: &str) -> Received {
        let message = RecallShipment {
            order_id: self.id.to_string(),
            shipment_id: shipment_id.to_owned(),
        };
        self.command("recall-shipment", Direction::Forward, false, &message)
    }

    fn arrange(
        self,
        address: Option<Address>,
        carrier_version: i64,
        direction: Direction,
        probe: bool,
    ) -> Received {
        let message = ArrangeShipping {
            order_id: self.id.to_string(),
            address,
            lines: lines(),
            carrier_version,
            user_id: "ada".to_owned(),
        };
        self.command("arrange-shipping", direction, probe, &message)
    }

    fn command<M: Message + Name>(
        self,
        step: &str,
        direction: Direction,
        probe: bool,
        message: &M,
    ) -> Received {
        let clock = Clock::system();
        let event_id = EventId::new(&clock);
        let saga = SagaHeaders {
            saga_id: self.saga,
            plan: "place-order@1".to_owned(),
            plan_hash: "00".to_owned(),
            step: step.to_owned(),
            direction,
            probe,
            may_fail: true,
            attempt: 1,
            seq: 1,
            deadline: None,
        };
        let record = Record {
            topic: commands_of("shipping").unwrap(),
            key: self.saga.key(),
            event_id,
            kind: M::full_name().into(),
            body: message.encode_to_vec().into(),
            trace: TraceContext::root(),
            saga: Some(saga),
        };
        let mut headers = record.fixed_headers("orchestrator");
        headers.push("ce_id", event_id.to_string());
        Received {
            topic: "palinode.shipping.commands".into(),
            partition: 0,
            offset: clock.now().timestamp_micros(),
            key: record.key.into(),
            body: record.body,
            headers,
        }
    }
}

/// The shipment in a `Done`.
pub(crate) fn shipment_of(answer: &Answer) -> String {
    output::<ArrangeShippingResult>(answer).shipment_id
}

/// The carrier in a `Done`, and its version.
pub(crate) fn quoted(answer: &Answer) -> (String, i64) {
    let quoted = output::<QuoteShippingResult>(answer);
    (quoted.carrier, quoted.carrier_version)
}

fn output<M: Message + Name + Default>(answer: &Answer) -> M {
    let Answer::Done(done) = answer else {
        panic!("{answer:?}")
    };
    let output = done.output.as_ref().unwrap();
    assert!(output.type_url.ends_with(&M::full_name()));
    M::decode(output.value.as_slice()).unwrap()
}

/// A word for each answer: `done`, or the reason of a refusal.
pub(crate) fn words(answers: &[Answer]) -> Vec<String> {
    let word = |answer: &Answer| match answer {
        Answer::Done(_) => "done".to_owned(),
        Answer::NotDone(_) => "not_done".to_owned(),
        Answer::Refused(_) => "refused".to_owned(),
        Answer::UndoneEmpty(_) => "undone_empty".to_owned(),
        Answer::Failed(failed) => failed.reason.clone(),
        Answer::CannotUndo(cannot) => cannot.reason.clone(),
        other => format!("{other:?}"),
    };
    answers.iter().map(word).collect()
}
