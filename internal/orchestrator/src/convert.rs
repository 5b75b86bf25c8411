//! Wire to engine and back, both ways.

use std::sync::Arc;

use palinode_messaging::{HeaderError, Received, SagaHeaders};
use palinode_pb::saga::v1::step_reply::Answer as PbAnswer;
use palinode_pb::saga::v1::step_reply::refused::Cause as RefusedCause;
use palinode_pb::saga::v1::{self as pb, SagaOutcome, SagaState, StartSaga, StepReply};
use palinode_pb::validate::{Invalid, Validate as _};
use palinode_saga::{
    Answer, DbTime, Disposition, Need, Plan, Refusal, State, Status, Verb, accepted, ledger,
};
use palinode_values::{SagaId, Timestamp};
use prost::{Message, Name};

mod bulk;
mod case;
mod history;
mod key;
mod verb;

pub(crate) use bulk::{WantedBulk, bulk, wanted_bulk};
pub(crate) use case::{breaker, case};
pub(crate) use history::{By, effect_words, history_body, history_entry, kind_number, migration};
pub(crate) use key::Key;
pub(crate) use verb::{Wanted, reason_and_principal, wanted, words as verb_words};

use crate::runner::batch::{Reply, Start};
use crate::runner::encode::Payload;
use crate::runner::registry::{Registry, StoredPlan};
use crate::store::read::SagaRow;

/// A record of the orchestrator's topics.
pub(crate) enum Incoming {
    Start(Start),
    Reply(Reply),
}

/// A record that cannot be understood; it is parked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Undecodable {
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("the body is no {kind}: {source}")]
    Body {
        kind: &'static str,
        source: prost::DecodeError,
    },
    #[error("{0} is neither a start nor a reply")]
    Kind(String),
    #[error("the start is not valid: {0}")]
    Start(#[from] Invalid),
    #[error("{field} of the start is missing or cannot be read")]
    Field { field: &'static str },
    #[error("no plan is called {0:?}")]
    UnknownPlan(String),
    #[error("plan {plan} wants {wanted}, the start has {found}")]
    WrongInput {
        plan: String,
        wanted: String,
        found: String,
    },
    #[error("the reply answers nothing")]
    NoAnswer,
}

pub(crate) fn incoming(registry: &Registry, record: &Received) -> Result<Incoming, Undecodable> {
    let kind = record.kind()?;
    if kind == StartSaga::full_name() {
        start(registry, record).map(Incoming::Start)
    } else if kind == StepReply::full_name() {
        reply(record).map(Incoming::Reply)
    } else {
        Err(Undecodable::Kind(kind.to_owned()))
    }
}

fn start(registry: &Registry, record: &Received) -> Result<Start, Undecodable> {
    let message = StartSaga::decode(record.body.clone()).map_err(|source| Undecodable::Body {
        kind: "StartSaga",
        source,
    })?;
    message.validate()?;
    let saga_id: SagaId = message
        .saga_id
        .parse()
        .map_err(|_| Undecodable::Field { field: "saga_id" })?;
    let plan: Arc<StoredPlan> = registry
        .current(&message.plan)
        .ok_or(Undecodable::UnknownPlan(message.plan))?;
    let input = message.input.ok_or(Undecodable::Field { field: "input" })?;
    let kind = type_of(&input.type_url);
    if kind != plan.plan.input() {
        return Err(Undecodable::WrongInput {
            plan: plan.plan.label(),
            wanted: plan.plan.input().to_owned(),
            found: kind.to_owned(),
        });
    }
    Ok(Start {
        saga_id,
        business_key: message.business_key,
        input: Payload {
            kind: kind.into(),
            body: input.value.into(),
        },
        plan,
        trace: record.trace(),
    })
}

fn reply(record: &Received) -> Result<Reply, Undecodable> {
    let headers = SagaHeaders::read(&record.headers)?;
    let message = StepReply::decode(record.body.clone()).map_err(|source| Undecodable::Body {
        kind: "StepReply",
        source,
    })?;
    let mut output = None;
    let answer = match message.answer.ok_or(Undecodable::NoAnswer)? {
        PbAnswer::Done(done) => {
            output = done.output.map(|any| Payload {
                kind: type_of(&any.type_url).into(),
                body: any.value.into(),
            });
            Answer::Done
        }
        PbAnswer::Failed(f) => Answer::Failed {
            reason: f.reason,
            detail: f.detail,
        },
        PbAnswer::Pending(pending) => {
            let until = pending.until.and_then(timestamp_from);
            let until = until.ok_or(Undecodable::Field {
                field: "pending.until",
            })?;
            Answer::Pending {
                until: DbTime::from(until),
            }
        }
        PbAnswer::Transient(_) => Answer::Transient,
        PbAnswer::Refused(refused) => Answer::Refused {
            refusal: match refused.cause() {
                RefusedCause::Closed => Refusal::Closed,
                RefusedCause::Expired => Refusal::Expired,
                RefusedCause::Mismatch => Refusal::Mismatch,
                RefusedCause::Unspecified => {
                    return Err(Undecodable::Field {
                        field: "refused.cause",
                    });
                }
            },
        },
        PbAnswer::Undone(_) => Answer::Undone,
        PbAnswer::UndoneEmpty(_) => Answer::UndoneEmpty,
        PbAnswer::CannotUndo(c) => Answer::CannotUndo { reason: c.reason },
        PbAnswer::NotDone(_) => Answer::NotDone,
    };
    Ok(Reply {
        saga_id: headers.saga_id,
        step: headers.step,
        direction: headers.direction,
        attempt: headers.attempt,
        answer,
        output,
        trace: record.trace(),
    })
}

/// The full name in an Any's type URL.
pub(crate) fn type_of(type_url: &str) -> &str {
    type_url.rsplit('/').next().unwrap_or_default()
}

fn timestamp_from(at: prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::from_timestamp(at.seconds, u32::try_from(at.nanos).ok()?)
}

pub(crate) fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.timestamp(),
        nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}

/// The outcome that the event tells.
pub(crate) fn outcome(status: Status) -> SagaOutcome {
    match status {
        Status::Completed => SagaOutcome::Completed,
        Status::Compensated => SagaOutcome::Compensated,
        Status::NeedsAttention(_) => SagaOutcome::NeedsAttention,
        Status::New | Status::Running | Status::Compensating => SagaOutcome::Unspecified,
    }
}

/// The column's word for a state of the contract; `None` for all states.
pub(crate) fn state_filter(state: SagaState) -> Option<&'static str> {
    match state {
        SagaState::Unspecified => None,
        SagaState::Running => Some("running"),
        SagaState::Compensating => Some("compensating"),
        SagaState::Completed => Some("completed"),
        SagaState::Compensated => Some("compensated"),
        SagaState::NeedsAttention => Some("needs-attention"),
    }
}

/// The state of the contract for the column's word.
pub(crate) fn state_of_word(word: &str) -> SagaState {
    let all = [
        SagaState::Running,
        SagaState::Compensating,
        SagaState::Completed,
        SagaState::Compensated,
        SagaState::NeedsAttention,
    ];
    let named = all
        .into_iter()
        .find(|state| state_filter(*state) == Some(word));
    named.unwrap_or(SagaState::Unspecified)
}

fn pb_state(status: Status) -> SagaState {
    match status {
        Status::New | Status::Running => SagaState::Running,
        Status::Compensating => SagaState::Compensating,
        Status::Completed => SagaState::Completed,
        Status::Compensated => SagaState::Compensated,
        Status::NeedsAttention(_) => SagaState::NeedsAttention,
    }
}

/// A saga in the words of the contract.
pub(crate) fn saga(row: &SagaRow, plan: &Plan) -> pb::Saga {
    let state = &row.head.state;
    let steps = plan
        .steps()
        .iter()
        .zip(&state.steps)
        .map(|(step, at)| pb::saga::Step {
            name: step.name.clone(),
            participant: step.participant.clone(),
            kind: serde_json::to_value(step.kind)
                .ok()
                .and_then(|word| word.as_str().map(str::to_owned))
                .unwrap_or_default(),
            state: at.word().to_owned(),
            attempts: i32::try_from(at.attempts()).unwrap_or(i32::MAX),
            reason: at.reason().to_owned(),
        });
    pb::Saga {
        saga_id: row.head.id.to_string(),
        plan: plan.name().to_owned(),
        plan_version: i32::try_from(plan.version()).unwrap_or(i32::MAX),
        business_key: row.head.business_key.clone(),
        state: pb_state(state.status).into(),
        cause: cause_words(state),
        waits_for: waits_words(plan, row),
        wait_until: row.wait_until.map(timestamp),
        started_at: Some(timestamp(row.head.started_at)),
        updated_at: Some(timestamp(row.progress_at)),
        version: row.head.version,
        steps: steps.collect(),
        trace_id: row
            .head
            .trace
            .as_ref()
            .map(|t| t.trace_id.to_string())
            .unwrap_or_default(),
        held: held_words(row),
        closed: closed_word(state).to_owned(),
        ledger: ledger_entries(plan, state),
        accepts: Vec::new(),
        stuck: row.stuck.clone().unwrap_or_default(),
    }
}

/// The verbs that a saga would accept, each word once.
pub(crate) fn accepts(plan: &Plan, state: &State, now: DbTime) -> Vec<&'static str> {
    let verbs = accepted(plan, state, now);
    let mut words: Vec<_> = verbs.iter().map(Verb::word).collect();
    words.dedup();
    words
}

/// What each step has left behind.
pub(crate) fn ledger_entries(plan: &Plan, state: &State) -> Vec<pb::LedgerEntry> {
    let entry = |entry: palinode_saga::Entry| pb::LedgerEntry {
        step: plan.steps()[entry.step].name.clone(),
        token: entry.token,
        standing: entry.standing.as_str().to_owned(),
    };
    ledger(plan, state).into_iter().map(entry).collect()
}

/// Of a saga whose plan this orchestrator has not got, or whose row cannot be read: its name.
pub(crate) fn nameless(id: SagaId, why: &str) -> pb::Saga {
    pb::Saga {
        saga_id: id.to_string(),
        stuck: why.to_owned(),
        ..pb::Saga::default()
    }
}

fn held_words(row: &SagaRow) -> String {
    let Some(hold) = row.head.state.hold else {
        return String::new();
    };
    let breaker = || match (&row.head.held_by, &row.breaker) {
        (Some(name), Some(words)) => format!("the breaker {name}, {words}"),
        (Some(name), None) => format!("the breaker {name}"),
        (None, _) => "the breaker of a participant".to_owned(),
    };
    let by = match (hold.operator, hold.breaker) {
        (true, false) => "an operator".to_owned(),
        (false, _) => breaker(),
        (true, true) => format!("an operator, and {}", breaker()),
    };
    format!("held since {} by {by}", hold.since)
}

/// What keeps a command from being heard; `None` when it is out.
fn unsent_words(row: &SagaRow, participant: &str, step: &str) -> Option<String> {
    if let Some(error) = &row.parked {
        return Some(format!(
            "{participant} cannot be asked for {step}: its command is parked: {error}"
        ));
    }
    let age = row.unpublished?;
    let secs = age.num_milliseconds().max(0) / 100;
    Some(format!(
        "{participant} has not been asked for {step} yet: its command is not published ({}.{} s)",
        secs / 10,
        secs % 10
    ))
}

fn closed_word(state: &State) -> &'static str {
    match state.closed {
        None => "",
        Some(Disposition::ResidueAccepted) => "residue-accepted",
        Some(Disposition::Abandoned) => "abandoned",
    }
}

fn cause_words(state: &State) -> String {
    match (&state.cause, state.status) {
        (Some(cause), _) => cause.detail(),
        (None, Status::NeedsAttention(Need::Forward)) => "a step does not happen".to_owned(),
        (None, Status::NeedsAttention(Need::Undecided)) => {
            "it is not known whether the pivot happened".to_owned()
        }
        (None, _) => String::new(),
    }
}

/// A sentence: what the saga waits for.
pub(crate) fn waits_words(plan: &Plan, row: &SagaRow) -> String {
    use palinode_saga::WaitsFor;
    let state = &row.head.state;
    let Some(waits) = state.waits().filter(|_| state.closed.is_none()) else {
        return String::new();
    };
    if waits.what == WaitsFor::Hold {
        return held_words(row);
    }
    let Some(step) = waits
        .step
        .map(|step| (&plan.steps()[step], &state.steps[step]))
    else {
        return "an operator".to_owned();
    };
    let (spec, at) = step;
    if let WaitsFor::Reply | WaitsFor::Settle = waits.what
        && let Some(words) = unsent_words(row, &spec.participant, &spec.name)
    {
        return words;
    }
    match waits.what {
        WaitsFor::Reply => format!(
            "{} has not answered {} (attempt {}); asks again at {}",
            spec.participant,
            spec.name,
            at.attempts(),
            waits.until
        ),
        WaitsFor::Backoff => {
            format!(
                "retries {} at {} (attempt {})",
                spec.name,
                waits.until,
                at.attempts() + 1
            )
        }
        WaitsFor::Settle => format!(
            "rolls back; waits for the attempt of {} that is in flight, until {}",
            spec.name, waits.until
        ),
        WaitsFor::Hold => held_words(row),
        WaitsFor::Operator => format!("{} is stuck: {}", spec.name, at.reason()),
    }
}
