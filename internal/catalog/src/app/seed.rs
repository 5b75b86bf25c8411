use palinode_db::Db;
use palinode_outbox::Doorbell;
use palinode_telemetry::TraceContext;
use palinode_values::{Clock, Money, ProductId, Sku};
use uuid::Uuid;

use super::create_product::insert;
use crate::app::{Desk, Error, Failed};
use crate::domain::{Category, Draft};
use crate::store::{categories, products};

/// What ids of seeded products are made in.
const NAMESPACE: Uuid = Uuid::from_u128(0x0197_a1c2_0000_7000_8000_0000_0000_c47a);

/// A product for demonstrations.
#[derive(Debug, Clone)]
pub struct Seed {
    /// Stock keeping unit.
    pub sku: Sku,
    /// Shown.
    pub name: String,
    /// Shown.
    pub description: String,
    /// Id of one of the categories that are seeded with it.
    pub category: String,
    /// Of one piece.
    pub price: Money,
    /// Where its picture is; may be empty.
    pub picture_url: String,
    /// Pieces that its stock begins with.
    pub initial_stock: i64,
}

/// A category for demonstrations.
#[derive(Debug, Clone)]
pub struct SeedCategory {
    /// 1 to 64 characters of `a-z 0-9 -`.
    pub id: String,
    /// Shown.
    pub name: String,
}

/// The id of a seeded product: the same at each start, so that documents can name it.
#[must_use]
pub fn product_id_of(sku: &Sku) -> ProductId {
    ProductId(Uuid::new_v5(&NAMESPACE, sku.as_str().as_bytes()))
}

/// Creates categories and products, once, with the events of any other: repeated, it changes nothing. A
/// product that was changed meanwhile stays as it is, one that was deleted stays deleted.
///
/// # Errors
/// The database's. What was created before it failed is kept.
pub async fn seed(
    db: &Db,
    clock: &Clock,
    all_categories: &[SeedCategory],
    seeds: &[Seed],
) -> Result<(), Failed> {
    for SeedCategory { id, name } in all_categories {
        let (id, name) = (id.clone(), name.clone());
        let made = categories::make(db, &Category { id, name }).await;
        made.map_err(Error::from)?;
    }
    let desk = Desk {
        db: db.clone(),
        clock: clock.clone(),
        doorbell: Doorbell::new(),
    };
    for seed in seeds {
        put_in(&desk, seed).await?;
    }
    Ok(())
}

async fn put_in(desk: &Desk, seed: &Seed) -> Result<(), Error> {
    let id = product_id_of(&seed.sku);
    let draft = &Draft {
        sku: seed.sku.clone(),
        name: seed.name.clone(),
        description: seed.description.clone(),
        category: Some(seed.category.clone()),
        price: seed.price,
        picture_url: seed.picture_url.clone(),
        initial_stock: seed.initial_stock,
    };
    let trace = &TraceContext::root();
    desk.db
        .run_tx("catalog.seed", async |mut tx| {
            if !products::is_known(&mut tx, id, &draft.sku).await? {
                insert(&mut tx, desk, id, draft, trace).await?;
            }
            Ok((tx, ()))
        })
        .await
}
