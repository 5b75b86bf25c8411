use palinode_auth::Caller;
use palinode_pb::order::v1 as pb;
use palinode_pb::order::v1::quote_service_server::QuoteService;
use palinode_rpc::{Violations, caller, created, status};
use palinode_values::QuoteId;
use tonic::{Request, Response, Status};

use super::{key, refused};
use crate::app::Desk;
use crate::app::place::PlaceError;
use crate::app::quote::{Quoted, quote};
use crate::convert;
use crate::domain::Quote;
use crate::store;

pub(crate) struct Quotes {
    pub(crate) desk: Desk,
}

impl Quotes {
    async fn get(
        &self,
        request: &pb::GetQuoteRequest,
        caller: &Caller,
    ) -> Result<Quote, PlaceError> {
        let id: QuoteId = request.quote_id.parse().map_err(|_not_an_id| {
            PlaceError::Invalid(Violations::of("quote_id", "MALFORMED", "must be a UUID"))
        })?;
        let quote = store::quote::get(self.desk.db.pool(), id).await?;
        quote
            .filter(|quote| caller.may_see(&quote.user))
            .ok_or(PlaceError::QuoteNotFound(id))
    }
}

#[tonic::async_trait]
impl QuoteService for Quotes {
    async fn create_quote(
        &self,
        request: Request<pb::CreateQuoteRequest>,
    ) -> Result<Response<pb::CreateQuoteResponse>, Status> {
        let caller = caller(&request)?;
        let key = key(&request, "CreateQuote")?;
        let wanted = convert::quoted(request.get_ref())?;
        let quoted = quote(&self.desk, caller.user(), &wanted, key.as_ref()).await;
        let answer = |quote: &Quote| pb::CreateQuoteResponse {
            quote: Some(convert::quote(quote)),
        };
        Ok(match quoted.map_err(|error| refused(&error))? {
            Quoted::New(quote) => created(answer(&quote), &format!("/v1/quotes/{}", quote.id)),
            Quoted::Before(quote) => Response::new(answer(&quote)),
        })
    }

    async fn get_quote(
        &self,
        request: Request<pb::GetQuoteRequest>,
    ) -> Result<Response<pb::GetQuoteResponse>, Status> {
        let caller = caller(&request)?;
        let quote = self.get(request.get_ref(), &caller).await;
        let quote = quote.map_err(|error| status(&error))?;
        let quote = Some(convert::quote(&quote));
        Ok(Response::new(pb::GetQuoteResponse { quote }))
    }
}
