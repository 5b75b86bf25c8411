//! Users who were deleted, and what orders still keep of them.

use std::collections::BTreeSet;
use std::time::Duration;

use palinode_db::{Error, Tx};
use palinode_values::UserId;
use uuid::Uuid;

/// One whose orders are to be looked at.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) user_id: String,
    /// The last order that this look has seen; `None`: it begins.
    pub(crate) looked_to: Option<Uuid>,
}

/// What a look at some orders of a user came to.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) seen: i64,
    /// Those that named him, and those of them that name him no more.
    pub(crate) named_him: i64,
    pub(crate) anonymised: i64,
    pub(crate) last: Option<Uuid>,
}

/// Notes who was deleted; who is noted already stays as he is.
pub(crate) async fn note(tx: &mut Tx, users: &[UserId]) -> Result<(), Error> {
    // in key order: two batches would wait for each other
    let users: BTreeSet<&str> = users.iter().map(UserId::as_str).collect();
    let users: Vec<&str> = users.into_iter().collect();
    sqlx::query!(
        "INSERT INTO deleted_user (user_id) SELECT * FROM unnest($1::text[]) ON CONFLICT DO NOTHING",
        &users as &[&str],
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Locks the one who is due first; whom somebody else holds is left to him.
pub(crate) async fn lock_due(tx: &mut Tx) -> Result<Option<Due>, Error> {
    let due = sqlx::query_as!(
        Due,
        "SELECT user_id, looked_to FROM deleted_user WHERE next_look_at <= now()
          ORDER BY next_look_at LIMIT 1 FOR UPDATE SKIP LOCKED"
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(due)
}

/// Looks at the next orders of a user, at most `limit`, and takes what identifies him out of those that
/// are over. Orders that somebody holds are left for the next look.
pub(crate) async fn anonymise(tx: &mut Tx, due: &Due, limit: i64) -> Result<Page, Error> {
    let page = sqlx::query_file_as!(
        Page,
        "src/sql/anonymise.sql",
        due.user_id,
        due.looked_to,
        limit
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(page)
}

/// The look goes on behind this page, in the next transaction.
pub(crate) async fn go_on(tx: &mut Tx, user: &str, page: &Page) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE deleted_user SET looked_to = $2, left_some = left_some OR $3 WHERE user_id = $1",
        user,
        page.last,
        page.has_left_some(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The look is over with this page. Sets when the next one begins: never, once it has left no order that
/// names him and `tokens_live` has gone by, after which he can place none; else after as much time as has
/// gone by since he was deleted, at least a second and `pause_max` at the most.
pub(crate) async fn look_again(
    tx: &mut Tx,
    user: &str,
    page: &Page,
    tokens_live: Duration,
    pause_max: Duration,
) -> Result<(), Error> {
    sqlx::query_file!(
        "src/sql/look_again.sql",
        user,
        page.has_left_some(),
        tokens_live.as_secs_f64(),
        pause_max.as_secs_f64(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

impl Page {
    fn has_left_some(&self) -> bool {
        self.anonymised < self.named_him
    }
}
