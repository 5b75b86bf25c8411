use palinode_db::{Error, purge};
use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::store::retention::{self as store, HEADS_MAX};
use crate::store::verb_key;

/// Archives sagas that have ended, and deletes those that did so long ago, until it is told to
/// stop. Their history goes with its day, once no saga of that day is left; so does the archive.
pub(crate) async fn run(engine: Engine, stop: CancellationToken) {
    let step = || step(&engine);
    tokio::select! {
        () = stop.cancelled() => {}
        never = purge("sagas", HEADS_MAX.unsigned_abs(), step) => match never {},
    }
}

/// Deletes and archives some of what is too old; returns how many sagas that were.
pub(crate) async fn step(engine: &Engine) -> Result<u64, Error> {
    store::purge_late(&engine.db, HEADS_MAX).await?;
    let deleted = store::purge_heads(&engine.db, HEADS_MAX).await?;
    store::purge_keys(&engine.db, HEADS_MAX).await?;
    verb_key::forget(&engine.db, HEADS_MAX).await?;
    let archived = store::archive(&engine.db, HEADS_MAX).await?;
    Ok(deleted.max(archived))
}
