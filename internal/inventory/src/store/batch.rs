//! The two statements of a batch: one that locks, one that writes.

use palinode_db::{Error, Tx};
use palinode_values::{OrderId, Sku, Timestamp};
use uuid::Uuid;

use super::{reservations, stock};
use crate::domain::{Change, Level, Reservation, State};

/// A reservation, or the level of a SKU.
struct Row {
    id: Option<Uuid>,
    order_id: Option<Uuid>,
    saga_id: Option<Uuid>,
    state: Option<String>,
    created_at: Option<Timestamp>,
    skus: Option<Vec<String>>,
    quantities: Option<Vec<i64>>,
    sku: Option<String>,
    on_hand: Option<i64>,
    held: Option<i64>,
    waiting: Option<i64>,
}

/// Locks the reservations of `orders`, then the levels of their SKUs and of `skus`, each in key
/// order; what is not there does not come back.
pub(crate) async fn lock(
    tx: &mut Tx,
    orders: &[OrderId],
    skus: &[&Sku],
) -> Result<(Vec<Reservation>, Vec<(Sku, Level)>), Error> {
    let orders: Vec<Uuid> = orders.iter().map(|order| order.0).collect();
    let skus: Vec<&str> = skus.iter().map(|sku| sku.as_str()).collect();
    let rows = sqlx::query_file_as!(Row, "src/sql/lock.sql", &orders, &skus as &[&str])
        .fetch_all(tx.conn())
        .await?;
    let (mut reservations, mut levels) = (Vec::new(), Vec::new());
    for row in rows {
        match row.sku {
            Some(sku) => levels.push(
                stock::Row {
                    sku,
                    on_hand: row.on_hand.unwrap_or_default(),
                    held: row.held.unwrap_or_default(),
                    waiting: row.waiting.unwrap_or_default(),
                }
                .try_into()?,
            ),
            None => reservations.push(
                reservations::Row {
                    id: row.id.unwrap_or_default(),
                    order_id: row.order_id.unwrap_or_default(),
                    saga_id: row.saga_id.unwrap_or_default(),
                    state: row.state.unwrap_or_default(),
                    created_at: row.created_at.unwrap_or_default(),
                    skus: row.skus.unwrap_or_default(),
                    quantities: row.quantities.unwrap_or_default(),
                }
                .try_into()?,
            ),
        }
    }
    Ok((reservations, levels))
}

/// Adds `changes` to rows that the transaction holds, writes reservations that were `made`, and how
/// others have `moved` on, each from the state beside it.
///
/// Shape: each SKU and each reservation once; those that were made by order id, or two batches wait
/// for each other at the unique key.
///
/// # Errors
/// `Constraint`: another transaction has just reserved for one of the orders; done again, the
/// batch sees it.
pub(crate) async fn write(
    tx: &mut Tx,
    changes: &[(&Sku, Change)],
    made: &[&Reservation],
    moved: &[(&Reservation, State)],
) -> Result<(), Error> {
    if changes.is_empty() && made.is_empty() && moved.is_empty() {
        return Ok(());
    }
    let of = |part: fn(&Change) -> i64| -> Vec<i64> {
        changes.iter().map(|(_, change)| part(change)).collect()
    };
    let changed: Vec<&str> = changes.iter().map(|(sku, _)| sku.as_str()).collect();
    let ids: Vec<Uuid> = made.iter().map(|r| r.id.0).collect();
    let orders: Vec<Uuid> = made.iter().map(|r| r.order.0).collect();
    let sagas: Vec<Uuid> = made.iter().map(|r| r.saga.0).collect();
    let states: Vec<&str> = made.iter().map(|r| r.state.as_str()).collect();
    let (mut firsts, mut lasts) = (
        Vec::with_capacity(made.len()),
        Vec::with_capacity(made.len()),
    );
    let (mut skus, mut quantities) = (Vec::new(), Vec::new());
    for reservation in made {
        firsts.push(i32::try_from(skus.len() + 1).unwrap_or(i32::MAX));
        for line in &reservation.lines {
            skus.push(line.sku.as_str());
            quantities.push(line.quantity);
        }
        lasts.push(i32::try_from(skus.len()).unwrap_or(i32::MAX));
    }
    let moved_ids: Vec<Uuid> = moved.iter().map(|(r, _)| r.id.0).collect();
    let moved_to: Vec<&str> = moved.iter().map(|(r, _)| r.state.as_str()).collect();
    let moved_from: Vec<&str> = moved.iter().map(|(_, before)| before.as_str()).collect();
    let written = sqlx::query_file!(
        "src/sql/write.sql",
        &changed as &[&str],
        &of(|change| change.on_hand),
        &of(|change| change.held),
        &of(|change| change.sold),
        &of(|change| change.waiting),
        &ids,
        &orders,
        &sagas,
        &states as &[&str],
        &firsts,
        &lasts,
        &skus as &[&str],
        &quantities,
        &moved_ids,
        &moved_to as &[&str],
        &moved_from as &[&str],
    )
    .fetch_one(tx.conn())
    .await?;
    if usize::try_from(written.summed) != Ok(changes.len()) {
        let why = "a sum does not fit";
        return Err(Error::inconsistent("stock", "held", changed.join(" "), why));
    }
    if usize::try_from(written.moved) != Ok(moved.len()) {
        let why = "a locked reservation is in another state";
        return Err(Error::inconsistent("reservation", "state", "batch", why));
    }
    Ok(())
}
