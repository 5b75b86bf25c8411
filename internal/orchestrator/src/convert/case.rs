//! Cases and breakers, in words.

use palinode_pb::saga::v1 as pb;
use palinode_saga::DbTime;

use super::{accepts, cause_words, state_of_word, timestamp, waits_words};
use crate::runner::registry::StoredPlan;
use crate::store::breaker::BreakerRow;
use crate::store::read::CaseRow;

/// A case in the words of the contract; `plan` is the saga's, if it is known here.
pub(crate) fn case(row: &CaseRow, plan: Option<&StoredPlan>, now: DbTime) -> pb::Case {
    let (class, sentence, helps) = match (&row.saga, plan) {
        (Err(_), _) => {
            let sentence = "its row cannot be read: a newer release may have written it";
            ("unreadable", sentence.to_owned(), Vec::new())
        }
        (Ok(_), None) => {
            let sentence = "this orchestrator has not got its plan: run the release that has it";
            ("plan_missing", sentence.to_owned(), Vec::new())
        }
        (Ok(saga), Some(plan)) => {
            let waits = waits_words(&plan.plan, saga);
            let verbs = accepts(&plan.plan, &saga.head.state, now);
            let cause = cause_words(&saga.head.state);
            let class = row.class.as_str();
            (class, sentence(row, &waits, &cause), helps(class, &verbs))
        }
    };
    pb::Case {
        saga_id: row.id.to_string(),
        class: class.to_owned(),
        sentence,
        since: row.since.map(timestamp),
        helps: helps.into_iter().map(str::to_owned).collect(),
        plan: row.plan_name.clone(),
        business_key: row.business_key.clone(),
        state: state_of_word(&row.state).into(),
    }
}

fn sentence(row: &CaseRow, waits: &str, cause: &str) -> String {
    let since = row.since.map(|at| at.format("%Y-%m-%d %H:%M:%S UTC"));
    let since = since.map(|at| at.to_string()).unwrap_or_default();
    match row.class.as_str() {
        "needs_attention" if cause.is_empty() => waits.to_owned(),
        "needs_attention" => format!("{cause}; {waits}"),
        "message_parked" => waits.to_owned(),
        "no_wake_up" => "nothing will ever wake it: this is a bug, `retry` may help".to_owned(),
        "timer_not_fired" => {
            "its timer was due and has not fired: is an orchestrator running?".to_owned()
        }
        "late" => format!("what was due has not happened: {waits}"),
        "no_progress" => format!("no step has settled since {since}: {waits}"),
        "attention" => format!("tried since {since}, and may not fail: {waits}"),
        "overdue" => format!("it should have ended by {since}: {waits}"),
        "expiring" => {
            format!("it started at {since}; participants will soon refuse it as too old: {waits}")
        }
        "contradiction" => format!(
            "a participant has contradicted what is settled, first at {since}: compare the two, \
             then acknowledge it"
        ),
        _ => waits.to_owned(),
    }
}

/// Those of the accepted verbs that may put an end to the case.
fn helps(class: &str, accepted: &[&'static str]) -> Vec<&'static str> {
    let wanted: &[&str] = match class {
        "needs_attention" => &[
            "retry",
            "resolve",
            "accept-residue",
            "skip",
            "cancel",
            "force-compensate",
            "abandon",
        ],
        "no_wake_up" | "late" | "no_progress" | "attention" | "overdue" | "expiring" => {
            &["retry", "resolve", "skip", "cancel", "force-compensate"]
        }
        "contradiction" => return vec!["acknowledge"],
        _ => &[],
    };
    let helps = accepted.iter().filter(|verb| wanted.contains(verb));
    helps.copied().collect()
}

/// A breaker in the words of the contract.
pub(crate) fn breaker(row: &BreakerRow, held: i64) -> pb::Breaker {
    pb::Breaker {
        participant: row.breaker.participant.clone(),
        direction: row.breaker.direction.as_str().to_owned(),
        open: row.is_open,
        since: Some(timestamp(row.since)),
        reason: row.why.clone(),
        principal: row.principal.clone().unwrap_or_default(),
        next_trial_at: row.trial_at.map(timestamp),
        held,
    }
}
