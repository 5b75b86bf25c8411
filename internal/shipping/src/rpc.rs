//! The gRPC face of shipping.

use palinode_auth::Caller;
use palinode_pb::shipping::v1 as pb;
use palinode_pb::shipping::v1::shipping_service_server::ShippingService;
use palinode_rpc::{caller, trace_context};
use palinode_values::ShipmentId;
use tonic::{Request, Response, Status};

use crate::app::{Desk, Error, dispatch_shipment};
use crate::domain::{Reason, Refusal};
use crate::{convert, store};

/// Answers requests.
#[derive(Debug)]
pub(crate) struct Rpc {
    pub(crate) desk: Desk,
}

impl Rpc {
    async fn shipment(&self, id: ShipmentId, caller: &Caller) -> Result<pb::Shipment, Status> {
        let shipment = store::shipment(&self.desk.db, id).await.map_err(failed)?;
        let shipment = shipment.filter(|shipment| caller.may_see(&shipment.user));
        let shipment = shipment.ok_or_else(|| {
            let detail = format!("there is no shipment {id}");
            failed(Refusal {
                reason: Reason::ShipmentNotFound,
                detail,
            })
        })?;
        Ok(convert::shipment(shipment))
    }
}

#[tonic::async_trait]
impl ShippingService for Rpc {
    async fn get_shipment(
        &self,
        request: Request<pb::GetShipmentRequest>,
    ) -> Result<Response<pb::GetShipmentResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::shipment_id(&request.get_ref().shipment_id)?;
        let shipment = Some(self.shipment(id, &caller).await?);
        Ok(Response::new(pb::GetShipmentResponse { shipment }))
    }

    async fn dispatch_shipment(
        &self,
        request: Request<pb::DispatchShipmentRequest>,
    ) -> Result<Response<pb::DispatchShipmentResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::shipment_id(&request.get_ref().shipment_id)?;
        let trace = trace_context(&request);
        dispatch_shipment(&self.desk, id, &trace)
            .await
            .map_err(failed)?;
        let shipment = Some(self.shipment(id, &caller).await?);
        Ok(Response::new(pb::DispatchShipmentResponse { shipment }))
    }
}

fn failed(error: impl Into<Error>) -> Status {
    palinode_rpc::status(&error.into())
}
