//! Calls to other services.

use palinode_pb::saga::v1::FindSagasRequest;
use palinode_pb::saga::v1::saga_service_client::SagaServiceClient;
use palinode_rpc::Channel;
use palinode_values::SagaId;

use crate::app::sweep::SweepError;

/// The orchestrator, as the order service asks it.
#[derive(Clone)]
pub(crate) struct Orchestrator {
    client: SagaServiceClient<Channel>,
}

impl Orchestrator {
    pub(crate) fn new(channel: Channel) -> Self {
        Self {
            client: SagaServiceClient::new(channel),
        }
    }

    /// Those of the sagas that it knows.
    pub(crate) async fn known(&self, ids: &[SagaId]) -> Result<Vec<SagaId>, SweepError> {
        let saga_ids = ids.iter().map(ToString::to_string).collect();
        let answer = self
            .client
            .clone()
            .find_sagas(FindSagasRequest { saga_ids })
            .await;
        let answer = answer.map_err(|status| SweepError::Orchestrator(status.to_string()))?;
        answer
            .into_inner()
            .known_saga_ids
            .iter()
            .map(|id| {
                id.parse()
                    .map_err(|e| SweepError::Orchestrator(format!("{e}")))
            })
            .collect()
    }
}
