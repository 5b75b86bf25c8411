use palinode_auth::{Caller, Role};
use palinode_db::{Db, Error};
use palinode_messaging::{BatchHandler, Committed, Failure, Received};
use palinode_outbox::Doorbell;
use palinode_pb::saga::v1::saga_service_server::SagaService;
use palinode_pb::saga::v1::{ActOnSagaRequest, GetSagaRequest, Saga};
use palinode_rpc::call_of;
use palinode_saga::{Plan, State};
use palinode_telemetry::Tracer;
use palinode_values::{Clock, SagaId, UserId};
use tonic::{Request, Status};

use super::Sagas;
use crate::runner::breaker::{Breakers, Limits};
use crate::runner::consumer::InputsHandler;
use crate::runner::recent::Recent;
use crate::runner::registry::{Registry, RegistryError};
use crate::runner::timers::Soon;
use crate::runner::{Engine, timers};
use crate::store::read;

/// The orchestrator without Kafka, timers and gRPC: for simulations that decide themselves what
/// arrives, and when.
pub struct Stepper {
    handler: InputsHandler,
    sagas: Sagas,
    engine: Engine,
}

impl Stepper {
    /// On a migrated database, with these plans and no other. No breaker opens.
    ///
    /// # Errors
    /// A plan that does not fit the contracts, or is stored with another content; the database.
    pub async fn new(db: Db, plans: Vec<Plan>) -> Result<Self, RegistryError> {
        let engine = Engine {
            registry: Registry::open(&db, plans).await?,
            db,
            breakers: Breakers::new(Limits {
                sagas_min: usize::MAX,
                ..Limits::default()
            }),
            recent: Recent::default(),
            soon: Soon::default(),
            bulks: Doorbell::new(),
            set: Doorbell::new(),
            doorbell: Doorbell::new(),
            tracer: Tracer::disabled(),
            prefix: "palinode".into(),
            clock: Clock::system(),
        };
        Ok(Self {
            handler: InputsHandler::by_the_database(engine.clone()),
            sagas: Sagas {
                engine: engine.clone(),
            },
            engine,
        })
    }

    /// Takes a batch of starts and replies, in one transaction.
    ///
    /// # Errors
    /// As the consumer is told.
    pub async fn handle(&mut self, batch: &[Received]) -> Result<Committed, Failure> {
        self.handler.handle(batch).await
    }

    /// Wakes every saga whose timer is due by the database's clock; returns how many that were.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn fire(&self) -> Result<usize, Error> {
        timers::step(&self.engine).await
    }

    /// Acts on a saga as an operator does.
    ///
    /// # Errors
    /// As the caller of the RPC is told.
    pub async fn act(&self, request: ActOnSagaRequest, operator: UserId) -> Result<(), Status> {
        let operator = Caller::customer(operator).with(Role::Operator);
        self.sagas
            .act_on_saga(call_of(operator, request))
            .await
            .map(drop)
    }

    /// The saga as it is shown.
    ///
    /// # Errors
    /// As the caller of the RPC is told.
    pub async fn saga(&self, id: SagaId) -> Result<Saga, Status> {
        let saga_id = id.to_string();
        let answer = self
            .sagas
            .get_saga(Request::new(GetSagaRequest { saga_id }))
            .await?;
        let saga = answer.into_inner().saga;
        saga.ok_or_else(|| Status::internal("an answer without a saga"))
    }

    /// The state and the version of a saga, as they are stored; `None` before its start.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn state(&self, id: SagaId) -> Result<Option<(State, i64)>, Error> {
        let row = read::get(&self.engine.db, id).await?;
        Ok(row.map(|row| (row.head.state, row.head.version)))
    }
}
