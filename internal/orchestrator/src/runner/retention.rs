use std::time::Duration;

use palinode_db::Error;
use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::store::retention::{self as store, HEADS_MAX};

/// How often the old is looked for.
const EVERY: Duration = Duration::from_secs(60);
/// Between two statements while there is more of it, so that traffic gets its share.
const PAUSE: Duration = Duration::from_millis(500);

/// Archives sagas that have ended, and deletes those that did so long ago, until it is told to
/// stop. Their history goes with its day, once no saga of that day is left; so does the archive.
pub(crate) async fn run(engine: Engine, stop: CancellationToken) {
    loop {
        let pause = match step(&engine).await {
            Ok(moved) if moved >= HEADS_MAX.unsigned_abs() => PAUSE,
            Ok(_) => EVERY,
            Err(error) => {
                tracing::warn!(error = ?error, "old sagas cannot be deleted");
                EVERY
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Deletes and archives some of what is too old; returns how many sagas that were.
pub(crate) async fn step(engine: &Engine) -> Result<u64, Error> {
    store::purge_late(&engine.db, HEADS_MAX).await?;
    let deleted = store::purge_heads(&engine.db, HEADS_MAX).await?;
    store::purge_keys(&engine.db, HEADS_MAX).await?;
    let archived = store::archive(&engine.db, HEADS_MAX).await?;
    Ok(deleted.max(archived))
}
