use palinode_db::{Error, Tx};
use palinode_values::{Money, UserId};
use sqlx::PgExecutor;

struct Row {
    user_id: String,
    balance_minor: i64,
    currency: String,
}

impl Row {
    fn read(self) -> Result<(UserId, Money), Error> {
        let bad = |column, why: &dyn ToString| {
            Error::inconsistent("wallet", column, &self.user_id, why.to_string())
        };
        let currency = self.currency.parse().map_err(|why| bad("currency", &why))?;
        let user = self.user_id.parse().map_err(|why| bad("user_id", &why))?;
        Ok((user, Money::new(self.balance_minor, currency)))
    }
}

/// Locks the wallets of `users` and reads their balances. Users without a wallet are left out.
pub(crate) async fn lock(tx: &mut Tx, users: &[String]) -> Result<Vec<(UserId, Money)>, Error> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    // in key order: two batches never wait for each other in a circle
    sqlx::query_as!(
        Row,
        "SELECT user_id, balance_minor, currency FROM wallet
          WHERE user_id = ANY($1) ORDER BY user_id FOR UPDATE",
        users,
    )
    .fetch_all(tx.conn())
    .await?
    .into_iter()
    .map(Row::read)
    .collect()
}

/// Adds to, or takes from, wallets that are locked: one row each, `deltas` in minor units.
///
/// # Errors
/// `Inconsistent`: a wallet is gone, or would fall below zero; nothing may be committed.
pub(crate) async fn add(tx: &mut Tx, deltas: &[(&UserId, i64)]) -> Result<(), Error> {
    if deltas.is_empty() {
        return Ok(());
    }
    let users: Vec<String> = deltas.iter().map(|(user, _)| user.to_string()).collect();
    let amounts: Vec<i64> = deltas.iter().map(|(_, delta)| *delta).collect();
    let written = sqlx::query_scalar!(
        "UPDATE wallet w SET balance_minor = w.balance_minor + d.delta
           FROM unnest($1::text[], $2::bigint[]) AS d(user_id, delta)
          WHERE w.user_id = d.user_id AND w.balance_minor + d.delta >= 0
         RETURNING w.user_id",
        &users,
        &amounts,
    )
    .fetch_all(tx.conn())
    .await?;
    match users.iter().find(|user| !written.contains(user)) {
        Some(user) => Err(Error::inconsistent(
            "wallet",
            "balance_minor",
            user,
            "below zero",
        )),
        None => Ok(()),
    }
}

/// Puts money into a wallet, which is opened if need be. The new balance; `None` if the wallet is
/// kept in another currency.
pub(crate) async fn credit(
    tx: &mut Tx,
    user: &UserId,
    amount: Money,
) -> Result<Option<Money>, Error> {
    let balance = sqlx::query_scalar!(
        "INSERT INTO wallet (user_id, balance_minor, currency) VALUES ($1, $2, $3)
         ON CONFLICT (user_id) DO UPDATE
            SET balance_minor = wallet.balance_minor + excluded.balance_minor
          WHERE wallet.currency = excluded.currency
         RETURNING balance_minor",
        user.as_str(),
        amount.minor,
        amount.currency.as_str(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(balance.map(|minor| Money::new(minor, amount.currency)))
}

/// The balance of a wallet: on a connection of the pool, or as a transaction sees it.
pub(crate) async fn find(on: impl PgExecutor<'_>, user: &UserId) -> Result<Option<Money>, Error> {
    let row = sqlx::query_as!(
        Row,
        "SELECT user_id, balance_minor, currency FROM wallet WHERE user_id = $1",
        user.as_str(),
    )
    .fetch_optional(on)
    .await?;
    Ok(row.map(Row::read).transpose()?.map(|(_, balance)| balance))
}
