//! Commands for a participant under test, as a saga would send them.

use palinode_messaging::{BatchHandler, Committed, Received, Record, SagaHeaders, commands_of};
use palinode_pb::saga::v1::StepReply;
use palinode_pb::saga::v1::step_reply::Answer;
use palinode_saga::Direction;
use palinode_telemetry::TraceContext;
use palinode_values::{Clock, EventId, SagaId};
use prost::{Message, Name};

use crate::database::TestDatabase;

/// A saga, as its participants see it.
#[derive(Debug, Clone)]
pub struct Saga {
    participant: &'static str,
    id: SagaId,
    clock: Clock,
}

impl Saga {
    /// A new saga, with steps at this participant.
    #[must_use]
    pub fn at(participant: &'static str) -> Self {
        let clock = Clock::system();
        Self {
            participant,
            id: SagaId::new(&clock),
            clock,
        }
    }

    /// The action of a step, which may fail.
    ///
    /// # Panics
    /// The participant is not in the table of topics.
    pub fn action<M: Message + Name>(&self, step: &str, message: &M) -> Received {
        self.command(step, Direction::Forward, message)
    }

    /// The compensation of a step.
    ///
    /// # Panics
    /// The participant is not in the table of topics.
    pub fn undo<M: Message + Name>(&self, step: &str, message: &M) -> Received {
        self.command(step, Direction::Backward, message)
    }

    fn command<M: Message + Name>(
        &self,
        step: &str,
        direction: Direction,
        message: &M,
    ) -> Received {
        let event_id = EventId::new(&self.clock);
        let saga = SagaHeaders {
            saga_id: self.id,
            plan: "test@1".to_owned(),
            plan_hash: "00".to_owned(),
            step: step.to_owned(),
            direction,
            probe: false,
            may_fail: direction == Direction::Forward,
            attempt: 1,
            seq: 1,
            deadline: None,
        };
        let topic = commands_of(self.participant).expect("internal/messaging lists its topics");
        let record = Record {
            topic,
            key: self.id.key(),
            event_id,
            kind: M::full_name().into(),
            body: message.encode_to_vec().into(),
            trace: TraceContext::root(),
            saga: Some(saga),
        };
        let mut headers = record.fixed_headers("orchestrator");
        headers.push("ce_id", event_id.to_string());
        Received {
            topic: topic.name("test").into(),
            partition: 0,
            offset: self.clock.now().timestamp_micros(),
            key: record.key.into(),
            body: record.body,
            headers,
        }
    }
}

/// Hands a batch of commands to a participant, and takes its replies out of its outbox.
///
/// Shape: a word for each command in order: `done`, `undone`, `undone-empty`, `pending`,
/// `transient`, `refused`; of a step that failed, or cannot be taken back, its reason.
///
/// # Panics
/// The batch is not committed, or the database does not answer.
#[expect(clippy::disallowed_methods, reason = "no query data for tests")]
pub async fn deliver(
    batch: &[Received],
    participant: &mut impl BatchHandler,
    database: &TestDatabase,
) -> Vec<String> {
    let Committed = participant
        .handle(batch)
        .await
        .expect("a batch of commands is committed");
    let taken = sqlx::query_scalar(
        "WITH gone AS (DELETE FROM outbox WHERE topic = $1 RETURNING id, payload)
         SELECT payload FROM gone ORDER BY id",
    );
    let replies: Vec<Vec<u8>> = taken
        .bind(palinode_messaging::Topic::ORCHESTRATOR_REPLIES.number())
        .fetch_all(&mut database.connect().await)
        .await
        .expect("the outbox can be read");
    replies.iter().map(|reply| word(reply)).collect()
}

fn word(reply: &[u8]) -> String {
    let reply = StepReply::decode(reply).expect("a reply is a StepReply");
    let word = match reply.answer.expect("a reply has an answer") {
        Answer::Done(_) => "done",
        Answer::NotDone(_) => "not-done",
        Answer::Undone(_) => "undone",
        Answer::UndoneEmpty(_) => "undone-empty",
        Answer::Pending(_) => "pending",
        Answer::Transient(_) => "transient",
        Answer::Refused(_) => "refused",
        Answer::Failed(failed) => return failed.reason,
        Answer::CannotUndo(cannot) => return cannot.reason,
    };
    word.to_owned()
}
