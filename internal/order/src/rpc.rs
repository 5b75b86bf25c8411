//! Handlers: convert, call `app` or read, convert.

use palinode_db::Error;
use palinode_pb::order::v1 as pb;
use palinode_pb::order::v1::order_service_server::OrderService;
use palinode_rpc::{Violations, created, idempotency_key, status, trace_context};
use palinode_values::{Coded, ErrorCode, OrderId, UserId};
use prost::Message;
use sha2::{Digest, Sha256};
use tonic::{Request, Response, Status};

use crate::app::Desk;
use crate::app::cancel::{CancelError, cancel};
use crate::app::counter::Counter;
use crate::app::place::{Asked, Key, PlaceError, Placed};
use crate::clients::Orchestrator;
use crate::convert;
use crate::store;

pub(crate) struct Orders {
    pub(crate) desk: Desk,
    pub(crate) counter: Counter,
    pub(crate) orchestrator: Orchestrator,
}

const PAGE_DEFAULT: i32 = 50;
const PAGE_MAX: i32 = 200;

/// Why a question about orders is not answered.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("there is no order {0}")]
    NotFound(OrderId),
    #[error("the request is not valid")]
    Invalid(#[source] Violations),
    #[error("the orders cannot be read")]
    Database(#[from] Error),
}

impl Coded for Refused {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound(_) => ErrorCode::NotFound,
            Self::Invalid(_) => ErrorCode::Invalid,
            Self::Database(error) => error.code(),
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::NotFound(_) => "ORDER_NOT_FOUND",
            Self::Invalid(_) => "INVALID_REQUEST",
            Self::Database(error) => error.reason(),
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

fn page_size(asked: i32) -> Result<i32, Refused> {
    match asked {
        0 => Ok(PAGE_DEFAULT),
        1..=PAGE_MAX => Ok(asked),
        _ => Err(Refused::Invalid(Violations::of(
            "page_size",
            "OUT_OF_RANGE",
            "must be 1 to 200",
        ))),
    }
}

/// The token of the next page: the last entry of a page that is full.
fn next_page<T>(page: &[T], size: i32, token: impl Fn(&T) -> String) -> String {
    let full = i32::try_from(page.len()) == Ok(size);
    page.last().filter(|_| full).map(token).unwrap_or_default()
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

impl Orders {
    async fn get(&self, request: &pb::GetOrderRequest) -> Result<pb::GetOrderResponse, Refused> {
        let id = order_id("order_id", &request.order_id)?;
        let order = store::order::get(&self.desk.db, id)
            .await?
            .ok_or(Refused::NotFound(id))?;
        Ok(pb::GetOrderResponse {
            order: Some(convert::order(&order)),
        })
    }

    fn cancellation(&self, request: &pb::CancelOrderRequest) -> Result<(OrderId, UserId), Refused> {
        let id = order_id("order_id", &request.order_id)?;
        let mut wrong = Violations::new();
        let user = convert::user(&mut wrong, &request.user_id);
        user.map(|user| (id, user)).ok_or(Refused::Invalid(wrong))
    }

    async fn list(
        &self,
        request: &pb::ListOrdersRequest,
    ) -> Result<pb::ListOrdersResponse, Refused> {
        let mut wrong = Violations::new();
        let Some(user) = convert::user(&mut wrong, &request.user_id) else {
            return Err(Refused::Invalid(wrong));
        };
        let size = page_size(request.page_size)?;
        let before = match request.page_token.as_str() {
            "" => None,
            token => Some(order_id("page_token", token)?),
        };
        let orders = store::order::list(&self.desk.db, &user, before, i64::from(size)).await?;
        Ok(pb::ListOrdersResponse {
            next_page_token: next_page(&orders, size, |o| o.id.to_string()),
            orders: orders.iter().map(convert::order).collect(),
        })
    }

    async fn offers(
        &self,
        request: &pb::ListOffersRequest,
    ) -> Result<pb::ListOffersResponse, Refused> {
        let size = page_size(request.page_size)?;
        let offers =
            store::offer::list(&self.desk.db, &request.page_token, i64::from(size)).await?;
        Ok(pb::ListOffersResponse {
            next_page_token: next_page(&offers, size, |o| o.sku.to_string()),
            offers: offers.iter().map(convert::offer).collect(),
        })
    }
}

#[tonic::async_trait]
impl OrderService for Orders {
    async fn place_order(
        &self,
        request: Request<pb::PlaceOrderRequest>,
    ) -> Result<Response<pb::PlaceOrderResponse>, Status> {
        let key = key(&request, "PlaceOrder")?;
        let trace = trace_context(&request);
        let placed = async {
            let request = convert::request(request.into_inner()).map_err(PlaceError::Invalid)?;
            let asked = Asked {
                request,
                key,
                trace,
            };
            self.counter.place(asked).await
        };
        match placed.await.map_err(|e| status(&e))? {
            Placed::New(order) => {
                let location = format!("/v1/orders/{}", order.id);
                let order = Some(convert::order(&order));
                Ok(created(pb::PlaceOrderResponse { order }, &location))
            }
            Placed::Before(order) => {
                let order = Some(convert::order(&order));
                Ok(Response::new(pb::PlaceOrderResponse { order }))
            }
        }
    }

    async fn cancel_order(
        &self,
        request: Request<pb::CancelOrderRequest>,
    ) -> Result<Response<pb::CancelOrderResponse>, Status> {
        let key = key(&request, "CancelOrder")?;
        let trace = trace_context(&request);
        let asked = self.cancellation(request.get_ref());
        let (id, user) = asked.map_err(|error| status(&error))?;
        let cancelled = cancel(
            &self.desk,
            &self.orchestrator,
            (id, &user),
            key.as_ref(),
            &trace,
        );
        let order = cancelled
            .await
            .map_err(|error: CancelError| status(&error))?;
        let order = Some(convert::order(&order));
        Ok(Response::new(pb::CancelOrderResponse { order }))
    }

    async fn get_order(
        &self,
        request: Request<pb::GetOrderRequest>,
    ) -> Result<Response<pb::GetOrderResponse>, Status> {
        self.get(request.get_ref())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }

    async fn list_orders(
        &self,
        request: Request<pb::ListOrdersRequest>,
    ) -> Result<Response<pb::ListOrdersResponse>, Status> {
        self.list(request.get_ref())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }

    async fn list_offers(
        &self,
        request: Request<pb::ListOffersRequest>,
    ) -> Result<Response<pb::ListOffersResponse>, Status> {
        self.offers(request.get_ref())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }
}
