use palinode_rpc::Authorizer;
use tokio_util::sync::CancellationToken;

use crate::app::{Desk, Error};
use crate::config::{UPKEEP_AGAIN, UPKEEP_EVERY, WANTED_PAUSE};
use crate::store::{failures, sessions};

/// Turns keys, tells them to who lets callers in here, and removes what is over.
#[derive(Debug)]
pub(crate) struct Upkeep {
    pub(crate) desk: Desk,
    /// Of this process: it does not ask over the network for what is here, where it would have to be ready
    /// before it is.
    pub(crate) authorizer: Authorizer,
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
                () = self.wanted() => {}
            }
        }
    }

    /// Until a token names a key that is not known here, though never soon after the last look.
    async fn wanted(&self) {
        self.authorizer.keys_wanted().await;
        tokio::time::sleep(WANTED_PAUSE).await;
    }

    pub(crate) async fn step(&self) -> Result<(), Error> {
        let Desk { db, ring, .. } = &self.desk;
        ring.turn(db).await?;
        if let Err(error) = self.authorizer.set_keys(&ring.publish()) {
            tracing::error!(%error, "the own keys are not taken over");
        }
        db.run_tx("identity.purge", async |mut tx| {
            sessions::purge(&mut tx).await?;
            failures::purge(&mut tx).await?;
            Ok((tx, ()))
        })
        .await
    }
}
