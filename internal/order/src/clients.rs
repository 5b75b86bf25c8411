//! Calls to other services.

use std::collections::HashMap;

use palinode_pb::saga::v1::starter_service_client::StarterServiceClient;
use palinode_pb::saga::v1::{FindSagasRequest, SagaState};
use palinode_rpc::{Channel, Credentials};
use palinode_values::SagaId;

/// The orchestrator cannot be asked.
#[derive(Debug, thiserror::Error)]
#[error("the orchestrator cannot be asked: {0}")]
pub(crate) struct Unanswered(String);

/// The orchestrator, as the order service asks it.
#[derive(Clone)]
pub(crate) struct Orchestrator {
    client: StarterServiceClient<Channel>,
    credentials: Credentials,
}

impl Orchestrator {
    pub(crate) fn new(channel: Channel, credentials: Credentials) -> Self {
        Self {
            client: StarterServiceClient::new(channel),
            credentials,
        }
    }

    /// Those of the sagas that it knows, and where they are.
    pub(crate) async fn find(
        &self,
        ids: &[SagaId],
    ) -> Result<HashMap<SagaId, SagaState>, Unanswered> {
        let saga_ids = ids.iter().map(ToString::to_string).collect();
        let request = FindSagasRequest { saga_ids };
        let answer = self
            .client
            .clone()
            .find_sagas(self.credentials.sign(request))
            .await;
        let answer = answer.map_err(|status| Unanswered(status.to_string()))?;
        let found = answer.into_inner().sagas.into_iter().map(|found| {
            let id = found.saga_id.parse();
            let id = id.map_err(|e| Unanswered(format!("{e}")))?;
            Ok((id, found.state()))
        });
        found.collect()
    }

    /// Whether the saga is over, and did all it had to do.
    pub(crate) async fn has_completed(&self, id: SagaId) -> Result<bool, Unanswered> {
        let found = self.find(&[id]).await?;
        Ok(found.get(&id) == Some(&SagaState::Completed))
    }
}
