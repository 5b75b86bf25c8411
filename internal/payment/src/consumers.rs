mod users;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use palinode_db::{Error, Tx};
use palinode_messaging::{BatchHandler, Committed, Failure, Received};
use palinode_participant::{Decided, Handler, Outcome, Participant, Task, Undecodable};
use palinode_values::{Clock, Timestamp};
use tokio::sync::Notify;

use crate::app::{expected, run_commands};
use crate::convert;
use crate::domain::Command;

pub(crate) use users::Users;

/// The commands of payment: charge, refund, and return.
#[derive(Debug)]
pub(crate) struct Commands {
    clock: Clock,
    /// A batch has written intents, and their calls were not rung for yet.
    asks_processor: AtomicBool,
}

/// Batches of commands; rings for the calls to the card processor after the commit.
#[derive(Debug)]
pub(crate) struct CommandBatches {
    participant: Participant<Commands>,
    commands: Arc<Commands>,
    bell: Arc<Notify>,
}

impl Commands {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            asks_processor: AtomicBool::new(false),
        }
    }
}

impl Handler for Commands {
    type Command = Command;

    fn decode(&self, kind: &str, body: &Bytes) -> Result<Command, Undecodable> {
        convert::command(kind, body).map_err(Undecodable)
    }

    fn expected(&self, task: &Task<'_, Command>, now: Timestamp) -> Option<Outcome> {
        expected(task, now)
    }

    async fn handle(
        &self,
        tx: Tx,
        tasks: &[Task<'_, Command>],
        now: Timestamp,
    ) -> Result<(Tx, Vec<Decided>), Error> {
        let (tx, ran) = run_commands(tx, &self.clock, tasks, now).await?;
        self.asks_processor
            .fetch_or(ran.asks_processor, Ordering::AcqRel);
        Ok((tx, ran.decided))
    }
}

impl CommandBatches {
    pub(crate) fn new(
        participant: Participant<Commands>,
        commands: Arc<Commands>,
        bell: Arc<Notify>,
    ) -> Self {
        Self {
            participant,
            commands,
            bell,
        }
    }
}

impl BatchHandler for CommandBatches {
    async fn handle(&mut self, batch: &[Received]) -> Result<Committed, Failure> {
        let committed = self.participant.handle(batch).await?;
        if self.commands.asks_processor.swap(false, Ordering::AcqRel) {
            self.bell.notify_one();
        }
        Ok(committed)
    }

    async fn park(&mut self, record: &Received, error: &str) -> Result<Committed, Failure> {
        self.participant.park(record, error).await
    }
}
