use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use palinode_db::{Error, Tx};
use palinode_messaging::{Record, SagaHeaders, Topic, commands_of};
use palinode_outbox::{Held, append};
use palinode_pb::saga::v1::SagaEnded;
use palinode_saga::{
    Answer, Claim, Command, DbTime, Direction, Effect, Ended, Input, Note, Plan, State, StepKind,
    StepState, Transition, next,
};
use palinode_telemetry::TraceContext;
use palinode_values::{EventId, SagaId, Timestamp};
use prost::{Message, Name};

use super::breaker::{Breaker, Breakers};
use super::deed::Deed;
use super::encode::{self, INPUT, Payload, Payloads, claimed_slot, output_slot};
use super::registry::StoredPlan;
use super::spans::{Noted, Spans};
use super::{Engine, SERVICE};
use crate::convert::{self, By};
use crate::store::saga::{self as store, Head, HeadChange, HistoryRow, LateRow, WaitColumns};

/// A saga to be started.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub(crate) saga_id: SagaId,
    pub(crate) plan: Arc<StoredPlan>,
    pub(crate) business_key: String,
    pub(crate) input: Payload,
    pub(crate) trace: Option<TraceContext>,
}

/// A participant's answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) saga_id: SagaId,
    pub(crate) step: String,
    pub(crate) direction: Direction,
    pub(crate) attempt: u32,
    pub(crate) answer: Answer,
    pub(crate) output: Option<Payload>,
    pub(crate) trace: Option<TraceContext>,
}

/// Inputs of one transaction, each kind in arrival order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inputs {
    pub(crate) starts: Vec<Start>,
    pub(crate) replies: Vec<Reply>,
    /// Sagas whose timer seemed due.
    pub(crate) due: Vec<SagaId>,
    /// Sagas that somebody acts on.
    pub(crate) acted: Vec<SagaId>,
    /// Sagas that a breaker holds, and that may go on.
    pub(crate) freed: Vec<SagaId>,
    /// Those go on although this breaker is open, to find out.
    pub(crate) trial: Option<Breaker>,
}

/// A saga that cannot be interpreted is asked again after that, and harms no other.
const BROKEN_PAUSE: Duration = Duration::from_secs(60);

/// Applies the inputs in the open transaction: locks the heads, runs `next` on each, writes heads,
/// history, payloads and outbox rows. Returns what is to be told once it is committed.
///
/// # Errors
/// Those of the database; `Inconsistent` names a row that cannot be read.
pub(crate) async fn apply(
    engine: &Engine,
    mut tx: Tx,
    inputs: &Inputs,
) -> Result<(Tx, Spans), Error> {
    let now = store::now(&mut tx).await?;
    let mut batch = Batch::new(engine, now);
    batch.start(&mut tx, &inputs.starts).await?;
    batch.load(&mut tx, inputs).await?;
    for reply in &inputs.replies {
        batch.reply(reply);
    }
    for id in &inputs.due {
        batch.due(*id);
    }
    for id in &inputs.freed {
        batch.free(*id, inputs.trial.as_ref());
    }
    let written = batch.write(&mut tx).await?;
    Ok((tx, written.spans))
}

/// What a batch has written.
pub(super) struct Written {
    /// To be told once it is committed.
    pub(super) spans: Spans,
    /// Sagas that were left as they were, because their plan and the contracts do not fit.
    pub(super) left_out: Vec<SagaId>,
}

pub(super) struct Batch<'e> {
    engine: &'e Engine,
    pub(super) now: Timestamp,
    pub(super) live: BTreeMap<SagaId, Live>,
    late: Vec<LateRow>,
    /// Rows that cannot be read or whose plan is missing: asked again later.
    pub(super) unreadable: Vec<SagaId>,
    spans: Spans,
}

/// A saga in the hands of this transaction.
pub(super) struct Live {
    pub(super) head: Head,
    /// As loaded, to fall back on.
    loaded: Head,
    pinned: Arc<StoredPlan>,
    pub(super) plan: Arc<StoredPlan>,
    /// Inserted by this very transaction.
    fresh: bool,
    fired: bool,
    broken: bool,
    /// Each with the version of the saga that brought it about.
    effects: Vec<(i64, Effect)>,
    history: Vec<HistoryRow>,
    known: Payloads,
    added: Vec<(String, Payload)>,
}

impl Live {
    fn new(head: Head, plan: Arc<StoredPlan>, fresh: bool) -> Self {
        Self {
            loaded: head.clone(),
            head,
            pinned: Arc::clone(&plan),
            plan,
            fresh,
            fired: false,
            broken: false,
            effects: Vec::new(),
            history: Vec::new(),
            known: Payloads::new(),
            added: Vec::new(),
        }
    }

    /// An input that nobody is answerable for. Where it would send to a participant whose breaker
    /// is open, the saga is held first.
    fn input(&mut self, breakers: &Breakers, input: &Input, now: DbTime) -> Option<Note> {
        if self.head.state.hold.is_none()
            && let Some(breaker) = self.barring(breakers, input, now, None)
        {
            let by = breaker.by("it is open");
            self.go(&Input::Breaker { open: true }, now, Some(&by));
        }
        self.go(input, now, None)
    }

    /// What bars the input, if a breaker does.
    fn barring(
        &self,
        breakers: &Breakers,
        input: &Input,
        now: DbTime,
        trial: Option<&Breaker>,
    ) -> Option<Breaker> {
        if breakers.all_closed() {
            return None;
        }
        let would = next(&self.plan.plan, &self.head.state, input, now);
        breakers.barring(&self.plan.plan, &self.head.state, &would, trial)
    }

    /// Ends the hold of a breaker, unless one bars what would come of that.
    fn settle_hold(&mut self, breakers: &Breakers, now: DbTime, trial: Option<&Breaker>) {
        let is_held = |state: &State| state.hold.is_some_and(|hold| hold.breaker);
        if is_held(&self.head.state) {
            let release = Input::Breaker { open: false };
            match self.barring(breakers, &release, now, trial) {
                Some(by) => self.head.held_by = Some(by.to_string()),
                None => {
                    let name = self.head.held_by.as_deref().unwrap_or_default();
                    let why = trial.map_or("it is closed", |_| "to find out");
                    let by = Breaker::by_name(name, why);
                    self.go(&release, now, Some(&by));
                }
            }
        }
        if !is_held(&self.head.state) {
            self.head.held_by = None;
        }
    }

    fn go(&mut self, input: &Input, now: DbTime, by: Option<&By>) -> Option<Note> {
        let transition = next(&self.plan.plan, &self.head.state, input, now);
        let note = transition.note;
        self.take(transition, input, by);
        note
    }

    /// Takes what a deed has made of the saga; `by` is answerable for it.
    pub(super) fn act(&mut self, deed: &Deed, transition: Transition, by: &By) {
        let input = deed.input(&self.plan);
        if let Deed::Migrate(to) = deed {
            self.head.plan_id = to.id;
            self.plan = Arc::clone(to);
        }
        self.take(transition, &input, Some(by));
    }

    fn take(&mut self, transition: Transition, input: &Input, by: Option<&By>) {
        let changed = transition.state != self.head.state
            || !transition.effects.is_empty()
            || matches!(input, Input::Migrate { .. });
        self.head.state = transition.state;
        if changed {
            self.head.version += 1;
            self.history.push(HistoryRow {
                saga_id: self.head.id,
                version: self.head.version,
                kind: convert::kind_number(input),
                body: convert::history_body(
                    &self.plan.plan,
                    input,
                    &self.head.state,
                    &transition.effects,
                    by,
                ),
            });
        }
        let version = self.head.version;
        self.effects.extend(
            transition
                .effects
                .into_iter()
                .map(|effect| (version, effect)),
        );
    }

    pub(super) fn add(&mut self, slot: String, payload: Payload) {
        self.known.insert(slot.clone(), payload.clone());
        self.added.push((slot, payload));
    }

    /// What an operator said that a step would have answered is its output, once it is believed.
    fn take_word(&mut self) {
        let plan = Arc::clone(&self.plan);
        for (step, at) in plan.plan.steps().iter().zip(self.head.state.steps.clone()) {
            let (said, output) = (claimed_slot(&step.name), output_slot(&step.name));
            if at == StepState::ByHand(Claim::Done)
                && !self.known.contains_key(&output)
                && let Some(payload) = self.known.get(&said).cloned()
            {
                self.add(output, payload);
            }
        }
    }

    /// Leaves the saga as it was, to be looked at again later.
    fn leave_out(&mut self, now: Timestamp) {
        let broken = Self::new(self.loaded.clone(), Arc::clone(&self.pinned), false);
        *self = Self {
            broken: true,
            fired: true,
            ..broken
        };
        self.head.wake_at = Some(now + BROKEN_PAUSE);
    }

    fn is_changed(&self) -> bool {
        self.head.version != self.loaded.version
            || self.head.wake_at != self.loaded.wake_at
            || self.head.held_by != self.loaded.held_by
    }

    /// `wake_at` is a lower bound: lowered at once, raised only when it fires.
    fn set_wake(&mut self) {
        if self.broken {
            return;
        }
        let next = self
            .head
            .state
            .wake_at(&self.plan.plan)
            .map(DbTime::timestamp);
        self.head.wake_at = match (next, self.loaded.wake_at) {
            (Some(next), Some(stored)) if !self.fired => Some(next.min(stored)),
            (next, _) => next,
        };
    }

    fn change(&self) -> HeadChange {
        let waits = self
            .head
            .state
            .waits()
            .map_or_else(WaitColumns::default, |waits| {
                let step = waits
                    .step
                    .map(|step| self.plan.plan.steps()[step].name.clone());
                let until = (waits.until < DbTime::FAR).then(|| waits.until.timestamp());
                WaitColumns {
                    waits_for: Some(waits.what.as_str()),
                    waits_step: step,
                    wait_until: until,
                }
            });
        HeadChange {
            head: self.head.clone(),
            expected: self.loaded.version,
            waits,
            owed_since: owed_since(&self.plan.plan, &self.head.state),
            progressed: has_progressed(&self.loaded.state, &self.head.state),
        }
    }

    fn wants_payloads(&self) -> bool {
        !self.fresh
            && self
                .effects
                .iter()
                .any(|(_, effect)| matches!(effect, Effect::Send(_)))
    }
}

impl<'e> Batch<'e> {
    pub(super) fn new(engine: &'e Engine, now: Timestamp) -> Self {
        Self {
            engine,
            now,
            live: BTreeMap::new(),
            late: Vec::new(),
            unreadable: Vec::new(),
            spans: Spans::new(&engine.tracer, &engine.prefix, now),
        }
    }

    /// Inserts the heads of new sagas. Of two starts with one id, or one business key, one wins.
    async fn start(&mut self, tx: &mut Tx, starts: &[Start]) -> Result<(), Error> {
        let mut seen = HashSet::new();
        let mut fresh = Vec::new();
        for start in starts.iter().filter(|start| seen.insert(start.saga_id)) {
            let (process, anchor) = self.spans.started(start.trace.as_ref());
            let head = Head {
                id: start.saga_id,
                plan_id: start.plan.id,
                business_key: start.business_key.clone(),
                version: 0,
                state: State::new(&start.plan.plan),
                wake_at: None,
                held_by: None,
                started_at: self.now,
                trace: Some(anchor.clone()),
            };
            let now = DbTime::from(self.now);
            let breakers = &self.engine.breakers;
            let mut live = Live::new(head, Arc::clone(&start.plan), true);
            live.add(INPUT.to_owned(), start.input.clone());
            if let Some(by) = live.barring(breakers, &Input::Start, now, None) {
                // it starts held, and sends its first command when the breaker has closed
                live.head.held_by = Some(by.to_string());
                let by = by.by("it is open");
                live.go(&Input::Breaker { open: true }, now, Some(&by));
            }
            live.go(&Input::Start, now, None);
            live.set_wake();
            fresh.push((live, (process, anchor), start));
        }
        if fresh.is_empty() {
            return Ok(());
        }
        let changes: Vec<HeadChange> = fresh.iter().map(|(live, ..)| live.change()).collect();
        let names: Vec<String> = fresh
            .iter()
            .map(|(live, ..)| live.plan.plan.name().to_owned())
            .collect();
        let won: HashSet<SagaId> = store::insert(tx, &names, &changes)
            .await?
            .into_iter()
            .collect();
        let lost: Vec<SagaId> = changes
            .iter()
            .map(|c| c.head.id)
            .filter(|id| !won.contains(id))
            .collect();
        let repeated: HashSet<SagaId> = if lost.is_empty() {
            HashSet::new()
        } else {
            store::existing(tx, &lost).await?.into_iter().collect()
        };
        for (mut live, (process, anchor), start) in fresh {
            let id = live.head.id;
            if won.contains(&id) {
                live.loaded = live.head.clone(); // it stands in the table now
                let label = live.plan.plan.label();
                let (plan, start) = (label, start.clone());
                self.spans.note(Noted::Start {
                    id,
                    plan,
                    process,
                    anchor,
                    start,
                });
                self.live.insert(id, live);
            } else if !repeated.contains(&id) {
                // another saga has this business key: the starter drew a second id
                tracing::warn!(saga = %id, key = start.business_key, "start in conflict");
                self.late.push(LateRow {
                    saga_id: id,
                    note: "start-conflict",
                    body: start.business_key.clone().into_bytes(),
                });
            }
        }
        Ok(())
    }

    /// Loads and locks what the other inputs are about.
    pub(super) async fn load(&mut self, tx: &mut Tx, inputs: &Inputs) -> Result<(), Error> {
        let missing = |ids: &mut dyn Iterator<Item = SagaId>| -> Vec<SagaId> {
            let ids: HashSet<SagaId> = ids.filter(|id| !self.live.contains_key(id)).collect();
            ids.into_iter().collect()
        };
        let replies = inputs.replies.iter().map(|r| r.saga_id);
        let replied = missing(&mut replies.chain(inputs.acted.iter().copied()));
        let due = missing(&mut inputs.due.iter().copied());
        let freed = missing(&mut inputs.freed.iter().copied());
        let mut heads = Vec::new();
        if !replied.is_empty() {
            let loaded = store::lock(tx, &replied).await?;
            heads.extend(loaded.heads);
            self.unreadable.extend(loaded.unreadable);
        }
        if !due.is_empty() {
            let loaded = store::lock_due(tx, &due).await?;
            heads.extend(loaded.heads);
            self.unreadable.extend(loaded.unreadable);
        }
        if !freed.is_empty() {
            let loaded = store::lock_held(tx, &freed).await?;
            heads.extend(loaded.heads);
            self.unreadable.extend(loaded.unreadable);
        }
        for head in heads {
            match self.engine.plan(head.plan_id).await? {
                Some(plan) => {
                    self.live.insert(head.id, Live::new(head, plan, false));
                }
                None => {
                    tracing::error!(saga = %head.id, plan = head.plan_id, "plan is missing");
                    self.unreadable.push(head.id);
                }
            }
        }
        if !self.unreadable.is_empty() {
            store::postpone(tx, &self.unreadable, BROKEN_PAUSE).await?;
        }
        Ok(())
    }

    fn reply(&mut self, reply: &Reply) {
        let now = DbTime::from(self.now);
        let Some(live) = self.live.get_mut(&reply.saga_id) else {
            let unreadable = self.unreadable.contains(&reply.saga_id);
            let note = if unreadable {
                "unreadable"
            } else {
                "unknown-saga"
            };
            self.late.push(late(reply, note));
            return;
        };
        let Some(step) = live.plan.plan.position(&reply.step) else {
            self.late.push(late(reply, "contradiction"));
            return;
        };
        let input = Input::Reply {
            step,
            direction: reply.direction,
            attempt: reply.attempt,
            answer: reply.answer.clone(),
        };
        let breakers = &self.engine.breakers;
        let state = &live.head.state;
        breakers.heard(reply.saga_id, &live.plan.plan, state, &input, self.now);
        let was_done = state.steps[step] == StepState::Done;
        let note = live.input(breakers, &input, now);
        if let Some(output) = &reply.output
            && !was_done
            && live.head.state.steps[step] == StepState::Done
        {
            live.add(output_slot(&reply.step), output.clone());
        }
        if note == Some(Note::Contradiction) {
            tracing::warn!(saga = %reply.saga_id, step = reply.step, "reply contradicts");
            self.late.push(late(reply, "contradiction"));
        }
        self.spans.note(Noted::Reply {
            reply: reply.clone(),
            note,
        });
    }

    fn due(&mut self, id: SagaId) {
        let now = DbTime::from(self.now);
        if let Some(live) = self.live.get_mut(&id) {
            live.fired = true;
            let breakers = &self.engine.breakers;
            let state = &live.head.state;
            breakers.heard(id, &live.plan.plan, state, &Input::Due, self.now);
            live.input(breakers, &Input::Due, now);
        }
    }

    /// Lets a saga go on that a breaker holds.
    fn free(&mut self, id: SagaId, trial: Option<&Breaker>) {
        if let Some(live) = self.live.get_mut(&id) {
            live.settle_hold(&self.engine.breakers, DbTime::from(self.now), trial);
        }
    }

    pub(super) async fn write(mut self, tx: &mut Tx) -> Result<Written, Error> {
        for live in self.live.values_mut().filter(|live| !live.fresh) {
            live.settle_hold(&self.engine.breakers, DbTime::from(self.now), None);
        }
        let wanting: Vec<SagaId> = self
            .live
            .iter()
            .filter(|(_, l)| l.wants_payloads())
            .map(|(id, _)| *id)
            .collect();
        if !wanting.is_empty() {
            for (id, slot, payload) in store::payloads(tx, &wanting).await? {
                if let Some(live) = self.live.get_mut(&id) {
                    live.known.entry(slot).or_insert(payload);
                }
            }
        }
        let mut records = Vec::new();
        let mut left_out = Vec::new();
        for live in self.live.values_mut() {
            live.take_word();
            match outgoing(live, &self.engine.clock) {
                Ok(of_saga) => records.extend(of_saga),
                Err(error) => {
                    tracing::error!(saga = %live.head.id, %error, "saga cannot be interpreted");
                    live.leave_out(self.now);
                    left_out.push(live.head.id);
                }
            }
            live.set_wake();
        }
        self.save(tx).await?;
        let held = Held::by_swap(tx, self.live.keys().map(|id| id.key()));
        append(tx, &held, &records, SERVICE)
            .await
            .map_err(|error| match error {
                palinode_outbox::Error::Db(error) => error,
                other => Error::inconsistent("outbox", "payload", "batch", other),
            })?;
        for live in self.live.values() {
            self.spans
                .effects(&live.head, &live.plan.plan, &live.effects);
        }
        self.spans.created(&records);
        Ok(Written {
            spans: self.spans,
            left_out,
        })
    }

    async fn save(&mut self, tx: &mut Tx) -> Result<(), Error> {
        let changed: Vec<HeadChange> = self
            .live
            .values()
            .filter(|live| live.is_changed())
            .map(Live::change)
            .collect();
        if !changed.is_empty() {
            let won = store::save(tx, &changed).await?;
            // the rows are locked since they were loaded: nobody can have moved them
            assert_eq!(
                won.len(),
                changed.len(),
                "a locked saga changed under our hands"
            );
        }
        let mut payloads = Vec::new();
        let mut history = Vec::new();
        for live in self.live.values_mut() {
            let id = live.head.id;
            payloads.extend(
                live.added
                    .drain(..)
                    .map(|(slot, payload)| (id, slot, payload)),
            );
            history.append(&mut live.history);
        }
        if !history.is_empty() {
            store::insert_history(tx, self.now, &history).await?;
        }
        if !payloads.is_empty() {
            store::insert_payloads(tx, &payloads).await?;
        }
        if !self.late.is_empty() {
            store::insert_late(tx, &self.late).await?;
        }
        Ok(())
    }
}

/// Whether a step was settled between the two, or the saga's state changed. Retries are none.
fn has_progressed(before: &State, after: &State) -> bool {
    let settled = |state: &State| -> Vec<&'static str> {
        let steps = state.steps.iter();
        steps
            .map(|step| step.until().map_or(step.word(), |_under_way| ""))
            .collect()
    };
    before.status != after.status || settled(before) != settled(after)
}

/// Since when the oldest step under way is tried that may not fail.
fn owed_since(plan: &Plan, state: &State) -> Option<Timestamp> {
    let since = plan.steps().iter().zip(&state.steps);
    let since = since.filter_map(|(step, at)| match at {
        StepState::Undoing(undo) | StepState::UndoBackoff(undo) => Some(undo.since),
        StepState::Sent(attempt) | StepState::Backoff(attempt)
            if step.kind == StepKind::Retriable =>
        {
            Some(attempt.since)
        }
        StepState::Probing(attempt) | StepState::ProbeBackoff(attempt) => Some(attempt.since),
        StepState::Resolving(resolve) => Some(resolve.since),
        StepState::Sent(_)
        | StepState::Backoff(_)
        | StepState::Idle
        | StepState::Unknown { .. }
        | StepState::Done
        | StepState::Failed { .. }
        | StepState::NotDone
        | StepState::Undone
        | StepState::UndoneEmpty
        | StepState::ByHand(_)
        | StepState::Waived
        | StepState::Stuck { .. } => None,
    });
    since.min().map(DbTime::timestamp)
}

fn late(reply: &Reply, note: &'static str) -> LateRow {
    let body = serde_json::json!({
        "step": reply.step, "direction": reply.direction, "attempt": reply.attempt,
        "answer": reply.answer,
    });
    LateRow {
        saga_id: reply.saga_id,
        note,
        body: body.to_string().into_bytes(),
    }
}

/// The records of a saga's effects, in order.
fn outgoing(
    live: &mut Live,
    clock: &palinode_values::Clock,
) -> Result<Vec<Record>, encode::EncodeError> {
    let effects = live.effects.clone();
    effects
        .into_iter()
        .map(|(version, effect)| match effect {
            Effect::Send(command) => send(live, command, version, clock),
            Effect::Emit(ended) => Ok(emit(live, ended, clock)),
        })
        .collect()
}

fn send(
    live: &mut Live,
    command: Command,
    version: i64,
    clock: &palinode_values::Clock,
) -> Result<Record, encode::EncodeError> {
    let plan = Arc::clone(&live.plan);
    let step = &plan.plan.steps()[command.step];
    let (message, prefix) = match command.direction {
        Direction::Forward => (step.action.as_ref(), "cmd"),
        Direction::Backward => (step.compensation.as_ref(), "undo"),
    };
    let unknown = || encode::EncodeError::UnknownMessage(format!("{prefix} of {}", step.name));
    let message = message.ok_or_else(unknown)?;
    let topic = commands_of(&step.participant).ok_or_else(unknown)?;
    let slot = format!("{prefix}/{}", step.name);
    // sent again byte for byte, whatever release builds commands by then
    let body: Bytes = match live.known.get(&slot) {
        Some(stored) => stored.body.clone(),
        None => {
            let body = encode::command(message, &live.known, live.head.state.cause.as_ref())?;
            live.add(
                slot,
                Payload {
                    kind: message.name.clone(),
                    body: body.clone(),
                },
            );
            body
        }
    };
    Ok(Record {
        topic,
        key: live.head.id.key(),
        event_id: EventId::new(clock),
        kind: message.name.clone().into(),
        body,
        trace: child(live),
        saga: Some(SagaHeaders {
            saga_id: live.head.id,
            plan: plan.plan.label(),
            plan_hash: plan.hash.clone(),
            step: step.name.clone(),
            direction: command.direction,
            probe: command.probe,
            may_fail: command.direction == Direction::Forward && plan.plan.may_fail(command.step),
            attempt: command.attempt,
            seq: u64::try_from(version).unwrap_or_default(),
            deadline: Some(command.until.timestamp()),
        }),
    })
}

fn emit(live: &Live, ended: Ended, clock: &palinode_values::Clock) -> Record {
    let event = SagaEnded {
        saga_id: live.head.id.to_string(),
        plan: live.plan.plan.name().to_owned(),
        plan_version: i32::try_from(live.plan.plan.version()).unwrap_or(i32::MAX),
        business_key: live.head.business_key.clone(),
        outcome: convert::outcome(ended.status).into(),
        cause: live
            .head
            .state
            .cause
            .as_ref()
            .map(|c| c.reason().to_owned())
            .unwrap_or_default(),
    };
    Record {
        topic: Topic::ORCHESTRATOR_EVENTS,
        key: live.head.id.key(),
        event_id: EventId::new(clock),
        kind: SagaEnded::full_name().into(),
        body: event.encode_to_vec().into(),
        trace: child(live),
        saga: None,
    }
}

fn child(live: &Live) -> TraceContext {
    live.head
        .trace
        .as_ref()
        .map_or_else(TraceContext::root, TraceContext::child)
}
