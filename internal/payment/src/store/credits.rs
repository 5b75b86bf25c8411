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

/// Forgets callers' keys that are older than `kept`, `limit` at the most; returns how many.
pub(crate) async fn forget_keys(db: &Db, kept: Duration, limit: i64) -> Result<u64, Error> {
    let forgotten = sqlx::query!(
        "DELETE FROM wallet_credit WHERE (caller, key) IN (
           SELECT caller, key FROM wallet_credit
            WHERE at < now() - make_interval(secs => $1) AND caller <> ''
            ORDER BY at LIMIT $2)",
        kept.as_secs_f64(),
        limit
    )
    .execute(db.pool())
    .await?;
    Ok(forgotten.rows_affected())
}

/// Takes a key of a caller's, or of nobody's, for a credit. A second taker waits here until the first has
/// committed.
pub(crate) async fn take_key(
    tx: &mut Tx,
    (caller, key): (Option<&UserId>, &str),
    user: &UserId,
    amount: Money,
) -> Result<Key, Error> {
    let caller = caller.map_or("", UserId::as_str);
    let inserted = sqlx::query!(
        "INSERT INTO wallet_credit (caller, key, user_id, amount_minor, currency)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (caller, key) DO NOTHING",
        caller,
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
        r#"SELECT (user_id, amount_minor, currency) = ($3, $4, $5) AS "is_same!"
             FROM wallet_credit WHERE caller = $1 AND key = $2"#,
        caller,
        key,
        user.as_str(),
        amount.minor,
        amount.currency.as_str(),
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(if is_same { Key::Repeated } else { Key::Reused })
}
