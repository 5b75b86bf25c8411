use std::time::Duration;

use palinode_db::{AsDbError, Error};
use palinode_outbox::{Held, append};
use palinode_values::SagaId;
use tokio_util::sync::CancellationToken;

use super::{Desk, SERVICE};
use crate::clients::{Orchestrator, Unanswered};
use crate::convert;
use crate::store;

/// How often the sweep looks.
const EVERY: Duration = Duration::from_secs(1);
/// A start that is older than that and not known to the orchestrator is sent again.
const PATIENCE: Duration = Duration::from_secs(5);
/// Orders of one round at the most; the rest comes with the next.
const ORDERS_MAX: i64 = 500;

/// Why a round of the sweep failed; the next one tries again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SweepError {
    #[error(transparent)]
    Orchestrator(#[from] Unanswered),
    #[error(transparent)]
    Database(#[from] Error),
    #[error(transparent)]
    Outbox(#[from] palinode_outbox::Error),
}

impl AsDbError for SweepError {
    fn as_db_error(&self) -> Option<&Error> {
        match self {
            Self::Database(error) => Some(error),
            Self::Outbox(error) => error.as_db_error(),
            Self::Orchestrator(_) => None,
        }
    }
}

/// Makes sure that every pending order and every open cancellation has a saga: the start may be
/// lost with the broker, and is sent again, under the same saga id, until the orchestrator knows it.
#[derive(Clone)]
pub(crate) struct Sweep {
    pub(crate) desk: Desk,
    pub(crate) orchestrator: Orchestrator,
}

impl Sweep {
    /// Runs until it is told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            match self.step(PATIENCE).await {
                Ok(0) => {}
                Ok(sent) => tracing::info!(sent, "starts of sagas sent again"),
                Err(error) => tracing::warn!(%error, "orders could not be swept"),
            }
        }
    }

    /// One round; returns how many starts were sent again.
    pub(crate) async fn step(&self, patience: Duration) -> Result<usize, SweepError> {
        let waiting = store::order::to_sweep(&self.desk.db, patience, ORDERS_MAX).await?;
        if waiting.is_empty() {
            return Ok(0);
        }
        let known = self.orchestrator.find(&waiting).await?;
        let (known, unknown): (Vec<SagaId>, Vec<SagaId>) =
            waiting.into_iter().partition(|id| known.contains_key(id));
        store::order::mark_known(&self.desk.db, &known).await?;
        if unknown.is_empty() {
            return Ok(0);
        }
        let (clock, unknown) = (&self.desk.clock, &unknown);
        let (starts, traces) = self
            .desk
            .db
            .run_tx("order.sweep", |mut tx| async move {
                let orders = store::order::lock_unstarted(&mut tx, unknown).await?;
                let mut starts = Vec::with_capacity(orders.len());
                for (order, trace) in orders {
                    starts.push((convert::start_saga(&order, clock, trace.child()), trace));
                }
                let open = store::cancellation::lock_unstarted(&mut tx, unknown).await?;
                for (id, cancellation, trace) in open {
                    if let Some(order) = store::order::get_in(&mut tx, id).await? {
                        let under = trace.child();
                        let start =
                            convert::start_cancellation(&order, &cancellation, clock, under);
                        starts.push((start, trace));
                    }
                }
                let (starts, traces): (Vec<_>, Vec<_>) = starts.into_iter().unzip();
                let held = Held::by_lock(&tx, starts.iter().map(|start| start.key.clone()));
                append(&mut tx, &held, &starts, SERVICE).await?;
                Ok::<_, SweepError>((tx, (starts, traces)))
            })
            .await?;
        for (start, trace) in starts.iter().zip(&traces) {
            self.desk.started(start, trace);
        }
        Ok(starts.len())
    }
}
