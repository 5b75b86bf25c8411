//! The gRPC face of shipping.

use palinode_db::Db;
use palinode_pb::shipping::v1 as pb;
use palinode_pb::shipping::v1::shipping_service_server::ShippingService;
use tonic::{Request, Response, Status};

use crate::app::Error;
use crate::domain::{Reason, Refusal};
use crate::{convert, store};

/// Answers requests.
#[derive(Debug)]
pub(crate) struct Rpc {
    pub(crate) db: Db,
}

#[tonic::async_trait]
impl ShippingService for Rpc {
    async fn get_shipment(
        &self,
        request: Request<pb::GetShipmentRequest>,
    ) -> Result<Response<pb::GetShipmentResponse>, Status> {
        let id = convert::shipment_id(&request.get_ref().shipment_id)?;
        let shipment = store::shipment(&self.db, id).await.map_err(failed)?;
        let shipment = shipment.ok_or_else(|| {
            let detail = format!("there is no shipment {id}");
            failed(Refusal {
                reason: Reason::ShipmentNotFound,
                detail,
            })
        })?;
        let shipment = Some(convert::shipment(shipment));
        Ok(Response::new(pb::GetShipmentResponse { shipment }))
    }
}

fn failed(error: impl Into<Error>) -> Status {
    palinode_rpc::status(&error.into())
}
