use palinode_db::Tx;
use palinode_outbox::Held;
use palinode_telemetry::TraceContext;
use palinode_values::ProductId;

use super::announce;
use crate::app::{Desk, Error};
use crate::convert;
use crate::domain::Reason;
use crate::store::products::{self, Found};

/// Deletes a product; its SKU stays taken. Again, it changes nothing.
///
/// # Errors
/// `PRODUCT_NOT_FOUND`: there never was one.
pub(crate) async fn delete_product(
    desk: &Desk,
    id: ProductId,
    trace: &TraceContext,
) -> Result<(), Error> {
    desk.db
        .run_tx("catalog.delete", |tx| delete(tx, desk, id, trace))
        .await?;
    desk.doorbell.ring();
    Ok(())
}

async fn delete(
    mut tx: Tx,
    desk: &Desk,
    id: ProductId,
    trace: &TraceContext,
) -> Result<(Tx, ()), Error> {
    let product = match products::lock(&mut tx, id).await? {
        Found::Live(product) => *product,
        Found::Deleted => return Ok((tx, ())),
        Found::NotThere => return Err(Error::Refused(Reason::ProductNotFound)),
    };
    let revision = products::delete(&mut tx, id).await?;
    let record = convert::product_deleted(&product, revision, &desk.clock, trace);
    let held = Held::by_lock(&tx, [record.key.clone()]);
    announce(&mut tx, &held, record).await?;
    Ok((tx, ()))
}
