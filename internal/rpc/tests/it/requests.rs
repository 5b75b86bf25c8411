//! Requests that break rules of their protos, to a server over loopback.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use palinode_pb::inventory::v1::inventory_service_client::InventoryServiceClient;
use palinode_pb::inventory::v1::inventory_service_server::{
    InventoryService, InventoryServiceServer,
};
use palinode_pb::inventory::v1::{
    AdjustStockRequest, AdjustStockResponse, GetReservationRequest, GetReservationResponse,
    GetStockRequest, GetStockResponse, ListStockRequest, ListStockResponse, Reservation, StockLine,
};
use palinode_pb::order::v1::PlaceOrderRequest;
use palinode_pb::validate::{VIOLATIONS_MAX, Validate};
use palinode_rpc::{Channel, Door, Server, Violations, channel};
use palinode_telemetry::Tracer;
use palinode_values::Clock;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt as _;

/// Counts the requests that get through.
pub(crate) struct Counting(pub(crate) Arc<AtomicUsize>);

/// As wrong as can be told.
fn worst() -> Violations {
    let line = StockLine {
        sku: "no sku".to_owned(),
        quantity: 0,
    };
    let wrong = PlaceOrderRequest {
        lines: vec![line; 100],
        ..PlaceOrderRequest::default()
    };
    Violations::from(wrong.validate().unwrap_err())
}

#[tonic::async_trait]
impl InventoryService for Counting {
    async fn list_stock(
        &self,
        _: Request<ListStockRequest>,
    ) -> Result<Response<ListStockResponse>, Status> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(Default::default()))
    }

    async fn get_stock(
        &self,
        _: Request<GetStockRequest>,
    ) -> Result<Response<GetStockResponse>, Status> {
        Err(worst().into())
    }

    async fn adjust_stock(
        &self,
        _: Request<AdjustStockRequest>,
    ) -> Result<Response<AdjustStockResponse>, Status> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(Default::default()))
    }

    /// With a line that no request may have.
    async fn get_reservation(
        &self,
        _: Request<GetReservationRequest>,
    ) -> Result<Response<GetReservationResponse>, Status> {
        let line = StockLine {
            sku: "no sku".to_owned(),
            quantity: 0,
        };
        Ok(Response::new(GetReservationResponse {
            reservation: Some(Reservation {
                lines: vec![line],
                ..Reservation::default()
            }),
        }))
    }
}

#[expect(clippy::disallowed_methods, reason = "the server of a test")]
async fn start() -> (InventoryServiceClient<Channel>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let count = Arc::default();
    let handlers = Counting(Arc::clone(&count));
    let server = Server::new(Tracer::disabled(), Clock::system(), Door::Open)
        .add_service(InventoryServiceServer::new(handlers));
    tokio::spawn(server.serve(listener, CancellationToken::new()));
    let channel = channel(&address.parse().unwrap());
    (InventoryServiceClient::new(channel), count)
}

#[tokio::test]
async fn a_wrong_request_is_answered_before_its_handler_with_all_its_fields() {
    let (mut client, count) = start().await;
    let wrong = AdjustStockRequest {
        sku: "a mug".to_owned(),
        delta: 1_000_000_001,
        reason: "x".repeat(201),
    };
    let status = client.adjust_stock(wrong).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "3 fields of the request are wrong");
    let info = status.get_details_error_info().unwrap();
    assert_eq!(
        (info.reason.as_str(), info.domain.as_str()),
        ("INVALID_REQUEST", "palinode")
    );
    let fields = status.get_details_bad_request().unwrap().field_violations;
    let fields: Vec<_> = fields
        .iter()
        .map(|v| (v.field.as_str(), v.reason.as_str(), v.description.as_str()))
        .collect();
    assert_eq!(
        fields,
        [
            (
                "sku",
                "MALFORMED",
                "must be 1 to 64 characters of A-Z a-z 0-9 . _ -"
            ),
            ("delta", "OUT_OF_RANGE", "must be -1000000000 to 1000000000"),
            ("reason", "TOO_LONG", "must be at most 200 characters"),
        ]
    );

    let page_size = 201;
    let page = ListStockRequest {
        page_size,
        ..ListStockRequest::default()
    };
    let status = client.list_stock(page).await.unwrap_err();
    assert_eq!(status.message(), "page_size must be 0 to 200");
    assert_eq!(count.load(Ordering::Relaxed), 0);

    let page_size = 200;
    let page = ListStockRequest {
        page_size,
        ..ListStockRequest::default()
    };
    client.list_stock(page).await.unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_answer_is_not_checked() {
    let (mut client, _) = start().await;
    let reservation_id = "0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42".to_owned();
    let request = GetReservationRequest { reservation_id };
    let answer = client.get_reservation(request).await.unwrap().into_inner();
    assert_eq!(answer.reservation.unwrap().lines[0].quantity, 0);
}

/// What a client accepts as headers is the limit of what can be told.
#[tokio::test]
async fn the_most_that_is_told_fits_into_an_answer() {
    let (mut client, _) = start().await;
    let told = worst().list().len();
    assert!((50..=VIOLATIONS_MAX).contains(&told), "{told}");
    let sku = "mug".to_owned();
    let status = client.get_stock(GetStockRequest { sku }).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let fields = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(fields.len(), told);
}
