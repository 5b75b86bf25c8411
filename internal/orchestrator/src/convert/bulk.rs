//! Bulks, from the contract and back.

use std::sync::Arc;

use palinode_pb::saga::v1::create_bulk_request::Verb as PbVerb;
use palinode_pb::saga::v1::{self as pb, BulkState, CreateBulkRequest, SagaFilter};
use palinode_rpc::Violations;
use palinode_saga::Verb;
use palinode_values::UserId;
use prost::Message;

use super::verb::{by, version};
use super::{By, Key};
use crate::runner::deed::StoredDeed;
use crate::runner::registry::{Registry, StoredPlan};
use crate::store::bulk::{BulkRow, Count, Filter};

/// A bulk as it is asked for.
#[derive(Debug, Clone)]
pub(crate) struct WantedBulk {
    pub(crate) filter: Filter,
    /// The filter in the words of the contract, to be shown again.
    pub(crate) asked: Vec<u8>,
    pub(crate) deed: StoredDeed,
    pub(crate) by: By,
    /// Sagas per second.
    pub(crate) rate: i32,
    /// Whether it runs at once.
    pub(crate) run: bool,
    /// Whether sagas that have moved on since are acted on too.
    pub(crate) moved_too: bool,
    /// What a repeat is known by.
    pub(crate) key: Option<Key>,
}

const RATE_DEFAULT: i32 = 50;

/// States in which something can be done with a saga, as the column has them.
const LIVE: [&str; 3] = ["running", "compensating", "needs-attention"];

/// Reads the request; every wrong field is named.
pub(crate) fn wanted_bulk(
    registry: &Registry,
    request: CreateBulkRequest,
    principal: &UserId,
    key: Option<String>,
) -> Result<WantedBulk, Violations> {
    let key = Key::of(key, &request);
    let mut wrong = Violations::new();
    let by = by(&request.reason, principal, &mut wrong);
    let rate = match request.rate {
        0 => RATE_DEFAULT,
        rate => rate,
    };
    let asked = request.filter.unwrap_or_default();
    let filter = filter(registry, &asked, &mut wrong);
    if request.moved_too && matches!(request.verb, Some(PbVerb::Abandon(_))) {
        let rule = "is not for abandon, which closes a saga as it was looked at";
        wrong.add("moved_too", "UNEXPECTED", rule);
    }
    let deed = deed(registry, &asked, request.verb, &mut wrong);
    match deed {
        Some(deed) if wrong.is_empty() => Ok(WantedBulk {
            filter,
            asked: asked.encode_to_vec(),
            deed,
            by,
            rate,
            run: request.run,
            moved_too: request.moved_too,
            key,
        }),
        _ => Err(wrong),
    }
}

fn deed(
    registry: &Registry,
    asked: &SagaFilter,
    verb: Option<PbVerb>,
    wrong: &mut Violations,
) -> Option<StoredDeed> {
    let verb = match verb {
        Some(PbVerb::Pause(_)) => Verb::Pause,
        Some(PbVerb::Resume(_)) => Verb::Resume,
        Some(PbVerb::Retry(_)) => Verb::Retry,
        Some(PbVerb::Cancel(_)) => Verb::Cancel,
        Some(PbVerb::ForceCompensate(_)) => Verb::ForceCompensate,
        Some(PbVerb::Abandon(_)) => Verb::Abandon,
        Some(PbVerb::Migrate(_)) if asked.plan.is_empty() => {
            let rule = "must be named: a version is one of a plan";
            wrong.add("filter.plan", "REQUIRED", rule);
            return None;
        }
        Some(PbVerb::Migrate(migrate)) => {
            return match version(registry, &asked.plan, migrate.to_version) {
                Ok(to) => Some(StoredDeed::Migrate {
                    plan: asked.plan.clone(),
                    to: to.plan.version(),
                }),
                Err(errors) => {
                    let errors = errors.list().iter();
                    errors.for_each(|e| wrong.add(&e.field, e.reason, &e.description));
                    None
                }
            };
        }
        None => {
            let rule = "must be pause, resume, retry, cancel, force_compensate, abandon or migrate";
            wrong.add("verb", "REQUIRED", rule);
            return None;
        }
    };
    Some(StoredDeed::Verb(verb))
}

fn filter(registry: &Registry, asked: &SagaFilter, wrong: &mut Violations) -> Filter {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    if *asked == SagaFilter::default() {
        let rule = "must have at least one condition, such as a plan or a state";
        wrong.add("filter", "REQUIRED", rule);
    }
    let plans = plans(registry, asked, wrong);
    let states = match super::state_filter(asked.state()) {
        None => LIVE.to_vec(),
        Some(state) if LIVE.contains(&state) => vec![state],
        Some(_) => {
            let rule = "must be running, compensating or needs attention: nothing can be done with \
                        sagas that have ended";
            wrong.add("filter.state", "OUT_OF_RANGE", rule);
            Vec::new()
        }
    };
    let older_than_secs = asked.older_than.as_ref().map(|age| age.seconds);
    if older_than_secs.is_some_and(|age| !(1..=AGE_SECS_MAX).contains(&age)) {
        let rule = "must be one second at least, and ten years at most";
        wrong.add("filter.older_than", "OUT_OF_RANGE", rule);
    }
    Filter {
        plan: text(&asked.plan),
        plan_version: (asked.plan_version != 0).then_some(asked.plan_version),
        states,
        stuck: text(&asked.stuck),
        step: text(&asked.step),
        waits_at: waits_at(&plans, &asked.participant),
        held: asked.held,
        older_than_secs,
        business_key_prefix: text(&asked.business_key_prefix),
    }
}

const AGE_SECS_MAX: i64 = 10 * 365 * 24 * 60 * 60;

/// The plans that the filter is about, once its names are checked.
fn plans(registry: &Registry, asked: &SagaFilter, wrong: &mut Violations) -> Vec<Arc<StoredPlan>> {
    let all = registry.all();
    let one_of = |mut names: Vec<String>| {
        names.sort_unstable();
        names.dedup();
        format!("must be one of {}", names.join(", "))
    };
    let named = |plan: &&Arc<StoredPlan>| asked.plan.is_empty() || plan.plan.name() == asked.plan;
    let plans: Vec<Arc<StoredPlan>> = all.iter().filter(named).cloned().collect();
    if plans.is_empty() {
        let names = all.iter().map(|plan| plan.plan.name().to_owned());
        wrong.add("filter.plan", "UNKNOWN_PLAN", one_of(names.collect()));
        return plans;
    }
    if asked.plan_version != 0 {
        let mut versions = plans.iter().map(|plan| plan.plan.version());
        if asked.plan.is_empty() {
            let rule = "must be named: a version is one of a plan";
            wrong.add("filter.plan", "REQUIRED", rule);
        } else if !versions.any(|version| i64::from(version) == i64::from(asked.plan_version)) {
            let versions = registry.versions(&asked.plan);
            let rule = one_of(versions.iter().map(u32::to_string).collect());
            wrong.add("filter.plan_version", "UNKNOWN_VERSION", rule);
        }
    }
    let steps = || plans.iter().flat_map(|plan| plan.plan.steps());
    if !asked.step.is_empty() && !steps().any(|step| step.name == asked.step) {
        let rule = one_of(steps().map(|step| step.name.clone()).collect());
        wrong.add("filter.step", "UNKNOWN_STEP", rule);
    }
    let participant = &asked.participant;
    if !participant.is_empty() && !steps().any(|step| step.participant == *participant) {
        let rule = one_of(steps().map(|step| step.participant.clone()).collect());
        wrong.add("filter.participant", "UNKNOWN_PARTICIPANT", rule);
    }
    plans
}

/// The steps of that participant, each with its plan.
fn waits_at(plans: &[Arc<StoredPlan>], participant: &str) -> Option<(Vec<i32>, Vec<String>)> {
    if participant.is_empty() {
        return None;
    }
    let steps = plans.iter().flat_map(|plan| {
        let steps = plan.plan.steps().iter();
        let there = steps.filter(|step| step.participant == participant);
        there.map(|step| (plan.id, step.name.clone()))
    });
    Some(steps.unzip())
}

/// A bulk in the words of the contract; `left` is empty unless one bulk is asked for.
pub(crate) fn bulk(row: &BulkRow, left: &[Count]) -> pb::Bulk {
    let state = match row.state.as_str() {
        "prepared" => BulkState::Prepared,
        "running" => BulkState::Running,
        "stopped" => BulkState::Stopped,
        "done" => BulkState::Done,
        _ => BulkState::Unspecified,
    };
    let to_version = match &row.deed {
        StoredDeed::Migrate { to, .. } => i32::try_from(*to).unwrap_or(i32::MAX),
        StoredDeed::Verb(_) => 0,
    };
    pb::Bulk {
        bulk_id: row.id.to_string(),
        verb: row.deed.word().to_owned(),
        to_version,
        filter: SagaFilter::decode(row.asked.as_slice()).ok(),
        reason: row.by.reason.clone(),
        principal: row.by.principal.clone(),
        rate: row.rate,
        state: state.into(),
        size: row.size,
        preview: counts(&row.preview),
        done: row.done,
        refused: row.refused,
        moved: row.moved,
        failed: row.failed,
        left: counts(left),
        created_at: Some(super::timestamp(row.created_at)),
        started_at: row.started_at.map(super::timestamp),
        ended_at: row.ended_at.map(super::timestamp),
        moved_too: row.moved_too,
    }
}

fn counts(counts: &[Count]) -> Vec<pb::BulkCount> {
    let one = |count: &Count| pb::BulkCount {
        count: count.count,
        words: count.what.words.clone(),
        effects: count.what.effects.clone(),
        refused: count.what.refused.clone(),
        example_saga_ids: count.examples.iter().map(ToString::to_string).collect(),
    };
    counts.iter().map(one).collect()
}
