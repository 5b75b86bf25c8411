//! Commands of sagas, and the events of the catalogue.

mod products;

use bytes::Bytes;
use palinode_db::{Error, Tx};
use palinode_participant::{Decided, Handler, Outcome, Task, Undecodable};
use palinode_values::Timestamp;

use crate::domain::Command;
use crate::{app, convert};

pub(crate) use products::Products;

/// Reserves, releases, commits and restocks.
#[derive(Debug)]
pub(crate) struct Commands;

impl Handler for Commands {
    type Command = Command;

    fn decode(&self, kind: &str, body: &Bytes) -> Result<Command, Undecodable> {
        convert::command(kind, body)
    }

    fn expected(&self, task: &Task<'_, Command>, _now: Timestamp) -> Option<Outcome> {
        Some(app::expected(task))
    }

    async fn handle(
        &self,
        tx: Tx,
        tasks: &[Task<'_, Command>],
        now: Timestamp,
    ) -> Result<(Tx, Vec<Decided>), Error> {
        app::run_commands(tx, tasks, now).await
    }
}
