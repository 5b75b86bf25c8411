//! History rows: what is stored of a transition, and what is told of it.

use palinode_pb::saga::v1 as pb;
use palinode_saga::{Answer, Direction, Effect, Input, Plan, State, Status};
use palinode_values::BulkId;
use serde::{Deserialize, Serialize};

use crate::store::read::StoredHistory;

const MIGRATE: i16 = 6;

/// The number of an input's kind in the history.
pub(crate) fn kind_number(input: &Input) -> i16 {
    match input {
        Input::Start => 1,
        Input::Reply { .. } => 2,
        Input::Due => 3,
        Input::Verb { .. } => 4,
        Input::Breaker { .. } => 5,
        Input::Migrate { .. } => MIGRATE,
    }
}

fn kind_word(number: i16) -> &'static str {
    match number {
        1 => "start",
        2 => "reply",
        3 => "due",
        4 => "verb",
        5 => "breaker",
        MIGRATE => "migrate",
        _ => "unknown",
    }
}

/// A history row's body, as it is read.
#[derive(Deserialize)]
struct History {
    input: Input,
    status: Status,
    effects: Vec<String>,
    #[serde(default)]
    by: Option<By>,
}

/// The same, as it is written.
#[derive(Serialize)]
struct Writing<'h> {
    input: &'h Input,
    status: Status,
    effects: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'h By>,
}

/// Who acted, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct By {
    pub(crate) principal: String,
    pub(crate) reason: String,
    /// The bulk that it was done in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bulk: Option<BulkId>,
}

pub(crate) fn history_body(
    plan: &Plan,
    input: &Input,
    state: &State,
    effects: &[Effect],
    by: Option<&By>,
) -> Vec<u8> {
    let effects = effects
        .iter()
        .map(|effect| effect_words(plan, effect))
        .collect();
    let body = Writing {
        input,
        status: state.status,
        effects,
        by,
    };
    serde_json::to_vec(&body).expect("names and numbers only")
}

pub(crate) fn effect_words(plan: &Plan, effect: &Effect) -> String {
    match effect {
        Effect::Send(command) => {
            let step = &plan.steps()[command.step].name;
            let verb = match (command.direction, command.probe) {
                (Direction::Forward, false) => "send",
                (Direction::Forward, true) => "probe",
                (Direction::Backward, false) => "undo",
                (Direction::Backward, true) => "probe the undo of",
            };
            format!("{verb} {step} #{}", command.attempt)
        }
        Effect::Emit(ended) => format!("end {}", crate::store::saga::state_word(ended.status)),
    }
}

/// The versions that a saga has moved from and to, if this is such a row.
pub(crate) fn migration(kind: i16, body: &[u8]) -> Result<Option<(u32, u32)>, serde_json::Error> {
    if kind != MIGRATE {
        return Ok(None);
    }
    let body: History = serde_json::from_slice(body)?;
    Ok(match body.input {
        Input::Migrate { from, to } => Some((from, to)),
        Input::Start
        | Input::Reply { .. }
        | Input::Due
        | Input::Verb { .. }
        | Input::Breaker { .. } => None,
    })
}

/// A history row in the words of the contract; `plan` is the one that the saga had then.
pub(crate) fn history_entry(
    plan: &Plan,
    row: &StoredHistory,
) -> Result<pb::HistoryEntry, serde_json::Error> {
    let body: History = serde_json::from_slice(&row.body)?;
    let (step, input) = match &body.input {
        Input::Start => (String::new(), "started".to_owned()),
        Input::Due => (String::new(), "a timer was due".to_owned()),
        Input::Breaker { open: true } => (String::new(), "a breaker has opened".to_owned()),
        Input::Migrate { from, to } => {
            let words = format!("moved from version {from} of its plan to version {to}");
            (String::new(), words)
        }
        Input::Breaker { open: false } => (String::new(), "a breaker has closed".to_owned()),
        Input::Verb { verb } => super::verb_words(plan, verb),
        Input::Reply {
            step,
            direction,
            attempt,
            answer,
        } => {
            let name = plan
                .steps()
                .get(*step)
                .map(|s| s.name.clone())
                .unwrap_or_default();
            let what = match direction {
                Direction::Forward => "action",
                Direction::Backward => "compensation",
            };
            (
                name,
                format!(
                    "{} (to the {what}, attempt {attempt})",
                    answer_words(answer)
                ),
            )
        }
    };
    let by = body.by;
    Ok(pb::HistoryEntry {
        version: row.version,
        at: Some(super::timestamp(row.at)),
        kind: kind_word(row.kind).to_owned(),
        step,
        input,
        state: crate::store::saga::state_word(body.status).to_owned(),
        effects: body.effects,
        principal: by
            .as_ref()
            .map(|by| by.principal.clone())
            .unwrap_or_default(),
        bulk_id: by
            .as_ref()
            .and_then(|by| by.bulk)
            .map(|id| id.to_string())
            .unwrap_or_default(),
        reason: by.map(|by| by.reason).unwrap_or_default(),
    })
}

fn answer_words(answer: &Answer) -> String {
    match answer {
        Answer::Done => "done".to_owned(),
        Answer::Failed { reason, detail } if detail.is_empty() => format!("failed: {reason}"),
        Answer::Failed { reason, detail } => format!("failed: {reason}: {detail}"),
        Answer::Pending { until } => format!("pending until {until}"),
        Answer::Transient => "not yet, ask again".to_owned(),
        Answer::Refused { refusal } => format!("refused: {refusal:?}").to_lowercase(),
        Answer::Undone => "undone".to_owned(),
        Answer::UndoneEmpty => "nothing to undo".to_owned(),
        Answer::CannotUndo { reason } => format!("cannot be undone: {reason}"),
        Answer::NotDone => "not done, and never will be".to_owned(),
    }
}
