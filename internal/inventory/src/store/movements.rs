use palinode_db::{Error, Tx};
use palinode_values::Sku;

use crate::domain::Level;

/// An adjustment by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Movement {
    pub(crate) sku: Sku,
    pub(crate) delta: i64,
    pub(crate) reason: String,
    /// The level afterwards.
    pub(crate) level: Level,
}

/// The movement that was made for a request of this caller's, if it was made.
pub(crate) async fn movement_of_request(
    tx: &mut Tx,
    caller: &str,
    request: &str,
) -> Result<Option<Movement>, Error> {
    let row = sqlx::query!(
        "SELECT sku, delta, reason, on_hand, held FROM movement WHERE caller = $1 AND request = $2",
        caller,
        request,
    )
    .fetch_optional(tx.conn())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let sku = row.sku.parse();
    let sku = sku.map_err(|error| Error::inconsistent("movement", "sku", request, error))?;
    let level = Level {
        on_hand: row.on_hand,
        held: row.held,
        ..Level::default()
    };
    Ok(Some(Movement {
        sku,
        delta: row.delta,
        reason: row.reason,
        level,
    }))
}

/// Writes a movement.
///
/// # Errors
/// `Constraint` `movement_request_key`: the request was made at the same time for another SKU.
pub(crate) async fn insert_movement(
    tx: &mut Tx,
    movement: &Movement,
    caller: &str,
    request: Option<&str>,
) -> Result<(), Error> {
    sqlx::query!(
        "INSERT INTO movement (sku, delta, reason, on_hand, held, caller, request)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        movement.sku.as_str(),
        movement.delta,
        movement.reason,
        movement.level.on_hand,
        movement.level.held,
        caller,
        request,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
