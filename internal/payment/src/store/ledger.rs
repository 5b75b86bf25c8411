use palinode_db::{Error, Tx};
use palinode_values::{Clock, LedgerEntryId};
use uuid::Uuid;

use crate::domain::Transfer;

/// Writes the entries of `transfers`, two each, in slice order.
pub(crate) async fn append(
    tx: &mut Tx,
    clock: &Clock,
    transfers: &[Transfer],
) -> Result<(), Error> {
    if transfers.is_empty() {
        return Ok(());
    }
    let rows = transfers.len() * 2;
    let mut ids = Vec::<Uuid>::with_capacity(rows);
    let mut transfer_ids = Vec::<Uuid>::with_capacity(rows);
    let mut kinds = Vec::<String>::with_capacity(rows);
    let mut payment_ids = Vec::<Option<Uuid>>::with_capacity(rows);
    let mut accounts = Vec::<String>::with_capacity(rows);
    let mut amounts = Vec::<i64>::with_capacity(rows);
    let mut currencies = Vec::<String>::with_capacity(rows);
    for transfer in transfers {
        let transfer_id = LedgerEntryId::new(clock).0;
        for (account, amount) in transfer.entries() {
            ids.push(LedgerEntryId::new(clock).0);
            transfer_ids.push(transfer_id);
            kinds.push(transfer.kind.as_str().to_owned());
            payment_ids.push(transfer.payment_id.map(|id| id.0));
            accounts.push(account.to_string());
            amounts.push(amount.minor);
            currencies.push(amount.currency.to_string());
        }
    }
    sqlx::query!(
        "INSERT INTO ledger_entry
           (id, transfer_id, kind, payment_id, account, amount_minor, currency)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[],
                              $6::bigint[], $7::text[])",
        &ids,
        &transfer_ids,
        &kinds,
        &payment_ids as &[Option<Uuid>],
        &accounts,
        &amounts,
        &currencies,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
