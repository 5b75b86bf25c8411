use std::time::Duration;

use palinode_db::{Db, Error, Tx};
use palinode_values::Timestamp;

/// SHA-256 of a login, lower case.
pub(crate) type Login = [u8; 32];

/// A login in small letters, as the database sees them.
pub(crate) async fn fold(db: &Db, login: &str) -> Result<String, Error> {
    let folded = sqlx::query_scalar!(r#"SELECT lower($1) AS "folded!""#, login);
    Ok(folded.fetch_one(db.pool()).await?)
}

/// How much longer a login is refused.
pub(crate) async fn refused_for(db: &Db, login: &Login) -> Result<Option<Duration>, Error> {
    let row = sqlx::query!(
        r#"SELECT refused_until, now() AS "now!" FROM sign_in_failure
            WHERE login = $1 AND refused_until > now()"#,
        &login[..],
    )
    .fetch_optional(db.pool())
    .await?;
    Ok(row.map(|row| until(row.refused_until, row.now)))
}

/// The same, and nobody else counts for this login until the end of the transaction.
pub(crate) async fn lock(tx: &mut Tx, login: &Login) -> Result<Option<Duration>, Error> {
    let refused_until = sqlx::query_scalar!(
        "SELECT refused_until FROM sign_in_failure WHERE login = $1 FOR UPDATE",
        &login[..],
    )
    .fetch_optional(tx.conn())
    .await?;
    let now = tx.now();
    Ok(refused_until
        .filter(|refused_until| *refused_until > now)
        .map(|refused_until| until(refused_until, now)))
}

/// Counts a wrong password: how many there are in a row; `None`: the login is refused by now.
pub(crate) async fn count(tx: &mut Tx, login: &Login) -> Result<Option<u32>, Error> {
    let failures = sqlx::query_scalar!(
        "INSERT INTO sign_in_failure (login, failures) VALUES ($1, 1)
         ON CONFLICT (login) DO UPDATE
            SET failures = least(sign_in_failure.failures, 1000000) + 1, last_failed_at = now()
          -- of many that were verified at the same time, those behind the fifth are told nothing
          WHERE sign_in_failure.refused_until <= now()
         RETURNING failures",
        &login[..],
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(failures.map(|failures| u32::try_from(failures).unwrap_or_default()))
}

/// Refuses a login for a while.
pub(crate) async fn refuse(tx: &mut Tx, login: &Login, pause: Duration) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE sign_in_failure SET refused_until = now() + make_interval(secs => $2) WHERE login = $1",
        &login[..],
        pause.as_secs_f64(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Forgets the wrong passwords of a login.
pub(crate) async fn clear(tx: &mut Tx, login: &Login) -> Result<(), Error> {
    sqlx::query!("DELETE FROM sign_in_failure WHERE login = $1", &login[..])
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Removes what is older than a day.
pub(crate) async fn purge(tx: &mut Tx) -> Result<(), Error> {
    sqlx::query!("DELETE FROM sign_in_failure WHERE last_failed_at < now() - interval '1 day'")
        .execute(tx.conn())
        .await?;
    Ok(())
}

fn until(refused_until: Timestamp, now: Timestamp) -> Duration {
    (refused_until - now).to_std().unwrap_or_default()
}
