//! `palinode saga cases` and `palinode saga breakers`.

use std::io::Write;

use anyhow::ensure;
use serde_json::{Value as Json, json};

use super::{Format, checked, table, text, words_of};
use crate::gateway::Gateway;

/// What is asked, or done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// What somebody should look at.
    Cases {
        /// Only of this class.
        class: Option<String>,
        /// 1 to 200.
        limit: u32,
    },
    /// Somebody has looked at what contradicts in a saga.
    Acknowledge {
        /// Its id.
        saga: String,
    },
    /// The breakers that are open, or were.
    Breakers,
    /// Open or close the breakers before a participant.
    Set {
        /// Before whom.
        participant: String,
        /// A `SetBreakerRequest` as JSON, without the participant.
        request: Json,
    },
}

/// Asks the gateway and writes its answer.
///
/// # Errors
/// The gateway does not answer, or refuses.
pub async fn answer(
    gateway: &Gateway,
    question: &Question,
    format: Format,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let answer = match question {
        Question::Cases { class, limit } => {
            let class = class.as_deref().unwrap_or_default();
            ensure!(is_word(class), "a class is a word such as needs_attention");
            gateway
                .get(&format!("/v1/cases?pageSize={limit}&class={class}"))
                .await?
        }
        Question::Acknowledge { saga } => {
            let path = format!("/v1/sagas/{}:acknowledge", checked(saga)?);
            gateway.post(&path, &json!({}), None).await?
        }
        Question::Breakers => gateway.get("/v1/breakers").await?,
        Question::Set {
            participant,
            request,
        } => {
            ensure!(
                is_word(participant),
                "a participant is a word such as payment"
            );
            let path = format!("/v1/breakers/{participant}:set");
            gateway.post(&path, request, None).await?
        }
    };
    let body = answer.success()?;
    match (format, question) {
        (Format::Json, _) => writeln!(out, "{body:#}")?,
        (Format::Table, Question::Cases { .. }) => cases(&body, out)?,
        (Format::Table, Question::Acknowledge { .. }) => {
            let count = text(&body, "count");
            writeln!(out, "contradictions that are no case any more: {count}")?;
        }
        (Format::Table, Question::Breakers | Question::Set { .. }) => breakers(&body, out)?,
    }
    Ok(())
}

/// It goes into a path: nothing else may stand there.
fn is_word(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
}

fn cases(body: &Json, out: &mut impl Write) -> anyhow::Result<()> {
    let list = body["cases"].as_array().into_iter().flatten();
    let rows = list.map(|case| {
        let helps: Vec<&str> = words_of(&case["helps"]).collect();
        let mut row = ["sagaId", "businessKey", "class", "since"]
            .map(|field| text(case, field))
            .to_vec();
        row.extend([helps.join(", "), text(case, "sentence")]);
        row
    });
    let heads = [
        "saga",
        "key",
        "class",
        "since",
        "may help",
        "what is the matter",
    ];
    table(&heads, rows.collect(), out)?;
    let counts = body["counts"].as_array().into_iter().flatten();
    let counts = counts.map(|of| format!("{} {}", text(of, "count"), text(of, "class")));
    let counts: Vec<String> = counts.collect();
    let in_all = if counts.is_empty() {
        "none".to_owned()
    } else {
        counts.join(", ")
    };
    writeln!(out, "in all: {in_all}")?;
    Ok(())
}

fn breakers(body: &Json, out: &mut impl Write) -> anyhow::Result<()> {
    let list = body["breakers"].as_array().into_iter().flatten();
    let rows = list.map(|breaker| {
        let state = if breaker["open"] == true {
            "OPEN"
        } else {
            "closed"
        };
        let by = match text(breaker, "principal") {
            nobody if nobody.is_empty() => "itself".to_owned(),
            who => who,
        };
        let cell = |field| text(breaker, field);
        vec![
            cell("participant"),
            cell("direction"),
            state.to_owned(),
            cell("since"),
            cell("held"),
            cell("nextTrialAt"),
            by,
            cell("reason"),
        ]
    });
    let heads = [
        "participant",
        "direction",
        "state",
        "since",
        "holds",
        "next trial",
        "by",
        "why",
    ];
    table(&heads, rows.collect(), out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_a_table_and_a_line_of_counts() {
        let body = json!({
            "cases": [{"sagaId": "0197", "businessKey": "o-1", "class": "overdue", "since": "12:00",
                       "helps": ["retry"], "sentence": "it is late"}],
            "counts": [{"class": "overdue", "count": "3"}],
        });
        let mut out = Vec::new();
        cases(&body, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "saga  key  class    since  may help  what is the matter\n\
             0197  o-1  overdue  12:00  retry     it is late\n\
             in all: 3 overdue\n"
        );
    }
}
