//! A running gateway and a client for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use palinode_pb::order::v1::order_service_server::{OrderService, OrderServiceServer};
use palinode_pb::order::v1::{
    CancelOrderRequest, CancelOrderResponse, GetOrderRequest, GetOrderResponse, ListOrdersRequest,
    ListOrdersResponse, Order, OrderStatus, PlaceOrderRequest, PlaceOrderResponse,
    WatchOrderRequest, WatchOrderResponse,
};
use palinode_rpc::{Details, Violations, created, idempotency_key, status_with, trace_context};
use palinode_service::{Config, Context, Opening, Tasks, service};
use palinode_telemetry::{Meter, Tracer};
use palinode_values::{Clock, Coded, ErrorCode};
use serde_json::Value as Json;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_stream::Iter;
use tonic::{Request as Call, Response as Answer, Status};

pub(crate) const ORDER: &str = "0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42";
const LIMIT: Duration = Duration::from_secs(5);

/// Tells a test when a call has arrived, and waits for its permission to answer.
#[derive(Clone, Default)]
pub(crate) struct Waits {
    pub(crate) taken_up: Arc<Notify>,
    pub(crate) answer: Arc<Notify>,
}

/// An order service that keeps nothing. It tells what it saw of a call in fields of its answer.
struct Orders(Waits);

#[derive(Debug, thiserror::Error)]
#[error("only 2 of mug-blue are left")]
struct OutOfStock;

impl Coded for OutOfStock {
    fn code(&self) -> ErrorCode {
        ErrorCode::Refused
    }

    fn reason(&self) -> &str {
        "OUT_OF_STOCK"
    }
}

#[tonic::async_trait]
impl OrderService for Orders {
    async fn cancel_order(
        &self,
        _: Call<CancelOrderRequest>,
    ) -> Result<Answer<CancelOrderResponse>, Status> {
        panic!("an order that cannot be cancelled")
    }

    async fn place_order(
        &self,
        call: Call<PlaceOrderRequest>,
    ) -> Result<Answer<PlaceOrderResponse>, Status> {
        let key = idempotency_key(&call)?.unwrap_or_default();
        let trace = trace_context(&call).trace_id.to_string();
        let token = call.metadata().get("authorization");
        let token = token.map_or("nobody", |token| token.to_str().unwrap());
        let token = token.to_owned();
        let request = call.into_inner();
        let mut violations = Violations::new();
        if request.lines.is_empty() {
            violations.add("lines", "REQUIRED", "must have at least one entry");
        }
        for line in &request.lines {
            if line.sku == "mug-blue" {
                let ids = vec![("sku", line.sku.clone())];
                return Err(status_with(
                    &OutOfStock,
                    Details {
                        ids,
                        ..Details::default()
                    },
                ));
            }
        }
        violations.into_result()?;
        let order = Order {
            order_id: ORDER.to_owned(),
            user_id: token,
            status: OrderStatus::Pending.into(),
            reason: key,
            reason_detail: trace,
            ..Order::default()
        };
        let location = format!("/v1/orders/{ORDER}");
        Ok(created(
            PlaceOrderResponse { order: Some(order) },
            &location,
        ))
    }

    async fn get_order(
        &self,
        call: Call<GetOrderRequest>,
    ) -> Result<Answer<GetOrderResponse>, Status> {
        self.0.taken_up.notify_one();
        self.0.answer.notified().await;
        let order_id = call.into_inner().order_id;
        let order = Some(Order {
            order_id,
            ..Order::default()
        });
        Ok(Answer::new(GetOrderResponse { order }))
    }

    type WatchOrderStream = Iter<std::vec::IntoIter<Result<WatchOrderResponse, Status>>>;

    /// Pending, confirmed, and then a failure.
    async fn watch_order(
        &self,
        call: Call<WatchOrderRequest>,
    ) -> Result<Answer<Self::WatchOrderStream>, Status> {
        let WatchOrderRequest {
            order_id,
            resume_token,
        } = call.into_inner();
        let states = [OrderStatus::Pending, OrderStatus::Confirmed];
        let answers = states.into_iter().enumerate().map(|(number, status)| {
            let order = Order {
                order_id: order_id.clone(),
                status: status.into(),
                ..Order::default()
            };
            Ok(WatchOrderResponse {
                order: Some(order),
                resume_token: number.to_string(),
            })
        });
        let seen = usize::from(!resume_token.is_empty());
        let mut answers: Vec<_> = answers.skip(seen).collect();
        answers.push(Err(Status::unavailable("no longer")));
        Ok(Answer::new(tokio_stream::iter(answers)))
    }

    async fn list_orders(
        &self,
        _: Call<ListOrdersRequest>,
    ) -> Result<Answer<ListOrdersResponse>, Status> {
        Ok(Answer::new(ListOrdersResponse::default()))
    }
}

/// An answer, read to its end.
pub(crate) struct Read {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Read {
    pub(crate) fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    /// The body of a problem with this status and code.
    pub(crate) fn problem(&self, status: u16, code: &str) -> Json {
        let body = self.json();
        assert_eq!(self.status.as_u16(), status, "{body}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(body["status"], status);
        assert_eq!(body["code"], code, "{body}");
        body
    }
}

/// A gateway, and the order service that it finds (or not).
pub(crate) struct Edge {
    pub(crate) tasks: Tasks,
    pub(crate) waits: Waits,
    address: String,
    client: Client<HttpConnector, Body>,
}

impl Edge {
    pub(crate) async fn start() -> Self {
        let (edge, orders) = Self::assemble(&[]).await;
        edge.tasks.spawn("orders", {
            let server = palinode_rpc::Server::new(
                Tracer::disabled(),
                Clock::system(),
                palinode_rpc::Door::Open,
            )
            .add_service(OrderServiceServer::new(Orders(edge.waits.clone())));
            let stop = edge.tasks.stop_token();
            async move { Ok(server.serve(orders, stop).await?) }
        });
        edge
    }

    /// A gateway whose order service is away.
    pub(crate) async fn alone() -> Self {
        Self::alone_with(&[]).await
    }

    /// The same with these settings.
    pub(crate) async fn alone_with(settings: &[(&str, &str)]) -> Self {
        Self::assemble(settings).await.0
    }

    async fn assemble(settings: &[(&str, &str)]) -> (Self, TcpListener) {
        let orders = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings: BTreeMap<_, _> = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut config = Config::from_map(&settings).unwrap();
        if !settings.contains_key("PALINODE_ORDER") {
            let address = orders.local_addr().unwrap();
            config.peers.set("order", address).unwrap();
        }
        let tasks = Tasks::new();
        let context = Context::open(Opening {
            spec: service("gateway").unwrap(),
            config: Arc::new(config),
            listener,
            tasks: tasks.clone(),
            tracer: Tracer::disabled(),
            meter: Meter::disabled(),
            clock: Clock::system(),
            shared: palinode_service::Shared::default(),
        })
        .await
        .unwrap();
        let address = context.address().to_string();
        context.host(palinode_gateway::build).await.unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        (
            Self {
                tasks,
                waits: Waits::default(),
                address,
                client,
            },
            orders,
        )
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) async fn get(&self, path: &str) -> Read {
        self.send(Method::GET, path, &[], Body::empty()).await
    }

    pub(crate) async fn post(&self, path: &str, json: &Json) -> Read {
        self.send(Method::POST, path, &[], Body::from(json.to_string()))
            .await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Read {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send_whole(request.body(body).unwrap()).await
    }

    /// A request as it is.
    pub(crate) async fn send_whole(&self, request: Request<Body>) -> Read {
        let exchange = async {
            let answer = self.client.request(request).await.unwrap();
            let (parts, body) = answer.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Read {
                status: parts.status,
                headers: parts.headers,
                body,
            }
        };
        tokio::time::timeout(2 * LIMIT, exchange).await.unwrap()
    }

    pub(crate) async fn stop(self) {
        drop(self.client);
        self.tasks.stop(2 * LIMIT).await.unwrap();
        assert_eq!(*self.tasks.failed().borrow(), None);
    }
}
