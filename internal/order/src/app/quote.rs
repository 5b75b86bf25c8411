use std::time::Duration;

use palinode_db::Tx;
use palinode_values::{QuoteId, Sku, UserId};

use super::Desk;
use super::place::{Key, KeyError, PlaceError, claimed_by, of_cart, priced};
use crate::domain::Quote;
use crate::store;

/// How long the prices of a quote hold.
pub(crate) const HOLDS: Duration = Duration::from_secs(15 * 60);

/// What asking for a quote came to.
#[derive(Debug)]
pub(crate) enum Quoted {
    /// It was written now.
    New(Quote),
    /// The same request with the same key was answered before.
    Before(Quote),
}

/// Quotes `wanted`, or what is in the user's cart when that is empty: its prices hold for [`HOLDS`], by the
/// clock of the desk. Nothing is held, and the cart stays as it is.
///
/// # Errors
/// Those of an order of the same.
pub(crate) async fn quote(
    desk: &Desk,
    user: &UserId,
    wanted: &[(Sku, i32)],
    key: Option<&Key>,
) -> Result<Quoted, PlaceError> {
    // drawn once: a second run of the transaction writes the same quote
    let id = QuoteId::new(&desk.clock);
    desk.db
        .run_tx("order.quote", |mut tx| async move {
            if let Some(key) = key
                && let Some(before) = before(&mut tx, user, key, id).await?
            {
                return Ok((tx, Quoted::Before(before)));
            }
            let (lines, total) = if wanted.is_empty() {
                let cart = store::cart::get(&mut tx, user).await?;
                of_cart(&mut tx, &cart).await?
            } else {
                let skus = wanted.iter().map(|(sku, _)| sku);
                priced(wanted, &store::product::of(&mut tx, skus).await?)?
            };
            let created_at = desk.clock.now();
            let quote = Quote {
                id,
                user: user.clone(),
                lines,
                total,
                created_at,
                expires_at: created_at + HOLDS,
                sold_as: None,
            };
            store::quote::insert(&mut tx, &quote).await?;
            Ok((tx, Quoted::New(quote)))
        })
        .await
}

/// Claims the key for a quote, or finds the one that it stands for.
async fn before(
    tx: &mut Tx,
    user: &UserId,
    key: &Key,
    id: QuoteId,
) -> Result<Option<Quote>, PlaceError> {
    let made = claimed_by(tx, user, key, id.0).await;
    let made = made.map_err(|error| match error {
        KeyError::Reused => PlaceError::KeyReused,
        KeyError::Database(error) => PlaceError::Database(error),
    })?;
    let Some(made) = made else { return Ok(None) };
    let made = QuoteId(made);
    // keys and quotes are kept for the same time, and purged one after the other
    let quote = store::quote::get(tx.conn(), made).await?;
    quote.map(Some).ok_or(PlaceError::QuoteNotFound(made))
}
