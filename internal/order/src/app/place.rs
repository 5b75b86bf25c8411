use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use palinode_db::{AsDbError, Error, Tx};
use palinode_messaging::Record;
use palinode_outbox::{Held, append};
use palinode_rpc::Violations;
use palinode_telemetry::TraceContext;
use palinode_values::{Coded, ErrorCode, Money, MoneyError, OrderId, SagaId, Sku, UserId};

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
    #[error("too many orders wait to be placed: try again in a moment")]
    Busy,
    /// That of a whole batch.
    #[error(transparent)]
    Shared(Arc<PlaceError>),
}

/// Why a key cannot be claimed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("the idempotency key was used for another request")]
    Reused,
    #[error(transparent)]
    Database(#[from] Error),
}

impl AsDbError for PlaceError {
    fn as_db_error(&self) -> Option<&Error> {
        match self {
            Self::Database(error) => Some(error),
            Self::Outbox(error) => error.as_db_error(),
            Self::Shared(error) => error.as_db_error(),
            Self::Invalid(_) | Self::KeyReused | Self::Total(_) | Self::Busy => None,
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
            Self::Busy => ErrorCode::Limited,
            Self::Shared(error) => error.code(),
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Invalid(_) => "INVALID_REQUEST",
            Self::Total(_) => "TOTAL_OUT_OF_RANGE",
            Self::KeyReused => "IDEMPOTENCY_KEY_REUSED",
            Self::Database(error) => error.reason(),
            Self::Outbox(error) => error.reason(),
            Self::Busy => "TOO_MANY_ORDERS",
            Self::Shared(error) => error.reason(),
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

/// A call for an order.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) key: Option<Key>,
    pub(crate) trace: TraceContext,
}

/// A call, with what was drawn for it once: a second run of the transaction writes the same order.
struct Drawn<'a> {
    asked: &'a Asked,
    order_id: OrderId,
    saga_id: SagaId,
}

/// What came of a call, and the start of the saga if there is a new one.
type Answer = Result<(Placed, Option<Record>), PlaceError>;

/// Places orders: orders, guard rows of the opening step, idempotency keys and the starts of their
/// sagas in one transaction for all of them.
///
/// Shape: one answer for each call, same order; what is wrong with one is its answer alone. Of calls
/// with the same key the first is answered before the others are looked at.
pub(crate) async fn place(desk: &Desk, asked: &[Asked]) -> Vec<Result<Placed, PlaceError>> {
    let mut answers: Vec<Option<Result<Placed, PlaceError>>> = Vec::new();
    answers.resize_with(asked.len(), || None);
    let mut waiting: Vec<usize> = (0..asked.len()).collect();
    while !waiting.is_empty() {
        let mut taken = HashSet::new();
        let name = |index: usize| {
            let Asked { request, key, .. } = &asked[index];
            key.as_ref().map(|key| (&request.user, &key.key))
        };
        let (now, later) = waiting
            .into_iter()
            .partition::<Vec<_>, _>(|index| name(*index).is_none_or(|name| taken.insert(name)));
        let together: Vec<&Asked> = now.iter().map(|index| &asked[*index]).collect();
        for (index, answer) in now.into_iter().zip(place_all(desk, &together).await) {
            answers[index] = Some(answer);
        }
        waiting = later;
    }
    answers.into_iter().flatten().collect()
}

/// Places orders of which no two have the same key.
async fn place_all(desk: &Desk, asked: &[&Asked]) -> Vec<Result<Placed, PlaceError>> {
    match place_together(desk, asked).await {
        Ok(answers) => answers,
        Err(error) if asked.len() == 1 => vec![Err(error)],
        // nobody's fault, and no better one by one
        Err(error) if error.as_db_error().is_some_and(Error::is_transient) => {
            let error = Arc::new(error);
            let share = |_: &_| Err(PlaceError::Shared(Arc::clone(&error)));
            asked.iter().map(share).collect()
        }
        Err(_somebodys) => {
            let mut answers = Vec::with_capacity(asked.len());
            for one in asked {
                let alone = place_together(desk, &[one]).await;
                answers.extend(alone.unwrap_or_else(|error| vec![Err(error)]));
            }
            answers
        }
    }
}

async fn place_together(
    desk: &Desk,
    asked: &[&Asked],
) -> Result<Vec<Result<Placed, PlaceError>>, PlaceError> {
    let clock = &desk.clock;
    let draw = |asked| Drawn {
        asked,
        order_id: OrderId::new(clock),
        saga_id: SagaId::new(clock),
    };
    let drawn: Vec<Drawn<'_>> = asked.iter().copied().map(draw).collect();
    let drawn = &drawn;
    let answers = desk
        .db
        .run_tx("order.place", move |tx| place_in(tx, desk, drawn))
        .await?;
    let mut placed = Vec::with_capacity(answers.len());
    for (answer, Drawn { asked, .. }) in answers.into_iter().zip(drawn) {
        placed.push(answer.map(|(placed, start)| {
            if let Some(start) = start {
                desk.started(&start, &asked.trace);
            }
            placed
        }));
    }
    Ok(placed)
}

async fn place_in(
    mut tx: Tx,
    desk: &Desk,
    drawn: &[Drawn<'_>],
) -> Result<(Tx, Vec<Answer>), PlaceError> {
    let (claimed, offers) = open(&mut tx, drawn).await?;
    let now = desk.clock.now();
    let mut answers: Vec<Answer> = Vec::with_capacity(drawn.len());
    let mut unused = Vec::new();
    for Drawn {
        asked,
        order_id,
        saga_id,
    } in drawn
    {
        let Asked { request, key, .. } = asked;
        if let Some(key) = key
            && !claimed.contains(order_id)
        {
            let before = before(&mut tx, &request.user, key).await;
            answers.push(match before {
                Ok(order) => Ok((Placed::Before(order), None)),
                Err(KeyError::Reused) => Err(PlaceError::KeyReused),
                Err(KeyError::Database(error)) => return Err(error.into()),
            });
            continue;
        }
        answers.push(match priced(&request.lines, &offers) {
            Ok((lines, total)) => {
                let order = Order {
                    id: *order_id,
                    saga_id: *saga_id,
                    user: request.user.clone(),
                    status: Status::Pending,
                    lines,
                    total,
                    address: request.address.clone(),
                    payment: request.payment.clone(),
                    cancellation: None,
                    created_at: now,
                    updated_at: now,
                };
                let start = convert::start_saga(&order, &desk.clock, asked.trace.child());
                Ok((Placed::New(order), Some(start)))
            }
            Err(error) => {
                unused.extend(key.as_ref().map(|key| (&request.user, key.key.as_str())));
                Err(error)
            }
        });
    }
    store::order::unclaim(&mut tx, &unused).await?;
    let (mut orders, mut starts) = (Vec::new(), Vec::new());
    for (answer, Drawn { asked, .. }) in answers.iter().zip(drawn) {
        if let Ok((Placed::New(order), Some(start))) = answer {
            orders.push((order, &asked.trace));
            starts.push(start.clone());
        }
    }
    if !orders.is_empty() {
        store::order::insert(&mut tx, &orders).await?;
        let sagas: Vec<SagaId> = orders.iter().map(|(order, _)| order.saga_id).collect();
        palinode_participant::opened(&mut tx, &sagas, OPENING_STEP).await?;
        let held = Held::by_insert(&tx, sagas.into_iter().map(SagaId::key));
        append(&mut tx, &held, &starts, SERVICE).await?;
    }
    Ok((tx, answers))
}

/// Claims the keys of the calls; returns the orders whose keys were free, and the offers of all
/// lines.
async fn open(
    tx: &mut Tx,
    drawn: &[Drawn<'_>],
) -> Result<(HashSet<OrderId>, HashMap<Sku, Offer>), Error> {
    let mut claims: Vec<store::order::Claim<'_>> = drawn
        .iter()
        .filter_map(|one| {
            let key = one.asked.key.as_ref()?;
            Some(store::order::Claim {
                user: &one.asked.request.user,
                key: &key.key,
                fingerprint: &key.fingerprint,
                order: one.order_id,
            })
        })
        .collect();
    claims.sort_by_key(|claim| (claim.user, claim.key));
    let lines = drawn.iter().flat_map(|one| &one.asked.request.lines);
    let skus: BTreeSet<&Sku> = lines.map(|(sku, _)| sku).collect();
    store::order::claim(tx, &claims, skus).await
}

/// What a key stands for that was claimed before.
async fn before(tx: &mut Tx, user: &UserId, key: &Key) -> Result<Order, KeyError> {
    let used = store::order::used_key(tx, user, &key.key).await?;
    if used.fingerprint != key.fingerprint {
        return Err(KeyError::Reused);
    }
    let order = store::order::get_in(tx, used.order_id).await?;
    order.ok_or_else(|| {
        let (id, why) = (used.order_id, "the order does not exist");
        Error::inconsistent("idempotency_key", "order_id", id, why).into()
    })
}

/// Claims the key for this request, or finds the order that it stands for.
pub(super) async fn claim(
    tx: &mut Tx,
    user: &UserId,
    key: &Key,
    order: OrderId,
) -> Result<Option<Order>, KeyError> {
    let claim = store::order::Claim {
        user,
        key: &key.key,
        fingerprint: &key.fingerprint,
        order,
    };
    let (claimed, _) = store::order::claim(tx, &[claim], []).await?;
    if claimed.contains(&order) {
        return Ok(None);
    }
    before(tx, user, key).await.map(Some)
}

/// The lines at the prices of the offers, and their sum.
fn priced(
    wanted: &[(Sku, i32)],
    offers: &HashMap<Sku, Offer>,
) -> Result<(Vec<Line>, Money), PlaceError> {
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
    let sum = total(&lines).map_err(PlaceError::Total)?;
    let sum = sum.ok_or_else(|| {
        let none = Violations::of("lines", "REQUIRED", "must have at least one entry");
        PlaceError::Invalid(none)
    })?;
    Ok((lines, sum))
}
