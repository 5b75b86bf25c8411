use palinode_db::{Error, Tx};
use palinode_values::{Currency, Money, UserId};
use sqlx::PgExecutor;

use crate::domain::{Reason, Wallet};

pub(super) struct Row {
    pub(super) user_id: String,
    pub(super) balance_minor: i64,
    pub(super) currency: String,
    pub(super) is_closed: bool,
}

impl Row {
    pub(super) fn read(self) -> Result<(UserId, Wallet), Error> {
        let bad = |column, why: &dyn ToString| {
            Error::inconsistent("wallet", column, &self.user_id, why.to_string())
        };
        let currency = self.currency.parse().map_err(|why| bad("currency", &why))?;
        let user = self.user_id.parse().map_err(|why| bad("user_id", &why))?;
        let wallet = match self.is_closed {
            true => Wallet::Closed,
            false => Wallet::Open(Money::new(self.balance_minor, currency)),
        };
        Ok((user, wallet))
    }
}

/// Puts money into a wallet, which is opened if need be. The new balance, or why the wallet takes none.
pub(crate) async fn credit(
    tx: &mut Tx,
    user: &UserId,
    amount: Money,
) -> Result<Result<Money, Reason>, Error> {
    let balance = sqlx::query_scalar!(
        "INSERT INTO wallet (user_id, balance_minor, currency) VALUES ($1, $2, $3)
         ON CONFLICT (user_id) DO UPDATE
            SET balance_minor = wallet.balance_minor + excluded.balance_minor
          WHERE wallet.currency = excluded.currency AND wallet.closed_at IS NULL
         RETURNING balance_minor",
        user.as_str(),
        amount.minor,
        amount.currency.as_str(),
    )
    .fetch_optional(tx.conn())
    .await?;
    if let Some(minor) = balance {
        return Ok(Ok(Money::new(minor, amount.currency)));
    }
    // the statement has locked the row that it left alone
    Ok(Err(match find(tx.conn(), user).await? {
        Some(Wallet::Closed) => Reason::WalletClosed,
        Some(Wallet::Open(_)) | None => Reason::CurrencyMismatch,
    }))
}

/// Opens empty wallets for those who have none.
///
/// Shape: `users` in key order, each once.
pub(crate) async fn open(tx: &mut Tx, users: &[&UserId], currency: Currency) -> Result<(), Error> {
    let users: Vec<&str> = users.iter().map(|user| user.as_str()).collect();
    sqlx::query!(
        "INSERT INTO wallet (user_id, balance_minor, currency)
         SELECT user_id, 0, $2 FROM unnest($1::text[]) AS n(user_id)
         ON CONFLICT (user_id) DO NOTHING",
        &users as &[&str],
        currency.as_str(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Locks those of the wallets that are open, in key order, and reads what they hold.
pub(crate) async fn lock_open(
    tx: &mut Tx,
    users: &[&UserId],
) -> Result<Vec<(UserId, Money)>, Error> {
    let users: Vec<&str> = users.iter().map(|user| user.as_str()).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT user_id, balance_minor, currency, closed_at IS NOT NULL AS "is_closed!"
             FROM wallet WHERE user_id = ANY($1) AND closed_at IS NULL
            ORDER BY user_id FOR UPDATE"#,
        &users as &[&str],
    )
    .fetch_all(tx.conn())
    .await?;
    let mut open = Vec::with_capacity(rows.len());
    for row in rows {
        if let (user, Wallet::Open(balance)) = row.read()? {
            open.push((user, balance));
        }
    }
    Ok(open)
}

/// Closes wallets that are empty, and locked.
pub(crate) async fn close(tx: &mut Tx, users: &[&UserId]) -> Result<(), Error> {
    let users: Vec<&str> = users.iter().map(|user| user.as_str()).collect();
    sqlx::query!(
        "UPDATE wallet SET closed_at = now() WHERE user_id = ANY($1) AND closed_at IS NULL",
        &users as &[&str],
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// A wallet: on a connection of the pool, or as a transaction sees it.
pub(crate) async fn find(on: impl PgExecutor<'_>, user: &UserId) -> Result<Option<Wallet>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT user_id, balance_minor, currency, closed_at IS NOT NULL AS "is_closed!"
             FROM wallet WHERE user_id = $1"#,
        user.as_str(),
    )
    .fetch_optional(on)
    .await?;
    Ok(row.map(Row::read).transpose()?.map(|(_, wallet)| wallet))
}
