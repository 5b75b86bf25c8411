use palinode_db::{Db, Error, Tx};
use palinode_values::Sku;

use crate::domain::{Change, Level};

struct Row {
    sku: String,
    on_hand: i64,
    held: i64,
    waiting: i64,
}

impl TryFrom<Row> for (Sku, Level) {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let sku = row.sku.parse();
        let sku = sku.map_err(|error| Error::inconsistent("stock", "sku", &row.sku, error))?;
        Ok((
            sku,
            Level {
                on_hand: row.on_hand,
                held: row.held,
                waiting: row.waiting,
            },
        ))
    }
}

/// Locks the rows of `skus` in key order, each once, whatever the order here.
///
/// Shape: those that are not there do not come back.
pub(crate) async fn lock(tx: &mut Tx, skus: &[&Sku]) -> Result<Vec<(Sku, Level)>, Error> {
    if skus.is_empty() {
        return Ok(Vec::new());
    }
    let skus: Vec<&str> = skus.iter().map(|sku| sku.as_str()).collect();
    // ORDER BY: every transaction takes them in this order, so none waits for one that waits for it
    let rows = sqlx::query_as!(
        Row,
        "SELECT sku, on_hand, held, waiting FROM stock WHERE sku = ANY($1) ORDER BY sku FOR UPDATE",
        &skus as &[&str],
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(TryFrom::try_from).collect()
}

/// Locks the row of `sku`, made first where it is missing.
pub(crate) async fn lock_or_make(tx: &mut Tx, sku: &Sku) -> Result<Option<Level>, Error> {
    sqlx::query!(
        "INSERT INTO stock (sku, on_hand) VALUES ($1, 0) ON CONFLICT DO NOTHING",
        sku.as_str(),
    )
    .execute(tx.conn())
    .await?;
    Ok(lock(tx, &[sku]).await?.pop().map(|(_, level)| level))
}

/// Adds `changes` to rows that the transaction holds.
///
/// Shape: each SKU once. The conditions repeat what was decided in memory.
pub(crate) async fn apply(tx: &mut Tx, changes: &[(&Sku, Change)]) -> Result<(), Error> {
    if changes.is_empty() {
        return Ok(());
    }
    let skus: Vec<&str> = changes.iter().map(|(sku, _)| sku.as_str()).collect();
    let on_hand: Vec<i64> = changes.iter().map(|(_, change)| change.on_hand).collect();
    let held: Vec<i64> = changes.iter().map(|(_, change)| change.held).collect();
    let sold: Vec<i64> = changes.iter().map(|(_, change)| change.sold).collect();
    let waiting: Vec<i64> = changes.iter().map(|(_, change)| change.waiting).collect();
    let written = sqlx::query!(
        "UPDATE stock s
            SET on_hand = s.on_hand + d.on_hand, held = s.held + d.held, sold = s.sold + d.sold,
                waiting = s.waiting + d.waiting
           FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
             AS d(sku, on_hand, held, sold, waiting)
          WHERE s.sku = d.sku AND s.held + d.held BETWEEN 0 AND s.on_hand + d.on_hand
            AND s.sold + d.sold >= 0",
        &skus as &[&str],
        &on_hand,
        &held,
        &sold,
        &waiting,
    )
    .execute(tx.conn())
    .await?;
    if written.rows_affected() != changes.len() as u64 {
        return Err(Error::inconsistent(
            "stock",
            "held",
            skus.join(" "),
            "a sum does not fit",
        ));
    }
    Ok(())
}

/// Sets what is on hand of a row that the transaction holds.
pub(crate) async fn adjust(tx: &mut Tx, sku: &Sku, level: Level) -> Result<(), Error> {
    let written = sqlx::query!(
        "UPDATE stock SET on_hand = $2 WHERE sku = $1 AND held = $3",
        sku.as_str(),
        level.on_hand,
        level.held,
    )
    .execute(tx.conn())
    .await?;
    if written.rows_affected() != 1 {
        return Err(Error::inconsistent(
            "stock",
            "on_hand",
            sku,
            "a held row has changed",
        ));
    }
    Ok(())
}

/// The stock of a SKU.
pub(crate) async fn stock(db: &Db, sku: &Sku) -> Result<Option<Level>, Error> {
    let row = sqlx::query_as!(
        Row,
        "SELECT sku, on_hand, held, waiting FROM stock WHERE sku = $1",
        sku.as_str(),
    )
    .fetch_optional(db.pool())
    .await?;
    Ok(row.map(|row| Level {
        on_hand: row.on_hand,
        held: row.held,
        waiting: row.waiting,
    }))
}

/// The stock of the SKUs after `after` (all of them: `None`), by SKU, `limit` at the most.
pub(crate) async fn list(
    db: &Db,
    after: Option<&Sku>,
    limit: i64,
) -> Result<Vec<(Sku, Level)>, Error> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT sku, on_hand, held, waiting FROM stock WHERE sku > $1 ORDER BY sku LIMIT $2",
        after.map_or("", Sku::as_str),
        limit,
    )
    .fetch_all(db.pool())
    .await?;
    rows.into_iter().map(TryFrom::try_from).collect()
}
