use palinode_db::{Error, Tx};
use palinode_values::{SessionId, Timestamp, UserId};

use crate::domain::{Ended, LIFETIME_MAX, LIVE_MAX, LIVES_FOR, Session};

/// A row of `session`, as every statement here selects it.
struct Row {
    id: uuid::Uuid,
    account_id: String,
    secret: Vec<u8>,
    generation: i32,
    rotated_at: Timestamp,
    expires_at: Timestamp,
    ended_at: Option<Timestamp>,
}

impl Row {
    fn read(self) -> Result<Session, Error> {
        let bad = |column, why: &str| Error::inconsistent("session", column, self.id, why);
        Ok(Session {
            id: SessionId(self.id),
            account: self
                .account_id
                .parse()
                .map_err(|_no_id| bad("account_id", "is no user id"))?,
            secret: self
                .secret
                .try_into()
                .map_err(|_length| bad("secret", "has not 32 bytes"))?,
            generation: self.generation,
            rotated_at: self.rotated_at,
            expires_at: self.expires_at,
            is_ended: self.ended_at.is_some(),
        })
    }
}

/// Opens a session. The transaction holds the row of the account; of too many live sessions the oldest end.
pub(crate) async fn insert(
    tx: &mut Tx,
    id: SessionId,
    account: &UserId,
    secret: &[u8; 32],
) -> Result<Session, Error> {
    sqlx::query!(
        "UPDATE session SET ended_at = now(), ended_reason = $3
          WHERE id IN (SELECT id FROM session
                        WHERE account_id = $1 AND ended_at IS NULL AND expires_at > now()
                        ORDER BY created_at DESC, id DESC OFFSET $2)",
        account.as_str(),
        LIVE_MAX - 1,
        Ended::TooMany.as_str(),
    )
    .execute(tx.conn())
    .await?;
    let row = sqlx::query_as!(
        Row,
        r#"INSERT INTO session (id, account_id, secret, generation, expires_at)
           VALUES ($1, $2, $3, 1, now() + make_interval(secs => $4))
           RETURNING id, account_id AS "account_id!", secret, generation, rotated_at, expires_at, ended_at"#,
        id.0,
        account.as_str(),
        &secret[..],
        LIVES_FOR.as_secs_f64(),
    )
    .fetch_one(tx.conn())
    .await?;
    row.read()
}

/// A session that waits for us from now on.
pub(crate) async fn lock(tx: &mut Tx, id: SessionId) -> Result<Option<Session>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT id, account_id AS "account_id!", secret, generation, rotated_at, expires_at, ended_at
             FROM session WHERE id = $1 FOR UPDATE"#,
        id.0,
    )
    .fetch_optional(tx.conn())
    .await?;
    row.map(Row::read).transpose()
}

/// Makes the next generation of a session that the transaction has locked.
pub(crate) async fn rotate(tx: &mut Tx, session: &Session) -> Result<Session, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"UPDATE session
              SET generation = generation + 1, rotated_at = now(),
                  expires_at = least(now() + make_interval(secs => $3), created_at + make_interval(secs => $4))
            WHERE id = $1 AND generation = $2 AND ended_at IS NULL
           RETURNING id, account_id AS "account_id!", secret, generation, rotated_at, expires_at, ended_at"#,
        session.id.0,
        session.generation,
        LIVES_FOR.as_secs_f64(),
        LIFETIME_MAX.as_secs_f64(),
    )
    .fetch_one(tx.conn())
    .await?;
    row.read()
}

/// Ends a session that has not ended.
pub(crate) async fn end(tx: &mut Tx, id: SessionId, why: Ended) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE session SET ended_at = now(), ended_reason = $2 WHERE id = $1 AND ended_at IS NULL",
        id.0,
        why.as_str(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Ends the sessions of an account, but for one.
pub(crate) async fn end_others(
    tx: &mut Tx,
    account: &UserId,
    but: Option<SessionId>,
    why: Ended,
) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE session SET ended_at = now(), ended_reason = $3
          WHERE account_id = $1 AND id IS DISTINCT FROM $2 AND ended_at IS NULL",
        account.as_str(),
        but.map(|id| id.0),
        why.as_str(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Removes sessions that were over a day ago.
pub(crate) async fn purge(tx: &mut Tx) -> Result<(), Error> {
    sqlx::query!("DELETE FROM session WHERE expires_at < now() - interval '1 day'")
        .execute(tx.conn())
        .await?;
    sqlx::query!("DELETE FROM session WHERE ended_at < now() - interval '1 day'")
        .execute(tx.conn())
        .await?;
    Ok(())
}
