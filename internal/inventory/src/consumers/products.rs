use bytes::Bytes;
use palinode_db::{Error, Tx};
use palinode_participant::{EventHandler, Undecodable};

use crate::app::follow_products;
use crate::convert;
use crate::domain::Opening;

/// Handles `catalog.events`: a product that is created has stock from then on.
#[derive(Debug)]
pub(crate) struct Products;

impl EventHandler for Products {
    type Event = Opening;

    fn decode(&self, kind: &str, body: &Bytes) -> Result<Option<Opening>, Undecodable> {
        convert::opening(kind, body)
    }

    async fn handle(&self, tx: Tx, events: &[Opening]) -> Result<Tx, Error> {
        follow_products(tx, events).await
    }
}
