use palinode_db::{Error, Tx};
use palinode_values::{OrderId, SagaId, Sku, Timestamp};
use uuid::Uuid;

use crate::domain::{Line, Wait};

struct Row {
    saga_id: Uuid,
    step: String,
    order_id: Uuid,
    skus: Vec<String>,
    quantities: Vec<i64>,
    until: Timestamp,
}

impl TryFrom<Row> for Wait {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let mut lines = Vec::with_capacity(row.skus.len());
        for (sku, quantity) in row.skus.iter().zip(row.quantities) {
            let sku = sku.parse().map_err(|error| {
                Error::inconsistent("reservation_wait", "skus", row.saga_id, error)
            })?;
            lines.push(Line { sku, quantity });
        }
        Ok(Self {
            saga: SagaId(row.saga_id),
            step: row.step,
            order: OrderId(row.order_id),
            lines,
            until: row.until,
        })
    }
}

/// Puts reservations into the queue, in this order. Their stock rows are locked.
pub(crate) async fn enqueue(tx: &mut Tx, waits: &[Wait]) -> Result<(), Error> {
    for wait in waits {
        // arrays of different lengths cannot be unnested; waiting is rare
        let skus: Vec<&str> = wait.lines.iter().map(|line| line.sku.as_str()).collect();
        let quantities: Vec<i64> = wait.lines.iter().map(|line| line.quantity).collect();
        sqlx::query!(
            "INSERT INTO reservation_wait (saga_id, step, order_id, skus, quantities, until)
             VALUES ($1, $2, $3, $4, $5, $6)",
            wait.saga.0,
            wait.step,
            wait.order.0,
            &skus as &[&str],
            &quantities,
            wait.until,
        )
        .execute(tx.conn())
        .await?;
    }
    Ok(())
}

/// The reservations that have waited longest, in the order of their arrival. Nothing is locked.
pub(crate) async fn waiting(tx: &mut Tx, limit: i64) -> Result<Vec<Wait>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT saga_id, step, order_id, skus, quantities, until
             FROM reservation_wait ORDER BY seq LIMIT $1"#,
        limit,
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(TryFrom::try_from).collect()
}

/// Takes reservations out of the queue; returns the SKUs of those that were there, one for each
/// place in the queue.
pub(crate) async fn dequeue(tx: &mut Tx, waits: &[&Wait]) -> Result<Vec<Sku>, Error> {
    let sagas: Vec<Uuid> = waits.iter().map(|wait| wait.saga.0).collect();
    let steps: Vec<&str> = waits.iter().map(|wait| wait.step.as_str()).collect();
    let rows = sqlx::query_scalar!(
        r#"DELETE FROM reservation_wait w
            USING unnest($1::uuid[], $2::text[]) AS k(saga_id, step)
            WHERE w.saga_id = k.saga_id AND w.step = k.step
        RETURNING w.skus AS "skus!""#,
        &sagas,
        &steps as &[&str],
    )
    .fetch_all(tx.conn())
    .await?;
    let parse = |sku: String| {
        sku.parse::<Sku>()
            .map_err(|error| Error::inconsistent("reservation_wait", "skus", &sku, error))
    };
    rows.into_iter().flatten().map(parse).collect()
}
