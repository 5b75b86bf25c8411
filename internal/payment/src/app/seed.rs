use palinode_db::{Db, Error as DbError};
use palinode_values::{Clock, Currency, Money, UserId};

use crate::app::{Error, credit_wallet};
use crate::domain::Reason;

/// Opens wallets with some euros in them, for demonstrations. Repeated, it adds nothing: who was
/// seeded once keeps what is left, and who was deleted stays without.
///
/// Units: `wallets` has minor units, more than zero.
///
/// # Errors
/// The database's; wallets before the one that failed are kept.
pub async fn seed(db: &Db, wallets: &[(UserId, i64)]) -> Result<(), DbError> {
    let clock = Clock::system();
    for (user, minor) in wallets {
        let key = format!("seed {user}");
        let amount = Money::new(*minor, Currency::EUR);
        match credit_wallet(db, &clock, user, amount, Some((None, &key))).await {
            Ok(_)
            | Err(Error::Refused {
                reason: Reason::KeyReused | Reason::WalletClosed,
                ..
            }) => {}
            Err(Error::Refused { words, .. }) => {
                return Err(DbError::inconsistent("wallet", "currency", user, words));
            }
            Err(Error::Db(error)) => return Err(error),
        }
    }
    Ok(())
}
