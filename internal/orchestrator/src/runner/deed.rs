//! What somebody wants done with a saga: a verb, or the move to another version of its plan.

use std::sync::Arc;

use palinode_db::Error;
use palinode_saga::{DbTime, Input, State, Status, Transition, Verb, migrate, next};
use serde::{Deserialize, Serialize};

use super::Engine;
use super::registry::StoredPlan;

/// Something that can be tried on any saga.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    Verb(Verb),
    /// Go on under this version of the plan.
    Migrate(Arc<StoredPlan>),
}

/// Why a saga refuses it. Nothing was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// A constant name.
    pub(crate) rule: &'static str,
    pub(crate) words: String,
}

impl Deed {
    /// One word for it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Verb(verb) => verb.word(),
            Self::Migrate(_) => "migrate",
        }
    }

    /// As it stands in the history of a saga that has `plan` before it.
    pub(crate) fn input(&self, plan: &StoredPlan) -> Input {
        match self {
            Self::Verb(verb) => Input::Verb { verb: verb.clone() },
            Self::Migrate(to) => Input::Migrate {
                from: plan.plan.version(),
                to: to.plan.version(),
            },
        }
    }

    /// The plan that a saga of `plan` has after it.
    pub(crate) fn plan_after<'p>(&'p self, plan: &'p Arc<StoredPlan>) -> &'p Arc<StoredPlan> {
        match self {
            Self::Verb(_) => plan,
            Self::Migrate(to) => to,
        }
    }

    /// What it would make of a saga; the state belongs to [`Deed::plan_after`].
    ///
    /// # Errors
    /// The rule that it breaks.
    pub(crate) fn attempt(
        &self,
        plan: &StoredPlan,
        state: &State,
        now: DbTime,
    ) -> Result<Transition, Refusal> {
        match self {
            Self::Verb(_) => {
                let would = next(&plan.plan, state, &self.input(plan), now);
                would.refused.map_or(Ok(would), |rule| {
                    Err(Refusal {
                        rule: rule.as_str(),
                        words: rule.words().to_owned(),
                    })
                })
            }
            Self::Migrate(to) if to.id == plan.id => Err(Refusal {
                rule: "ALREADY_MIGRATED",
                words: "it has that version of its plan already".to_owned(),
            }),
            Self::Migrate(to) => {
                migrate(&plan.plan, &to.plan, state, now).map_err(|unfit| Refusal {
                    rule: unfit.as_str(),
                    words: unfit.to_string(),
                })
            }
        }
    }

    /// What it makes of a saga, as after "would".
    pub(crate) fn words(&self, before: &State, after: &State) -> String {
        if let Self::Migrate(to) = self {
            return format!("go on as {}", to.plan.label());
        }
        let words = match after.status {
            _ if before.closed != after.closed => "be closed as it is",
            _ if before.hold.is_none() && after.hold.is_some() => "be held",
            _ if before.hold.is_some() && after.hold.is_none() => "go on",
            _ if before.wish.is_none() && after.wish.is_some() => {
                "ask its pivot, and go back if that has not happened"
            }
            status if status == before.status => "try again",
            Status::New | Status::Running => "go on",
            Status::Compensating => "go back",
            Status::Completed => "complete",
            Status::Compensated => "end compensated",
            Status::NeedsAttention(_) => "need attention",
        };
        words.to_owned()
    }
}

/// A deed as a bulk keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StoredDeed {
    Verb(Verb),
    Migrate { plan: String, to: u32 },
}

impl StoredDeed {
    /// One word for it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Verb(verb) => verb.word(),
            Self::Migrate { .. } => "migrate",
        }
    }

    /// The deed; `None` when this orchestrator has not got the plan.
    ///
    /// # Errors
    /// The plans cannot be read.
    pub(crate) async fn deed(&self, engine: &Engine) -> Result<Option<Deed>, Error> {
        let (plan, to) = match self {
            Self::Verb(verb) => return Ok(Some(Deed::Verb(verb.clone()))),
            Self::Migrate { plan, to } => (plan, *to),
        };
        if engine.registry.version(plan, to).is_none() {
            engine.registry.refresh(&engine.db).await?;
        }
        Ok(engine.registry.version(plan, to).map(Deed::Migrate))
    }
}
