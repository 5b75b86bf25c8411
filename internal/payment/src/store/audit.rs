use palinode_db::{Db, Error};

/// Faults that one look lists at the most, of each kind.
const FAULTS_MAX: i64 = 20;

/// What is wrong with the books, in words; empty when all is well.
///
/// Checked, each by one statement over all rows: the entries of every transfer sum to zero;
/// every wallet's balance is the sum of its entries; every payment has the transfers that its state
/// tells, one charge if money was taken and one refund if it went back.
///
/// # Errors
/// The database's.
pub async fn audit(db: &Db) -> Result<Vec<String>, Error> {
    let mut faults = Vec::new();
    let transfers = sqlx::query!(
        r#"SELECT transfer_id, sum(amount_minor)::text AS "sum!"
             FROM ledger_entry GROUP BY transfer_id, currency
           HAVING sum(amount_minor) <> 0 LIMIT $1"#,
        FAULTS_MAX,
    )
    .fetch_all(db.pool())
    .await?;
    faults.extend(
        transfers
            .into_iter()
            .map(|t| format!("transfer {} sums to {}", t.transfer_id, t.sum)),
    );

    let wallets = sqlx::query!(
        r#"SELECT coalesce(w.user_id, e.account) AS "owner!", w.balance_minor AS "balance?",
                  coalesce(e.sum, 0)::text AS "sum!"
             FROM wallet w
             FULL JOIN (SELECT account, currency, sum(amount_minor) AS sum FROM ledger_entry
                         WHERE account LIKE 'wallet:%' GROUP BY account, currency) e
               ON e.account = 'wallet:' || w.user_id AND e.currency = w.currency
            WHERE w.balance_minor IS DISTINCT FROM coalesce(e.sum, 0) LIMIT $1"#,
        FAULTS_MAX,
    )
    .fetch_all(db.pool())
    .await?;
    faults.extend(wallets.into_iter().map(|w| {
        let balance = w
            .balance
            .map_or("no wallet".to_owned(), |minor| minor.to_string());
        format!(
            "wallet of {}: {balance}, its entries sum to {}",
            w.owner, w.sum
        )
    }));

    let payments = sqlx::query!(
        r#"SELECT p.id, p.state, e.charges AS "charges!", e.refunds AS "refunds!"
             FROM payment p
             JOIN (SELECT p.id,
                          count(e.id) FILTER (WHERE e.kind = 'charge' AND e.amount_minor = p.amount_minor)
                            AS charges,
                          count(e.id) FILTER (WHERE e.kind = 'refund' AND e.amount_minor = p.amount_minor)
                            AS refunds,
                          count(DISTINCT e.transfer_id) AS transfers
                     FROM payment p LEFT JOIN ledger_entry e ON e.payment_id = p.id
                    GROUP BY p.id) e USING (id)
            WHERE e.charges <> (p.state IN ('captured', 'refunding', 'refunded'))::int
               OR e.refunds <> (p.state = 'refunded')::int
               OR e.transfers <> e.charges + e.refunds LIMIT $1"#,
        FAULTS_MAX,
    )
    .fetch_all(db.pool())
    .await?;
    faults.extend(payments.into_iter().map(|p| {
        format!(
            "payment {} is {} with {} charges, {} refunds",
            p.id, p.state, p.charges, p.refunds
        )
    }));
    Ok(faults)
}
