//! Commands of sagas.

use bytes::Bytes;
use palinode_db::{Error, Tx};
use palinode_participant::{Decided, Handler, Task, Undecodable};
use palinode_values::{Clock, Timestamp};

use crate::domain::Command;
use crate::{app, convert};

/// Reserves, releases, commits and restocks.
#[derive(Debug)]
pub(crate) struct Commands {
    pub(crate) clock: Clock,
}

impl Handler for Commands {
    type Command = Command;

    fn decode(&self, kind: &str, body: &Bytes) -> Result<Command, Undecodable> {
        convert::command(kind, body)
    }

    async fn handle(
        &self,
        tx: Tx,
        tasks: &[Task<Command>],
        now: Timestamp,
    ) -> Result<(Tx, Vec<Decided>), Error> {
        app::run_commands(tx, tasks, now, &self.clock).await
    }
}
