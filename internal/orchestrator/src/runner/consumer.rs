use palinode_db::{Error, Own};
use palinode_messaging::{BatchHandler, Committed, Failure, Received};

use super::Engine;
use super::batch::{Inputs, apply, apply_at_once};
use crate::convert::{self, Incoming};

/// Handles a batch of starts and replies: one statement where that can be, or one transaction.
pub(crate) struct InputsHandler {
    engine: Engine,
    own: Own,
    /// Whether the database's time may be reckoned: a simulation sets it as it likes.
    may_reckon: bool,
}

impl InputsHandler {
    pub(crate) fn new(engine: Engine) -> Self {
        Self {
            own: engine.db.own(),
            engine,
            may_reckon: true,
        }
    }

    /// One that asks the database for the time of each batch.
    pub(crate) fn by_the_database(engine: Engine) -> Self {
        Self {
            may_reckon: false,
            ..Self::new(engine)
        }
    }
}

impl BatchHandler for InputsHandler {
    async fn handle(&mut self, batch: &[Received]) -> Result<Committed, Failure> {
        let mut inputs = Inputs::default();
        let mut poison = Vec::new();
        for record in batch {
            match convert::incoming(&self.engine.registry, record) {
                Ok(Incoming::Start(start)) => inputs.starts.push(start),
                Ok(Incoming::Reply(reply)) => inputs.replies.push(reply),
                Err(error) => {
                    tracing::error!(topic = &*record.topic, offset = record.offset, %error, "parked");
                    poison.push((record, error.to_string()));
                }
            }
        }
        let (engine, inputs, poison) = (&self.engine, &inputs, &poison);
        if poison.is_empty() && self.may_reckon {
            let written = apply_at_once(engine, &mut self.own, inputs).await;
            if let Some(written) = written.map_err(failure)? {
                written.committed(engine);
                return Ok(Committed);
            }
        }
        let written = engine
            .db
            .with_fixed_plans()
            .run_tx("saga.apply", |tx| async move {
                let (mut tx, written) = apply(engine, tx, inputs).await?;
                if !poison.is_empty() {
                    palinode_participant::park(&mut tx, poison).await?;
                }
                Ok::<_, Error>((tx, written))
            })
            .await
            .map_err(failure)?;
        written.committed(engine);
        Ok(Committed)
    }

    async fn park(&mut self, record: &Received, error: &str) -> Result<Committed, Failure> {
        let parked = [(record, error.to_owned())];
        let parked = &parked;
        self.engine
            .db
            .run_tx("saga.park", |mut tx| async move {
                palinode_participant::park(&mut tx, parked).await?;
                Ok::<_, Error>((tx, ()))
            })
            .await
            .map_err(failure)?;
        Ok(Committed)
    }
}

fn failure(error: Error) -> Failure {
    if error.is_transient() {
        Failure::unavailable(error)
    } else {
        Failure::batch(error)
    }
}
