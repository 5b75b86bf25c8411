use palinode_pb::order::v1 as pb;
use palinode_pb::order::v1::cart_service_server::CartService;
use palinode_rpc::{Violations, caller, status, trace_context, wait_preference};
use palinode_values::Sku;
use tonic::{Request, Response, Status};

use super::{Answers, key, refused};
use crate::app::Desk;
use crate::app::cart::{CartError, empty, remove_line, set_line, show};
use crate::app::place::{Asked, PlaceError, place_alone};
use crate::convert;
use crate::domain::ShownLine;

pub(crate) struct Carts {
    pub(crate) desk: Desk,
    pub(crate) answers: Answers,
}

fn cart(shown: Result<Vec<ShownLine>, CartError>) -> Result<Option<pb::Cart>, Status> {
    let lines = shown.map_err(|error| status(&error))?;
    Ok(Some(convert::cart(&lines)))
}

fn sku(text: &str) -> Result<Sku, Status> {
    Ok(convert::sku(text)?)
}

#[tonic::async_trait]
impl CartService for Carts {
    async fn get_cart(
        &self,
        request: Request<pb::GetCartRequest>,
    ) -> Result<Response<pb::GetCartResponse>, Status> {
        let caller = caller(&request)?;
        let cart = cart(show(&self.desk.db, caller.user()).await)?;
        Ok(Response::new(pb::GetCartResponse { cart }))
    }

    async fn set_cart_line(
        &self,
        request: Request<pb::SetCartLineRequest>,
    ) -> Result<Response<pb::SetCartLineResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.get_ref();
        let sku = sku(&request.sku)?;
        let set = set_line(&self.desk.db, caller.user(), &sku, request.quantity).await;
        let cart = cart(set)?;
        Ok(Response::new(pb::SetCartLineResponse { cart }))
    }

    async fn delete_cart_line(
        &self,
        request: Request<pb::DeleteCartLineRequest>,
    ) -> Result<Response<pb::DeleteCartLineResponse>, Status> {
        let caller = caller(&request)?;
        let sku = sku(&request.get_ref().sku)?;
        let cart = cart(remove_line(&self.desk.db, caller.user(), &sku).await)?;
        Ok(Response::new(pb::DeleteCartLineResponse { cart }))
    }

    async fn delete_cart(
        &self,
        request: Request<pb::DeleteCartRequest>,
    ) -> Result<Response<pb::DeleteCartResponse>, Status> {
        let caller = caller(&request)?;
        let emptied = empty(&self.desk.db, caller.user()).await;
        emptied.map_err(|error| status(&error))?;
        Ok(Response::new(pb::DeleteCartResponse {}))
    }

    async fn check_out(
        &self,
        request: Request<pb::CheckOutRequest>,
    ) -> Result<Response<pb::CheckOutResponse>, Status> {
        let caller = caller(&request)?;
        let key = key(&request, "CheckOut")?;
        let wait = wait_preference(request.metadata().as_ref());
        let trace = trace_context(&request);
        let request: Result<_, Violations> =
            convert::check_out(request.into_inner(), caller.principal.subject);
        let placed = async {
            let asked = Asked {
                request: request.map_err(PlaceError::Invalid)?,
                key,
                trace,
            };
            place_alone(&self.desk, asked).await
        };
        let placed = placed.await.map_err(|error| refused(&error))?;
        let answer = |order| pb::CheckOutResponse { order };
        Ok(self.answers.placed(placed, wait, answer).await)
    }
}
