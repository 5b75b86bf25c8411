//! Services that answer what a test wants to know, and remember what they were asked.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, Response};
use palinode_pb::auth::v1::Role;
use palinode_pb::catalog::v1 as catalog;
use palinode_pb::google::r#type::Money;
use palinode_pb::identity::v1 as identity;
use palinode_pb::inventory::v1 as inventory;
use palinode_pb::order::v1 as order;
use palinode_rpc::{Details, status, status_with};
use palinode_values::{Coded, ErrorCode};
use prost::Message;
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use tonic::{Request as Call, Response as Answer, Status};

use crate::edge::{Edge, Read};

/// The saga of every order.
pub(crate) const SAGA: &str = "0197a1c2-0000-7c3a-9d2f-3f5b0c9e1a42";
/// Costs more cents than an Int has places for.
pub(crate) const PALACE: usize = 999;
/// More of it is never there.
pub(crate) const SOLD_OUT: usize = 13;

/// How many there are of each; and what was asked.
#[derive(Default)]
pub(crate) struct Shop {
    pub(crate) products: usize,
    pub(crate) orders: usize,
    pub(crate) lines: usize,
    /// Orders are not decided while somebody waits.
    pub(crate) is_slow: bool,
    /// How long an order takes.
    pub(crate) takes: Duration,
    pub(crate) asked: Mutex<Vec<Asked>>,
}

/// A call, as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) headers: HeaderMap,
    pub(crate) message: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn message<M: Message + Default>(&self) -> M {
        M::decode(self.message.as_slice()).unwrap()
    }
}

/// A refusal as services tell it.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
struct Refused {
    code: ErrorCode,
    reason: &'static str,
    words: String,
}

impl Coded for Refused {
    fn code(&self) -> ErrorCode {
        self.code
    }

    fn reason(&self) -> &str {
        self.reason
    }
}

fn refused(code: ErrorCode, reason: &'static str, words: &str) -> Status {
    let words = words.to_owned();
    status(&Refused {
        code,
        reason,
        words,
    })
}

pub(crate) fn product_id(number: usize) -> String {
    format!("0197a1c2-7b1e-7c3a-9d2f-{number:012}")
}

fn number(id: &str) -> usize {
    id.rsplit('-').next().unwrap().parse().unwrap()
}

fn sku(number: usize) -> String {
    format!("sku-{number}")
}

fn money(minor: i64) -> Option<Money> {
    Some(Money {
        currency_code: "EUR".to_owned(),
        units: minor / 100,
        nanos: i32::try_from(minor % 100).unwrap() * 10_000_000,
    })
}

fn product(number: usize) -> catalog::Product {
    let price = match number {
        PALACE => 300_000_000_000,
        _ => 100 + i64::try_from(number).unwrap(),
    };
    catalog::Product {
        product_id: product_id(number),
        sku: sku(number),
        name: format!("Product {number}"),
        description: "Good".to_owned(),
        price: money(price),
        ..catalog::Product::default()
    }
}

fn user(id: &str) -> identity::User {
    let is_admin = id == "admin";
    identity::User {
        user_id: id.to_owned(),
        email: format!("{id}@example.org"),
        user_name: id.to_owned(),
        roles: vec![
            if is_admin {
                Role::Admin
            } else {
                Role::Customer
            }
            .into(),
        ],
        ..identity::User::default()
    }
}

/// A page of `all` entries, which are numbered from 1.
fn page(all: usize, size: i32, token: &str) -> (Vec<usize>, String) {
    let from: usize = token.parse().unwrap_or(1);
    let upto = (from + usize::try_from(size).unwrap()).min(all + 1);
    let next = if upto > all {
        String::new()
    } else {
        upto.to_string()
    };
    ((from..upto).collect(), next)
}

impl Shop {
    fn has(&self, number: usize) -> bool {
        (1..=self.products).contains(&number) || number == PALACE
    }

    fn order(&self, number: usize, status: order::OrderStatus) -> order::Order {
        let line = |at: usize| order::order::Line {
            sku: sku(at),
            name: format!("Product {at}"),
            quantity: 2,
            unit_price: money(100 + i64::try_from(at).unwrap()),
            line_total: None,
        };
        order::Order {
            order_id: product_id(number),
            user_id: "alice".to_owned(),
            status: status.into(),
            lines: (1..=self.lines).map(line).collect(),
            total: money(5_000),
            saga_id: SAGA.to_owned(),
            ..order::Order::default()
        }
    }

    fn list_products(
        &self,
        request: catalog::ListProductsRequest,
    ) -> Result<catalog::ListProductsResponse, Status> {
        let (page, next_page_token) = page(self.products, request.page_size, &request.page_token);
        Ok(catalog::ListProductsResponse {
            products: page.into_iter().map(product).collect(),
            next_page_token,
        })
    }

    fn get_product(
        &self,
        request: catalog::GetProductRequest,
    ) -> Result<catalog::GetProductResponse, Status> {
        let number = number(&request.product_id);
        if !self.has(number) {
            let words = "there is no such product";
            return Err(refused(ErrorCode::NotFound, "PRODUCT_NOT_FOUND", words));
        }
        let product = Some(product(number));
        Ok(catalog::GetProductResponse { product })
    }

    fn batch_get_products(
        &self,
        request: catalog::BatchGetProductsRequest,
    ) -> Result<catalog::BatchGetProductsResponse, Status> {
        assert!(request.product_ids.len() + request.skus.len() <= 200);
        let ids = request.product_ids.iter().chain(&request.skus);
        let numbers = ids.map(|id| number(id)).filter(|number| self.has(*number));
        let products = numbers.map(product).collect();
        Ok(catalog::BatchGetProductsResponse { products })
    }

    fn create_product(
        &self,
        request: catalog::CreateProductRequest,
    ) -> Result<catalog::CreateProductResponse, Status> {
        let product = catalog::Product {
            product_id: product_id(1),
            sku: request.sku,
            name: request.name,
            description: request.description,
            price: request.price,
            ..catalog::Product::default()
        };
        let product = Some(product);
        Ok(catalog::CreateProductResponse { product })
    }

    fn list_stock(
        &self,
        request: inventory::ListStockRequest,
    ) -> Result<inventory::ListStockResponse, Status> {
        assert!(request.skus.len() <= 200 && !request.skus.is_empty());
        let stock = |sku: &String| inventory::Stock {
            sku: sku.clone(),
            available: i64::try_from(number(sku)).unwrap(),
            ..inventory::Stock::default()
        };
        let there = request.skus.iter().filter(|sku| number(sku) != SOLD_OUT);
        Ok(inventory::ListStockResponse {
            stock: there.map(stock).collect(),
            ..inventory::ListStockResponse::default()
        })
    }

    fn list_users(
        &self,
        request: identity::ListUsersRequest,
        headers: &HeaderMap,
    ) -> Result<identity::ListUsersResponse, Status> {
        let Some(token) = headers.get("authorization") else {
            let words = "sign in first";
            return Err(refused(
                ErrorCode::Unauthenticated,
                "SIGN_IN_REQUIRED",
                words,
            ));
        };
        if token != "Bearer admin" {
            let words = "this is for administrators";
            return Err(refused(ErrorCode::Forbidden, "ROLE_REQUIRED", words));
        }
        let (page, next_page_token) = page(1_201, request.page_size, &request.page_token);
        let users = page.into_iter().map(|at| user(&format!("user-{at}")));
        Ok(identity::ListUsersResponse {
            users: users.collect(),
            next_page_token,
        })
    }

    fn create_session(
        &self,
        request: identity::CreateSessionRequest,
    ) -> Result<identity::CreateSessionResponse, Status> {
        if request.password != "tea" {
            let wrong = Refused {
                code: ErrorCode::Limited,
                reason: "TOO_MANY_ATTEMPTS",
                words: "come again later".to_owned(),
            };
            let retry_after = Some(std::time::Duration::from_secs(30));
            let details = Details {
                retry_after,
                ..Details::default()
            };
            return Err(status_with(&wrong, details));
        }
        let session = identity::Session {
            access_token: format!("token of {}", request.login),
            ..identity::Session::default()
        };
        let session = Some(session);
        Ok(identity::CreateSessionResponse { session })
    }

    fn list_orders(
        &self,
        request: order::ListOrdersRequest,
    ) -> Result<order::ListOrdersResponse, Status> {
        let (page, next_page_token) = page(self.orders, request.page_size, &request.page_token);
        let confirmed = order::OrderStatus::Confirmed;
        let orders = page.into_iter().map(|at| self.order(at, confirmed));
        Ok(order::ListOrdersResponse {
            orders: orders.collect(),
            next_page_token,
        })
    }

    fn place_order(
        &self,
        request: order::PlaceOrderRequest,
    ) -> Result<order::PlaceOrderResponse, Status> {
        let is_gone = request.lines.iter().any(|line| line.sku == sku(SOLD_OUT));
        let status = match (self.is_slow, is_gone) {
            (true, _) => order::OrderStatus::Pending,
            (_, true) => order::OrderStatus::Rejected,
            _ => order::OrderStatus::Confirmed,
        };
        let mut placed = self.order(7, status);
        if is_gone {
            placed.reason = "OUT_OF_STOCK".to_owned();
            placed.reason_detail = "nothing of it is left".to_owned();
        }
        let order = Some(placed);
        Ok(order::PlaceOrderResponse { order })
    }

    /// One method, remembered.
    async fn answer(self: Arc<Self>, call: Request<Body>) -> Response<tonic::body::Body> {
        let path = call.uri().path().to_owned();
        let method = path.rsplit('/').next().unwrap_or_default();
        let headers = call.headers().clone();
        let shop = Arc::clone(&self);
        match method {
            "ListProducts" => self.unary(call, move |m| shop.list_products(m)).await,
            "GetProduct" => self.unary(call, move |m| shop.get_product(m)).await,
            "BatchGetProducts" => self.unary(call, move |m| shop.batch_get_products(m)).await,
            "CreateProduct" => self.unary(call, move |m| shop.create_product(m)).await,
            "DeleteProduct" => {
                let done = |_: catalog::DeleteProductRequest| Ok(catalog::DeleteProductResponse {});
                self.unary(call, done).await
            }
            "ListStock" => self.unary(call, move |m| shop.list_stock(m)).await,
            "AdjustStock" => {
                let done = |_: inventory::AdjustStockRequest| {
                    Ok(inventory::AdjustStockResponse::default())
                };
                self.unary(call, done).await
            }
            "ListUsers" => {
                self.unary(call, move |m| shop.list_users(m, &headers))
                    .await
            }
            "GetUser" => {
                let get = |request: identity::GetUserRequest| {
                    let user = Some(user(&request.user_id));
                    Ok(identity::GetUserResponse { user })
                };
                self.unary(call, get).await
            }
            "RegisterUser" => {
                let register = |request: identity::RegisterUserRequest| {
                    let user = Some(user(&request.user_name));
                    Ok(identity::RegisterUserResponse { user })
                };
                self.unary(call, register).await
            }
            "CreateSession" => self.unary(call, move |m| shop.create_session(m)).await,
            "ListOrders" => self.unary(call, move |m| shop.list_orders(m)).await,
            "GetOrder" => {
                let get = move |request: order::GetOrderRequest| {
                    let confirmed = order::OrderStatus::Confirmed;
                    let order = Some(shop.order(number(&request.order_id), confirmed));
                    Ok(order::GetOrderResponse { order })
                };
                self.unary(call, get).await
            }
            "PlaceOrder" => {
                tokio::time::sleep(self.takes).await;
                self.unary(call, move |m| shop.place_order(m)).await
            }
            // such as the keys, which the gateway counts callers by
            _ => Status::unimplemented("not asked here").into_http(),
        }
    }

    async fn unary<M, R, F>(&self, call: Request<Body>, answer: F) -> Response<tonic::body::Body>
    where
        M: Message + Default + 'static,
        R: Message + Default + 'static,
        F: FnOnce(M) -> Result<R, Status> + Send + 'static,
    {
        let method = call.uri().path().rsplit('/').next().unwrap().to_owned();
        let headers = call.headers().clone();
        let answer = Mutex::new(Some(answer));
        let arrived: Arc<Mutex<Vec<u8>>> = Arc::default();
        let heard = Arc::clone(&arrived);
        let service = tower::service_fn(move |call: Call<M>| {
            let message = call.into_inner();
            *heard.lock().unwrap() = message.encode_to_vec();
            let answer = answer.lock().unwrap().take().unwrap();
            let answer = answer(message).map(Answer::new);
            async move { answer }
        });
        let codec = tonic_prost::ProstCodec::<R, M>::default();
        let response = tonic::server::Grpc::new(codec).unary(service, call).await;
        let message = arrived.lock().unwrap().clone();
        let asked = Asked {
            method,
            headers,
            message,
        };
        self.asked.lock().unwrap().push(asked);
        response
    }

    /// Behind a gateway of its own.
    pub(crate) async fn open(self) -> Open {
        self.open_with(&[]).await
    }

    /// The same, with these settings of the gateway.
    pub(crate) async fn open_with(self, settings: &[(&str, &str)]) -> Open {
        let shop = Arc::new(self);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let peers = ["CATALOG", "IDENTITY", "INVENTORY", "ORDER"];
        let peers = peers.map(|name| (format!("PALINODE_{name}"), address.clone()));
        let peers = peers.iter().map(|(name, at)| (name.as_str(), at.as_str()));
        let settings: Vec<_> = peers.chain(settings.iter().copied()).collect();
        let edge = Edge::alone_with(&settings).await;
        let services = Arc::clone(&shop);
        let app = Router::new().fallback(move |call: Request<Body>| {
            let services = Arc::clone(&services);
            async move { Ok::<_, Infallible>(services.answer(call).await) }
        });
        let stop = edge.tasks.stop_token();
        edge.tasks.spawn("shop", async move {
            let stopped = stop.cancelled_owned();
            let serving = axum::serve(listener, app).with_graceful_shutdown(stopped);
            Ok(serving.await?)
        });
        Open { edge, shop }
    }
}

/// A shop behind its gateway.
pub(crate) struct Open {
    pub(crate) edge: Edge,
    shop: Arc<Shop>,
}

impl Open {
    /// The answer to a document.
    pub(crate) async fn ask(&self, document: &str) -> Json {
        self.ask_as(document, json!({}), &[]).await
    }

    pub(crate) async fn ask_as(
        &self,
        document: &str,
        variables: Json,
        headers: &[(&str, &str)],
    ) -> Json {
        let body = json!({"query": document, "variables": variables});
        let read = self.send(&body, headers).await;
        assert_eq!(read.status, 200, "{}", read.json());
        assert_eq!(read.header("content-type"), "application/json");
        read.json()
    }

    /// The answer to a body.
    pub(crate) async fn send(&self, body: &Json, headers: &[(&str, &str)]) -> Read {
        let body = Body::from(body.to_string());
        let send = self.edge.send(http::Method::POST, "/query", headers, body);
        send.await
    }

    /// What was asked since the last time, by method.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.shop.asked.lock().unwrap())
    }

    /// How often each method was asked since the last time.
    pub(crate) fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for asked in self.asked() {
            *counts.entry(asked.method).or_default() += 1;
        }
        counts
    }

    pub(crate) async fn stop(self) {
        self.edge.stop().await;
    }
}

/// The code and the reason of the only error.
pub(crate) fn refusal(answer: &Json) -> (String, String) {
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1, "{answer:#}");
    let of = |name: &str| {
        let text = errors[0]["extensions"][name].as_str();
        text.unwrap_or_default().to_owned()
    };
    (of("code"), of("reason"))
}
