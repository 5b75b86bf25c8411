use palinode_db::{AsDbError, Db, Error, Tx};
use palinode_rpc::Violations;
use palinode_values::{Coded, ErrorCode, Sku, UserId};

use crate::domain::{CartFull, ShownLine};
use crate::store;

/// Why a cart is not changed, or shown. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CartError {
    #[error("the request is not valid")]
    Invalid(#[source] Violations),
    #[error(transparent)]
    Full(#[from] CartFull),
    #[error("the cart cannot be read or written")]
    Database(#[from] Error),
}

impl AsDbError for CartError {
    fn as_db_error(&self) -> Option<&Error> {
        match self {
            Self::Database(error) => Some(error),
            Self::Invalid(_) | Self::Full(_) => None,
        }
    }
}

impl Coded for CartError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::Invalid,
            Self::Full(_) => ErrorCode::Refused,
            Self::Database(error) => error.code(),
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Invalid(_) => "INVALID_REQUEST",
            Self::Full(_) => "CART_FULL",
            Self::Database(error) => error.reason(),
        }
    }
}

/// What is in a user's cart, at the prices of now.
///
/// # Errors
/// Those of the database.
pub(crate) async fn show(db: &Db, user: &UserId) -> Result<Vec<ShownLine>, CartError> {
    Ok(store::cart::show(db.pool(), user).await?)
}

/// Sets how many pieces of `sku` are in a user's cart; the cart as it is then.
///
/// # Errors
/// `Invalid`: it cannot be ordered. `Full`: there are as many lines as there may be.
pub(crate) async fn set_line(
    db: &Db,
    user: &UserId,
    sku: &Sku,
    quantity: i32,
) -> Result<Vec<ShownLine>, CartError> {
    db.run_tx("cart.set", |mut tx| async move {
        if !store::product::of(&mut tx, [sku]).await?.contains_key(sku) {
            let words = format!("{sku} cannot be ordered");
            let unknown = Violations::of("sku", "UNKNOWN_SKU", words);
            return Err(CartError::Invalid(unknown));
        }
        let mut cart = store::cart::lock_or_make(&mut tx, user).await?;
        cart.set(sku, quantity)?;
        store::cart::save(&mut tx, user, &cart).await?;
        shown(tx, user).await
    })
    .await
}

/// Takes `sku` out of a user's cart; the cart as it is then.
///
/// # Errors
/// Those of the database.
pub(crate) async fn remove_line(
    db: &Db,
    user: &UserId,
    sku: &Sku,
) -> Result<Vec<ShownLine>, CartError> {
    db.run_tx("cart.remove", |mut tx| async move {
        let mut cart = store::cart::lock(&mut tx, user).await?;
        if cart.remove(sku) {
            store::cart::save(&mut tx, user, &cart).await?;
        }
        shown(tx, user).await
    })
    .await
}

/// Empties a user's cart.
///
/// # Errors
/// Those of the database.
pub(crate) async fn empty(db: &Db, user: &UserId) -> Result<(), CartError> {
    db.run_tx("cart.empty", |mut tx| async move {
        store::cart::delete(&mut tx, user.as_str()).await?;
        Ok((tx, ()))
    })
    .await
}

async fn shown(mut tx: Tx, user: &UserId) -> Result<(Tx, Vec<ShownLine>), CartError> {
    let lines = store::cart::show(tx.conn(), user).await?;
    Ok((tx, lines))
}
