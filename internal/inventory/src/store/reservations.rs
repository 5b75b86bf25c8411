use palinode_db::{Db, Error, Tx};
use palinode_values::{OrderId, ReservationId, SagaId, Timestamp};
use uuid::Uuid;

use crate::domain::{Line, Reservation, State};

struct Row {
    id: Uuid,
    order_id: Uuid,
    saga_id: Uuid,
    state: String,
    created_at: Timestamp,
    skus: Vec<String>,
    quantities: Vec<i64>,
}

impl TryFrom<Row> for Reservation {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let table = "reservation";
        let state = State::from_stored(&row.state)
            .ok_or_else(|| Error::inconsistent(table, "state", row.id, &row.state))?;
        let mut lines = Vec::with_capacity(row.skus.len());
        for (sku, quantity) in row.skus.into_iter().zip(row.quantities) {
            let sku = sku.parse();
            let sku = sku.map_err(|error| Error::inconsistent(table, "lines", row.id, error))?;
            lines.push(Line { sku, quantity });
        }
        Ok(Self {
            id: ReservationId(row.id),
            order: OrderId(row.order_id),
            saga: SagaId(row.saga_id),
            state,
            lines,
            created_at: row.created_at,
        })
    }
}

/// Locks the reservations of `orders` in key order; orders without one do not come back.
pub(crate) async fn lock_of_orders(
    tx: &mut Tx,
    orders: &[OrderId],
) -> Result<Vec<Reservation>, Error> {
    let orders: Vec<Uuid> = orders.iter().map(|order| order.0).collect();
    // lines are written once, with their reservation: its lock is theirs too
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT r.id, r.order_id, r.saga_id, r.state, r.created_at,
                  ARRAY(SELECT l.sku FROM reservation_line l
                         WHERE l.reservation_id = r.id ORDER BY l.sku) AS "skus!",
                  ARRAY(SELECT l.quantity FROM reservation_line l
                         WHERE l.reservation_id = r.id ORDER BY l.sku) AS "quantities!"
             FROM reservation r
            WHERE r.order_id = ANY($1)
            ORDER BY r.order_id
              FOR UPDATE OF r"#,
        &orders,
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(TryFrom::try_from).collect()
}

/// Writes new reservations with their lines.
///
/// Shape: by order id, each once.
///
/// # Errors
/// `Constraint`: another transaction has just reserved for one of the orders; done again, the
/// batch sees it.
pub(crate) async fn insert(tx: &mut Tx, reservations: &[&Reservation]) -> Result<(), Error> {
    if reservations.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = reservations.iter().map(|r| r.id.0).collect();
    let orders: Vec<Uuid> = reservations.iter().map(|r| r.order.0).collect();
    let sagas: Vec<Uuid> = reservations.iter().map(|r| r.saga.0).collect();
    let states: Vec<&str> = reservations.iter().map(|r| r.state.as_str()).collect();
    let lines = || {
        reservations
            .iter()
            .flat_map(|r| r.lines.iter().map(move |line| (r.id, line)))
    };
    let line_ids: Vec<Uuid> = lines().map(|(id, _)| id.0).collect();
    let skus: Vec<&str> = lines().map(|(_, line)| line.sku.as_str()).collect();
    let quantities: Vec<i64> = lines().map(|(_, line)| line.quantity).collect();
    sqlx::query!(
        "WITH made AS (
           INSERT INTO reservation (id, order_id, saga_id, state)
           SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[])
         )
         INSERT INTO reservation_line (reservation_id, sku, quantity)
         SELECT * FROM unnest($5::uuid[], $6::text[], $7::bigint[])",
        &ids,
        &orders,
        &sagas,
        &states as &[&str],
        &line_ids,
        &skus as &[&str],
        &quantities,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Writes how reservations have moved on, each from the state beside it.
///
/// Shape: rows that the transaction holds, each once.
pub(crate) async fn move_on(tx: &mut Tx, moved: &[(&Reservation, State)]) -> Result<(), Error> {
    if moved.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = moved.iter().map(|(r, _)| r.id.0).collect();
    let states: Vec<&str> = moved.iter().map(|(r, _)| r.state.as_str()).collect();
    let expected: Vec<&str> = moved.iter().map(|(_, before)| before.as_str()).collect();
    let written = sqlx::query!(
        "UPDATE reservation r SET state = n.state, updated_at = now()
           FROM unnest($1::uuid[], $2::text[], $3::text[]) AS n(id, state, expected)
          WHERE r.id = n.id AND r.state = n.expected",
        &ids,
        &states as &[&str],
        &expected as &[&str],
    )
    .execute(tx.conn())
    .await?;
    if written.rows_affected() != moved.len() as u64 {
        let why = "a locked reservation is in another state";
        return Err(Error::inconsistent("reservation", "state", "batch", why));
    }
    Ok(())
}

/// A reservation.
pub(crate) async fn reservation(db: &Db, id: ReservationId) -> Result<Option<Reservation>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT r.id, r.order_id, r.saga_id, r.state, r.created_at,
                  ARRAY(SELECT l.sku FROM reservation_line l
                         WHERE l.reservation_id = r.id ORDER BY l.sku) AS "skus!",
                  ARRAY(SELECT l.quantity FROM reservation_line l
                         WHERE l.reservation_id = r.id ORDER BY l.sku) AS "quantities!"
             FROM reservation r
            WHERE r.id = $1"#,
        id.0,
    )
    .fetch_optional(db.pool())
    .await?;
    row.map(TryFrom::try_from).transpose()
}
