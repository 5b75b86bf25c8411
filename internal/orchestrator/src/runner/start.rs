//! A saga that is started by a call: its first step is nobody's transaction but this one.

use std::sync::Arc;

use palinode_db::{AsDbError, Error};
use palinode_rpc::Violations;
use palinode_telemetry::TraceContext;
use palinode_values::{Coded, ErrorCode, SagaId};

use super::Engine;
use super::batch::{Inputs, Start};
use super::encode::Payload;
use super::registry::StoredPlan;
use crate::store::read;

/// Why no saga is started. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("there is no plan {0}")]
    NoPlan(String),
    #[error("a saga of {plan} is opened by its starter: ask that service instead")]
    Opened { plan: String },
    #[error("another saga of {plan} has the business key {key:?}, with another input: {saga}")]
    KeyUsed {
        plan: String,
        key: String,
        saga: SagaId,
    },
    #[error("the request is not valid")]
    Invalid(#[from] Violations),
    #[error("the saga cannot be written")]
    Database(#[from] Error),
}

impl AsDbError for StartError {
    fn as_db_error(&self) -> Option<&Error> {
        match self {
            Self::Database(error) => Some(error),
            Self::NoPlan(_) | Self::Opened { .. } | Self::KeyUsed { .. } | Self::Invalid(_) => None,
        }
    }
}

impl Coded for StartError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NoPlan(_) => ErrorCode::NotFound,
            Self::Opened { .. } => ErrorCode::Refused,
            Self::KeyUsed { .. } => ErrorCode::Conflict,
            Self::Invalid(_) => ErrorCode::Invalid,
            Self::Database(error) => error.code(),
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::NoPlan(_) => "PLAN_NOT_FOUND",
            Self::Opened { .. } => "OPENED_BY_STARTER",
            Self::KeyUsed { .. } => "BUSINESS_KEY_USED",
            Self::Invalid(_) => "INVALID_REQUEST",
            Self::Database(error) => error.reason(),
        }
    }
}

/// What is to be started.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) plan: Arc<StoredPlan>,
    pub(crate) business_key: String,
    pub(crate) input: Payload,
    pub(crate) trace: TraceContext,
}

/// Starts a saga; tells whether it is new. The same plan, key and input are the same saga.
///
/// # Errors
/// `KeyUsed`: the saga of that key has another input.
pub(crate) async fn start(engine: &Engine, wish: Wish) -> Result<(SagaId, bool), StartError> {
    let plan = wish.plan.plan.clone();
    if plan.steps().iter().any(|step| step.action.is_none()) {
        let plan = plan.label();
        return Err(StartError::Opened { plan });
    }
    // drawn once: a second run of the transaction writes the same saga
    let saga_id = SagaId::new(&engine.clock);
    let start = Start {
        saga_id,
        plan: wish.plan,
        business_key: wish.business_key.clone(),
        input: wish.input.clone(),
        trace: Some(wish.trace),
    };
    let inputs = Inputs {
        starts: vec![start],
        ..Inputs::default()
    };
    // looked for first, so that a repeat is no conflict of two sagas
    let (plan_name, key) = (plan.name(), wish.business_key.as_str());
    if let Some(found) = read::by_key(&engine.db, plan_name, key).await? {
        return same(plan_name, key, &wish.input, found).map(|id| (id, false));
    }
    engine.apply("saga.create", &inputs).await?;
    // somebody else may have been faster
    let found = read::by_key(&engine.db, plan_name, key).await?;
    let missing = || Error::inconsistent("saga", "business_key", saga_id, "was just written");
    let found = found.ok_or_else(missing)?;
    let id = same(plan_name, key, &wish.input, found)?;
    Ok((id, id == saga_id))
}

fn same(
    plan: &str,
    key: &str,
    input: &Payload,
    (saga, stored): (SagaId, Payload),
) -> Result<SagaId, StartError> {
    if stored.kind == input.kind && stored.body == input.body {
        return Ok(saga);
    }
    Err(StartError::KeyUsed {
        plan: plan.to_owned(),
        key: key.to_owned(),
        saga,
    })
}
