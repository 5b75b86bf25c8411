//! The gRPC face of inventory.

use palinode_db::Db;
use palinode_pb::inventory::v1 as pb;
use palinode_pb::inventory::v1::inventory_service_server::InventoryService;
use palinode_values::{ReservationId, Sku};
use tonic::{Request, Response, Status};

use crate::app::{self, Error};
use crate::domain::{Reason, Refusal};
use crate::{convert, store};

/// Answers requests.
#[derive(Debug)]
pub(crate) struct Rpc {
    pub(crate) db: Db,
}

#[tonic::async_trait]
impl InventoryService for Rpc {
    async fn list_stock(
        &self,
        request: Request<pb::ListStockRequest>,
    ) -> Result<Response<pb::ListStockResponse>, Status> {
        let page = convert::page(request.get_ref())?;
        // one more than asked for tells whether there is a next page
        let limit = i64::from(page.size) + 1;
        let stock = store::list(&self.db, &page.among, page.after.as_ref(), limit)
            .await
            .map_err(failed)?;
        Ok(Response::new(convert::stock_page(&page, stock)))
    }

    async fn get_stock(
        &self,
        request: Request<pb::GetStockRequest>,
    ) -> Result<Response<pb::GetStockResponse>, Status> {
        let sku = convert::sku(&request.get_ref().sku)?;
        let level = store::stock(&self.db, &sku).await.map_err(failed)?;
        let level = level.ok_or_else(|| failed(unknown_sku(&sku)))?;
        Ok(Response::new(pb::GetStockResponse {
            stock: Some(convert::stock(&sku, level)),
        }))
    }

    async fn adjust_stock(
        &self,
        request: Request<pb::AdjustStockRequest>,
    ) -> Result<Response<pb::AdjustStockResponse>, Status> {
        let key = palinode_rpc::idempotency_key(&request)?;
        let caller = palinode_rpc::caller(&request)?.user().clone();
        let adjustment = convert::adjustment(request.get_ref(), caller, key)?;
        let level = app::adjust_stock(&self.db, &adjustment)
            .await
            .map_err(failed)?;
        let stock = convert::stock(&adjustment.sku, level);
        Ok(Response::new(pb::AdjustStockResponse {
            stock: Some(stock),
        }))
    }

    async fn get_reservation(
        &self,
        request: Request<pb::GetReservationRequest>,
    ) -> Result<Response<pb::GetReservationResponse>, Status> {
        let id = convert::reservation_id(&request.get_ref().reservation_id)?;
        let reservation = store::reservation(&self.db, id).await.map_err(failed)?;
        let reservation = reservation.ok_or_else(|| failed(no_reservation(id)))?;
        let reservation = Some(convert::reservation(&reservation));
        Ok(Response::new(pb::GetReservationResponse { reservation }))
    }
}

fn failed(error: impl Into<Error>) -> Status {
    palinode_rpc::status(&error.into())
}

fn unknown_sku(sku: &Sku) -> Refusal {
    Refusal {
        reason: Reason::UnknownSku,
        detail: format!("{sku} is not known"),
    }
}

fn no_reservation(id: ReservationId) -> Refusal {
    let detail = format!("there is no reservation {id}");
    Refusal {
        reason: Reason::ReservationNotFound,
        detail,
    }
}
