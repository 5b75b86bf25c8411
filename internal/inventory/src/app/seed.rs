use palinode_db::Db;
use palinode_values::{Coded, ErrorCode, Sku};

use super::{Adjustment, Error, adjust_stock};
use crate::store;

/// Stock that could not be put in.
#[derive(Debug, thiserror::Error)]
#[error("{sku} cannot be seeded")]
pub struct SeedError {
    /// Which SKU; those before it are in stock.
    pub sku: Sku,
    #[source]
    cause: Box<Error>,
}

impl Coded for SeedError {
    fn code(&self) -> ErrorCode {
        self.cause.code()
    }

    fn reason(&self) -> &str {
        self.cause.reason()
    }
}

/// Puts `quantity` pieces of each SKU into stock, once: a second run of the same seed changes
/// nothing. For development and demonstrations.
///
/// Shape: each SKU once; a quantity of 0 makes a SKU known of which there is none.
///
/// # Errors
/// `Unavailable`: run again. `Conflict`: the SKU was seeded with another quantity before.
pub async fn seed(db: &Db, stock: &[(Sku, i64)]) -> Result<(), SeedError> {
    for (sku, quantity) in stock {
        put_in(db, sku, *quantity)
            .await
            .map_err(|cause| SeedError {
                sku: sku.clone(),
                cause: Box::new(cause),
            })?;
    }
    Ok(())
}

async fn put_in(db: &Db, sku: &Sku, quantity: i64) -> Result<(), Error> {
    if quantity == 0 {
        return db
            .run_tx("inventory.seed", |mut tx| async move {
                store::lock_or_make(&mut tx, sku).await?;
                Ok((tx, ()))
            })
            .await;
    }
    let adjustment = Adjustment {
        sku: sku.clone(),
        delta: quantity,
        reason: "seed".to_owned(),
        caller: None,
        request: Some(format!("seed/{sku}")),
        opens: true,
    };
    adjust_stock(db, &adjustment).await.map(drop)
}
