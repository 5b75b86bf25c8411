//! What a replay plays on: time of its own, messages in its hands, a participant that does as told.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use palinode_db::{Db, Options, Tx};
use palinode_explore::Mood;
use palinode_messaging::{Failure, Headers, Received, Topic};
use palinode_participant::{Decided, Handler, Outcome, Task, Undecodable};
use palinode_pb::saga::v1::act_on_saga_request as wanted;
use palinode_saga::guard::{Act, Comp, Row};
use palinode_saga::{Direction, Verb, guard};
use palinode_values::Timestamp;
use sqlx::Executor;

use super::PREFIX;

/// The name under which all participants of a replay work.
pub(super) const SERVICE: &str = "order";

/// Time of the databases, as the script has it.
const CLOCK: &str = "
CREATE SCHEMA script;
CREATE TABLE script.clock (at timestamptz NOT NULL);
INSERT INTO script.clock VALUES ('epoch');
CREATE FUNCTION script.now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT at FROM script.clock';
DO $$ BEGIN
  EXECUTE format('ALTER DATABASE %I SET search_path = script, pg_catalog, public', current_database());
END $$;";

/// Something under way.
#[derive(Debug, Clone)]
pub(super) enum UnderWay {
    ToOrchestrator(Received),
    ToParticipant(Received),
    Call { step: String },
}

/// Does what the script's mood says, whatever is asked.
pub(super) struct Actor {
    pub(super) mood: Arc<Mutex<Mood>>,
}

impl Handler for Actor {
    type Command = ();

    fn decode(&self, _kind: &str, _body: &Bytes) -> Result<(), Undecodable> {
        Ok(())
    }

    async fn handle(
        &self,
        tx: Tx,
        tasks: &[Task<'_, ()>],
        now: Timestamp,
    ) -> Result<(Tx, Vec<Decided>), palinode_db::Error> {
        let mood = *self.mood.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = |task: &Task<'_, ()>| match (mood, task.direction) {
            (Mood::Calls | Mood::CallsTwice | Mood::Forgets, _) => Outcome::Pending {
                until: now + Duration::from_secs(2),
                how: guard::Pending::Called,
            },
            (Mood::NotYet, _) => Outcome::Transient {
                detail: String::new(),
            },
            (Mood::Fails, Direction::Forward) => Outcome::Failed {
                reason: "REFUSED".to_owned(),
                detail: String::new(),
            },
            (Mood::Fails, Direction::Backward) => Outcome::CannotUndo {
                reason: "CLOSED".to_owned(),
                detail: String::new(),
            },
            (Mood::Well | Mood::ErrsAfter, Direction::Forward) => Outcome::Done { output: None },
            (Mood::Well | Mood::ErrsAfter, Direction::Backward) => Outcome::Undone,
        };
        let decided = tasks.iter().map(|task| Decided::quietly(outcome(task)));
        let decided = decided.collect();
        Ok((tx, decided))
    }
}

pub(super) fn words(row: Row) -> (&'static str, &'static str) {
    let act = match row.act {
        Act::None => "none",
        Act::Pending(_) => "pending",
        Act::Done => "done",
        Act::Failed => "failed",
        Act::Closed => "closed",
    };
    let comp = match row.comp {
        Comp::None => "none",
        Comp::Pending => "pending",
        Comp::Done => "done",
        Comp::Closed => "closed",
    };
    (act, comp)
}

pub(super) fn wish(verb: &Verb) -> anyhow::Result<wanted::Verb> {
    use palinode_pb::saga::v1 as pb;
    Ok(match verb {
        Verb::Pause => wanted::Verb::Pause(pb::Pause {}),
        Verb::Resume => wanted::Verb::Resume(pb::Resume {}),
        Verb::Cancel => wanted::Verb::Cancel(pb::Cancel {}),
        Verb::ForceCompensate => wanted::Verb::ForceCompensate(pb::ForceCompensate {}),
        other => bail!("no script has the verb {}", other.word()),
    })
}

pub(super) fn take(wire: &mut Vec<UnderWay>, at: usize) -> anyhow::Result<UnderWay> {
    ensure!(
        at < wire.len(),
        "no message at {at}: {} are under way",
        wire.len()
    );
    Ok(wire.remove(at))
}

pub(super) fn refused(failure: Failure) -> anyhow::Error {
    anyhow::anyhow!("the batch was not taken: {failure:?}")
}

#[expect(
    clippy::disallowed_methods,
    reason = "several statements, and none about data"
)]
pub(super) async fn connect(url: &str, service: &str) -> anyhow::Result<Db> {
    let options = Options {
        url: url.to_owned(),
        service: service.to_owned(),
        connections_max: 4,
    };
    let db = Db::connect(&options).await?;
    db.pool().execute(sqlx::raw_sql(CLOCK)).await?;
    db.pool().close().await;
    // sessions from now on find the script's time first
    Ok(Db::connect(&options).await?)
}

/// Empties an outbox, in its order.
#[expect(
    clippy::disallowed_methods,
    reason = "read as the lab reads tables of services"
)]
pub(super) async fn drain(db: &Db) -> anyhow::Result<Vec<Received>> {
    type Row = (i16, uuid::Uuid, Vec<u8>, Vec<u8>, Vec<u8>, Option<String>);
    let rows: Vec<Row> = sqlx::query_as(
        "WITH gone AS (DELETE FROM outbox
                       RETURNING id, topic, event_id, key, payload, headers, traceparent)
         SELECT topic, event_id, key, payload, headers, traceparent FROM gone ORDER BY id",
    )
    .fetch_all(db.pool())
    .await?;
    let records = rows
        .into_iter()
        .map(|(topic, event, key, payload, headers, trace)| {
            let topic = Topic::from_number(topic).context("an unknown topic")?;
            let mut headers = Headers::decode(Bytes::from(headers))?;
            headers.push("ce_id", event.to_string());
            headers.push("traceparent", trace.unwrap_or_default());
            Ok(Received {
                topic: topic.name(PREFIX).into(),
                partition: 0,
                offset: 0,
                key: key.into(),
                body: payload.into(),
                headers,
            })
        });
    records.collect()
}
