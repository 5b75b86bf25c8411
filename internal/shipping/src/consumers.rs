//! Commands of sagas.

use bytes::Bytes;
use palinode_db::{Error, Tx};
use palinode_participant::{Decided, Handler, Task, Undecodable};
use palinode_values::{Clock, Timestamp};

use crate::domain::Arrange;
use crate::{app, convert};

/// Arranges shipments.
#[derive(Debug)]
pub(crate) struct Commands {
    pub(crate) clock: Clock,
}

impl Handler for Commands {
    type Command = Arrange;

    fn decode(&self, kind: &str, body: &Bytes) -> Result<Arrange, Undecodable> {
        convert::command(kind, body)
    }

    async fn handle(
        &self,
        tx: Tx,
        tasks: &[Task<Arrange>],
        now: Timestamp,
    ) -> Result<(Tx, Vec<Decided>), Error> {
        app::arrange_shipping(tx, tasks, now, &self.clock).await
    }
}
