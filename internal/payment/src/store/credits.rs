use std::time::Duration;

use palinode_db::{Db, Error, Tx};
use palinode_values::{Money, UserId};

/// What became of an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// It is ours: credit the wallet.
    New,
    /// The same credit was made before.
    Repeated,
    /// It came with another credit before.
    Reused,
}

/// Forgets keys that are older than `kept`, `limit` at the most; returns how many.
pub(crate) async fn forget_keys(db: &Db, kept: Duration, limit: i64) -> Result<u64, Error> {
    let forgotten = sqlx::query!(
        "DELETE FROM wallet_credit WHERE key IN (
           SELECT key FROM wallet_credit WHERE at < now() - make_interval(secs => $1)
            ORDER BY at LIMIT $2)",
        kept.as_secs_f64(),
        limit
    )
    .execute(db.pool())
    .await?;
    Ok(forgotten.rows_affected())
}

/// Takes a key for a credit. A second taker waits here until the first has committed.
pub(crate) async fn take_key(
    tx: &mut Tx,
    key: &str,
    user: &UserId,
    amount: Money,
) -> Result<Key, Error> {
    let inserted = sqlx::query!(
        "INSERT INTO wallet_credit (key, user_id, amount_minor, currency) VALUES ($1, $2, $3, $4)
         ON CONFLICT (key) DO NOTHING",
        key,
        user.as_str(),
        amount.minor,
        amount.currency.as_str(),
    )
    .execute(tx.conn())
    .await?
    .rows_affected();
    if inserted == 1 {
        return Ok(Key::New);
    }
    let is_same = sqlx::query_scalar!(
        r#"SELECT (user_id, amount_minor, currency) = ($2, $3, $4) AS "is_same!"
             FROM wallet_credit WHERE key = $1"#,
        key,
        user.as_str(),
        amount.minor,
        amount.currency.as_str(),
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(if is_same { Key::Repeated } else { Key::Reused })
}
