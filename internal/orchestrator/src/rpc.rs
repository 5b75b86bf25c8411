//! What operators and other services read, and what operators do.

mod breakers;
mod bulk;
mod cases;
pub(crate) mod starters;
pub(crate) mod stepper;

use std::sync::Arc;

use palinode_db::Error;
use palinode_pb::saga::v1::saga_service_server::SagaService;
use palinode_pb::saga::v1::{
    AcknowledgeSagaRequest, AcknowledgeSagaResponse, ActOnSagaRequest, ActOnSagaResponse,
    CreateBulkRequest, CreateBulkResponse, GetBulkRequest, GetBulkResponse, GetSagaHistoryRequest,
    GetSagaHistoryResponse, GetSagaRequest, GetSagaResponse, ListBreakersRequest,
    ListBreakersResponse, ListBulksRequest, ListBulksResponse, ListCasesRequest, ListCasesResponse,
    ListSagasRequest, ListSagasResponse, RunBulkRequest, RunBulkResponse, SetBreakerRequest,
    SetBreakerResponse, StopBulkRequest, StopBulkResponse,
};
use palinode_rpc::{Violations, caller, created, idempotency_key, status};
use palinode_saga::DbTime;
use palinode_values::{Coded, ErrorCode, SagaId, UserId};
use tonic::{Request, Response, Status};

use crate::convert;
use crate::runner::Engine;
use crate::runner::act::{ActError, act};
use crate::runner::registry::StoredPlan;
use crate::store::read::{self, Listed, SagaRow};

pub(crate) struct Sagas {
    pub(crate) engine: Engine,
}

const PAGE_DEFAULT: i32 = 50;

/// Why a question about sagas is not answered.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("there is no saga {0}")]
    NotFound(SagaId),
    #[error("the plan of saga {0} is not known to this orchestrator")]
    NoPlan(SagaId),
    #[error("the history of saga {0} cannot be read")]
    History(SagaId, #[source] serde_json::Error),
    #[error("the request is not valid")]
    Invalid(#[source] Violations),
    #[error("the sagas cannot be read")]
    Database(#[from] Error),
}

impl Coded for Refused {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound(_) => ErrorCode::NotFound,
            Self::Invalid(_) => ErrorCode::Invalid,
            Self::NoPlan(_) | Self::History(..) => ErrorCode::Internal,
            Self::Database(error) => error.code(),
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::NotFound(_) => "SAGA_NOT_FOUND",
            Self::Invalid(_) => "INVALID_REQUEST",
            Self::NoPlan(_) | Self::History(..) => "INTERNAL",
            Self::Database(error) => error.reason(),
        }
    }
}

fn id(field: &'static str, text: &str) -> Result<SagaId, Refused> {
    let invalid =
        |e: palinode_values::InvalidId| Violations::of(field, "NOT_A_UUID", e.rule.to_owned());
    text.parse().map_err(|e| Refused::Invalid(invalid(e)))
}

fn page_size(asked: i32) -> i32 {
    if asked == 0 { PAGE_DEFAULT } else { asked }
}

impl Sagas {
    async fn plan_of(&self, row: &SagaRow) -> Result<Arc<StoredPlan>, Refused> {
        let plan = self.engine.plan(row.head.plan_id).await?;
        plan.ok_or(Refused::NoPlan(row.head.id))
    }

    async fn find(&self, id: SagaId) -> Result<(SagaRow, Arc<StoredPlan>), Refused> {
        let row = read::get(&self.engine.db, id)
            .await?
            .ok_or(Refused::NotFound(id))?;
        let plan = self.plan_of(&row).await?;
        Ok((row, plan))
    }

    async fn list(&self, request: ListSagasRequest) -> Result<ListSagasResponse, Refused> {
        let size = page_size(request.page_size);
        let before = match request.page_token.as_str() {
            "" => None,
            token => Some(id("page_token", token)?),
        };
        let state = convert::state_filter(request.state());
        let (db, limit) = (&self.engine.db, i64::from(size));
        let rows = if request.stuck {
            read::list_stuck(db, before, limit).await?
        } else {
            read::list(db, state, before, limit).await?
        };
        let full = i32::try_from(rows.len()) == Ok(size);
        let id_of = |row: &Listed| match row {
            Ok(row) => row.head.id,
            Err(id) => *id,
        };
        let next_page_token = rows
            .last()
            .filter(|_| full)
            .map(|row| id_of(row).to_string());
        let mut sagas = Vec::with_capacity(rows.len());
        for row in rows {
            // one that cannot be shown hides no other
            sagas.push(match row {
                Err(id) => convert::nameless(id, "unreadable"),
                Ok(row) => match self.engine.plan(row.head.plan_id).await? {
                    Some(plan) => convert::saga(&row, &plan.plan),
                    None => convert::nameless(row.head.id, "plan_missing"),
                },
            });
        }
        Ok(ListSagasResponse {
            sagas,
            next_page_token: next_page_token.unwrap_or_default(),
        })
    }

    async fn history(&self, id: SagaId) -> Result<GetSagaHistoryResponse, Refused> {
        let (_, plan) = self.find(id).await?;
        let rows = read::history(&self.engine.db, id).await?;
        let unreadable = |e| Refused::History(id, e);
        let moves = rows
            .iter()
            .map(|row| convert::migration(row.kind, &row.body));
        let moves: Vec<_> = moves.collect::<Result<_, _>>().map_err(unreadable)?;
        let version = |version| {
            let plan = self.engine.registry.version(plan.plan.name(), version);
            plan.ok_or(Refused::NoPlan(id))
        };
        // the steps of a row are positions in the plan that the saga had then
        let mut plan_then = match moves.iter().flatten().next() {
            Some((from, _)) => version(*from)?,
            None => Arc::clone(&plan),
        };
        let mut entries = Vec::with_capacity(rows.len());
        for (row, moved) in rows.iter().zip(moves) {
            if let Some((_, to)) = moved {
                plan_then = version(to)?;
            }
            entries.push(convert::history_entry(&plan_then.plan, row).map_err(unreadable)?);
        }
        Ok(GetSagaHistoryResponse { entries })
    }

    async fn shown(&self, id: SagaId) -> Result<GetSagaResponse, Refused> {
        let (row, plan) = self.find(id).await?;
        let now = DbTime::from(self.engine.clock.now());
        let mut saga = convert::saga(&row, &plan.plan);
        let accepts = convert::accepts(&plan.plan, &row.head.state, now);
        saga.accepts = accepts.into_iter().map(str::to_owned).collect();
        Ok(GetSagaResponse { saga: Some(saga) })
    }

    async fn act(
        &self,
        request: ActOnSagaRequest,
        principal: &UserId,
        key: Option<String>,
    ) -> Result<ActOnSagaResponse, ActError> {
        let id = request.saga_id.parse::<SagaId>();
        let id = id.map_err(|e| Violations::of("saga_id", "NOT_A_UUID", e.rule.to_owned()))?;
        let wanted = convert::wanted(request, principal, key)?;
        let acted = act(&self.engine, id, &wanted).await?;
        // as it stands there; of a preview, with the state that it would have
        let stored = read::get(&self.engine.db, id).await?;
        let row = SagaRow {
            head: acted.head,
            ..stored.ok_or(ActError::NotFound(id))?
        };
        Ok(ActOnSagaResponse {
            saga: Some(convert::saga(&row, &acted.plan.plan)),
            effects: acted.effects,
            changed: acted.changed,
            preview: wanted.preview,
        })
    }
}

#[tonic::async_trait]
impl SagaService for Sagas {
    async fn list_sagas(
        &self,
        request: Request<ListSagasRequest>,
    ) -> Result<Response<ListSagasResponse>, Status> {
        self.list(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }

    async fn get_saga(
        &self,
        request: Request<GetSagaRequest>,
    ) -> Result<Response<GetSagaResponse>, Status> {
        let found = async { self.shown(id("saga_id", &request.get_ref().saga_id)?).await };
        found
            .await
            .map(Response::new)
            .map_err(|e: Refused| status(&e))
    }

    async fn get_saga_history(
        &self,
        request: Request<GetSagaHistoryRequest>,
    ) -> Result<Response<GetSagaHistoryResponse>, Status> {
        let found = async {
            self.history(id("saga_id", &request.get_ref().saga_id)?)
                .await
        };
        found
            .await
            .map(Response::new)
            .map_err(|e: Refused| status(&e))
    }

    async fn create_bulk(
        &self,
        request: Request<CreateBulkRequest>,
    ) -> Result<Response<CreateBulkResponse>, Status> {
        let caller = caller(&request)?;
        let key = idempotency_key(&request)?;
        let bulk = self.prepare(request.into_inner(), caller.user(), key).await;
        let bulk = bulk.map_err(|e| status(&e))?;
        let location = format!("/v1/bulks/{}", bulk.bulk_id);
        Ok(created(CreateBulkResponse { bulk: Some(bulk) }, &location))
    }

    async fn run_bulk(
        &self,
        request: Request<RunBulkRequest>,
    ) -> Result<Response<RunBulkResponse>, Status> {
        let bulk = self.run(&request.get_ref().bulk_id).await;
        let bulk = Some(bulk.map_err(|e| status(&e))?);
        Ok(Response::new(RunBulkResponse { bulk }))
    }

    async fn stop_bulk(
        &self,
        request: Request<StopBulkRequest>,
    ) -> Result<Response<StopBulkResponse>, Status> {
        let bulk = self.stop(&request.get_ref().bulk_id).await;
        let bulk = Some(bulk.map_err(|e| status(&e))?);
        Ok(Response::new(StopBulkResponse { bulk }))
    }

    async fn get_bulk(
        &self,
        request: Request<GetBulkRequest>,
    ) -> Result<Response<GetBulkResponse>, Status> {
        let bulk = self.bulk(&request.get_ref().bulk_id).await;
        let bulk = Some(bulk.map_err(|e| status(&e))?);
        Ok(Response::new(GetBulkResponse { bulk }))
    }

    async fn list_bulks(
        &self,
        request: Request<ListBulksRequest>,
    ) -> Result<Response<ListBulksResponse>, Status> {
        self.bulks(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }

    async fn list_cases(
        &self,
        request: Request<ListCasesRequest>,
    ) -> Result<Response<ListCasesResponse>, Status> {
        self.cases(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }

    async fn acknowledge_saga(
        &self,
        request: Request<AcknowledgeSagaRequest>,
    ) -> Result<Response<AcknowledgeSagaResponse>, Status> {
        let caller = caller(&request)?;
        self.acknowledge(request.into_inner(), caller.user())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }

    async fn list_breakers(
        &self,
        _request: Request<ListBreakersRequest>,
    ) -> Result<Response<ListBreakersResponse>, Status> {
        self.breakers()
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }

    async fn set_breaker(
        &self,
        request: Request<SetBreakerRequest>,
    ) -> Result<Response<SetBreakerResponse>, Status> {
        let caller = caller(&request)?;
        self.set(request.into_inner(), caller.user())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }

    async fn act_on_saga(
        &self,
        request: Request<ActOnSagaRequest>,
    ) -> Result<Response<ActOnSagaResponse>, Status> {
        let caller = caller(&request)?;
        let key = idempotency_key(&request)?;
        self.act(request.into_inner(), caller.user(), key)
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }
}
