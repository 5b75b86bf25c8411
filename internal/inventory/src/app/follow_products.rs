use std::collections::BTreeMap;

use palinode_db::{Error, Tx};
use palinode_values::Sku;

use crate::domain::Opening;
use crate::store;

/// Opens the stock of products that were created, with what they begin with. Where there is stock
/// already, nothing is added: the event is a repeat, or the stock was put in before.
pub(crate) async fn follow_products(mut tx: Tx, openings: &[Opening]) -> Result<Tx, Error> {
    // each once, in the order in which rows are locked
    let mut first: BTreeMap<&Sku, i64> = BTreeMap::new();
    for Opening { sku, quantity } in openings {
        first.entry(sku).or_insert(*quantity);
    }
    store::open(&mut tx, &first).await?;
    Ok(tx)
}
