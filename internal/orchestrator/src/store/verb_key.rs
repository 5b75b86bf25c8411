//! Idempotency keys of verbs on one saga.

use palinode_db::{Db, Error, Tx};

use crate::convert::Key;

/// What a key stood for before.
#[derive(Debug)]
pub(crate) struct Before {
    /// Whether it came with the same request.
    pub(crate) is_same: bool,
    /// What was answered, protobuf.
    pub(crate) answer: Vec<u8>,
}

/// Takes the key for this transaction, or tells what it stood for before. Waits for whoever holds it.
pub(crate) async fn take(tx: &mut Tx, principal: &str, key: &Key) -> Result<Option<Before>, Error> {
    let taken = sqlx::query!(
        "INSERT INTO verb_key (principal, key, fingerprint) VALUES ($1, $2, $3)
         ON CONFLICT DO NOTHING",
        principal,
        key.key,
        key.fingerprint,
    )
    .execute(tx.conn())
    .await?;
    if taken.rows_affected() == 1 {
        return Ok(None);
    }
    let before = sqlx::query!(
        r#"SELECT fingerprint = $3 AS "is_same!", answer FROM verb_key
            WHERE principal = $1 AND key = $2"#,
        principal,
        key.key,
        key.fingerprint,
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(Some(Before {
        is_same: before.is_same,
        answer: before.answer,
    }))
}

/// Keeps what is answered with the key that was taken.
pub(crate) async fn keep(
    tx: &mut Tx,
    principal: &str,
    key: &Key,
    answer: &[u8],
) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE verb_key SET answer = $3 WHERE principal = $1 AND key = $2",
        principal,
        key.key,
        answer,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Forgets keys that nobody sends again, `limit` at the most.
pub(crate) async fn forget(db: &Db, limit: i64) -> Result<u64, Error> {
    let forgotten = sqlx::query!(
        "DELETE FROM verb_key WHERE (principal, key) IN (
           SELECT principal, key FROM verb_key
            WHERE created_at < now() - interval '7 d' ORDER BY created_at LIMIT $1)",
        limit
    )
    .execute(db.pool())
    .await?;
    Ok(forgotten.rows_affected())
}
