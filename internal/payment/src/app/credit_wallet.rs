use palinode_db::{Db, Error as DbError};
use palinode_values::{Clock, Money, UserId};

use crate::app::Error;
use crate::domain::{Reason, Transfer, Wallet};
use crate::store::batch::{self, Work};
use crate::store::credits::Key;
use crate::store::{credits, wallets};

/// Puts money into a wallet, which is opened if need be, and returns its balance.
///
/// With the `key` of a caller, or of nobody, a repeat of the same credit adds nothing. `amount` is more than
/// zero.
///
/// # Errors
/// `IDEMPOTENCY_KEY_REUSED`: the key came with another credit. `CURRENCY_MISMATCH`: the wallet is
/// kept in another currency. `WALLET_CLOSED`: its user was deleted.
pub(crate) async fn credit_wallet(
    db: &Db,
    clock: &Clock,
    user: &UserId,
    amount: Money,
    key: Option<(Option<&UserId>, &str)>,
) -> Result<Money, Error> {
    db.run_tx("payment.credit_wallet", async |mut tx| {
        if let Some(key) = key {
            match credits::take_key(&mut tx, key, user, amount).await? {
                Key::New => {}
                Key::Repeated => {
                    return match wallets::find(tx.conn(), user).await? {
                        Some(Wallet::Open(balance)) => Ok((tx, balance)),
                        Some(Wallet::Closed) => Err(refused(Reason::WalletClosed, user, amount)),
                        None => Err(DbError::inconsistent("wallet", "user_id", user, "is gone"))?,
                    };
                }
                Key::Reused => {
                    let words = "the idempotency key came with another credit before";
                    return Err(Error::refused(Reason::KeyReused, words));
                }
            }
        }
        let balance = wallets::credit(&mut tx, user, amount)
            .await?
            .map_err(|reason| refused(reason, user, amount))?;
        let work = Work {
            transfers: &[Transfer::credit(user.clone(), amount)],
            ..Work::default()
        };
        batch::write(&mut tx, clock, &work).await?;
        Ok((tx, balance))
    })
    .await
}

fn refused(reason: Reason, user: &UserId, amount: Money) -> Error {
    let words = match reason {
        Reason::WalletClosed => format!("the wallet of {user} is closed"),
        _ => format!("the wallet of {user} is not kept in {}", amount.currency),
    };
    Error::refused(reason, words)
}
