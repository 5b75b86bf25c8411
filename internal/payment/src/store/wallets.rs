use palinode_db::{Error, Tx};
use palinode_values::{Money, UserId};
use sqlx::PgExecutor;

pub(super) struct Row {
    pub(super) user_id: String,
    pub(super) balance_minor: i64,
    pub(super) currency: String,
}

impl Row {
    pub(super) fn read(self) -> Result<(UserId, Money), Error> {
        let bad = |column, why: &dyn ToString| {
            Error::inconsistent("wallet", column, &self.user_id, why.to_string())
        };
        let currency = self.currency.parse().map_err(|why| bad("currency", &why))?;
        let user = self.user_id.parse().map_err(|why| bad("user_id", &why))?;
        Ok((user, Money::new(self.balance_minor, currency)))
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
