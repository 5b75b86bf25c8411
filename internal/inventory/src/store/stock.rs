use std::collections::BTreeMap;

use palinode_db::{Db, Error, Tx};
use palinode_values::Sku;

use crate::domain::Level;

pub(super) struct Row {
    pub(super) sku: String,
    pub(super) on_hand: i64,
    pub(super) held: i64,
    pub(super) waiting: i64,
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

/// Locks the row of `sku`, if it is there.
pub(crate) async fn lock_one(tx: &mut Tx, sku: &Sku) -> Result<Option<Level>, Error> {
    let (_, levels) = super::lock(tx, &[], &[sku]).await?;
    Ok(levels.into_iter().next().map(|(_, level)| level))
}

/// Locks the row of `sku`, made first where it is missing.
pub(crate) async fn lock_or_make(tx: &mut Tx, sku: &Sku) -> Result<Option<Level>, Error> {
    sqlx::query!(
        "INSERT INTO stock (sku, on_hand) VALUES ($1, 0) ON CONFLICT DO NOTHING",
        sku.as_str(),
    )
    .execute(tx.conn())
    .await?;
    lock_one(tx, sku).await
}

/// Opens rows that are not there, each with its first pieces and the movement of them.
///
/// Shape: by SKU, so that two who do this do not wait for each other in a circle.
pub(crate) async fn open(tx: &mut Tx, openings: &BTreeMap<&Sku, i64>) -> Result<(), Error> {
    let skus: Vec<&str> = openings.keys().map(|sku| sku.as_str()).collect();
    let quantities: Vec<i64> = openings.values().copied().collect();
    sqlx::query!(
        "WITH opened AS (
           INSERT INTO stock (sku, on_hand)
           SELECT n.sku, n.quantity FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS n(sku, quantity, ord)
            ORDER BY n.ord
           ON CONFLICT DO NOTHING RETURNING sku, on_hand)
         INSERT INTO movement (sku, delta, reason, on_hand, held, caller)
         SELECT sku, on_hand, 'created', on_hand, 0, '' FROM opened WHERE on_hand > 0",
        &skus as &[&str],
        &quantities,
    )
    .execute(tx.conn())
    .await?;
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

/// The stock of the SKUs after `after` (all of them: `None`), by SKU, `limit` at the most; of these
/// `among`, unless there are none.
pub(crate) async fn list(
    db: &Db,
    among: &[Sku],
    after: Option<&Sku>,
    limit: i64,
) -> Result<Vec<(Sku, Level)>, Error> {
    let among: Vec<String> = among.iter().map(ToString::to_string).collect();
    let rows = sqlx::query_as!(
        Row,
        "SELECT sku, on_hand, held, waiting FROM stock
         WHERE sku > $1 AND (cardinality($3::text[]) = 0 OR sku = ANY($3))
         ORDER BY sku LIMIT $2",
        after.map_or("", Sku::as_str),
        limit,
        &among,
    )
    .fetch_all(db.pool())
    .await?;
    rows.into_iter().map(TryFrom::try_from).collect()
}
