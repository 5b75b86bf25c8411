//! What operators and other services read.

use std::sync::Arc;

use palinode_db::Error;
use palinode_pb::saga::v1::saga_service_server::SagaService;
use palinode_pb::saga::v1::{
    ActOnSagaRequest, ActOnSagaResponse, FindSagasRequest, FindSagasResponse,
    GetSagaHistoryRequest, GetSagaHistoryResponse, GetSagaRequest, GetSagaResponse,
    ListSagasRequest, ListSagasResponse,
};
use palinode_rpc::{Violations, status};
use palinode_saga::DbTime;
use palinode_values::{Coded, ErrorCode, SagaId};
use tonic::{Request, Response, Status};

use crate::convert;
use crate::runner::Engine;
use crate::runner::act::{ActError, act};
use crate::runner::registry::StoredPlan;
use crate::store::read::{self, SagaRow};

pub(crate) struct Sagas {
    pub(crate) engine: Engine,
}

const PAGE_DEFAULT: i32 = 50;
const PAGE_MAX: i32 = 200;
const FIND_MAX: usize = 1_000;

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

impl Sagas {
    async fn plan_of(&self, row: &SagaRow) -> Result<Arc<StoredPlan>, Refused> {
        if let Some(plan) = self.engine.registry.get(row.head.plan_id) {
            return Ok(plan);
        }
        self.engine.registry.refresh(&self.engine.db).await?;
        self.engine
            .registry
            .get(row.head.plan_id)
            .ok_or(Refused::NoPlan(row.head.id))
    }

    async fn find(&self, id: SagaId) -> Result<(SagaRow, Arc<StoredPlan>), Refused> {
        let row = read::get(&self.engine.db, id)
            .await?
            .ok_or(Refused::NotFound(id))?;
        let plan = self.plan_of(&row).await?;
        Ok((row, plan))
    }

    async fn list(&self, request: ListSagasRequest) -> Result<ListSagasResponse, Refused> {
        let size = match request.page_size {
            0 => PAGE_DEFAULT,
            size @ 1..=PAGE_MAX => size,
            _ => {
                let wrong = Violations::of("page_size", "OUT_OF_RANGE", "must be 1 to 200");
                return Err(Refused::Invalid(wrong));
            }
        };
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
        let next_page_token = rows
            .last()
            .filter(|_| full)
            .map(|row| row.head.id.to_string());
        let mut sagas = Vec::with_capacity(rows.len());
        for row in rows {
            let plan = self.plan_of(&row).await?;
            sagas.push(convert::saga(&row, &plan.plan));
        }
        Ok(ListSagasResponse {
            sagas,
            next_page_token: next_page_token.unwrap_or_default(),
        })
    }

    async fn history(&self, id: SagaId) -> Result<GetSagaHistoryResponse, Refused> {
        let (_, plan) = self.find(id).await?;
        let rows = read::history(&self.engine.db, id).await?;
        let entries = rows
            .iter()
            .map(|r| convert::history_entry(&plan.plan, r.version, r.at, r.kind, &r.body))
            .collect::<Result<_, _>>()
            .map_err(|e| Refused::History(id, e))?;
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

    async fn act(&self, request: ActOnSagaRequest) -> Result<ActOnSagaResponse, ActError> {
        let id = request.saga_id.parse::<SagaId>();
        let id = id.map_err(|e| Violations::of("saga_id", "NOT_A_UUID", e.rule.to_owned()))?;
        let wanted = convert::wanted(request)?;
        let acted = act(&self.engine, id, &wanted).await?;
        let plan = &acted.plan.plan;
        let before = convert::ledger_entries(plan, &acted.before);
        // as it stands there; of a preview, with the state that it would have
        let stored = read::get(&self.engine.db, id).await?;
        let row = SagaRow {
            head: acted.head,
            ..stored.ok_or(ActError::NotFound(id))?
        };
        let saga = convert::saga(&row, plan);
        let mut changed = saga.ledger.clone();
        changed.retain(|entry| !before.contains(entry));
        Ok(ActOnSagaResponse {
            saga: Some(saga),
            effects: acted.effects,
            changed,
            preview: wanted.preview,
        })
    }

    async fn known(&self, request: FindSagasRequest) -> Result<FindSagasResponse, Refused> {
        if request.saga_ids.len() > FIND_MAX {
            let wrong = Violations::of("saga_ids", "TOO_MANY", "must be at most 1000");
            return Err(Refused::Invalid(wrong));
        }
        let ids = request
            .saga_ids
            .iter()
            .map(|text| id("saga_ids", text))
            .collect::<Result<Vec<_>, _>>()?;
        let known = read::known(&self.engine.db, &ids).await?;
        let known_saga_ids = known.iter().map(ToString::to_string).collect();
        Ok(FindSagasResponse { known_saga_ids })
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

    async fn act_on_saga(
        &self,
        request: Request<ActOnSagaRequest>,
    ) -> Result<Response<ActOnSagaResponse>, Status> {
        self.act(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }

    async fn find_sagas(
        &self,
        request: Request<FindSagasRequest>,
    ) -> Result<Response<FindSagasResponse>, Status> {
        self.known(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }
}
