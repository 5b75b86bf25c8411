use std::slice;

use palinode_db::{Db, Tx};
use palinode_outbox::{Doorbell, Held, append};
use palinode_telemetry::TraceContext;
use palinode_values::{Clock, ShipmentId};

use super::Error;
use crate::domain::{Event, Reason, Refusal};
use crate::{convert, store};

/// What a parcel is handed over with.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) doorbell: Doorbell,
}

/// Hands a parcel over to its carrier. Again, it changes nothing.
///
/// # Errors
/// `SHIPMENT_NOT_FOUND`; `SHIPMENT_RECALLED`: it was called back first; or the database's.
pub(crate) async fn dispatch_shipment(
    desk: &Desk,
    id: ShipmentId,
    trace: &TraceContext,
) -> Result<(), Error> {
    let Desk {
        db,
        clock,
        doorbell,
    } = desk;
    db.run_tx("shipment.dispatch", |tx| dispatch_in(tx, clock, id, trace))
        .await?;
    doorbell.ring();
    Ok(())
}

async fn dispatch_in(
    mut tx: Tx,
    clock: &Clock,
    id: ShipmentId,
    trace: &TraceContext,
) -> Result<(Tx, ()), Error> {
    // a recall of the same parcel waits here, or is waited for: whoever has the row first decides
    let standing = store::lock(&mut tx, &[id]).await?.pop();
    let standing = standing.ok_or_else(|| Refusal {
        reason: Reason::ShipmentNotFound,
        detail: format!("there is no shipment {id}"),
    })?;
    if let Some(dispatched) = standing.after(Event::Dispatch)? {
        store::move_on(&mut tx, &[dispatched]).await?;
        let record = convert::shipment_dispatched(dispatched, clock, trace);
        let held = Held::by_lock(&tx, [id.key()]);
        append(&mut tx, &held, slice::from_ref(&record), "shipping").await?;
    }
    Ok((tx, ()))
}
