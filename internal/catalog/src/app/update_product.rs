use palinode_db::Tx;
use palinode_outbox::Held;
use palinode_telemetry::TraceContext;
use palinode_values::ProductId;

use super::announce;
use crate::app::{Desk, Error};
use crate::convert;
use crate::domain::{Change, Product, Reason};
use crate::store::products::{self, Found};

/// A change that is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) id: ProductId,
    pub(crate) change: Change,
    /// The revision that it is meant for; `None`: whichever it is.
    pub(crate) revision: Option<i64>,
    pub(crate) trace: TraceContext,
}

/// Changes a product. What changes nothing is no revision.
///
/// # Errors
/// `PRODUCT_NOT_FOUND`; `REVISION_CHANGED`; `CATEGORY_NOT_FOUND`.
pub(crate) async fn update_product(desk: &Desk, wanted: &Wanted) -> Result<Product, Error> {
    let product = desk
        .db
        .run_tx("catalog.update", |tx| update(tx, desk, wanted))
        .await?;
    desk.doorbell.ring();
    Ok(product)
}

async fn update(mut tx: Tx, desk: &Desk, wanted: &Wanted) -> Result<(Tx, Product), Error> {
    let product = match products::lock(&mut tx, wanted.id).await? {
        Found::Live(product) => *product,
        Found::Deleted | Found::NotThere => return Err(Error::Refused(Reason::ProductNotFound)),
    };
    if wanted.revision.is_some_and(|r| r != product.revision) {
        return Err(Error::Refused(Reason::RevisionChanged));
    }
    let Some(changed) = wanted.change.of(&product) else {
        return Ok((tx, product));
    };
    let written = products::update(&mut tx, &changed).await?;
    let product = written.ok_or(Error::Refused(Reason::CategoryNotFound))?;
    let record = convert::product_updated(&product, &desk.clock, &wanted.trace);
    let held = Held::by_lock(&tx, [record.key.clone()]);
    announce(&mut tx, &held, record).await?;
    Ok((tx, product))
}
