use std::collections::HashMap;
use std::slice;

use palinode_db::{AsDbError, Error, Tx};
use palinode_outbox::{Held, append};
use palinode_rpc::Violations;
use palinode_telemetry::TraceContext;
use palinode_values::{Coded, ErrorCode, MoneyError, OrderId, SagaId, Sku, UserId};

use super::{Desk, OPENING_STEP, SERVICE};
use crate::convert;
use crate::domain::{Line, Offer, Order, Request, Status, total};
use crate::store;

/// Why an order is not placed. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error("the request is not valid")]
    Invalid(#[source] Violations),
    #[error("the idempotency key was used for another request")]
    KeyReused,
    #[error("the total is out of range")]
    Total(#[source] MoneyError),
    #[error("the order cannot be written")]
    Database(#[from] Error),
    #[error("the start of the saga cannot be written")]
    Outbox(#[from] palinode_outbox::Error),
}

/// Why a key cannot be claimed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("the idempotency key was used for another request")]
    Reused,
    #[error(transparent)]
    Database(#[from] Error),
}

impl From<KeyError> for PlaceError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Reused => Self::KeyReused,
            KeyError::Database(error) => Self::Database(error),
        }
    }
}

impl AsDbError for PlaceError {
    fn as_db_error(&self) -> Option<&Error> {
        match self {
            Self::Database(error) => Some(error),
            Self::Outbox(error) => error.as_db_error(),
            Self::Invalid(_) | Self::KeyReused | Self::Total(_) => None,
        }
    }
}

impl Coded for PlaceError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) | Self::Total(_) => ErrorCode::Invalid,
            Self::KeyReused => ErrorCode::Conflict,
            Self::Database(error) => error.code(),
            Self::Outbox(error) => error.code(),
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Invalid(_) => "INVALID_REQUEST",
            Self::Total(_) => "TOTAL_OUT_OF_RANGE",
            Self::KeyReused => "IDEMPOTENCY_KEY_REUSED",
            Self::Database(error) => error.reason(),
            Self::Outbox(error) => error.reason(),
        }
    }
}

/// An idempotency key, and what it was used for.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) key: String,
    /// SHA-256 of the request.
    pub(crate) fingerprint: Vec<u8>,
}

/// What placing an order came to.
#[derive(Debug)]
pub(crate) enum Placed {
    /// It was written now.
    New(Order),
    /// The same request with the same key was answered before.
    Before(Order),
}

/// Places an order: order, lines, guard row of the opening step, idempotency key and the start of
/// its saga in one transaction.
///
/// # Errors
/// `Invalid` names the fields; `KeyReused`: the same key came with another request.
pub(crate) async fn place(
    desk: &Desk,
    request: &Request,
    key: Option<&Key>,
    trace: &TraceContext,
) -> Result<Placed, PlaceError> {
    let clock = &desk.clock;
    // drawn once: a second run of the transaction writes the same order
    let (order_id, saga_id) = (OrderId::new(clock), SagaId::new(clock));
    let (placed, start) = desk
        .db
        .run_tx("order.place", |mut tx| async move {
            if let Some(key) = key
                && let Some(before) = claim(&mut tx, &request.user, key, order_id).await?
            {
                return Ok((tx, (Placed::Before(before), None)));
            }
            let lines = price(&mut tx, &request.lines).await?;
            let sum = total(&lines).map_err(PlaceError::Total)?;
            let Some(sum) = sum else {
                let none = Violations::of("lines", "REQUIRED", "must have at least one entry");
                return Err(PlaceError::Invalid(none));
            };
            let now = clock.now();
            let order = Order {
                id: order_id,
                saga_id,
                user: request.user.clone(),
                status: Status::Pending,
                lines,
                total: sum,
                address: request.address.clone(),
                payment: request.payment.clone(),
                cancellation: None,
                created_at: now,
                updated_at: now,
            };
            store::order::insert(&mut tx, &order, trace).await?;
            palinode_participant::opened(&mut tx, saga_id, OPENING_STEP).await?;
            let held = Held::by_insert(&tx, [saga_id.key()]);
            let start = convert::start_saga(&order, clock, trace.child());
            append(&mut tx, &held, slice::from_ref(&start), SERVICE).await?;
            Ok((tx, (Placed::New(order), Some(start))))
        })
        .await?;
    if let Some(start) = start {
        desk.started(&start, trace);
    }
    Ok(placed)
}

/// Claims the key for this request, or finds the order that it stands for.
pub(super) async fn claim(
    tx: &mut Tx,
    user: &UserId,
    key: &Key,
    order_id: OrderId,
) -> Result<Option<Order>, KeyError> {
    let claimed = store::order::claim_key(tx, user, &key.key, &key.fingerprint, order_id).await?;
    let Some(before) = claimed else {
        return Ok(None);
    };
    if before.fingerprint != key.fingerprint {
        return Err(KeyError::Reused);
    }
    let order = store::order::get_in(tx, before.order_id).await?;
    order.map(Some).ok_or_else(|| {
        let id = before.order_id;
        Error::inconsistent(
            "idempotency_key",
            "order_id",
            id,
            "the order does not exist",
        )
        .into()
    })
}

/// The lines at the prices of the offers.
async fn price(tx: &mut Tx, wanted: &[(Sku, i32)]) -> Result<Vec<Line>, PlaceError> {
    let skus: Vec<&Sku> = wanted.iter().map(|(sku, _)| sku).collect();
    let offers: HashMap<Sku, Offer> = store::offer::of(tx, &skus)
        .await?
        .into_iter()
        .map(|offer| (offer.sku.clone(), offer))
        .collect();
    let mut unknown = Violations::new();
    let mut lines = Vec::with_capacity(wanted.len());
    for (position, (sku, quantity)) in wanted.iter().enumerate() {
        match offers.get(sku) {
            Some(offer) => lines.push(Line {
                sku: sku.clone(),
                name: offer.name.clone(),
                quantity: *quantity,
                price: offer.price,
            }),
            None => {
                let field = format!("lines[{position}].sku");
                unknown.add(field, "UNKNOWN_SKU", format!("{sku} is not on offer"));
            }
        }
    }
    unknown.into_result().map_err(PlaceError::Invalid)?;
    Ok(lines)
}
