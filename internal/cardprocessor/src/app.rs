use std::time::Duration;

use palinode_db::Db;
use palinode_values::{Coded, ErrorCode};

use crate::domain::{self, Asked, Charge, ChargeStands, Outcome, Processed, Refund};
use crate::store;

const SLOW_ANSWER: Duration = Duration::from_secs(1);

/// Why a call has no outcome.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Db(#[from] palinode_db::Error),
    #[error("the key {0} was used for another request")]
    KeyReused(String),
}

impl Coded for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Db(error) => error.code(),
            Self::KeyReused(_) => ErrorCode::Conflict,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Db(error) => error.reason(),
            Self::KeyReused(_) => "IDEMPOTENCY_KEY_REUSED",
        }
    }
}

/// Charges a card, or tells what came of it the first time.
pub(crate) async fn charge(db: &Db, charge: Charge) -> Result<Processed, Error> {
    store::insert_charge(db, &charge, &domain::decide_charge(&charge)).await?;
    let slow = domain::is_slow(&charge.token);
    let asked = Asked::Charge {
        token: charge.token,
        amount: charge.amount,
    };
    let processed = recorded(db, &charge.key, &asked).await?;
    if slow {
        // recorded first: a caller that gives up meanwhile has been charged
        tokio::time::sleep(SLOW_ANSWER).await;
    }
    Ok(processed)
}

/// Pays a charge back, or a part of it, or tells that this was done under this key. What was declined is decided
/// anew: nothing has moved, and a card that was closed may be open again.
pub(crate) async fn refund(db: &Db, refund: Refund) -> Result<Processed, Error> {
    let asked = Asked::Refund {
        charge_key: refund.charge_key.clone(),
        minor: refund.minor,
    };
    let known = store::find(db, &refund.key).await?;
    if known.is_none_or(|known| known.outcome != Outcome::Approved) {
        db.run_tx("cardprocessor.refund", async |mut tx| {
            let charge = store::lock_charge(&mut tx, &refund.charge_key).await?;
            let currency = match charge {
                ChargeStands::Approved { left } => Some(left.currency),
                ChargeStands::CardClosed | ChargeStands::Unknown => None,
            };
            let outcome = domain::decide_refund(charge, refund.minor);
            let is_new = store::insert_refund(&mut tx, &refund, currency, &outcome).await?;
            if is_new && outcome == Outcome::Approved {
                store::pay_back(&mut tx, &refund).await?;
            }
            Ok::<_, palinode_db::Error>((tx, ()))
        })
        .await?;
    }
    recorded(db, &refund.key, &asked).await
}

/// Tells what became of a key.
pub(crate) async fn look_up(db: &Db, key: &str) -> Result<Option<Processed>, Error> {
    Ok(store::find(db, key).await?)
}

/// The record of a key that is known by now, whoever wrote it.
async fn recorded(db: &Db, key: &str, asked: &Asked) -> Result<Processed, Error> {
    let missing = || palinode_db::Error::inconsistent("processed", "idempotency_key", key, "gone");
    let processed = store::find(db, key).await?.ok_or_else(missing)?;
    if processed.asked == *asked {
        Ok(processed)
    } else {
        Err(Error::KeyReused(key.to_owned()))
    }
}
