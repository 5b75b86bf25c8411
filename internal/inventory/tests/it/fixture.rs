#![expect(clippy::unwrap_used, reason = "a test ends where its fixture fails")]

use palinode_db::{Area, Db, Options};
use palinode_inventory::{participant, products, rpc, seed};
use palinode_messaging::{
    BatchHandler, Committed, Headers, Received, Record, SagaHeaders, commands_of,
};
use palinode_outbox::Doorbell;
use palinode_pb::inventory::v1::inventory_service_server::InventoryService;
use palinode_pb::inventory::v1::{
    CommitStock, ReleaseStock, ReserveStock, ReserveStockResult, Restock, StockLine,
};
use palinode_pb::saga::v1::StepReply;
use palinode_pb::saga::v1::step_reply::Answer;
use palinode_saga::Direction;
use palinode_telemetry::{TraceContext, Tracer};
use palinode_testkit::database::{TestDatabase, test_database};
use palinode_values::{Clock, EventId, OrderId, SagaId};
use prost::{Message, Name};

pub(crate) struct Fixture {
    // dropped last: its drop lets go of the database
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    _database: TestDatabase,
}

impl Fixture {
    pub(crate) async fn with(stock: &[(&str, i64)]) -> Self {
        let database = test_database(Area::Inventory).await;
        let options = Options {
            url: database.url.clone(),
            service: "test".to_owned(),
            connections_max: 8,
        };
        let db = Db::connect(&options).await.unwrap();
        let stock: Vec<_> = stock
            .iter()
            .map(|(sku, n)| (sku.parse().unwrap(), *n))
            .collect();
        seed(&db, &stock).await.unwrap();
        Self {
            db,
            clock: Clock::system(),
            _database: database,
        }
    }

    /// A participant of its own, as another process would be.
    pub(crate) fn participant(&self) -> impl BatchHandler {
        let (bell, tracer) = (Doorbell::new(), Tracer::disabled());
        participant(self.db.clone(), bell, tracer, self.clock.clone())
    }

    pub(crate) fn rpc(&self) -> impl InventoryService {
        rpc(self.db.clone())
    }

    /// What takes the events of the catalogue.
    pub(crate) fn products(&self) -> impl BatchHandler {
        products(self.db.clone())
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

    /// Takes the kinds and keys of events out of the outbox.
    pub(crate) async fn events(&self) -> Vec<String> {
        let events = self.take("inventory.events").await;
        events.into_iter().map(|(kind, _)| kind).collect()
    }

    #[expect(clippy::disallowed_methods, reason = "no query data for tests")]
    async fn take(&self, suffix: &str) -> Vec<(String, Vec<u8>)> {
        let topic = palinode_messaging::Topic::from_suffix(suffix).unwrap();
        let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
            "WITH gone AS (DELETE FROM outbox WHERE topic = $1 RETURNING id, headers, payload)
             SELECT headers, payload FROM gone ORDER BY id",
        )
        .bind(topic.number())
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

    /// on hand, held and sold of a SKU.
    #[expect(clippy::disallowed_methods, reason = "no query data for tests")]
    pub(crate) async fn row(&self, sku: &str) -> (i64, i64, i64) {
        sqlx::query_as("SELECT on_hand, held, sold FROM stock WHERE sku = $1")
            .bind(sku)
            .fetch_one(self.db.pool())
            .await
            .unwrap()
    }

    /// The SKUs whose rows break the invariants; none, if all is well.
    #[expect(clippy::disallowed_methods, reason = "no query data for tests")]
    pub(crate) async fn broken(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT s.sku FROM stock s
              WHERE s.on_hand + s.sold <> (SELECT sum(delta) FROM movement m WHERE m.sku = s.sku)
                 OR s.held <> (SELECT coalesce(sum(l.quantity), 0)
                                 FROM reservation r JOIN reservation_line l ON l.reservation_id = r.id
                                WHERE l.sku = s.sku AND r.state = 'held')
                 OR s.sold <> (SELECT coalesce(sum(l.quantity), 0)
                                 FROM reservation r JOIN reservation_line l ON l.reservation_id = r.id
                                WHERE l.sku = s.sku AND r.state = 'committed')",
        )
        .fetch_all(self.db.pool())
        .await
        .unwrap()
    }

    pub(crate) fn order(&self) -> Order {
        let clock = &self.clock;
        Order {
            id: OrderId::new(clock),
            saga: SagaId::new(clock),
        }
    }
}

/// An order that is being placed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) id: OrderId,
    pub(crate) saga: SagaId,
}

impl Order {
    /// The order, as another saga sees it.
    pub(crate) fn of_another_saga(self) -> Self {
        Self {
            saga: SagaId::new(&Clock::system()),
            ..self
        }
    }

    pub(crate) fn reserve(self, lines: &[(&str, i32)]) -> Received {
        let line = |&(sku, quantity): &(&str, i32)| StockLine {
            sku: sku.to_owned(),
            quantity,
        };
        let lines = lines.iter().map(line).collect();
        let message = ReserveStock {
            order_id: self.id.to_string(),
            lines,
        };
        self.command("reserve-stock", Direction::Forward, &message)
    }

    pub(crate) fn release(self) -> Received {
        let message = ReleaseStock {
            order_id: self.id.to_string(),
        };
        self.command("reserve-stock", Direction::Backward, &message)
    }

    pub(crate) fn commit(self, reservation_id: &str) -> Received {
        let reservation_id = reservation_id.to_owned();
        let message = CommitStock {
            order_id: self.id.to_string(),
            reservation_id,
        };
        self.command("commit-stock", Direction::Forward, &message)
    }

    pub(crate) fn restock(self) -> Received {
        let message = Restock {
            order_id: self.id.to_string(),
        };
        self.command("restock", Direction::Forward, &message)
    }

    fn command<M: Message + Name>(self, step: &str, direction: Direction, message: &M) -> Received {
        let clock = Clock::system();
        let event_id = EventId::new(&clock);
        let saga = SagaHeaders {
            saga_id: self.saga,
            plan: "place-order@1".to_owned(),
            plan_hash: "00".to_owned(),
            step: step.to_owned(),
            direction,
            probe: false,
            may_fail: step == "reserve-stock",
            attempt: 1,
            seq: 1,
            deadline: None,
        };
        let record = Record {
            topic: commands_of("inventory").unwrap(),
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
            topic: "palinode.inventory.commands".into(),
            partition: 0,
            offset: clock.now().timestamp_micros(),
            key: record.key.into(),
            body: record.body,
            headers,
        }
    }
}

/// The reservation in a `Done`.
pub(crate) fn reservation_of(answer: &Answer) -> String {
    let Answer::Done(done) = answer else {
        panic!("{answer:?}")
    };
    let output = done.output.as_ref().unwrap();
    assert!(
        output
            .type_url
            .ends_with("/palinode.inventory.v1.ReserveStockResult")
    );
    ReserveStockResult::decode(output.value.as_slice())
        .unwrap()
        .reservation_id
}

/// The words of a `Transient`.
pub(crate) fn transient(answer: &Answer) -> &str {
    let Answer::Transient(transient) = answer else {
        panic!("{answer:?}")
    };
    &transient.detail
}

/// A word for each answer: `done`, `undone`, or the reason of a refusal.
pub(crate) fn words(answers: &[Answer]) -> Vec<String> {
    let word = |answer: &Answer| match answer {
        Answer::Done(_) => "done".to_owned(),
        Answer::Undone(_) => "undone".to_owned(),
        Answer::UndoneEmpty(_) => "undone_empty".to_owned(),
        Answer::Pending(_) => "pending".to_owned(),
        Answer::Transient(_) => "transient".to_owned(),
        Answer::Failed(failed) => failed.reason.clone(),
        Answer::CannotUndo(cannot) => cannot.reason.clone(),
        other => format!("{other:?}"),
    };
    answers.iter().map(word).collect()
}
