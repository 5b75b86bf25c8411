use bytes::Bytes;
use palinode_db::{Error, Tx};
use palinode_participant::{EventHandler, Undecodable};
use palinode_pb::catalog::v1::{ProductCreated, ProductDeleted, ProductUpdated};
use prost::{Message, Name};

use crate::convert;
use crate::domain::Revised;
use crate::store;

/// Handles `catalog.events`: what can be ordered, and at which price.
#[derive(Debug)]
pub(crate) struct Products;

impl EventHandler for Products {
    type Event = Revised;

    fn decode(&self, kind: &str, body: &Bytes) -> Result<Option<Revised>, Undecodable> {
        let revised = if kind == ProductCreated::full_name() {
            convert::product_sold(ProductCreated::decode(body.clone())?.product)
        } else if kind == ProductUpdated::full_name() {
            convert::product_sold(ProductUpdated::decode(body.clone())?.product)
        } else if kind == ProductDeleted::full_name() {
            convert::product_deleted(&ProductDeleted::decode(body.clone())?)
        } else {
            return Ok(None);
        };
        revised.map(Some).map_err(Undecodable)
    }

    async fn handle(&self, mut tx: Tx, heard: &[Revised]) -> Result<Tx, Error> {
        store::product::revise(&mut tx, heard).await?;
        Ok(tx)
    }
}
