use palinode_db::{Db, Error};
use palinode_values::{OrderId, ReservationId, SagaId, Timestamp};
use uuid::Uuid;

use crate::domain::{Line, Reservation, State};

pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) order_id: Uuid,
    pub(super) saga_id: Uuid,
    pub(super) state: String,
    pub(super) created_at: Timestamp,
    pub(super) skus: Vec<String>,
    pub(super) quantities: Vec<i64>,
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

/// A reservation.
pub(crate) async fn reservation(db: &Db, id: ReservationId) -> Result<Option<Reservation>, Error> {
    let row = sqlx::query_as!(
        Row,
        "SELECT id, order_id, saga_id, state, created_at, skus, quantities
           FROM reservation WHERE id = $1",
        id.0,
    )
    .fetch_optional(db.pool())
    .await?;
    row.map(TryFrom::try_from).transpose()
}
