use std::time::Duration;

use palinode_pb::cardprocessor::v1::card_processor_service_client::CardProcessorServiceClient;
use palinode_rpc::{Channel, Failure};
use palinode_values::Money;
use tonic::Request;
use uuid::Uuid;

use crate::convert;

/// What the card processor said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Yes, with its reference of the charge or the refund.
    Approved { reference: String },
    /// No, with its code.
    Declined { code: String },
}

/// Why there is no answer. Whether the processor acted is unknown: ask again, with the same key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Call(#[from] Failure),
    #[error("the card processor answered neither yes nor no")]
    NoOutcome,
}

/// The card processor, over gRPC. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Processor {
    client: CardProcessorServiceClient<Channel>,
    call_limit: Duration,
}

impl Processor {
    /// Calls take `call_limit` at the most.
    pub(crate) fn new(channel: Channel, call_limit: Duration) -> Self {
        Self {
            client: CardProcessorServiceClient::new(channel),
            call_limit,
        }
    }

    pub(crate) async fn charge(
        &self,
        key: Uuid,
        token: &str,
        amount: Money,
    ) -> Result<Answer, Error> {
        let request = self.request(convert::charge_request(key, token, amount));
        let response = self
            .client
            .clone()
            .charge(request)
            .await
            .map_err(Failure::from)?;
        convert::charge_answer(response.into_inner()).ok_or(Error::NoOutcome)
    }

    pub(crate) async fn refund(
        &self,
        key: Uuid,
        charge_key: Uuid,
        amount: Money,
    ) -> Result<Answer, Error> {
        let request = self.request(convert::refund_request(key, charge_key, amount));
        let response = self
            .client
            .clone()
            .refund(request)
            .await
            .map_err(Failure::from)?;
        convert::refund_answer(response.into_inner()).ok_or(Error::NoOutcome)
    }

    /// What became of a key; `None`: the processor does not know it.
    pub(crate) async fn look_up(&self, key: Uuid) -> Result<Option<Answer>, Error> {
        let request = self.request(convert::look_up_request(key));
        let response = self
            .client
            .clone()
            .lookup(request)
            .await
            .map_err(Failure::from)?;
        Ok(convert::look_up_answer(response.into_inner()))
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.call_limit);
        request
    }
}
