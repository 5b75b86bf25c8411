use std::slice;

use palinode_auth::Caller;
use palinode_db::{AsDbError, Error};
use palinode_outbox::{Held, append};
use palinode_telemetry::TraceContext;
use palinode_values::{CancellationId, Coded, ErrorCode, OrderId, SagaId};

use super::place::{Key, KeyError, claim};
use super::{CANCEL_OPENING_STEP, Desk, SERVICE};
use crate::clients::{Orchestrator, Unanswered};
use crate::convert;
use crate::domain::{Cancellation, NotCancelled, Order, Status};
use crate::store;

/// Why an order is not cancelled. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CancelError {
    #[error("there is no order {0}")]
    NotFound(OrderId),
    #[error("the saga of order {0} is still under way: try again when it is over")]
    NotYet(OrderId),
    #[error("order {0} was rejected: there is nothing to take back")]
    Rejected(OrderId),
    #[error("the idempotency key was used for another request")]
    KeyReused,
    #[error(transparent)]
    Orchestrator(#[from] Unanswered),
    #[error("the cancellation cannot be written")]
    Database(#[from] Error),
    #[error("the start of the saga cannot be written")]
    Outbox(#[from] palinode_outbox::Error),
}

impl From<KeyError> for CancelError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Reused => Self::KeyReused,
            KeyError::Database(error) => Self::Database(error),
        }
    }
}

impl AsDbError for CancelError {
    fn as_db_error(&self) -> Option<&Error> {
        match self {
            Self::Database(error) => Some(error),
            Self::Outbox(error) => error.as_db_error(),
            Self::NotFound(_)
            | Self::NotYet(_)
            | Self::Rejected(_)
            | Self::KeyReused
            | Self::Orchestrator(_) => None,
        }
    }
}

impl Coded for CancelError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound(_) => ErrorCode::NotFound,
            Self::NotYet(_) | Self::Rejected(_) => ErrorCode::Refused,
            Self::KeyReused => ErrorCode::Conflict,
            Self::Orchestrator(_) => ErrorCode::Unavailable,
            Self::Database(error) => error.code(),
            Self::Outbox(error) => error.code(),
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::NotFound(_) => "ORDER_NOT_FOUND",
            Self::NotYet(_) => "NOT_YET",
            Self::Rejected(_) => "ORDER_REJECTED",
            Self::KeyReused => "IDEMPOTENCY_KEY_REUSED",
            Self::Orchestrator(_) => "ORCHESTRATOR_UNAVAILABLE",
            Self::Database(error) => error.reason(),
            Self::Outbox(error) => error.reason(),
        }
    }
}

/// Takes a completed order back: cancellation, guard row of the opening step and the start of its
/// saga in one transaction. While one is under way, or was carried out, nothing is written, and the
/// order is answered as it stands.
///
/// # Errors
/// `NotYet`: the saga that placed the order is under way; a reversing saga would race with the
/// rest of it.
pub(crate) async fn cancel(
    desk: &Desk,
    orchestrator: &Orchestrator,
    (id, caller): (OrderId, &Caller),
    key: Option<&Key>,
    trace: &TraceContext,
) -> Result<Order, CancelError> {
    let order = store::order::get(&desk.db, id).await?;
    let order = order
        .filter(|order| caller.may_see(&order.user))
        .ok_or(CancelError::NotFound(id))?;
    let was_confirmed = matches!(order.status, Status::Confirmed(_));
    // confirmed by one of two last steps: the other may still be under way
    if was_confirmed && orchestrator.is_under_way(order.saga_id).await? {
        return Err(CancelError::NotYet(id));
    }
    let clock = &desk.clock;
    // drawn once: a second run of the transaction writes the same cancellation
    let (cancellation_id, saga_id) = (CancellationId::new(clock), SagaId::new(clock));
    let (order, start) = desk
        .db
        .run_tx("order.cancel", |mut tx| async move {
            let locked = store::order::lock(&mut tx, &[id]).await?;
            if let Some(key) = key
                && let Some(before) = claim(&mut tx, caller.user(), key, id).await?
            {
                return Ok((tx, (before, None)));
            }
            let status = locked.into_iter().next().map(|standing| standing.status);
            let status = status.ok_or(CancelError::NotFound(id))?;
            if matches!(status, Status::Confirmed(_)) && !was_confirmed {
                return Err(CancelError::NotYet(id)); // since then: nobody has asked for its saga
            }
            let next = status
                .cancel(cancellation_id)
                .map_err(|error| match error {
                    NotCancelled::NotYet => CancelError::NotYet(id),
                    NotCancelled::Rejected => CancelError::Rejected(id),
                })?;
            let order = store::order::get_in(&mut tx, id).await?;
            let mut order = order.ok_or(CancelError::NotFound(id))?;
            let Some(next) = next else {
                return Ok((tx, (order, None)));
            };
            order.status = next;
            order.updated_at = clock.now();
            let cancellation = Cancellation {
                id: cancellation_id,
                saga_id,
                refused: None,
                requested_at: order.updated_at,
            };
            store::cancellation::open(&mut tx, id, &cancellation, trace).await?;
            palinode_participant::opened(&mut tx, &[saga_id], CANCEL_OPENING_STEP).await?;
            let held = Held::by_insert(&tx, [saga_id.key()]);
            let start = convert::start_cancellation(&order, &cancellation, clock, trace.child());
            append(&mut tx, &held, slice::from_ref(&start), SERVICE).await?;
            order.cancellation = Some(cancellation);
            Ok::<_, CancelError>((tx, (order, Some(start))))
        })
        .await?;
    if let Some(start) = start {
        desk.started(&start, trace);
    }
    Ok(order)
}
