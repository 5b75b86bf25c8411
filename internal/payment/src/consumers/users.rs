use bytes::Bytes;
use palinode_db::{Error, Tx};
use palinode_participant::{EventHandler, Undecodable};
use palinode_values::Clock;

use crate::app::follow_users;
use crate::convert;
use crate::domain::UserEvent;

/// Handles `identity.events`: wallets come and go with their users.
#[derive(Debug)]
pub(crate) struct Users {
    pub(crate) clock: Clock,
}

impl EventHandler for Users {
    type Event = UserEvent;

    fn decode(&self, kind: &str, body: &Bytes) -> Result<Option<UserEvent>, Undecodable> {
        convert::user_event(kind, body).map_err(Undecodable)
    }

    async fn handle(&self, tx: Tx, events: &[UserEvent]) -> Result<Tx, Error> {
        follow_users(tx, &self.clock, events).await
    }
}
