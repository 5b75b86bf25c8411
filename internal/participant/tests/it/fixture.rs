#![expect(clippy::unwrap_used, reason = "a test ends where its fixture fails")]

use std::sync::Arc;

use bytes::Bytes;
use palinode_db::{Area, Db, Options, Tx};
use palinode_messaging::{
    BatchHandler, Committed, Failure, Headers, Received, Record, SagaHeaders, Topic,
};
use palinode_outbox::Doorbell;
use palinode_participant::{
    Decided, Event, Handler, Outcome, Output, Participant, Settled, Settlement, Task, Undecodable,
    settle,
};
use palinode_pb::saga::v1::StepReply;
use palinode_pb::saga::v1::step_reply::Answer;
use palinode_saga::{Direction, guard};
use palinode_telemetry::{TraceContext, Tracer};
use palinode_testkit::database::{TestDatabase, test_database};
use palinode_values::{Clock, EventId, SagaId, Timestamp};
use prost::Message;

pub(crate) const STEP: &str = "take-note";

/// Does what the command's text says; every effect is an event.
pub(crate) struct Scripted;

impl Handler for Scripted {
    type Command = String;

    fn decode(&self, kind: &str, body: &Bytes) -> Result<String, Undecodable> {
        let text = String::from_utf8(body.to_vec());
        match (kind, text) {
            ("test.Note", Ok(text)) => Ok(text),
            _ => Err(Undecodable(format!("{kind} is not known"))),
        }
    }

    async fn handle(
        &self,
        tx: Tx,
        tasks: &[Task<'_, String>],
        now: Timestamp,
    ) -> Result<(Tx, Vec<Decided>), palinode_db::Error> {
        let mut decided = Vec::new();
        for task in tasks {
            let outcome = match (task.direction, task.command.as_str()) {
                (_, "break") => {
                    return Err(palinode_db::Error::inconsistent(
                        "note", "text", 1, "broken",
                    ));
                }
                (Direction::Forward, "fail") => Outcome::Failed {
                    reason: "NO".to_owned(),
                    detail: "never".to_owned(),
                },
                (_, "transient") => Outcome::Transient {
                    detail: "later".to_owned(),
                },
                (Direction::Forward, "large") => {
                    let body = Bytes::from(vec![0; 20_000]);
                    Outcome::Done {
                        output: Some(Output {
                            kind: "test.Large".into(),
                            body,
                        }),
                    }
                }
                (_, "call") => Outcome::Pending {
                    until: now,
                    how: guard::Pending::Called,
                },
                (_, "queue") => Outcome::Pending {
                    until: now,
                    how: guard::Pending::Queued,
                },
                (Direction::Forward, text) => {
                    let body = Bytes::from(text.to_owned());
                    Outcome::Done {
                        output: Some(Output {
                            kind: "test.Noted".into(),
                            body,
                        }),
                    }
                }
                (Direction::Backward, "stuck") => Outcome::CannotUndo {
                    reason: "GONE".to_owned(),
                    detail: String::new(),
                },
                (Direction::Backward, _) => Outcome::Undone,
            };
            let happened = matches!(outcome, Outcome::Done { .. } | Outcome::Undone);
            let events = happened.then(|| event(task.command)).into_iter().collect();
            decided.push(Decided { outcome, events });
        }
        Ok((tx, decided))
    }
}

pub(crate) fn event(text: &str) -> Event {
    Event {
        topic: Topic::from_suffix("order.events").unwrap(),
        key: text.as_bytes().to_vec(),
        kind: "test.Noted".into(),
        body: Bytes::from(text.to_owned()),
    }
}

pub(crate) struct Fixture {
    pub(crate) database: TestDatabase,
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) participant: Participant<Scripted>,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::traced(Tracer::disabled()).await
    }

    pub(crate) async fn traced(tracer: Tracer) -> Self {
        let database = test_database(Area::Order).await;
        let db = connect(&database).await;
        let clock = Clock::system();
        let participant = participant(&db, tracer);
        Self {
            database,
            db,
            clock,
            participant,
        }
    }

    pub(crate) fn saga(&self) -> SagaId {
        SagaId::new(&self.clock)
    }

    /// Hands over a batch and returns what was said and done since the last call.
    pub(crate) async fn deliver(&mut self, batch: &[Received]) -> Said {
        let Committed = self.participant.handle(batch).await.unwrap();
        self.said().await
    }

    pub(crate) async fn fail(&mut self, batch: &[Received]) -> Failure {
        self.participant.handle(batch).await.unwrap_err()
    }

    pub(crate) async fn settle(&mut self, settlement: Settlement) -> (Settled, Said) {
        let (clock, settlements) = (&self.clock, &[settlement]);
        let mut settled = self
            .db
            .run_tx("test.settle", async |tx| {
                settle(tx, "order", clock, settlements).await
            })
            .await
            .unwrap();
        (settled.remove(0), self.said().await)
    }

    /// Empties the outbox.
    #[expect(clippy::disallowed_methods, reason = "no query data for tests")]
    pub(crate) async fn said(&mut self) -> Said {
        let rows: Vec<(i16, Vec<u8>, Vec<u8>, String)> = sqlx::query_as(
            "WITH gone AS (DELETE FROM outbox RETURNING id, topic, payload, headers, traceparent)
             SELECT topic, payload, headers, traceparent FROM gone ORDER BY id",
        )
        .fetch_all(self.db.pool())
        .await
        .unwrap();
        let mut said = Said::default();
        for (topic, payload, headers, traceparent) in rows {
            said.traces.push(traceparent.parse().unwrap());
            if topic == Topic::ORCHESTRATOR_REPLIES.number() {
                let headers = Headers::decode(Bytes::from(headers)).unwrap();
                said.headers.push(SagaHeaders::read(&headers).unwrap());
                let reply = StepReply::decode(payload.as_slice()).unwrap();
                said.replies.push(reply.answer.unwrap());
            } else {
                said.events.push(String::from_utf8(payload).unwrap());
            }
        }
        said
    }

    #[expect(clippy::disallowed_methods, reason = "no query data for tests")]
    pub(crate) async fn count(&self, table: &'static str) -> i64 {
        sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
            .fetch_one(self.db.pool())
            .await
            .unwrap()
    }
}

pub(crate) async fn connect(database: &TestDatabase) -> Db {
    let options = Options {
        url: database.url.clone(),
        service: "test".to_owned(),
        connections_max: 4,
    };
    Db::connect(&options).await.unwrap()
}

pub(crate) fn participant(db: &Db, tracer: Tracer) -> Participant<Scripted> {
    let (handler, bell) = (Arc::new(Scripted), Doorbell::new());
    Participant::new("order", db.clone(), handler, bell, tracer, Clock::system())
}

/// What came out of the outbox.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Said {
    pub(crate) replies: Vec<Answer>,
    pub(crate) headers: Vec<SagaHeaders>,
    pub(crate) events: Vec<String>,
    pub(crate) traces: Vec<TraceContext>,
}

impl Said {
    /// The names of the answers.
    pub(crate) fn answers(&self) -> Vec<&'static str> {
        self.replies.iter().map(name).collect()
    }
}

fn name(answer: &Answer) -> &'static str {
    match answer {
        Answer::Done(_) => "done",
        Answer::Failed(_) => "failed",
        Answer::Pending(_) => "pending",
        Answer::Transient(_) => "transient",
        Answer::Refused(refused) => match refused.cause {
            1 => "closed",
            2 => "expired",
            3 => "mismatch",
            _ => "refused",
        },
        Answer::Undone(_) => "undone",
        Answer::UndoneEmpty(_) => "undone_empty",
        Answer::CannotUndo(_) => "cannot_undo",
        Answer::NotDone(_) => "not_done",
    }
}

/// A command as it would arrive.
pub(crate) struct Sent {
    saga: SagaHeaders,
    text: String,
    kind: &'static str,
}

pub(crate) fn act(saga: SagaId, text: &str) -> Sent {
    let saga = SagaHeaders {
        saga_id: saga,
        plan: "note@1".to_owned(),
        plan_hash: "00".to_owned(),
        step: STEP.to_owned(),
        direction: Direction::Forward,
        probe: false,
        may_fail: true,
        attempt: 1,
        seq: 1,
        deadline: None,
    };
    Sent {
        saga,
        text: text.to_owned(),
        kind: "test.Note",
    }
}

pub(crate) fn undo(saga: SagaId, text: &str) -> Sent {
    let mut sent = act(saga, text);
    sent.saga.direction = Direction::Backward;
    sent
}

pub(crate) fn probe_undo(saga: SagaId, text: &str) -> Sent {
    let mut sent = undo(saga, text);
    sent.saga.probe = true;
    sent
}

pub(crate) fn probe(saga: SagaId, text: &str) -> Sent {
    let mut sent = act(saga, text);
    sent.saga.probe = true;
    sent
}

impl Sent {
    pub(crate) fn step(mut self, step: &str) -> Self {
        step.clone_into(&mut self.saga.step);
        self
    }

    pub(crate) fn must_succeed(mut self) -> Self {
        self.saga.may_fail = false;
        self
    }

    pub(crate) fn attempt(mut self, attempt: u32) -> Self {
        self.saga.attempt = attempt;
        self
    }

    pub(crate) fn kind(mut self, kind: &'static str) -> Self {
        self.kind = kind;
        self
    }

    /// At offset `offset`.
    pub(crate) fn at(self, offset: i64) -> Received {
        self.traced(offset, &TraceContext::root())
    }

    pub(crate) fn traced(self, offset: i64, trace: &TraceContext) -> Received {
        let event_id = EventId::new(&Clock::system());
        let record = Record {
            topic: Topic::from_suffix("order.commands").unwrap(),
            key: self.saga.saga_id.key(),
            event_id,
            kind: self.kind.into(),
            body: Bytes::from(self.text),
            trace: trace.clone(),
            saga: Some(self.saga),
        };
        let mut headers = record.fixed_headers("orchestrator");
        headers.push("ce_id", event_id.to_string());
        headers.push("traceparent", trace.traceparent());
        Received {
            topic: "palinode.order.commands".into(),
            partition: 0,
            offset,
            key: record.key.into(),
            body: record.body,
            headers,
        }
    }
}
