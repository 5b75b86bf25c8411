use std::borrow::Cow;
use std::future::Future;

use bytes::Bytes;
use palinode_db::Tx;
use palinode_messaging::{SagaHeaders, Topic};
use palinode_pb::validate::Validate;
use palinode_saga::{Direction, guard};
use palinode_values::{SagaId, Timestamp};
use prost::{Message, Name};
use uuid::Uuid;

/// A command that the guard lets through.
#[derive(Debug)]
pub struct Task<'a, C> {
    /// The command, as the handler decoded it.
    pub command: &'a C,
    /// What travelled beside it.
    pub saga: &'a SagaHeaders,
    /// Forward: run the action. Backward: take it back.
    pub direction: Direction,
    /// Drawn for this command: the id (UUIDv7) of what it makes, if it makes something.
    pub new_id: Uuid,
}

/// What came of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The action happened.
    Done {
        /// The command's output message, if it has one.
        output: Option<Output>,
    },
    /// A verdict: no effect, now or later. Only where `saga.may_fail`; it is stored and replayed.
    Failed {
        /// Constant name such as `OUT_OF_STOCK`.
        reason: String,
        /// For people.
        detail: String,
    },
    /// Taken up: the handler wrote an intent in this transaction, `settle` tells its outcome.
    Pending {
        /// When the outcome is expected at the latest.
        until: Timestamp,
        /// Whether it waits in a queue of our own, or for an external system.
        how: guard::Pending,
    },
    /// No effect yet, ask again: nothing is stored, and the handler wrote nothing for the task.
    Transient {
        /// For people.
        detail: String,
    },
    /// The compensation happened.
    Undone,
    /// The effect cannot be taken back; the guard row stays as it is.
    CannotUndo {
        /// Constant name.
        reason: String,
        /// For people.
        detail: String,
    },
}

/// The output message of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Full name of the message, such as `palinode.inventory.v1.ReserveStockResult`.
    pub kind: Cow<'static, str>,
    /// Protobuf.
    pub body: Bytes,
}

/// An event that goes into the outbox in the same transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The service's topic of events.
    pub topic: Topic,
    /// Id of the aggregate, whose row the handler holds.
    pub key: Vec<u8>,
    /// Full name of the message.
    pub kind: Cow<'static, str>,
    /// Protobuf.
    pub body: Bytes,
}

/// What the handler says of one task.
#[derive(Debug, Clone)]
pub struct Decided {
    /// The outcome.
    pub outcome: Outcome,
    /// Events of this task, in the order in which they happened.
    pub events: Vec<Event>,
}

/// A command that cannot be read. It is parked; the words say why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Undecodable(pub String);

/// The service's own half of a participant: reads commands, and does them in the open transaction.
pub trait Handler: Send + Sync + 'static {
    /// Every command of the participant, decoded.
    type Command: Send + Sync;

    /// Reads a command. `kind` is the full name of the message.
    ///
    /// # Errors
    /// An unknown kind, or a body that is no such message: the record is parked.
    fn decode(&self, kind: &str, body: &Bytes) -> Result<Self::Command, Undecodable>;

    /// What will most likely come of a command, told before anything is read.
    ///
    /// Its guard row is then written once, with that. A wrong guess costs one more statement and
    /// changes nothing: what `handle` says is what counts. `None`: there is no telling.
    fn expected(&self, task: &Task<'_, Self::Command>, now: Timestamp) -> Option<Outcome> {
        let _ = now;
        (task.direction == Direction::Backward).then_some(Outcome::Undone)
    }

    /// Does `tasks` in `tx`; `now` is the database's time, read once a batch.
    ///
    /// Shape: 1 to 500 tasks in arrival order, one at the most for each saga and step; one
    /// [`Decided`] comes back for each, in the same order. Business rows are locked in key order,
    /// written as sets. The key of every event belongs to a row that is locked or inserted here.
    ///
    /// # Errors
    /// The batch is rolled back, then tried again or, if that cannot help, divided.
    fn handle(
        &self,
        tx: Tx,
        tasks: &[Task<'_, Self::Command>],
        now: Timestamp,
    ) -> impl Future<Output = Result<(Tx, Vec<Decided>), palinode_db::Error>> + Send;
}

impl<C> Task<'_, C> {
    /// Idempotency key for external systems, the same over all attempts and redeliveries.
    #[must_use]
    pub fn step_key(&self) -> Uuid {
        step_key(self.saga.saga_id, &self.saga.step, self.direction)
    }
}

impl Output {
    /// The output `message`.
    pub fn of<M: Message + Name>(message: &M) -> Self {
        Self {
            kind: Cow::Owned(M::full_name()),
            body: message.encode_to_vec().into(),
        }
    }
}

impl Event {
    /// The event `message` about the aggregate `key`.
    pub fn of<M: Message + Name>(topic: Topic, key: Vec<u8>, message: &M) -> Self {
        Self {
            topic,
            key,
            kind: Cow::Owned(M::full_name()),
            body: message.encode_to_vec().into(),
        }
    }
}

impl Decided {
    /// The outcome, with nothing to tell others.
    #[must_use]
    pub fn quietly(outcome: Outcome) -> Self {
        Self {
            outcome,
            events: Vec::new(),
        }
    }
}

/// Reads a command of a known kind.
///
/// # Errors
/// The body is no such message, or breaks rules of its proto: all of them are told.
pub fn decoded<M: Message + Default + Validate>(body: &[u8]) -> Result<M, Undecodable> {
    let message = M::decode(body)?;
    message
        .validate()
        .map_err(|invalid| Undecodable(invalid.to_string()))?;
    Ok(message)
}

impl From<prost::DecodeError> for Undecodable {
    fn from(error: prost::DecodeError) -> Self {
        Self(error.to_string())
    }
}

/// The idempotency key of a step for external systems: UUIDv5 of `saga id / step / direction`.
///
/// The same over attempts, plan versions and redeliveries. Source: RFC 9562 §5.5.
#[must_use]
pub fn step_key(saga: SagaId, step: &str, direction: Direction) -> Uuid {
    Uuid::new_v5(
        &Uuid::NAMESPACE_OID,
        format!("{saga}/{step}/{direction}").as_bytes(),
    )
}
