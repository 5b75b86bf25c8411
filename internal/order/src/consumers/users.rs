use bytes::Bytes;
use palinode_db::{Error, Tx};
use palinode_participant::{EventHandler, Undecodable};
use palinode_pb::identity::v1::UserDeleted;
use palinode_values::UserId;
use prost::{Message, Name};

use crate::store;

/// Handles `identity.events`: who was deleted is noted, and `app::forget` lets go of what orders keep of
/// him.
#[derive(Debug)]
pub(crate) struct Users;

impl EventHandler for Users {
    type Event = UserId;

    fn decode(&self, kind: &str, body: &Bytes) -> Result<Option<UserId>, Undecodable> {
        if kind != UserDeleted::full_name() {
            return Ok(None);
        }
        let event = UserDeleted::decode(body.clone())?;
        let user: Result<UserId, _> = event.user_id.parse();
        user.map(Some)
            .map_err(|error| Undecodable(error.to_string()))
    }

    async fn handle(&self, mut tx: Tx, deleted: &[UserId]) -> Result<Tx, Error> {
        store::deleted_user::note(&mut tx, deleted).await?;
        Ok(tx)
    }
}
