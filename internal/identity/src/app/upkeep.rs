use tokio_util::sync::CancellationToken;

use crate::app::{Desk, Error};
use crate::config::{UPKEEP_AGAIN, UPKEEP_EVERY};
use crate::store::{failures, sessions};

/// Turns keys, and removes what is over.
#[derive(Debug)]
pub(crate) struct Upkeep {
    pub(crate) desk: Desk,
}

impl Upkeep {
    /// Works until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let pause = match self.step().await {
                Ok(()) => UPKEEP_EVERY,
                Err(error) => {
                    tracing::warn!(%error, "keys and sessions have to wait");
                    UPKEEP_AGAIN
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    pub(crate) async fn step(&self) -> Result<(), Error> {
        let Desk { db, ring, .. } = &self.desk;
        ring.turn(db).await?;
        db.run_tx("identity.purge", async |mut tx| {
            sessions::purge(&mut tx).await?;
            failures::purge(&mut tx).await?;
            Ok((tx, ()))
        })
        .await
    }
}
