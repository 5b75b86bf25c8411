use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use palinode_db::Db;
use palinode_explore::{Action, Mood, Move, Script, Snapshot};
use palinode_messaging::{BatchHandler, Received, Record, SagaHeaders, Topic};
use palinode_orchestrator::{DescriptorSchema, Stepper};
use palinode_outbox::Doorbell;
use palinode_participant::{Outcome, Participant, Settled, Settlement, opened, settle};
use palinode_pb::saga::v1::step_reply::{Answer, Pending, Transient};
use palinode_pb::saga::v1::{ActOnSagaRequest, StartSaga, StepReply};
use palinode_saga::{DbTime, Direction, Plan, Status, ledger};
use palinode_telemetry::{TraceContext, Tracer};
use palinode_values::{Clock, EventId, SagaId, Timestamp};
use prost::{Message, Name};

use super::stage::{Actor, SERVICE, UnderWay, connect, drain, refused, take, wish, words};
use super::{Databases, Difference, PREFIX};

/// Plays a plan's scripts.
pub struct Replay {
    stepper: Stepper,
    sagas: Db,
    participants: Db,
    participant: Participant<Actor>,
    mood: Arc<Mutex<Mood>>,
    plan: Plan,
    clock: Clock,
}

impl Replay {
    /// Of the scripts of a plan, whose budgets are those that the scripts were made with.
    ///
    /// # Errors
    /// The databases cannot be used; the plan does not fit the contracts.
    pub async fn new(databases: &Databases, plan: &Plan) -> anyhow::Result<Self> {
        let plan = plan.resolve(&DescriptorSchema::default())?;
        let sagas = connect(&databases.saga, "orchestrator").await?;
        let participants = connect(&databases.participant, SERVICE).await?;
        let mood = Arc::new(Mutex::new(Mood::Well));
        let handler = Arc::new(Actor {
            mood: Arc::clone(&mood),
        });
        let (clock, bell) = (Clock::system(), Doorbell::new());
        let participant = Participant::new(
            SERVICE,
            participants.clone(),
            handler,
            bell,
            Tracer::disabled(),
            clock.clone(),
        );
        Ok(Self {
            stepper: Stepper::new(sagas.clone(), vec![plan.clone()]).await?,
            sagas,
            participants,
            participant,
            mood,
            plan,
            clock,
        })
    }

    /// Plays a script on a saga of its own; the first difference, if there is one.
    ///
    /// # Errors
    /// The databases fail, or the script cannot be played.
    pub async fn play(&mut self, script: &Script) -> anyhow::Result<Option<Difference>> {
        let saga = SagaId::new(&self.clock);
        self.set_clock(script.begins).await?;
        let mut wire = vec![UnderWay::ToOrchestrator(self.open(saga).await?)];
        for (position, one) in script.moves.iter().enumerate() {
            let found = match self.make(saga, one, &mut wire).await {
                Ok(()) => self.compare(saga, &one.after, wire.len()).await?,
                Err(error) => Some(format!("{error:#}")),
            };
            if let Some(words) = found {
                let events: Vec<&str> = script.events.split('.').take(position + 1).collect();
                return Ok(Some(Difference {
                    scenario: script.scenario.clone(),
                    events: events.join("."),
                    at: one.words.clone(),
                    words,
                }));
            }
        }
        Ok(None)
    }

    /// What the starter's transaction writes, and the request that it sends.
    async fn open(&mut self, saga: SagaId) -> anyhow::Result<Received> {
        let mut tx = self.participants.begin().await?;
        let steps = self.plan.steps().iter();
        for step in steps.filter(|step| step.action.is_none()) {
            opened(&mut tx, &[saga], &step.name).await?;
        }
        tx.commit().await?;
        let start = StartSaga {
            saga_id: saga.to_string(),
            plan: self.plan.name().to_owned(),
            business_key: saga.to_string(),
            input: Some(prost_types::Any {
                type_url: format!("type.googleapis.com/{}", self.plan.input()),
                value: Vec::new(),
            }),
        };
        let body = start.encode_to_vec().into();
        let topic = Topic::ORCHESTRATOR_COMMANDS;
        Ok(self.received(saga, topic, StartSaga::full_name(), body, None))
    }

    fn received(
        &self,
        saga: SagaId,
        topic: Topic,
        kind: String,
        body: Bytes,
        headers: Option<SagaHeaders>,
    ) -> Received {
        let record = Record {
            topic,
            key: saga.key(),
            event_id: EventId::new(&self.clock),
            kind: kind.into(),
            body,
            trace: TraceContext::root(),
            saga: headers,
        };
        let mut headers = record.fixed_headers(SERVICE);
        headers.push("ce_id", record.event_id.to_string());
        headers.push("traceparent", record.trace.traceparent());
        Received {
            topic: topic.name(PREFIX).into(),
            partition: 0,
            offset: 0,
            key: record.key.into(),
            body: record.body,
            headers,
        }
    }

    async fn make(
        &mut self,
        saga: SagaId,
        one: &Move,
        wire: &mut Vec<UnderWay>,
    ) -> anyhow::Result<()> {
        for action in &one.actions {
            match action {
                Action::Now(at) => {
                    self.set_clock(*at).await?;
                }
                Action::Lose(at) => drop(take(wire, *at)?),
                Action::Copy(at) => {
                    let copy = wire.get(*at).context("no such message")?.clone();
                    wire.insert(*at, copy);
                }
                Action::PutOff(at) => {
                    let UnderWay::ToParticipant(command) = take(wire, *at)? else {
                        bail!("only a command can be put off");
                    };
                    let answer = Answer::Transient(Transient::default());
                    wire.push(UnderWay::ToOrchestrator(self.answer(&command, answer)?));
                }
                Action::Arrive { at, stays, mood } => {
                    let message = wire.get(*at).context("no such message")?.clone();
                    if !stays {
                        take(wire, *at)?;
                    }
                    self.arrive(message, *mood, wire).await?;
                }
                Action::Settle(at) => {
                    let UnderWay::Call { step } = take(wire, *at)? else {
                        bail!("only a call can be settled");
                    };
                    self.settle(saga, &step).await?;
                    wire.extend(self.said().await?);
                }
                Action::Fire => {
                    self.stepper.fire().await?;
                    wire.extend(self.sent().await?);
                }
                Action::Act(verb) => {
                    let request = ActOnSagaRequest {
                        saga_id: saga.to_string(),
                        verb: Some(wish(verb)?),
                        reason: "as the script says".to_owned(),
                        ..ActOnSagaRequest::default()
                    };
                    // what is refused changes nothing, here as there
                    self.stepper.act(request, "script".parse()?).await.ok();
                    wire.extend(self.sent().await?);
                }
            }
        }
        Ok(())
    }

    async fn arrive(
        &mut self,
        message: UnderWay,
        mood: Mood,
        wire: &mut Vec<UnderWay>,
    ) -> anyhow::Result<()> {
        match message {
            UnderWay::ToOrchestrator(record) => {
                self.stepper.handle(&[record]).await.map_err(refused)?;
                wire.extend(self.sent().await?);
            }
            UnderWay::ToParticipant(record) => {
                *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
                let headers = SagaHeaders::read(&record.headers)?;
                if headers.probe && mood == Mood::Calls {
                    let now = self.now().await?;
                    let until = now + Duration::from_secs(2);
                    let until = prost_types::Timestamp {
                        seconds: until.timestamp(),
                        nanos: i32::try_from(until.timestamp_subsec_nanos())?,
                    };
                    let answer = Answer::Pending(Pending { until: Some(until) });
                    wire.push(UnderWay::ToOrchestrator(self.answer(&record, answer)?));
                }
                let batch = std::slice::from_ref(&record);
                self.participant.handle(batch).await.map_err(refused)?;
                let calls = matches!(mood, Mood::Calls | Mood::CallsTwice) && !headers.probe;
                if calls {
                    wire.push(UnderWay::Call {
                        step: headers.step.clone(),
                    });
                }
                let mut said = self.said().await?;
                if mood == Mood::ErrsAfter {
                    let answer = Answer::Transient(Transient::default());
                    said = vec![UnderWay::ToOrchestrator(self.answer(&record, answer)?)];
                }
                wire.extend(said);
            }
            UnderWay::Call { .. } => bail!("a call is settled, it does not arrive"),
        }
        Ok(())
    }

    /// An answer that no participant has written.
    fn answer(&self, command: &Received, answer: Answer) -> anyhow::Result<Received> {
        let headers = SagaHeaders::read(&command.headers)?;
        let reply = StepReply {
            answer: Some(answer),
        };
        let body = reply.encode_to_vec().into();
        let (saga, topic) = (headers.saga_id, Topic::ORCHESTRATOR_REPLIES);
        Ok(self.received(saga, topic, StepReply::full_name(), body, Some(headers)))
    }

    /// The external system has answered, and the participant writes what came of it.
    async fn settle(&mut self, saga: SagaId, step: &str) -> anyhow::Result<()> {
        let settlement = |direction, outcome| Settlement {
            saga_id: saga,
            step: step.to_owned(),
            direction,
            outcome,
            events: Vec::new(),
        };
        let acted = settlement(Direction::Forward, Outcome::Done { output: None });
        let undone = settlement(Direction::Backward, Outcome::Undone);
        let mut tx = self.participants.begin().await?;
        let settled;
        (tx, settled) = settle(tx, SERVICE, &self.clock, &[acted]).await?;
        if !matches!(settled[..], [Settled::Replied]) {
            (tx, _) = settle(tx, SERVICE, &self.clock, &[undone]).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// What the orchestrator sent to participants.
    async fn sent(&self) -> anyhow::Result<Vec<UnderWay>> {
        let events = Topic::ORCHESTRATOR_EVENTS.name(PREFIX);
        let mut records = drain(&self.sagas).await?;
        records.retain(|record| *record.topic != *events);
        Ok(records.into_iter().map(UnderWay::ToParticipant).collect())
    }

    /// What participants answered.
    async fn said(&self) -> anyhow::Result<Vec<UnderWay>> {
        let records = drain(&self.participants).await?;
        Ok(records.into_iter().map(UnderWay::ToOrchestrator).collect())
    }

    #[expect(clippy::disallowed_methods, reason = "a table that no service knows")]
    async fn set_clock(&self, at: DbTime) -> anyhow::Result<()> {
        for db in [&self.sagas, &self.participants] {
            let set = sqlx::query("UPDATE script.clock SET at = $1").bind(at.timestamp());
            set.execute(db.pool()).await?;
        }
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "a table that no service knows")]
    async fn now(&self) -> anyhow::Result<Timestamp> {
        let now = sqlx::query_scalar("SELECT at FROM script.clock");
        Ok(now.fetch_one(self.sagas.pool()).await?)
    }

    /// What is otherwise than the script has it.
    async fn compare(
        &self,
        saga: SagaId,
        expected: &Snapshot,
        under_way: usize,
    ) -> anyhow::Result<Option<String>> {
        let stored = self.stepper.state(saga).await?;
        match &stored {
            None if expected.state.status == Status::New => {}
            None => return Ok(Some("the saga does not exist".to_owned())),
            Some((state, _)) if *state != expected.state => {
                let (expected, found) = (&expected.state, state);
                return Ok(Some(format!(
                    "state\n  {found:?}\ninstead of\n  {expected:?}"
                )));
            }
            Some((_, version)) if *version != i64::from(expected.version) => {
                let expected = expected.version;
                return Ok(Some(format!("version {version} instead of {expected}")));
            }
            Some(_) => {}
        }
        if under_way != expected.under_way {
            let expected = expected.under_way;
            return Ok(Some(format!("{under_way} messages instead of {expected}")));
        }
        let rows = self.guard_rows(saga).await?;
        for (step, row) in self.plan.steps().iter().zip(&expected.rows) {
            let none = ("none".to_owned(), "none".to_owned());
            let found = rows.get(&step.name).cloned().unwrap_or(none);
            let expected = words(*row);
            if (found.0.as_str(), found.1.as_str()) != expected {
                let name = &step.name;
                return Ok(Some(format!(
                    "guard of {name} {found:?} instead of {expected:?}"
                )));
            }
        }
        if stored.is_some() {
            return self.compare_shown(saga, expected).await;
        }
        Ok(None)
    }

    /// The history has a row for each transition, and the ledger that is shown is the kernel's.
    #[expect(
        clippy::disallowed_methods,
        reason = "read as the lab reads tables of services"
    )]
    async fn compare_shown(
        &self,
        saga: SagaId,
        expected: &Snapshot,
    ) -> anyhow::Result<Option<String>> {
        let history: Vec<i64> =
            sqlx::query_scalar("SELECT version FROM saga_history WHERE saga_id = $1 ORDER BY 1")
                .bind(saga.0)
                .fetch_all(self.sagas.pool())
                .await?;
        let versions: Vec<i64> = (1..=i64::from(expected.version)).collect();
        if history != versions {
            return Ok(Some(format!("history {history:?} instead of {versions:?}")));
        }
        let shown = self
            .stepper
            .saga(saga)
            .await
            .context("the saga cannot be shown")?;
        let shown: Vec<(String, String)> = shown
            .ledger
            .into_iter()
            .map(|entry| (entry.step, entry.standing))
            .collect();
        let entries = ledger(&self.plan, &expected.state).into_iter();
        let expected: Vec<(String, String)> = entries
            .map(|entry| {
                let step = &self.plan.steps()[entry.step].name;
                (step.clone(), entry.standing.as_str().to_owned())
            })
            .collect();
        Ok((shown != expected).then(|| format!("ledger {shown:?} instead of {expected:?}")))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "read as the lab reads tables of services"
    )]
    async fn guard_rows(&self, saga: SagaId) -> anyhow::Result<BTreeMap<String, (String, String)>> {
        let rows: Vec<(String, String, String)> =
            sqlx::query_as("SELECT step, act, comp FROM saga_guard WHERE saga_id = $1")
                .bind(saga.0)
                .fetch_all(self.participants.pool())
                .await?;
        Ok(rows
            .into_iter()
            .map(|(step, act, comp)| (step, (act, comp)))
            .collect())
    }
}
