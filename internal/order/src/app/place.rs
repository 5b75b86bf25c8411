use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use palinode_db::{AsDbError, Error, Tx};
use palinode_messaging::Record;
use palinode_outbox::{Held, append};
use palinode_rpc::Violations;
use palinode_telemetry::TraceContext;
use palinode_values::{Coded, ErrorCode, Money, MoneyError, OrderId, QuoteId, SagaId, Sku, UserId};
use uuid::Uuid;

use super::{Desk, OPENING_STEP, SERVICE};
use crate::convert;
use crate::domain::{Cart, Goods, Line, Order, Product, Request, Status, total};
use crate::store;

/// Why an order is not placed, or a quote not made. Nothing was written.
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
    #[error("the prices have changed: the total is {now}")]
    PriceChanged { now: Money },
    #[error("the cart is empty")]
    CartEmpty,
    #[error("there is no quote {0}")]
    QuoteNotFound(QuoteId),
    #[error("quote {0} has expired: ask for another")]
    QuoteExpired(QuoteId),
    #[error("quote {quote} was ordered before, as order {order}")]
    QuoteUsed { quote: QuoteId, order: OrderId },
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
            Self::Invalid(_)
            | Self::KeyReused
            | Self::Total(_)
            | Self::PriceChanged { .. }
            | Self::CartEmpty
            | Self::QuoteNotFound(_)
            | Self::QuoteExpired(_)
            | Self::QuoteUsed { .. }
            | Self::Busy => None,
        }
    }
}

impl Coded for PlaceError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) | Self::Total(_) => ErrorCode::Invalid,
            Self::KeyReused => ErrorCode::Conflict,
            Self::PriceChanged { .. }
            | Self::CartEmpty
            | Self::QuoteExpired(_)
            | Self::QuoteUsed { .. } => ErrorCode::Refused,
            Self::QuoteNotFound(_) => ErrorCode::NotFound,
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
            Self::PriceChanged { .. } => "PRICE_CHANGED",
            Self::CartEmpty => "CART_EMPTY",
            Self::QuoteNotFound(_) => "QUOTE_NOT_FOUND",
            Self::QuoteExpired(_) => "QUOTE_EXPIRED",
            Self::QuoteUsed { .. } => "QUOTE_USED",
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

/// Places one order, in a transaction of its own: one that waits for a cart or a quote holds up nobody
/// else, and no two wait for each other.
pub(crate) async fn place_alone(desk: &Desk, asked: Asked) -> Result<Placed, PlaceError> {
    let mut answers = place_all(desk, &[&asked]).await;
    answers.pop().unwrap_or(Err(PlaceError::Busy))
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
    let (claimed, products) = open(&mut tx, drawn).await?;
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
            && !claimed.contains(&order_id.0)
        {
            let before = before(&mut tx, &request.user, key).await;
            answers.push(match before {
                Ok(order) => Ok((Placed::Before(order), None)),
                Err(KeyError::Reused) => Err(PlaceError::KeyReused),
                Err(KeyError::Database(error)) => return Err(error.into()),
            });
            continue;
        }
        answers.push(match agreed(&mut tx, desk, request, &products).await {
            Ok((lines, total)) => {
                take(&mut tx, request, *order_id).await?;
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
            Err(error) if error.as_db_error().is_some() => return Err(error),
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

/// Claims the keys of the calls; returns the ids of the orders whose keys were free, and the products
/// of all lines.
async fn open(
    tx: &mut Tx,
    drawn: &[Drawn<'_>],
) -> Result<(HashSet<Uuid>, HashMap<Sku, Product>), Error> {
    let mut claims: Vec<store::order::Claim<'_>> = drawn
        .iter()
        .filter_map(|one| {
            let key = one.asked.key.as_ref()?;
            Some(store::order::Claim {
                user: &one.asked.request.user,
                key: &key.key,
                fingerprint: &key.fingerprint,
                made: one.order_id.0,
            })
        })
        .collect();
    claims.sort_by_key(|claim| (claim.user, claim.key));
    let lines = drawn.iter().flat_map(|one| match &one.asked.request.goods {
        Goods::Lines(lines) => lines.as_slice(),
        Goods::Quote(_) | Goods::Cart => &[],
    });
    let skus: BTreeSet<&Sku> = lines.map(|(sku, _)| sku).collect();
    store::order::claim(tx, &claims, skus).await
}

/// What a key stands for that was claimed before.
async fn used(tx: &mut Tx, user: &UserId, key: &Key) -> Result<Uuid, KeyError> {
    let used = store::order::used_key(tx, user, &key.key).await?;
    if used.fingerprint != key.fingerprint {
        return Err(KeyError::Reused);
    }
    Ok(used.made)
}

/// The order that a key stands for that was claimed before.
async fn before(tx: &mut Tx, user: &UserId, key: &Key) -> Result<Order, KeyError> {
    let made = used(tx, user, key).await?;
    let order = store::order::get_in(tx, OrderId(made)).await?;
    order.ok_or_else(|| {
        let why = "the order does not exist";
        Error::inconsistent("idempotency_key", "made_id", made, why).into()
    })
}

/// Claims the key for this request, or finds the order that it stands for.
pub(super) async fn claim(
    tx: &mut Tx,
    user: &UserId,
    key: &Key,
    order: OrderId,
) -> Result<Option<Order>, KeyError> {
    match claimed_by(tx, user, key, order.0).await? {
        None => Ok(None),
        Some(_) => before(tx, user, key).await.map(Some),
    }
}

/// Claims the key for what this request makes, or finds what it has made before.
pub(super) async fn claimed_by(
    tx: &mut Tx,
    user: &UserId,
    key: &Key,
    made: Uuid,
) -> Result<Option<Uuid>, KeyError> {
    let claim = store::order::Claim {
        user,
        key: &key.key,
        fingerprint: &key.fingerprint,
        made,
    };
    let (claimed, _) = store::order::claim(tx, &[claim], []).await?;
    if claimed.contains(&made) {
        return Ok(None);
    }
    used(tx, user, key).await.map(Some)
}

/// What is ordered, at which prices, and their sum, which is the one that the user was shown. A cart or
/// a quote is locked then.
async fn agreed(
    tx: &mut Tx,
    desk: &Desk,
    request: &Request,
    products: &HashMap<Sku, Product>,
) -> Result<(Vec<Line>, Money), PlaceError> {
    let (lines, now) = match &request.goods {
        Goods::Lines(lines) => priced(lines, products)?,
        Goods::Quote(id) => of_quote(tx, desk, &request.user, *id).await?,
        Goods::Cart => {
            let cart = store::cart::lock(tx, &request.user).await?;
            of_cart(tx, &cart).await?
        }
    };
    match request.expected_total {
        Some(expected) if expected != now => Err(PlaceError::PriceChanged { now }),
        _ => Ok((lines, now)),
    }
}

/// What is in a cart, at the prices of now.
pub(super) async fn of_cart(tx: &mut Tx, cart: &Cart) -> Result<(Vec<Line>, Money), PlaceError> {
    if cart.lines().is_empty() {
        return Err(PlaceError::CartEmpty);
    }
    let skus = cart.lines().iter().map(|(sku, _)| sku);
    priced(cart.lines(), &store::product::of(tx, skus).await?)
}

/// What a quote has, at its prices. They are promised, and the products are not: one that was deleted
/// since is refused.
async fn of_quote(
    tx: &mut Tx,
    desk: &Desk,
    user: &UserId,
    id: QuoteId,
) -> Result<(Vec<Line>, Money), PlaceError> {
    let quote = store::quote::lock(tx, id).await?;
    let quote = quote
        .filter(|quote| quote.user == *user)
        .ok_or(PlaceError::QuoteNotFound(id))?;
    if let Some(order) = quote.sold_as {
        return Err(PlaceError::QuoteUsed { quote: id, order });
    }
    if desk.clock.now() >= quote.expires_at {
        return Err(PlaceError::QuoteExpired(id));
    }
    let wanted = quote.lines.iter().map(|line| (&line.sku, line.quantity));
    let products = store::product::of(tx, wanted.clone().map(|(sku, _)| sku)).await?;
    unknown(wanted.map(|(sku, _)| sku), &products)?;
    Ok((quote.lines, quote.total))
}

/// What was agreed upon is gone: the cart is empty, the quote is used.
async fn take(tx: &mut Tx, request: &Request, order: OrderId) -> Result<(), Error> {
    match &request.goods {
        Goods::Lines(_) => Ok(()),
        Goods::Quote(id) => store::quote::sell(tx, *id, order).await,
        Goods::Cart => store::cart::delete(tx, request.user.as_str()).await,
    }
}

/// Refuses SKUs that cannot be ordered, by their places.
fn unknown<'a>(
    wanted: impl Iterator<Item = &'a Sku>,
    products: &HashMap<Sku, Product>,
) -> Result<(), PlaceError> {
    let mut unknown = Violations::new();
    for (position, sku) in wanted.enumerate() {
        if !products.contains_key(sku) {
            let field = format!("lines[{position}].sku");
            unknown.add(field, "UNKNOWN_SKU", format!("{sku} cannot be ordered"));
        }
    }
    unknown.into_result().map_err(PlaceError::Invalid)
}

/// The lines at the prices of now, and their sum.
pub(super) fn priced(
    wanted: &[(Sku, i32)],
    products: &HashMap<Sku, Product>,
) -> Result<(Vec<Line>, Money), PlaceError> {
    unknown(wanted.iter().map(|(sku, _)| sku), products)?;
    let lines = wanted.iter().filter_map(|(sku, quantity)| {
        let product = products.get(sku)?;
        Some(Line {
            sku: sku.clone(),
            name: product.name.clone(),
            quantity: *quantity,
            price: product.price,
        })
    });
    let lines: Vec<Line> = lines.collect();
    let sum = total(&lines).map_err(PlaceError::Total)?;
    let sum = sum.ok_or_else(|| {
        let none = Violations::of("lines", "REQUIRED", "must have at least one entry");
        PlaceError::Invalid(none)
    })?;
    Ok((lines, sum))
}
