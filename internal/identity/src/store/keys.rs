use palinode_db::{Error, Tx};
use palinode_values::Timestamp;

use crate::domain::{KEPT_AFTER, Stored};

/// Any number that nobody else locks.
const LOCK: i64 = 0x6964_656e_7469_7479;

/// Waits until no other instance changes keys, or makes the first administrator.
pub(crate) async fn lock(tx: &mut Tx) -> Result<(), Error> {
    sqlx::query!(
        r#"SELECT pg_advisory_xact_lock($1)::text AS "locked""#,
        LOCK
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(())
}

/// The keys that are published, by when they begin to sign.
pub(crate) async fn all(tx: &mut Tx) -> Result<Vec<Stored>, Error> {
    let keys = sqlx::query_as!(
        Stored,
        "SELECT pkcs8, signs_from FROM signing_key ORDER BY signs_from, id",
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(keys)
}

/// Writes a key that was drawn.
pub(crate) async fn insert(
    tx: &mut Tx,
    id: &str,
    pkcs8: &[u8],
    signs_from: Timestamp,
) -> Result<(), Error> {
    sqlx::query!(
        "INSERT INTO signing_key (id, pkcs8, signs_from) VALUES ($1, $2, $3)",
        id,
        pkcs8,
        signs_from,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Removes keys whose last token has expired.
pub(crate) async fn purge(tx: &mut Tx) -> Result<(), Error> {
    sqlx::query!(
        "DELETE FROM signing_key k
          WHERE EXISTS (SELECT FROM signing_key next
                         WHERE next.signs_from > k.signs_from
                           AND next.signs_from + make_interval(secs => $1) <= now())",
        KEPT_AFTER.as_secs_f64(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
