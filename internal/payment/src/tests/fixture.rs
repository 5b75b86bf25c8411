use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use palinode_db::{Area, Db, Options};
use palinode_messaging::{
    BatchHandler, Committed, Headers, Received, Record, SagaHeaders, Topic, commands_of,
};
use palinode_outbox::Doorbell;
use palinode_participant::{Inbox, Participant};
use palinode_pb::google::r#type::Money as PbMoney;
use palinode_pb::payment::v1 as pb;
use palinode_pb::saga::v1::StepReply;
use palinode_pb::saga::v1::step_reply::Answer;
use palinode_rpc::{Door, Server, channel};
use palinode_saga::Direction;
use palinode_telemetry::{TraceContext, Tracer};
use palinode_testkit::database::{TestDatabase, test_database};
use palinode_testkit::eventually;
use palinode_values::{Clock, Currency, EventId, Money, OrderId, PaymentId, SagaId, UserId};
use prost::{Message, Name};
use tokio::net::TcpSocket;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::app::Desk;
use crate::calls::{CardCalls, Parts};
use crate::clients::Processor;
use crate::config;
use crate::consumers::{CommandBatches, Commands, Users};
use crate::rpc::Handlers;

const STEP: &str = "charge-payment";
pub(super) const RETURN_STEP: &str = "return-payment";
pub(super) const LIMIT: Duration = Duration::from_secs(20);

pub(super) struct Fixture {
    _database: TestDatabase,
    pub(super) db: Db,
    pub(super) bell: Arc<Notify>,
    pub(super) batches: CommandBatches,
}

/// An order of one saga.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) saga: SagaId,
    pub(super) id: OrderId,
    pub(super) user: &'static str,
    pub(super) minor: i64,
    pub(super) token: Option<&'static str>,
}

/// What came out of the outbox.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) replies: Vec<(SagaId, Direction, Answer)>,
    /// Short names of the events' types.
    pub(super) events: Vec<String>,
}

impl Fixture {
    pub(super) async fn new() -> Self {
        let database = test_database(Area::Payment).await;
        let db = connect(&database).await;
        let bell = Arc::new(Notify::new());
        let batches = batches(&db, &bell);
        Self {
            _database: database,
            db,
            bell,
            batches,
        }
    }

    /// Opens wallets.
    pub(super) async fn with_wallets(wallets: &[(&str, i64)]) -> Self {
        let fixture = Self::new().await;
        let wallets: Vec<(UserId, i64)> = wallets
            .iter()
            .map(|(user, minor)| (user.parse().unwrap(), *minor))
            .collect();
        crate::seed(&fixture.db, &wallets).await.unwrap();
        fixture
    }

    /// Hands over a batch and returns what was said.
    pub(super) async fn deliver(&mut self, batch: &[Received]) -> Said {
        let Committed = self.batches.handle(batch).await.unwrap();
        self.said().await
    }

    /// Empties the outbox.
    pub(super) async fn said(&self) -> Said {
        said(&self.db).await
    }

    /// Hands over a batch without a look at what was said.
    pub(super) async fn hand_over(&mut self, batch: &[Received]) {
        let Committed = self.batches.handle(batch).await.unwrap();
    }

    /// Empties the outbox until it has given `replies` replies.
    pub(super) async fn hear(&self, replies: usize) -> Said {
        let mut heard = Said::default();
        eventually(LIMIT, "the replies are in the outbox", async || {
            let said = self.said().await;
            heard.replies.extend(said.replies);
            heard.events.extend(said.events);
            (heard.replies.len() >= replies).then_some(())
        })
        .await;
        heard
    }

    pub(super) async fn balance(&self, user: &str) -> i64 {
        sqlx::query_scalar!("SELECT balance_minor FROM wallet WHERE user_id = $1", user)
            .fetch_one(self.db.pool())
            .await
            .unwrap()
    }

    /// The sum of an account's entries, in minor units.
    pub(super) async fn account(&self, account: &str) -> i64 {
        sqlx::query_scalar!(
            r#"SELECT coalesce(sum(amount_minor), 0)::bigint AS "sum!"
                 FROM ledger_entry WHERE account = $1"#,
            account,
        )
        .fetch_one(self.db.pool())
        .await
        .unwrap()
    }

    pub(super) async fn payment(&self, order: &Order) -> PaymentId {
        let id = sqlx::query_scalar!("SELECT id FROM payment WHERE order_id = $1", order.id.0)
            .fetch_one(self.db.pool())
            .await
            .unwrap();
        PaymentId(id)
    }

    pub(super) async fn state(&self, order: &Order) -> String {
        sqlx::query_scalar!("SELECT state FROM payment WHERE order_id = $1", order.id.0)
            .fetch_one(self.db.pool())
            .await
            .unwrap()
    }

    pub(super) async fn intents(&self) -> i64 {
        sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM card_intent"#)
            .fetch_one(self.db.pool())
            .await
            .unwrap()
    }

    /// What the end of a lease, or of a pause, does.
    pub(super) async fn let_intents_be_due(&self) {
        sqlx::query!("UPDATE card_intent SET next_try_at = now()")
            .execute(self.db.pool())
            .await
            .unwrap();
    }

    /// Older than the processor's keys are kept.
    pub(super) async fn let_intents_be_old_and_due(&self) {
        sqlx::query!(
            "UPDATE card_intent
                SET next_try_at = now(), created_at = now() - interval '23 hours 1 minute'"
        )
        .execute(self.db.pool())
        .await
        .unwrap();
    }

    pub(super) async fn assert_books_are_right(&self) {
        assert_eq!(crate::audit(&self.db).await.unwrap(), Vec::<String>::new());
    }

    /// What answers requests; it rings for the calls.
    pub(super) fn handlers(&self) -> Handlers {
        Handlers::new(Desk {
            db: self.db.clone(),
            clock: Clock::system(),
            bell: Arc::clone(&self.bell),
            doorbell: Doorbell::new(),
        })
    }

    /// The loop that calls the processor.
    pub(super) fn calls(&self, address: SocketAddr, limits: config::CardCalls) -> CardCalls {
        let channel = channel(&address.to_string().parse().unwrap());
        CardCalls::new(Parts {
            db: self.db.clone(),
            processor: Processor::new(channel, limits.call_limit),
            clock: Clock::system(),
            bell: Arc::clone(&self.bell),
            doorbell: Doorbell::new(),
            limits,
        })
    }
}

pub(super) fn batches(db: &Db, bell: &Arc<Notify>) -> CommandBatches {
    let commands = Arc::new(Commands::new(Clock::system()));
    let participant = Participant::new(
        "payment",
        db.clone(),
        Arc::clone(&commands),
        Doorbell::new(),
        Tracer::disabled(),
        Clock::system(),
    );
    CommandBatches::new(participant, commands, Arc::clone(bell))
}

/// What takes the events of users.
pub(super) fn users(db: &Db) -> Inbox<Users> {
    let clock = Clock::system();
    Inbox::new(db.clone(), Users { clock })
}

async fn connect(database: &TestDatabase) -> Db {
    let (url, service) = (database.url.clone(), "test".to_owned());
    Db::connect(&Options {
        url,
        service,
        connections_max: 8,
    })
    .await
    .unwrap()
}

async fn said(db: &Db) -> Said {
    let rows = sqlx::query!(
        r#"WITH gone AS (DELETE FROM outbox RETURNING id, topic, payload, headers)
           SELECT topic AS "topic!", payload AS "payload!", headers AS "headers!"
             FROM gone ORDER BY id"#
    )
    .fetch_all(db.pool())
    .await
    .unwrap();
    let mut said = Said::default();
    for row in rows {
        let headers = Headers::decode(Bytes::from(row.headers)).unwrap();
        if row.topic == Topic::ORCHESTRATOR_REPLIES.number() {
            let saga = SagaHeaders::read(&headers).unwrap();
            let reply = StepReply::decode(row.payload.as_slice()).unwrap();
            said.replies
                .push((saga.saga_id, saga.direction, reply.answer.unwrap()));
        } else {
            let kind = headers.text("ce_type").unwrap();
            said.events
                .push(kind.rsplit('.').next().unwrap().to_owned());
        }
    }
    said
}

impl Said {
    /// The words of the answers that are transient.
    pub(super) fn details(&self) -> Vec<&str> {
        let mut details = Vec::new();
        for (_, _, answer) in &self.replies {
            if let Answer::Transient(transient) = answer {
                details.push(transient.detail.as_str());
            }
        }
        details
    }

    /// The names of the answers; of a failure, its reason.
    pub(super) fn answers(&self) -> Vec<String> {
        let name = |answer: &Answer| match answer {
            Answer::Done(_) => "done".to_owned(),
            Answer::Failed(failed) => failed.reason.clone(),
            Answer::Pending(_) => "pending".to_owned(),
            Answer::Transient(_) => "transient".to_owned(),
            Answer::Refused(_) => "refused".to_owned(),
            Answer::Undone(_) => "undone".to_owned(),
            Answer::UndoneEmpty(_) => "undone empty".to_owned(),
            Answer::CannotUndo(cannot) => cannot.reason.clone(),
            Answer::NotDone(_) => "not done".to_owned(),
        };
        self.replies
            .iter()
            .map(|(_, _, answer)| name(answer))
            .collect()
    }
}

impl Order {
    pub(super) fn by_wallet(user: &'static str, minor: i64) -> Self {
        let clock = Clock::system();
        Self {
            saga: SagaId::new(&clock),
            id: OrderId::new(&clock),
            user,
            minor,
            token: None,
        }
    }

    pub(super) fn by_card(token: &'static str, minor: i64) -> Self {
        Self {
            token: Some(token),
            ..Self::by_wallet("alice", minor)
        }
    }

    pub(super) fn charge(&self) -> Received {
        use pb::payment_method::{Card, Method, Wallet};
        let method = match self.token {
            Some(token) => Method::Card(Card {
                token: token.to_owned(),
            }),
            None => Method::Wallet(Wallet {}),
        };
        let command = pb::ChargePayment {
            order_id: self.id.to_string(),
            user_id: self.user.to_owned(),
            payment_method: Some(pb::PaymentMethod {
                method: Some(method),
            }),
            total: Some(eur(self.minor)),
        };
        self.received(STEP, Direction::Forward, &command)
    }

    pub(super) fn refund(&self) -> Received {
        let command = pb::RefundPayment {
            order_id: self.id.to_string(),
        };
        self.received(STEP, Direction::Backward, &command)
    }

    /// The order, as another saga sees it: one that cancels it.
    pub(super) fn of_another_saga(&self) -> Self {
        Self {
            saga: SagaId::new(&Clock::system()),
            ..self.clone()
        }
    }

    pub(super) fn give_back(&self, payment: PaymentId) -> Received {
        let command = pb::ReturnPayment {
            order_id: self.id.to_string(),
            payment_id: payment.to_string(),
        };
        self.received(RETURN_STEP, Direction::Forward, &command)
    }

    /// The processor's key of the charge or the refund.
    pub(super) fn key(&self, direction: Direction) -> Uuid {
        palinode_participant::step_key(self.saga, STEP, direction)
    }

    fn received<M: Message + Name>(
        &self,
        step: &str,
        direction: Direction,
        command: &M,
    ) -> Received {
        let (clock, trace) = (Clock::system(), TraceContext::root());
        let saga = SagaHeaders {
            saga_id: self.saga,
            plan: "place-order@1".to_owned(),
            plan_hash: "00".to_owned(),
            step: step.to_owned(),
            direction,
            probe: false,
            may_fail: step == STEP && direction == Direction::Forward,
            attempt: 1,
            seq: 1,
            deadline: None,
        };
        let record = Record {
            topic: commands_of("payment").unwrap(),
            key: self.saga.key(),
            event_id: EventId::new(&clock),
            kind: M::full_name().into(),
            body: command.encode_to_vec().into(),
            trace: trace.clone(),
            saga: Some(saga),
        };
        let mut headers = record.fixed_headers("orchestrator");
        headers.push("ce_id", record.event_id.to_string());
        headers.push("traceparent", trace.traceparent());
        Received {
            topic: "palinode.payment.commands".into(),
            partition: 0,
            offset: 0,
            key: record.key.into(),
            body: record.body,
            headers,
        }
    }
}

pub(super) fn eur(minor: i64) -> PbMoney {
    let nanos = i32::try_from(minor % 100).unwrap() * 10_000_000;
    PbMoney {
        currency_code: "EUR".to_owned(),
        units: minor / 100,
        nanos,
    }
}

/// Limits that do not make a test wait.
pub(super) fn quick() -> config::CardCalls {
    config::CardCalls {
        retry_first: Duration::from_millis(5),
        retry_max: Duration::from_millis(50),
        poll: Duration::from_millis(5),
        ..config::CardCalls::default()
    }
}

/// A card processor of the test's own. Until it is started, its port refuses connections.
pub(super) struct CardProcessor {
    _database: TestDatabase,
    db: Db,
    pub(super) address: SocketAddr,
    socket: Option<TcpSocket>,
    server: JoinSet<()>,
}

impl CardProcessor {
    pub(super) async fn down() -> Self {
        let database = test_database(Area::CardProcessor).await;
        let db = connect(&database).await;
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = socket.local_addr().unwrap();
        Self {
            _database: database,
            db,
            address,
            socket: Some(socket),
            server: JoinSet::new(),
        }
    }

    pub(super) async fn up() -> Self {
        let mut processor = Self::down().await;
        processor.start();
        processor
    }

    pub(super) fn start(&mut self) {
        let listener = self.socket.take().unwrap().listen(64).unwrap();
        let service = palinode_cardprocessor::service(self.db.clone());
        let server =
            Server::new(Tracer::disabled(), Clock::system(), Door::Open).add_service(service);
        let never = CancellationToken::new();
        self.server
            .spawn(async move { server.serve(listener, never).await.unwrap() });
    }

    /// Kind and outcome of every record, sorted.
    pub(super) async fn records(&self) -> Vec<String> {
        self.texts("SELECT kind || ' ' || outcome FROM processed ORDER BY 1")
            .await
    }

    /// Every key that was used, sorted.
    pub(super) async fn keys(&self) -> Vec<String> {
        self.texts("SELECT idempotency_key FROM processed ORDER BY 1")
            .await
    }

    /// Pays a charge back, as a call whose answer nobody heard.
    pub(super) async fn refund(&self, key: Uuid, charge_key: Uuid, minor: i64) {
        let channel = channel(&self.address.to_string().parse().unwrap());
        let processor = Processor::new(channel, LIMIT);
        let amount = Money::new(minor, Currency::EUR);
        processor.refund(key, charge_key, amount).await.unwrap();
    }

    /// What holders of cards do at their banks.
    pub(super) async fn open_the_cards_again(&self) {
        let sql =
            "UPDATE processed SET token = 'tok_visa' WHERE token = 'tok_closed' RETURNING kind";
        self.texts(sql).await;
    }

    pub(super) async fn forget_everything(&self) {
        self.texts("DELETE FROM processed RETURNING kind").await;
    }

    #[expect(clippy::disallowed_methods, reason = "the tables of another database")]
    async fn texts(&self, sql: &'static str) -> Vec<String> {
        sqlx::query_scalar(sql)
            .fetch_all(self.db.pool())
            .await
            .unwrap()
    }

    pub(super) async fn wait_for_records(&self, count: usize) {
        eventually(LIMIT, "the processor has recorded it", async || {
            (self.records().await.len() == count).then_some(())
        })
        .await;
    }
}
