use palinode_db::{Db, Error, Tx};
use palinode_values::UserId;

/// A registration that came with a key.
pub(crate) struct Before {
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) account: UserId,
}

/// Takes a key for a registration; whether it was free. A second taker waits here until the first has
/// committed.
pub(crate) async fn take_key(
    tx: &mut Tx,
    key: &str,
    fingerprint: &[u8],
    account: &UserId,
) -> Result<bool, Error> {
    let inserted = sqlx::query!(
        "INSERT INTO registration (key, fingerprint, account_id) VALUES ($1, $2, $3)
         ON CONFLICT (key) DO NOTHING",
        key,
        fingerprint,
        account.as_str(),
    )
    .execute(tx.conn())
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// What came with a key.
pub(crate) async fn find(db: &Db, key: &str) -> Result<Option<Before>, Error> {
    let row = sqlx::query!(
        r#"SELECT fingerprint, account_id AS "account_id!" FROM registration WHERE key = $1"#,
        key,
    )
    .fetch_optional(db.pool())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let account = row
        .account_id
        .parse()
        .map_err(|why| Error::inconsistent("registration", "account_id", key, why))?;
    Ok(Some(Before {
        fingerprint: row.fingerprint,
        account,
    }))
}
