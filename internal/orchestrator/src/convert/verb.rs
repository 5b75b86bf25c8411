//! Verbs of operators, from the contract and into words.

use std::sync::Arc;

use palinode_pb::saga::v1::act_on_saga_request::Verb as PbVerb;
use palinode_pb::saga::v1::{ActOnSagaRequest, Claim as PbClaim};
use palinode_rpc::Violations;
use palinode_saga::{Claim, Plan, Verb};
use palinode_values::UserId;

use super::{By, Key};
use crate::runner::deed::Deed;
use crate::runner::registry::{Registry, StoredPlan};

/// A verb as it is asked for; its steps are names still, because the plan is not known yet.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    verb: PbVerb,
    pub(crate) by: By,
    /// The version that was looked at.
    pub(crate) expected: Option<i64>,
    pub(crate) preview: bool,
    /// Of a preview it stays free.
    pub(crate) key: Option<Key>,
}

const REASON_CHARS: std::ops::RangeInclusive<usize> = 3..=500;

/// Reads the request; every wrong field is named.
pub(crate) fn wanted(
    request: ActOnSagaRequest,
    principal: &UserId,
    key: Option<String>,
) -> Result<Wanted, Violations> {
    let key = Key::of(key.filter(|_| !request.preview), &request);
    let mut wrong = Violations::new();
    let by = by(&request.reason, principal, &mut wrong);
    let needs_version = matches!(
        request.verb,
        Some(PbVerb::AcceptResidue(_) | PbVerb::Abandon(_))
    );
    if needs_version && request.expected_version == 0 {
        let rule = "must be the version of the saga that was looked at";
        wrong.add("expected_version", "REQUIRED", rule);
    }
    match request.verb {
        Some(verb) if wrong.is_empty() => Ok(Wanted {
            verb,
            by,
            expected: (request.expected_version > 0).then_some(request.expected_version),
            preview: request.preview,
            key,
        }),
        Some(_) => Err(wrong),
        None => {
            wrong.add("verb", "REQUIRED", "must be one of the verbs");
            Err(wrong)
        }
    }
}

/// Who acts, and why.
pub(super) fn by(reason: &str, principal: &UserId, wrong: &mut Violations) -> By {
    let by = By {
        reason: reason.trim().to_owned(),
        principal: principal.to_string(),
        bulk: None,
    };
    if !REASON_CHARS.contains(&by.reason.chars().count()) {
        wrong.add(
            "reason",
            "OUT_OF_RANGE",
            "must say why, in 3 to 500 characters",
        );
    }
    by
}

/// Who acts, and why, where that is all that can be wrong.
pub(crate) fn reason_and_principal(reason: &str, principal: &UserId) -> Result<By, Violations> {
    let mut wrong = Violations::new();
    let by = by(reason, principal, &mut wrong);
    if wrong.is_empty() { Ok(by) } else { Err(wrong) }
}

/// The version of the plan that sagas are to move to.
pub(super) fn version(
    registry: &Registry,
    plan: &str,
    to_version: i32,
) -> Result<Arc<StoredPlan>, Violations> {
    let to = u32::try_from(to_version).ok();
    to.and_then(|to| registry.version(plan, to)).ok_or_else(|| {
        let versions: Vec<String> = registry.versions(plan).iter().map(u32::to_string).collect();
        let rule = format!("must be a version of {plan}: {}", versions.join(", "));
        Violations::of("migrate.to_version", "UNKNOWN_VERSION", rule)
    })
}

impl Wanted {
    /// What is wanted, in the engine's terms.
    pub(crate) fn deed(&self, registry: &Registry, plan: &Plan) -> Result<Deed, Violations> {
        let step = |field: &'static str, name: &str| {
            plan.position(name).ok_or_else(|| {
                let names: Vec<&str> = plan.steps().iter().map(|s| s.name.as_str()).collect();
                let rule = format!("must be one of {}", names.join(", "));
                Violations::of(field, "UNKNOWN_STEP", rule)
            })
        };
        let verb = match &self.verb {
            PbVerb::Migrate(migrate) => {
                let to = version(registry, plan.name(), migrate.to_version)?;
                return Ok(Deed::Migrate(to));
            }
            PbVerb::Pause(_) => Verb::Pause,
            PbVerb::Resume(_) => Verb::Resume,
            PbVerb::Retry(_) => Verb::Retry,
            PbVerb::Cancel(_) => Verb::Cancel,
            PbVerb::ForceCompensate(_) => Verb::ForceCompensate,
            PbVerb::Skip(skip) => Verb::Skip {
                step: step("skip.step", &skip.step)?,
            },
            PbVerb::Resolve(resolve) => Verb::Resolve {
                step: step("resolve.step", &resolve.step)?,
                claim: claim(resolve.claim())?,
                unreachable: resolve.unreachable,
            },
            PbVerb::AcceptResidue(accept) => Verb::AcceptResidue {
                steps: accept
                    .steps
                    .iter()
                    .map(|name| step("accept_residue.steps", name))
                    .collect::<Result<_, _>>()?,
            },
            PbVerb::Abandon(_) => Verb::Abandon,
        };
        Ok(Deed::Verb(verb))
    }

    /// Whether it names a version of the plan, which a newer release may have brought.
    pub(crate) fn is_migration(&self) -> bool {
        matches!(self.verb, PbVerb::Migrate(_))
    }

    /// What an operator says that a step would have answered, as JSON; empty for none.
    pub(crate) fn output_json(&self) -> &str {
        match &self.verb {
            PbVerb::Resolve(resolve) => &resolve.output_json,
            PbVerb::Pause(_)
            | PbVerb::Resume(_)
            | PbVerb::Retry(_)
            | PbVerb::Cancel(_)
            | PbVerb::ForceCompensate(_)
            | PbVerb::Skip(_)
            | PbVerb::AcceptResidue(_)
            | PbVerb::Abandon(_)
            | PbVerb::Migrate(_) => "",
        }
    }
}

fn claim(claim: PbClaim) -> Result<Claim, Violations> {
    match claim {
        PbClaim::Done => Ok(Claim::Done),
        PbClaim::NotDone => Ok(Claim::NotDone),
        PbClaim::Undone => Ok(Claim::Undone),
        PbClaim::Unspecified => {
            let rule = "must be CLAIM_DONE, CLAIM_NOT_DONE or CLAIM_UNDONE";
            Err(Violations::of("resolve.claim", "REQUIRED", rule))
        }
    }
}

/// Step and words of a verb.
pub(crate) fn words(plan: &Plan, verb: &Verb) -> (String, String) {
    let name = |step: usize| {
        let step = plan.steps().get(step);
        step.map(|step| step.name.clone()).unwrap_or_default()
    };
    match verb {
        Verb::Skip { step } => (name(*step), verb.word().to_owned()),
        Verb::Resolve {
            step,
            claim,
            unreachable,
        } => {
            let unasked = if *unreachable { ", without asking" } else { "" };
            let words = format!("{} as {}{unasked}", verb.word(), claim.as_str());
            (name(*step), words)
        }
        Verb::AcceptResidue { steps } => {
            let names: Vec<String> = steps.iter().map(|step| name(*step)).collect();
            (
                String::new(),
                format!("{} of {}", verb.word(), names.join(", ")),
            )
        }
        Verb::Pause
        | Verb::Resume
        | Verb::Retry
        | Verb::Cancel
        | Verb::ForceCompensate
        | Verb::Abandon => (String::new(), verb.word().to_owned()),
    }
}
