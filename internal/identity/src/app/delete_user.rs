use std::slice;

use palinode_db::Tx;
use palinode_outbox::{Held, append};
use palinode_telemetry::TraceContext;
use palinode_values::UserId;

use super::SERVICE;
use crate::app::{Desk, Error};
use crate::convert;
use crate::domain::Reason;
use crate::store::accounts;

/// Deletes an account with its sessions. Again, it changes nothing.
///
/// # Errors
/// `LAST_ADMIN`.
pub(crate) async fn delete_user(
    desk: &Desk,
    user: &UserId,
    trace: &TraceContext,
) -> Result<(), Error> {
    desk.db
        .run_tx("identity.delete", |tx| delete(tx, desk, user, trace))
        .await?;
    desk.doorbell.ring();
    Ok(())
}

async fn delete(
    mut tx: Tx,
    desk: &Desk,
    user: &UserId,
    trace: &TraceContext,
) -> Result<(Tx, ()), Error> {
    require_another_admin(&mut tx, user).await?;
    if accounts::delete(&mut tx, user).await? {
        let record = convert::user_deleted(user, &desk.clock, trace);
        let held = Held::by_lock(&tx, [record.key.clone()]);
        append(&mut tx, &held, slice::from_ref(&record), SERVICE).await?;
    }
    Ok((tx, ()))
}

/// Refuses to do without the only administrator. Two who want to go wait for each other here.
pub(super) async fn require_another_admin(tx: &mut Tx, user: &UserId) -> Result<(), Error> {
    match accounts::lock_admins(tx).await?.as_slice() {
        [only] if only == user.as_str() => Err(Error::Refused(Reason::LastAdmin)),
        _ => Ok(()),
    }
}
