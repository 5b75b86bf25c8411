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

    /// Whether something of the saga may still happen. One that is not found was over so long ago that
    /// it is forgotten: ask of a saga that was seen at work.
    pub(crate) async fn is_under_way(&self, id: SagaId) -> Result<bool, Unanswered> {
        let found = self.find(&[id]).await?;
        let state = found.get(&id);
        Ok(state.is_some_and(|state| *state != SagaState::Completed))
    }
}
