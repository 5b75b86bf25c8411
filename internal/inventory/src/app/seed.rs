use palinode_db::Db;
use palinode_values::{Coded, ErrorCode, Sku};

use super::{Adjustment, Error, adjust_stock};

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
/// Shape: each SKU once, quantities above 0.
///
/// # Errors
/// `Unavailable`: run again. `Conflict`: the SKU was seeded with another quantity before.
pub async fn seed(db: &Db, stock: &[(Sku, i64)]) -> Result<(), SeedError> {
    for (sku, quantity) in stock {
        let adjustment = Adjustment {
            sku: sku.clone(),
            delta: *quantity,
            reason: "seed".to_owned(),
            request: Some(format!("seed/{sku}")),
        };
        adjust_stock(db, &adjustment)
            .await
            .map_err(|cause| SeedError {
                sku: sku.clone(),
                cause: Box::new(cause),
            })?;
    }
    Ok(())
}
