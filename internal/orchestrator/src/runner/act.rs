//! An operator's verb: one saga, one transaction, the same `next`.

use std::sync::Arc;

use palinode_db::{AsDbError, Error, Tx};
use palinode_pb::saga::v1::{ActOnSagaResponse, LedgerEntry};
use palinode_rpc::Violations;
use palinode_saga::{Claim, DbTime, Verb};
use palinode_values::{Coded, ErrorCode, SagaId};
use prost::Message;

use super::Engine;
use super::batch::{Batch, Inputs, Written};
use super::deed::{Deed, Refusal};
use super::encode::{OutputError, Payload, output_from_json};
use super::registry::StoredPlan;
use crate::convert::{self, Wanted};
use crate::store::saga::Head;
use crate::store::{read, verb_key};

/// Why a verb did nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActError {
    #[error("there is no saga {0}")]
    NotFound(SagaId),
    #[error("saga {0} cannot be interpreted by this orchestrator")]
    NotInterpreted(SagaId),
    #[error("saga {saga} has moved on: it is at version {found}")]
    Stale { saga: SagaId, found: i64 },
    #[error("{verb} is refused: {}{}", refusal.words, would_do(accepts))]
    Refused {
        verb: &'static str,
        refusal: Refusal,
        /// What would be accepted instead.
        accepts: Vec<&'static str>,
    },
    #[error("the idempotency key was used for another request")]
    KeyReused,
    #[error("the request is not valid")]
    Invalid(#[from] Violations),
    #[error("the saga cannot be written")]
    Database(#[from] Error),
}

fn would_do(accepts: &[&str]) -> String {
    if accepts.is_empty() {
        return String::new();
    }
    format!("; accepted now: {}", accepts.join(", "))
}

impl AsDbError for ActError {
    fn as_db_error(&self) -> Option<&Error> {
        match self {
            Self::Database(error) => Some(error),
            Self::NotFound(_)
            | Self::NotInterpreted(_)
            | Self::Stale { .. }
            | Self::Refused { .. }
            | Self::KeyReused
            | Self::Invalid(_) => None,
        }
    }
}

impl Coded for ActError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound(_) => ErrorCode::NotFound,
            Self::NotInterpreted(_) => ErrorCode::Internal,
            Self::Stale { .. } | Self::KeyReused => ErrorCode::Conflict,
            Self::Refused { .. } => ErrorCode::Refused,
            Self::Invalid(_) => ErrorCode::Invalid,
            Self::Database(error) => error.code(),
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::NotFound(_) => "SAGA_NOT_FOUND",
            Self::NotInterpreted(_) => "INTERNAL",
            Self::Stale { .. } => "SAGA_MOVED_ON",
            Self::Refused { refusal, .. } => refusal.rule,
            Self::KeyReused => "IDEMPOTENCY_KEY_REUSED",
            Self::Invalid(_) => "INVALID_REQUEST",
            Self::Database(error) => error.reason(),
        }
    }
}

/// What a verb did, or would do.
#[derive(Debug)]
pub(crate) struct Acted {
    /// The plan after it.
    pub(crate) plan: Arc<StoredPlan>,
    /// The head after it.
    pub(crate) head: Head,
    /// What was sent, or would be, in words.
    pub(crate) effects: Vec<String>,
    /// Entries of the ledger that it changed, or would.
    pub(crate) changed: Vec<LedgerEntry>,
}

/// What came of a transaction.
enum Done {
    Now(Box<Acted>, Option<Written>),
    /// The same request came before, and this was answered; without the saga.
    Before(ActOnSagaResponse),
}

/// Acts on a saga, or shows what that would do. With the same key a repeat does nothing more: what was done is told
/// again, with the saga as it is then.
///
/// # Errors
/// `Refused` names the rule, and the verbs that would be accepted; `KeyReused`: the key came with another request.
/// Nothing was done, and the key is free.
pub(crate) async fn act(engine: &Engine, id: SagaId, wanted: &Wanted) -> Result<Acted, ActError> {
    if wanted.is_migration() {
        engine.registry.refresh(&engine.db).await?;
    }
    let done = engine
        .db
        .run_tx("saga.act", |tx| transact(engine, tx, id, wanted))
        .await?;
    match done {
        Done::Now(acted, written) => {
            if let Some(written) = written {
                written.committed(engine);
            }
            Ok(*acted)
        }
        Done::Before(answer) => {
            let row = read::get(&engine.db, id).await?;
            let head = row.ok_or(ActError::NotFound(id))?.head;
            let plan = engine.plan(head.plan_id).await?;
            Ok(Acted {
                plan: plan.ok_or(ActError::NotInterpreted(id))?,
                head,
                effects: answer.effects,
                changed: answer.changed,
            })
        }
    }
}

/// What was answered to the same request before; else its key is taken.
async fn before(tx: &mut Tx, wanted: &Wanted) -> Result<Option<ActOnSagaResponse>, ActError> {
    let Some(key) = &wanted.key else {
        return Ok(None);
    };
    let principal = &wanted.by.principal;
    let Some(before) = verb_key::take(tx, principal, key).await? else {
        return Ok(None);
    };
    if !before.is_same {
        return Err(ActError::KeyReused);
    }
    let answer = ActOnSagaResponse::decode(before.answer.as_slice());
    let answer = answer.map_err(|e| Error::inconsistent("verb_key", "answer", &key.key, e))?;
    Ok(Some(answer))
}

async fn transact(
    engine: &Engine,
    mut tx: Tx,
    id: SagaId,
    wanted: &Wanted,
) -> Result<(Tx, Done), ActError> {
    if let Some(answer) = before(&mut tx, wanted).await? {
        return Ok((tx, Done::Before(answer)));
    }
    let mut batch = Batch::new(engine);
    let inputs = Inputs {
        acted: vec![id],
        ..Inputs::default()
    };
    batch.load(&mut tx, &inputs).await?;
    if batch.unreadable.contains(&id) {
        return Err(ActError::NotInterpreted(id));
    }
    let now = DbTime::from(batch.now);
    let live = batch.live_mut(id).ok_or(ActError::NotFound(id))?;
    if wanted.expected.is_some_and(|at| at != live.head.version) {
        return Err(ActError::Stale {
            saga: id,
            found: live.head.version,
        });
    }
    let plan = Arc::clone(&live.plan);
    let before = live.head.state.clone();
    let ledger_before = convert::ledger_entries(&plan.plan, &before);
    let deed = wanted.deed(&engine.registry, &plan.plan)?;
    let output = match &deed {
        Deed::Verb(verb) => output(&plan, verb, wanted.output_json())?,
        Deed::Migrate(_) => None,
    };
    let would = deed
        .attempt(&plan, &before, now)
        .map_err(|refusal| ActError::Refused {
            verb: deed.word(),
            refusal,
            accepts: convert::accepts(&plan.plan, &before, now),
        })?;
    let after = deed.plan_after(&plan);
    let effects = would.effects.iter();
    let effects = effects.map(|e| convert::effect_words(&after.plan, e));
    let mut changed = convert::ledger_entries(&after.plan, &would.state);
    changed.retain(|entry| !ledger_before.contains(entry));
    let mut acted = Acted {
        effects: effects.collect(),
        changed,
        head: live.head.clone(),
        plan: Arc::clone(after),
    };
    if wanted.preview {
        acted.head.state = would.state;
        return Ok((tx, Done::Now(Box::new(acted), None)));
    }
    if let Some((slot, payload)) = output {
        live.add(&slot, payload);
    }
    live.act(&deed, would, &wanted.by);
    acted.head = live.head.clone();
    let written = batch.write(&mut tx).await?;
    if written.left_out.contains(&id) {
        return Err(ActError::NotInterpreted(id));
    }
    if let Some(key) = &wanted.key {
        let answer = ActOnSagaResponse {
            saga: None,
            effects: acted.effects.clone(),
            changed: acted.changed.clone(),
            preview: false,
        };
        verb_key::keep(&mut tx, &wanted.by.principal, key, &answer.encode_to_vec()).await?;
    }
    Ok((tx, Done::Now(Box::new(acted), Some(written))))
}

/// The output that comes with a claim, and its slot. A claim that later steps depend on needs one.
fn output(
    plan: &StoredPlan,
    verb: &Verb,
    json: &str,
) -> Result<Option<(Arc<str>, Payload)>, Violations> {
    const FIELD: &str = "resolve.output_json";
    let Verb::Resolve { step, claim, .. } = verb else {
        return Ok(None);
    };
    let spec = &plan.plan.steps()[*step];
    let needed = *claim == Claim::Done && plan.plan.is_bound(*step);
    match (json, &spec.action) {
        ("", _) if needed => {
            let rule = "is needed: a later step depends on what this one answers";
            Err(Violations::of(FIELD, "REQUIRED", rule))
        }
        ("", _) => Ok(None),
        (_, None) => Err(Violations::of(
            FIELD,
            "UNEXPECTED",
            "the step answers nothing",
        )),
        (json, Some(action)) => {
            let payload = output_from_json(action, json).map_err(|error: OutputError| {
                Violations::of(FIELD, "INVALID_VALUE", error.to_string())
            })?;
            Ok(Some((Arc::clone(&plan.steps[*step].claimed), payload)))
        }
    }
}
