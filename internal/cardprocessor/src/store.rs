use palinode_db::{Db, Error, Tx};
use palinode_values::{Currency, Money};

use crate::domain::{
    Asked, Charge, ChargeStands, Outcome, Processed, Refund, is_closed, reference,
};

struct Row {
    kind: String,
    charge_key: Option<String>,
    token: Option<String>,
    amount_minor: Option<i64>,
    currency: Option<String>,
    outcome: String,
    reference: String,
    decline_code: Option<String>,
}

impl Row {
    fn read(self, key: &str) -> Result<Processed, Error> {
        let bad = |column, why: &str| Error::inconsistent("processed", column, key, why);
        let asked = match (
            self.kind.as_str(),
            self.token,
            self.amount_minor,
            self.charge_key,
        ) {
            ("charge", Some(token), Some(minor), _) => {
                let currency = self.currency.unwrap_or_default().parse();
                let currency = currency.map_err(|_not_a_code| bad("currency", "is no code"))?;
                Asked::Charge {
                    token,
                    amount: Money::new(minor, currency),
                }
            }
            ("refund", _, Some(minor), Some(charge_key)) => Asked::Refund { charge_key, minor },
            _ => return Err(bad("kind", "does not fit the other columns")),
        };
        let outcome = match (self.outcome.as_str(), self.decline_code) {
            ("approved", None) => Outcome::Approved,
            ("declined", Some(code)) => Outcome::Declined { code },
            _ => return Err(bad("outcome", "does not fit the decline code")),
        };
        Ok(Processed {
            asked,
            outcome,
            reference: self.reference,
        })
    }
}

/// Records a charge, unless its key is known.
pub(crate) async fn insert_charge(
    db: &Db,
    charge: &Charge,
    outcome: &Outcome,
) -> Result<(), Error> {
    let (outcome, code) = columns(outcome);
    sqlx::query!(
        "INSERT INTO processed
           (idempotency_key, kind, token, amount_minor, currency, outcome, reference, decline_code)
         VALUES ($1, 'charge', $2, $3, $4, $5, $6, $7)
         ON CONFLICT (idempotency_key) DO NOTHING",
        charge.key,
        charge.token,
        charge.amount.minor,
        charge.amount.currency.as_str(),
        outcome,
        reference("charge", &charge.key),
        code,
    )
    .execute(db.pool())
    .await?;
    Ok(())
}

/// How a charge stands. Its row is locked: of two refunds, the second sees the first.
pub(crate) async fn lock_charge(tx: &mut Tx, charge_key: &str) -> Result<ChargeStands, Error> {
    let charge = sqlx::query!(
        r#"SELECT token AS "token!", amount_minor - refunded_minor AS "left_minor!",
                  currency AS "currency!"
             FROM processed
            WHERE idempotency_key = $1 AND kind = 'charge' AND outcome = 'approved' FOR UPDATE"#,
        charge_key,
    )
    .fetch_optional(tx.conn())
    .await?;
    let Some(charge) = charge else {
        return Ok(ChargeStands::Unknown);
    };
    if is_closed(&charge.token) {
        return Ok(ChargeStands::CardClosed);
    }
    let currency = charge.currency.parse().map_err(|_not_a_code| {
        Error::inconsistent("processed", "currency", charge_key, "is no code")
    })?;
    Ok(ChargeStands::Approved {
        left: Money::new(charge.left_minor, currency),
    })
}

/// Records a refund, unless its key is known for one that was approved, or for something else. Whether it
/// did.
pub(crate) async fn insert_refund(
    tx: &mut Tx,
    refund: &Refund,
    currency: Option<Currency>,
    outcome: &Outcome,
) -> Result<bool, Error> {
    let (outcome, code) = columns(outcome);
    let written = sqlx::query!(
        "INSERT INTO processed
           (idempotency_key, kind, charge_key, amount_minor, currency, outcome, reference,
            decline_code)
         VALUES ($1, 'refund', $2, $3, $4, $5, $6, $7)
         ON CONFLICT (idempotency_key) DO UPDATE
            SET amount_minor = excluded.amount_minor, currency = excluded.currency,
                outcome = excluded.outcome, decline_code = excluded.decline_code
          WHERE (processed.kind, processed.charge_key, processed.outcome)
              = ('refund', excluded.charge_key, 'declined')",
        refund.key,
        refund.charge_key,
        refund.minor,
        currency.as_ref().map(Currency::as_str),
        outcome,
        reference("refund", &refund.key),
        code,
    )
    .execute(tx.conn())
    .await?;
    Ok(written.rows_affected() == 1)
}

/// Takes a refund that was approved off its charge, whose row is locked.
pub(crate) async fn pay_back(tx: &mut Tx, refund: &Refund) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE processed SET refunded_minor = refunded_minor + $2 WHERE idempotency_key = $1",
        refund.charge_key,
        refund.minor,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// What became of a key, on a connection of the pool.
pub(crate) async fn find(db: &Db, key: &str) -> Result<Option<Processed>, Error> {
    sqlx::query_as!(
        Row,
        "SELECT kind, charge_key, token, amount_minor, currency, outcome, reference, decline_code
           FROM processed WHERE idempotency_key = $1",
        key,
    )
    .fetch_optional(db.pool())
    .await?
    .map(|row| row.read(key))
    .transpose()
}

fn columns(outcome: &Outcome) -> (&'static str, Option<&str>) {
    match outcome {
        Outcome::Approved => ("approved", None),
        Outcome::Declined { code } => ("declined", Some(code)),
    }
}
