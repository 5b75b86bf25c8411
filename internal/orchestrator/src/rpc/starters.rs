use palinode_pb::saga::v1::find_sagas_response::FoundSaga;
use palinode_pb::saga::v1::starter_service_server::StarterService;
use palinode_pb::saga::v1::{
    CreateSagaRequest, CreateSagaResponse, FindSagasRequest, FindSagasResponse,
};
use palinode_rpc::{Violations, created, status, trace_context};
use palinode_telemetry::TraceContext;
use tonic::{Request, Response, Status};

use super::{Refused, id};
use crate::convert;
use crate::runner::Engine;
use crate::runner::encode::Payload;
use crate::runner::start::{StartError, Wish, start};
use crate::store::read;

/// What services that start sagas ask.
pub(crate) struct Starters {
    pub(crate) engine: Engine,
}

impl Starters {
    fn wish(&self, request: CreateSagaRequest, trace: TraceContext) -> Result<Wish, StartError> {
        let mut wrong = Violations::new();
        let plan = self.engine.registry.current(&request.plan);
        let plan = plan.ok_or(StartError::NoPlan(request.plan))?;
        let wanted = plan.plan.input();
        let input = match request.input {
            Some(input) if convert::type_of(&input.type_url) == wanted => Some(input),
            _ => {
                let words = format!("must have the type type.googleapis.com/{wanted}");
                wrong.add("input", "WRONG_TYPE", words);
                None
            }
        };
        wrong.into_result()?;
        Ok(Wish {
            input: Payload {
                kind: wanted.into(),
                body: input.map(|any| any.value.into()).unwrap_or_default(),
            },
            business_key: request.business_key,
            plan,
            trace,
        })
    }

    async fn find(&self, request: FindSagasRequest) -> Result<FindSagasResponse, Refused> {
        let ids = request.saga_ids.iter().map(|text| id("saga_ids", text));
        let ids = ids.collect::<Result<Vec<_>, _>>()?;
        let found = read::states(&self.engine.db, &ids).await?.into_iter();
        let sagas = found.map(|(id, state)| FoundSaga {
            saga_id: id.to_string(),
            state: convert::state_of_word(&state).into(),
        });
        Ok(FindSagasResponse {
            sagas: sagas.collect(),
        })
    }
}

#[tonic::async_trait]
impl StarterService for Starters {
    async fn create_saga(
        &self,
        request: Request<CreateSagaRequest>,
    ) -> Result<Response<CreateSagaResponse>, Status> {
        let trace = trace_context(&request);
        let started = async {
            let wish = self.wish(request.into_inner(), trace)?;
            start(&self.engine, wish).await
        };
        let (id, is_new) = started.await.map_err(|error| status(&error))?;
        let sagas = super::Sagas {
            engine: self.engine.clone(),
        };
        let shown = sagas.shown(id).await.map_err(|error| status(&error))?;
        let response = CreateSagaResponse { saga: shown.saga };
        Ok(if is_new {
            created(response, &format!("/v1/sagas/{id}"))
        } else {
            Response::new(response)
        })
    }

    async fn find_sagas(
        &self,
        request: Request<FindSagasRequest>,
    ) -> Result<Response<FindSagasResponse>, Status> {
        let found = self.find(request.into_inner()).await;
        found.map(Response::new).map_err(|error| status(&error))
    }
}
