use palinode_db::Tx;
use palinode_outbox::Held;
use palinode_telemetry::TraceContext;
use palinode_values::{ProductId, UserId};

use super::announce;
use crate::app::{Desk, Error};
use crate::convert;
use crate::domain::{Draft, Product, Reason};
use crate::store::creations;
use crate::store::products::{self, Inserted};

/// The idempotency key of a creation: each user has keys of his own.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) user: UserId,
    pub(crate) key: String,
    /// SHA-256 of what was asked for.
    pub(crate) fingerprint: [u8; 32],
}

/// A product that is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) draft: Draft,
    pub(crate) key: Option<Key>,
    pub(crate) trace: TraceContext,
}

/// The product that there is.
#[derive(Debug, Clone)]
pub(crate) enum Created {
    /// By this call.
    New(Product),
    /// By an earlier one with the same key; as it is now.
    Before(Product),
}

/// Creates a product.
///
/// # Errors
/// `SKU_TAKEN`; `CATEGORY_NOT_FOUND`; `IDEMPOTENCY_KEY_REUSED`: the key came with another product;
/// `PRODUCT_NOT_FOUND`: what was created with it is deleted.
pub(crate) async fn create_product(desk: &Desk, asked: &Asked) -> Result<Created, Error> {
    let id = ProductId::new(&desk.clock);
    let created = desk
        .db
        .run_tx("catalog.create", |tx| create(tx, desk, asked, id))
        .await?;
    if let Created::New(_) = created {
        desk.doorbell.ring();
    }
    Ok(created)
}

async fn create(
    mut tx: Tx,
    desk: &Desk,
    asked: &Asked,
    id: ProductId,
) -> Result<(Tx, Created), Error> {
    // the key before the product: of two calls with the same key, the second would be told that its own
    // SKU is taken
    if let Some(Key {
        user,
        key,
        fingerprint,
    }) = &asked.key
        && !creations::take_key(&mut tx, user, key, fingerprint, id).await?
    {
        let before = creations::find(&mut tx, user, key).await?;
        if before.fingerprint != fingerprint {
            return Err(Error::Refused(Reason::KeyReused));
        }
        let product = products::find(tx.conn(), before.product).await?;
        let product = product.ok_or(Error::Refused(Reason::ProductNotFound))?;
        return Ok((tx, Created::Before(product)));
    }
    let product = insert(&mut tx, desk, id, &asked.draft, &asked.trace).await?;
    Ok((tx, Created::New(product)))
}

/// Writes a product that is new, and its event.
pub(super) async fn insert(
    tx: &mut Tx,
    desk: &Desk,
    id: ProductId,
    draft: &Draft,
    trace: &TraceContext,
) -> Result<Product, Error> {
    let product = match products::insert(tx, id, draft).await? {
        Inserted::Product(product) => *product,
        Inserted::SkuTaken => return Err(Error::Refused(Reason::SkuTaken)),
        Inserted::NoCategory => return Err(Error::Refused(Reason::CategoryNotFound)),
    };
    let record = convert::product_created(&product, draft.initial_stock, &desk.clock, trace);
    let held = Held::by_insert(tx, [record.key.clone()]);
    announce(tx, &held, record).await?;
    Ok(product)
}
