use palinode_db::{Db, Tx};
use palinode_values::{Sku, UserId};

use super::Error;
use crate::domain::{Level, Reason, Refusal};
use crate::store::{self, Movement};

/// A wish to put pieces into stock, or to take some out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Adjustment {
    pub(crate) sku: Sku,
    /// Not 0.
    pub(crate) delta: i64,
    pub(crate) reason: String,
    /// Who wishes it; `None`: a seed.
    pub(crate) caller: Option<UserId>,
    /// Idempotency key of the caller's: a repeat changes nothing and hears the same.
    pub(crate) request: Option<String>,
    /// A SKU that is not known is made known, which is what a seed does.
    pub(crate) opens: bool,
}

/// Adjusts the stock of one SKU; answers the level afterwards.
///
/// # Errors
/// `UNKNOWN_SKU`, `STOCK_HELD`, `IDEMPOTENCY_KEY_REUSED`; or the database's.
pub(crate) async fn adjust_stock(db: &Db, adjustment: &Adjustment) -> Result<Level, Error> {
    let adjusted = db
        .run_tx("stock.adjust", async |tx| adjust_in(tx, adjustment).await)
        .await;
    match adjusted {
        // the same key for another SKU, at the same moment
        Err(Error::Db(error)) if error.constraint() == Some("movement_request_key") => {
            Err(reused().into())
        }
        other => other,
    }
}

async fn adjust_in(mut tx: Tx, adjustment: &Adjustment) -> Result<(Tx, Level), Error> {
    let Adjustment {
        sku,
        delta,
        reason,
        caller,
        request,
        opens,
    } = adjustment;
    let caller = caller.as_ref().map_or("", UserId::as_str);
    let level = if *opens {
        store::lock_or_make(&mut tx, sku).await?
    } else {
        store::lock_one(&mut tx, sku).await?
    };
    // under the lock: of two equal requests the second waits here and finds the first
    if let Some(request) = request
        && let Some(made) = store::movement_of_request(&mut tx, caller, request).await?
    {
        if (&made.sku, made.delta, &made.reason) == (sku, *delta, reason) {
            return Ok((tx, made.level));
        }
        return Err(reused().into());
    }
    let Some(level) = level else {
        let detail = format!("{sku} is not known");
        return Err(Refusal {
            reason: Reason::UnknownSku,
            detail,
        }
        .into());
    };
    let level = level.adjusted(sku, *delta)?;
    store::adjust(&mut tx, sku, level).await?;
    let movement = Movement {
        sku: sku.clone(),
        delta: *delta,
        reason: reason.clone(),
        level,
    };
    store::insert_movement(&mut tx, &movement, caller, request.as_deref()).await?;
    Ok((tx, level))
}

fn reused() -> Refusal {
    let detail = "the idempotency key was used with another request".to_owned();
    Refusal {
        reason: Reason::IdempotencyKeyReused,
        detail,
    }
}
