//! Handlers: convert, call `app` or read, convert.

mod answers;
mod carts;
mod quotes;

use std::pin::Pin;

use futures_util::{Stream, stream};
use palinode_auth::Caller;
use palinode_db::{Db, Error};
use palinode_pb::order::v1 as pb;
use palinode_pb::order::v1::order_service_server::OrderService;
use palinode_rpc::{
    Details, Violations, caller, idempotency_key, status, status_with, trace_context,
    wait_preference,
};
use palinode_values::{Coded, ErrorCode, OrderId};
use prost::Message;
use sha2::{Digest, Sha256};
use tonic::{Request, Response, Status};

use crate::app::Desk;
use crate::app::cancel::{CancelError, cancel};
use crate::app::counter::Counter;
use crate::app::place::{Asked, Key, PlaceError, place_alone};
use crate::app::watch::{TooMany, Watcher};
use crate::clients::Orchestrator;
use crate::convert;
use crate::domain::{Goods, Order};
use crate::store;

pub(crate) use answers::Answers;
pub(crate) use carts::Carts;
pub(crate) use quotes::Quotes;

pub(crate) struct Orders {
    pub(crate) desk: Desk,
    pub(crate) counter: Counter,
    pub(crate) orchestrator: Orchestrator,
    pub(crate) answers: Answers,
}

const PAGE_DEFAULT: i32 = 50;

/// Why a question about orders is not answered.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("there is no order {0}")]
    NotFound(OrderId),
    #[error("the orders of others are for those who have a role for it")]
    NotHis,
    #[error("the request is not valid")]
    Invalid(#[source] Violations),
    #[error("the orders cannot be read")]
    Database(#[from] Error),
    #[error(transparent)]
    TooMany(#[from] TooMany),
}

impl Coded for Refused {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound(_) => ErrorCode::NotFound,
            Self::NotHis => ErrorCode::Forbidden,
            Self::Invalid(_) => ErrorCode::Invalid,
            Self::Database(error) => error.code(),
            Self::TooMany(_) => ErrorCode::Limited,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::NotFound(_) => "ORDER_NOT_FOUND",
            Self::NotHis => "ROLE_REQUIRED",
            Self::Invalid(_) => "INVALID_REQUEST",
            Self::Database(error) => error.reason(),
            Self::TooMany(_) => "TOO_MANY_WATCHERS",
        }
    }
}

fn order_id(field: &'static str, text: &str) -> Result<OrderId, Refused> {
    text.parse::<OrderId>().map_err(|e| {
        Refused::Invalid(Violations::of(
            field,
            "MALFORMED",
            format!("must be {}", e.rule),
        ))
    })
}

fn page_size(asked: i32) -> i32 {
    if asked == 0 { PAGE_DEFAULT } else { asked }
}

/// The token of the next page: the last entry of a page that is full.
fn next_page<T>(page: &[T], size: i32, token: impl Fn(&T) -> String) -> String {
    let full = i32::try_from(page.len()) == Ok(size);
    page.last().filter(|_| full).map(token).unwrap_or_default()
}

/// An order's progress, as it is streamed.
type Progress = Pin<Box<dyn Stream<Item = Result<pb::WatchOrderResponse, Status>> + Send>>;

/// One more answer of a stream, and whether there are more; `None`: it is over.
async fn step(
    watcher: &mut Watcher,
    db: &Db,
    first: Option<Order>,
) -> Option<(Result<pb::WatchOrderResponse, Status>, bool)> {
    let order = match first {
        Some(order) => order,
        None if watcher.is_settled() => return None,
        None => match watcher.next(db).await {
            Ok(order) => order?,
            Err(error) => return Some((Err(status(&Refused::from(error))), false)),
        },
    };
    let answer = pb::WatchOrderResponse {
        resume_token: resume_token(&order),
        order: Some(convert::order(&order)),
    };
    Some((Ok(answer), !order.status.is_settled()))
}

/// Names the state of an order by its last change.
fn resume_token(order: &Order) -> String {
    order.updated_at.timestamp_micros().to_string()
}

/// The idempotency key of a call, and what it stands for.
fn key<M: Message>(request: &Request<M>, method: &str) -> Result<Option<Key>, Status> {
    let fingerprint = |message: &M| {
        let digest = Sha256::new()
            .chain_update(method)
            .chain_update(message.encode_to_vec());
        digest.finalize().to_vec()
    };
    Ok(idempotency_key(request)?.map(|key| Key {
        key,
        fingerprint: fingerprint(request.get_ref()),
    }))
}

/// The status of an order that is not placed, with what a program needs to go on.
fn refused(error: &PlaceError) -> Status {
    let ids = match error {
        PlaceError::PriceChanged { now } => vec![("total", now.to_string())],
        PlaceError::QuoteUsed { order, .. } => vec![("order_id", order.to_string())],
        _ => Vec::new(),
    };
    let details = Details {
        ids,
        ..Details::default()
    };
    status_with(error, details)
}

impl Orders {
    async fn get(
        &self,
        request: &pb::GetOrderRequest,
        caller: &Caller,
    ) -> Result<pb::GetOrderResponse, Refused> {
        let id = order_id("order_id", &request.order_id)?;
        let order = store::order::get(&self.desk.db, id)
            .await?
            .filter(|order| caller.may_see(&order.user))
            .ok_or(Refused::NotFound(id))?;
        Ok(pb::GetOrderResponse {
            order: Some(convert::order(&order)),
        })
    }

    /// The order as it is, and then each time that it has changed, until it is settled.
    async fn watch(
        &self,
        request: &pb::WatchOrderRequest,
        caller: &Caller,
    ) -> Result<Progress, Refused> {
        let id = order_id("order_id", &request.order_id)?;
        let mut watcher = self.answers.watchers.watch(id, None)?;
        let db = self.desk.db.clone();
        let first = watcher.next(&db).await?;
        let first = first
            .filter(|order| caller.may_see(&order.user))
            .ok_or(Refused::NotFound(id))?;
        // who comes back knows this one already
        let is_known = resume_token(&first) == request.resume_token;
        let state = (watcher, db, Some(first).filter(|_| !is_known));
        Ok(Box::pin(stream::unfold(Some(state), |state| async move {
            let (mut watcher, db, first) = state?;
            step(&mut watcher, &db, first)
                .await
                .map(|(answer, goes_on)| (answer, goes_on.then_some((watcher, db, None))))
        })))
    }

    async fn list(
        &self,
        request: &pb::ListOrdersRequest,
        caller: &Caller,
    ) -> Result<pb::ListOrdersResponse, Refused> {
        let user = convert::user(&request.user_id).map_err(Refused::Invalid)?;
        if user.as_ref().is_some_and(|user| !caller.may_see(user)) {
            return Err(Refused::NotHis);
        }
        let user = user.or_else(|| (!caller.sees_all).then(|| caller.user().clone()));
        let size = page_size(request.page_size);
        let listing = convert::listing(request, user).map_err(Refused::Invalid)?;
        let orders = store::order::list(&self.desk.db, &listing, i64::from(size)).await?;
        Ok(pb::ListOrdersResponse {
            next_page_token: next_page(&orders, size, |last| convert::page_token(&listing, last)),
            orders: orders.iter().map(convert::order).collect(),
        })
    }
}

#[tonic::async_trait]
impl OrderService for Orders {
    async fn place_order(
        &self,
        request: Request<pb::PlaceOrderRequest>,
    ) -> Result<Response<pb::PlaceOrderResponse>, Status> {
        let caller = caller(&request)?;
        let key = key(&request, "PlaceOrder")?;
        let wait = wait_preference(request.metadata().as_ref());
        let trace = trace_context(&request);
        let placed = async {
            let request = convert::request(request.into_inner(), caller.principal.subject)
                .map_err(PlaceError::Invalid)?;
            let asked = Asked {
                request,
                key,
                trace,
            };
            match asked.request.goods {
                Goods::Lines(_) => self.counter.place(asked).await,
                Goods::Quote(_) | Goods::Cart => place_alone(&self.desk, asked).await,
            }
        };
        let placed = placed.await.map_err(|e| refused(&e))?;
        let answer = |order| pb::PlaceOrderResponse { order };
        Ok(self.answers.placed(placed, wait, answer).await)
    }

    type WatchOrderStream = Progress;

    async fn watch_order(
        &self,
        request: Request<pb::WatchOrderRequest>,
    ) -> Result<Response<Progress>, Status> {
        let caller = caller(&request)?;
        let progress = self.watch(request.get_ref(), &caller).await;
        progress.map(Response::new).map_err(|error| status(&error))
    }

    async fn cancel_order(
        &self,
        request: Request<pb::CancelOrderRequest>,
    ) -> Result<Response<pb::CancelOrderResponse>, Status> {
        let caller = caller(&request)?;
        let key = key(&request, "CancelOrder")?;
        let trace = trace_context(&request);
        let id = order_id("order_id", &request.get_ref().order_id);
        let id = id.map_err(|error| status(&error))?;
        let cancelled = cancel(
            &self.desk,
            &self.orchestrator,
            (id, &caller),
            key.as_ref(),
            &trace,
        );
        let order = cancelled
            .await
            .map_err(|error: CancelError| status(&error))?;
        self.answers.watchers.tell(id);
        let order = Some(convert::order(&order));
        Ok(Response::new(pb::CancelOrderResponse { order }))
    }

    async fn get_order(
        &self,
        request: Request<pb::GetOrderRequest>,
    ) -> Result<Response<pb::GetOrderResponse>, Status> {
        let caller = caller(&request)?;
        self.get(request.get_ref(), &caller)
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }

    async fn list_orders(
        &self,
        request: Request<pb::ListOrdersRequest>,
    ) -> Result<Response<pb::ListOrdersResponse>, Status> {
        let caller = caller(&request)?;
        self.list(request.get_ref(), &caller)
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }
}
