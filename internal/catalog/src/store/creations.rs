use std::time::Duration;

use palinode_db::{Db, Error, Tx};
use palinode_values::{ProductId, UserId};

/// A product that was created with a key.
pub(crate) struct Before {
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) product: ProductId,
}

/// Takes a key of a user for a product; whether it was free. A second taker waits here until the first
/// has committed.
pub(crate) async fn take_key(
    tx: &mut Tx,
    user: &UserId,
    key: &str,
    fingerprint: &[u8],
    product: ProductId,
) -> Result<bool, Error> {
    let inserted = sqlx::query!(
        "INSERT INTO creation (user_id, key, fingerprint, product_id) VALUES ($1, $2, $3, $4)
         ON CONFLICT (user_id, key) DO NOTHING",
        user.as_str(),
        key,
        fingerprint,
        product.0,
    )
    .execute(tx.conn())
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// What came with a key that is taken, as the transaction sees it.
pub(crate) async fn find(tx: &mut Tx, user: &UserId, key: &str) -> Result<Before, Error> {
    let row = sqlx::query!(
        "SELECT fingerprint, product_id FROM creation WHERE user_id = $1 AND key = $2",
        user.as_str(),
        key,
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(Before {
        fingerprint: row.fingerprint,
        product: ProductId(row.product_id),
    })
}

/// Forgets keys that are older than `kept`, `limit` at the most; returns how many.
pub(crate) async fn forget_keys(db: &Db, kept: Duration, limit: i64) -> Result<u64, Error> {
    let forgotten = sqlx::query!(
        "DELETE FROM creation WHERE (user_id, key) IN (
           SELECT user_id, key FROM creation WHERE at < now() - make_interval(secs => $1)
            ORDER BY at LIMIT $2)",
        kept.as_secs_f64(),
        limit
    )
    .execute(db.pool())
    .await?;
    Ok(forgotten.rows_affected())
}
