use palinode_db::{Db, Error};

/// Faults that one look lists at the most, of each kind.
const FAULTS_MAX: i64 = 20;

/// What is wrong with the books, in words; empty when all is well.
///
/// Checked, each by one statement over all rows: the entries of every transfer sum to zero;
/// every wallet's balance is the sum of its entries; every payment has the transfers that its state
/// tells, one charge if money was taken and one for each refund that is done, and the sums of its refunds
/// are what it says.
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
        r#"SELECT p.id, p.state, e.charges AS "charges!", e.returned::bigint AS "returned!",
                  p.refunded_minor, r.done::bigint AS "done!", p.refunding_minor,
                  r.pending::bigint AS "pending!"
             FROM payment p
             JOIN (SELECT p.id,
                          count(e.id) FILTER (WHERE e.kind = 'charge' AND e.amount_minor = p.amount_minor)
                            AS charges,
                          coalesce(sum(e.amount_minor) FILTER (WHERE e.kind = 'refund' AND e.amount_minor > 0), 0)
                            AS returned,
                          count(DISTINCT e.transfer_id) AS transfers,
                          count(DISTINCT e.refund_id) AS refunds
                     FROM payment p LEFT JOIN ledger_entry e ON e.payment_id = p.id
                    GROUP BY p.id) e USING (id)
             JOIN (SELECT p.id,
                          coalesce(sum(r.amount_minor) FILTER (WHERE r.state = 'done'), 0) AS done,
                          coalesce(sum(r.amount_minor) FILTER (WHERE r.state = 'pending'), 0) AS pending
                     FROM payment p LEFT JOIN refund r ON r.payment_id = p.id
                    GROUP BY p.id) r USING (id)
            WHERE e.charges <> (p.state IN ('captured', 'refunding', 'refunded'))::int
               OR e.transfers <> e.charges + e.refunds
               OR e.returned <> p.refunded_minor OR r.done <> p.refunded_minor
               OR r.pending <> p.refunding_minor LIMIT $1"#,
        FAULTS_MAX,
    )
    .fetch_all(db.pool())
    .await?;
    faults.extend(payments.into_iter().map(|p| {
        format!(
            "payment {} is {} with {} charges; {} went back, by the ledger {}, by its refunds {}; {} are asked \
             for, by its refunds {}",
            p.id,
            p.state,
            p.charges,
            p.refunded_minor,
            p.returned,
            p.done,
            p.refunding_minor,
            p.pending
        )
    }));

    let refunds = sqlx::query!(
        r#"SELECT coalesce(r.id, e.refund_id) AS "id!", coalesce(r.state, 'missing') AS "state!",
                  coalesce(e.transfers, 0) AS "transfers!"
             FROM refund r
             FULL JOIN (SELECT refund_id, payment_id, count(DISTINCT transfer_id) AS transfers,
                               sum(amount_minor) FILTER (WHERE amount_minor > 0) AS amount
                          FROM ledger_entry WHERE refund_id IS NOT NULL GROUP BY refund_id, payment_id) e
               ON e.refund_id = r.id AND e.payment_id = r.payment_id
            WHERE coalesce(e.transfers, 0) <> (coalesce(r.state, '') = 'done')::int
               OR e.amount <> r.amount_minor LIMIT $1"#,
        FAULTS_MAX,
    )
    .fetch_all(db.pool())
    .await?;
    faults.extend(refunds.into_iter().map(|r| {
        format!(
            "refund {} is {} with {} transfers",
            r.id, r.state, r.transfers
        )
    }));
    Ok(faults)
}
