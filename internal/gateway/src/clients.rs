//! The services as GraphQL calls them: in the name of whoever calls the gateway.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::request::Parts;
use palinode_pb::catalog::v1::catalog_service_client::CatalogServiceClient;
use palinode_pb::catalog::v1::{
    BatchGetProductsRequest, BatchGetProductsResponse, CreateProductRequest, CreateProductResponse,
    DeleteProductRequest, DeleteProductResponse, GetProductRequest, GetProductResponse,
    ListProductsRequest, ListProductsResponse,
};
use palinode_pb::identity::v1::identity_service_client::IdentityServiceClient;
use palinode_pb::identity::v1::{
    CreateSessionRequest, CreateSessionResponse, GetUserRequest, GetUserResponse, ListUsersRequest,
    ListUsersResponse, RegisterUserRequest, RegisterUserResponse,
};
use palinode_pb::inventory::v1::inventory_service_client::InventoryServiceClient;
use palinode_pb::inventory::v1::{
    AdjustStockRequest, AdjustStockResponse, ListStockRequest, ListStockResponse,
};
use palinode_pb::order::v1::order_service_client::OrderServiceClient;
use palinode_pb::order::v1::{
    GetOrderRequest, GetOrderResponse, ListOrdersRequest, ListOrdersResponse, PlaceOrderRequest,
    PlaceOrderResponse,
};
use palinode_rpc::{Channel, WAIT_LIMIT, channel_without_limit as channel, wait_preference};
use palinode_service::Peers;
use palinode_transcode::{Problem, Transcoder, trace_id};
use palinode_values::Clock;
use tokio::time::Instant;
use tonic::Request;
use tonic::metadata::MetadataMap;

/// Where the services are, and how REST calls them.
pub(crate) struct Services {
    catalog: Channel,
    identity: Channel,
    inventory: Channel,
    order: Channel,
    call_limit: Duration,
    clock: Clock,
    pub(crate) transcoder: Transcoder,
}

impl Services {
    /// `call_limit` is for a call that is not asked to wait. Call it inside the runtime.
    pub(crate) fn new(
        peers: &Peers,
        transcoder: Transcoder,
        call_limit: Duration,
        clock: Clock,
    ) -> Self {
        Self {
            catalog: channel(&peers.catalog),
            identity: channel(&peers.identity),
            inventory: channel(&peers.inventory),
            order: channel(&peers.order),
            call_limit,
            clock,
            transcoder,
        }
    }
}

/// The calls that one request makes: they show what it showed, and end with it.
pub(crate) struct Calls {
    services: Arc<Services>,
    metadata: MetadataMap,
    /// For what is not asked to wait. Later for what is asked of an order that was waited for.
    until: Mutex<Instant>,
    /// For all orders that the request places, one after the other.
    settled_until: Instant,
    wait: Duration,
    /// What the request is found by in traces.
    pub(crate) trace_id: Option<String>,
}

impl Calls {
    /// The calls of a request that has just arrived.
    pub(crate) fn of(services: &Arc<Services>, request: &Parts) -> Self {
        let metadata = services.transcoder.metadata(request);
        let preference = wait_preference(&request.headers);
        let wait = preference.unwrap_or(WAIT_LIMIT);
        let now = Instant::now();
        Self {
            trace_id: trace_id(&metadata),
            until: Mutex::new(now + services.call_limit),
            settled_until: now + services.call_limit + wait,
            services: Arc::clone(services),
            metadata,
            wait,
        }
    }

    /// What makes a repeat of the request harmless.
    pub(crate) fn idempotency_key(&self) -> Option<&str> {
        self.metadata.get("idempotency-key")?.to_str().ok()
    }

    /// The time, for what is drawn.
    pub(crate) fn clock(&self) -> &Clock {
        &self.services.clock
    }

    /// When its body has to be there.
    pub(crate) fn until(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn request<T>(&self, message: T, until: Instant) -> Request<T> {
        let mut request = Request::new(message);
        *request.metadata_mut() = self.metadata.clone();
        request.set_timeout(until.saturating_duration_since(Instant::now()));
        request
    }

    /// Places an order and waits for its end, for as long as the request prefers: by itself up to the limit.
    ///
    /// # Errors
    /// The order was not placed, or it is not known whether it was.
    pub(crate) async fn place_order(
        &self,
        message: PlaceOrderRequest,
    ) -> Result<PlaceOrderResponse, Problem> {
        // an order that was placed before by the same request has used some of the time
        let left = self.settled_until - self.services.call_limit;
        let left = left.saturating_duration_since(Instant::now());
        let mut request = self.request(message, self.settled_until);
        let seconds = self.wait.min(left).as_secs_f64().round();
        let prefer = format!("wait={seconds}");
        let prefer = prefer.parse().expect("digits are header text");
        request.metadata_mut().insert("prefer", prefer);
        let mut client = OrderServiceClient::new(self.services.order.clone());
        let answer = client.place_order(request);
        let transcoder = &self.services.transcoder;
        let answer = transcoder.ask("place_order", self.settled_until, answer);
        let answer = answer.await;
        let limit = self.services.call_limit;
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) =
            (Instant::now() + limit).min(self.settled_until + limit);
        Ok(answer?.into_inner())
    }
}

/// A call each: its client, its channel, and its messages.
macro_rules! calls {
    ($($name:ident: $client:ident($channel:ident), $request:ty => $response:ty;)*) => {
        impl Calls {$(
            pub(crate) async fn $name(&self, message: $request) -> Result<$response, Problem> {
                let mut client = $client::new(self.services.$channel.clone());
                let until = self.until();
                let answer = client.$name(self.request(message, until));
                let transcoder = &self.services.transcoder;
                let answer = transcoder.ask(stringify!($name), until, answer).await?;
                Ok(answer.into_inner())
            }
        )*}
    };
}

calls! {
    list_users: IdentityServiceClient(identity), ListUsersRequest => ListUsersResponse;
    get_user: IdentityServiceClient(identity), GetUserRequest => GetUserResponse;
    register_user: IdentityServiceClient(identity), RegisterUserRequest => RegisterUserResponse;
    create_session: IdentityServiceClient(identity), CreateSessionRequest => CreateSessionResponse;
    list_products: CatalogServiceClient(catalog), ListProductsRequest => ListProductsResponse;
    get_product: CatalogServiceClient(catalog), GetProductRequest => GetProductResponse;
    batch_get_products: CatalogServiceClient(catalog), BatchGetProductsRequest => BatchGetProductsResponse;
    create_product: CatalogServiceClient(catalog), CreateProductRequest => CreateProductResponse;
    delete_product: CatalogServiceClient(catalog), DeleteProductRequest => DeleteProductResponse;
    list_stock: InventoryServiceClient(inventory), ListStockRequest => ListStockResponse;
    adjust_stock: InventoryServiceClient(inventory), AdjustStockRequest => AdjustStockResponse;
    list_orders: OrderServiceClient(order), ListOrdersRequest => ListOrdersResponse;
    get_order: OrderServiceClient(order), GetOrderRequest => GetOrderResponse;
}
