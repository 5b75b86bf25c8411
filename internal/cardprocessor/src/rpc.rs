use palinode_db::Db;
use palinode_pb::cardprocessor::v1;
use palinode_pb::cardprocessor::v1::card_processor_service_server::{
    CardProcessorService, CardProcessorServiceServer,
};
use palinode_rpc::status;
use tonic::{Request, Response, Status};

use crate::{app, convert};

/// The handlers, on a pool of the processor's own.
#[derive(Debug)]
pub struct Handlers {
    db: Db,
}

/// The gRPC service of the processor.
#[must_use]
pub fn service(db: Db) -> CardProcessorServiceServer<Handlers> {
    CardProcessorServiceServer::new(Handlers { db })
}

#[tonic::async_trait]
impl CardProcessorService for Handlers {
    async fn charge(
        &self,
        request: Request<v1::ChargeRequest>,
    ) -> Result<Response<v1::ChargeResponse>, Status> {
        let charge = convert::charge(request.into_inner())?;
        let processed = app::charge(&self.db, charge)
            .await
            .map_err(|e| status(&e))?;
        Ok(Response::new(convert::charge_response(processed)))
    }

    async fn refund(
        &self,
        request: Request<v1::RefundRequest>,
    ) -> Result<Response<v1::RefundResponse>, Status> {
        let refund = convert::refund(request.into_inner())?;
        let processed = app::refund(&self.db, refund)
            .await
            .map_err(|e| status(&e))?;
        Ok(Response::new(convert::refund_response(processed)))
    }

    async fn lookup(
        &self,
        request: Request<v1::LookupRequest>,
    ) -> Result<Response<v1::LookupResponse>, Status> {
        let key = request.into_inner().idempotency_key;
        let found = app::look_up(&self.db, &key).await.map_err(|e| status(&e))?;
        Ok(Response::new(convert::look_up_response(found)))
    }
}
