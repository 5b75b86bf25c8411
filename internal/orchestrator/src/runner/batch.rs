use std::collections::HashSet;
use std::mem;
use std::sync::Arc;

use chrono::TimeDelta;
use palinode_db::{Connection, Error, Own, Tx};
use palinode_messaging::Record;
use palinode_outbox::{Held, Rows};
use palinode_saga::{Answer, DbTime, Direction, Input, Note, State, StepState};
use palinode_telemetry::TraceContext;
use palinode_values::{SagaId, Timestamp};

use super::breaker::Breaker;
use super::encode::{INPUT, Payload};
use super::live::{BROKEN_PAUSE, Live};
use super::recent::Remembered;
use super::registry::StoredPlan;
use super::spans::Spans;
use super::{Engine, SERVICE};
use crate::store::saga::{self as store, Head, HeadChange, HistoryRow, LateRow, Loaded, Sent};

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

/// Applies the inputs in the open transaction: runs `next` on each saga, writes heads, history and
/// outbox rows. Returns what is to be done once it is committed.
///
/// # Errors
/// Those of the database; `Contended`: somebody else has moved a saga on that was remembered here,
/// run it again. `Inconsistent` names a row that cannot be read.
pub(crate) async fn apply(
    engine: &Engine,
    mut tx: Tx,
    inputs: &Inputs,
) -> Result<(Tx, Written), Error> {
    let mut batch = Batch::new(engine);
    batch.recall(inputs);
    batch.load(&mut tx, inputs).await?;
    if !inputs.starts.is_empty() {
        batch.start(tx.conn(), &inputs.starts, false).await?;
        batch.load_started(&mut tx, inputs).await?;
    }
    for reply in &inputs.replies {
        batch.reply(reply);
    }
    if !batch.doubtful.is_empty() {
        let doubtful = batch.read_doubtful(&mut tx).await?;
        let again = |reply: &&Reply| doubtful.binary_search(&reply.saga_id).is_ok();
        for reply in inputs.replies.iter().filter(again) {
            batch.reply(reply);
        }
    }
    for id in &inputs.due {
        batch.due(*id);
    }
    for id in &inputs.freed {
        batch.free(*id, inputs.trial.as_ref());
    }
    let written = batch.write(&mut tx).await?;
    Ok((tx, written))
}

/// Applies the inputs in one statement instead of a transaction, where that can be: all are starts
/// that are new, or all are answers to sagas that are remembered, and nothing else is to be read.
/// `None`: it cannot, and nothing was done; see [`apply`].
///
/// # Errors
/// Those of the database. `Unavailable`: whether it was done is unknown.
pub(crate) async fn apply_at_once(
    engine: &Engine,
    own: &mut Own,
    inputs: &Inputs,
) -> Result<Option<Written>, Error> {
    let Some(now) = engine.db.now() else {
        return Ok(None);
    };
    let mut batch = Batch::new(engine);
    batch.begin(now);
    let done = match (inputs.starts.is_empty(), inputs.replies.is_empty()) {
        (false, true) => {
            let start = async move |connection: &mut Connection| {
                batch.start(connection, &inputs.starts, true).await?;
                let left_out = batch.compose();
                Ok(batch.finish(left_out))
            };
            own.run(start).await
        }
        (true, false) => {
            batch.recall(inputs);
            let replied = inputs.replies.iter().map(|reply| reply.saga_id);
            if !batch.missing(replied).is_empty() {
                let recalled = batch.live.into_iter();
                let recalled = recalled.filter_map(Live::into_remembered);
                engine.recent.put(recalled.collect());
                return Ok(None);
            }
            for reply in &inputs.replies {
                batch.reply(reply);
            }
            if !batch.doubtful.is_empty() || !batch.late.is_empty() {
                return Ok(None);
            }
            let left_out = batch.compose();
            let advance = async move |connection: &mut Connection| {
                batch.advance(connection).await?;
                Ok(batch.finish(left_out))
            };
            own.run(advance).await
        }
        (true, true) | (false, false) => return Ok(None),
    };
    match done {
        Ok(written) => Ok(Some(written)),
        Err(Error::Contended(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a batch has written.
pub(crate) struct Written {
    spans: Spans,
    /// Whether there is something to be published.
    sent: bool,
    remembered: Vec<Remembered>,
    /// When the first of its timers is due, from the beginning of the batch.
    wakes_in: Option<TimeDelta>,
    /// Sagas that were left as they were, because their plan and the contracts do not fit.
    pub(super) left_out: Vec<SagaId>,
}

impl Written {
    /// Tells of it. Call it after the commit, never before.
    pub(crate) fn committed(self, engine: &Engine) {
        if self.sent {
            engine.doorbell.ring();
        }
        if let Some(wait) = self.wakes_in {
            engine.soon.set(wait, &engine.clock);
        }
        engine.recent.put(self.remembered);
        self.spans.emit(&engine.clock);
    }
}

pub(super) struct Batch<'e> {
    engine: &'e Engine,
    /// Database time of the transaction, once something was loaded.
    pub(super) now: Timestamp,
    /// In order of the ids.
    live: Vec<Live>,
    late: Vec<LateRow>,
    /// Rows that cannot be read or whose plan is missing: asked again later.
    pub(super) unreadable: Vec<SagaId>,
    /// Remembered sagas which an answer does not change: they may have moved on since.
    doubtful: Vec<SagaId>,
    records: Vec<Record>,
    /// So many of those are in the outbox.
    appended: usize,
    spans: Spans,
}

impl<'e> Batch<'e> {
    pub(super) fn new(engine: &'e Engine) -> Self {
        Self {
            engine,
            now: Timestamp::default(),
            live: Vec::new(),
            late: Vec::new(),
            unreadable: Vec::new(),
            doubtful: Vec::new(),
            records: Vec::new(),
            appended: 0,
            spans: Spans::new(&engine.tracer, &engine.prefix),
        }
    }

    pub(super) fn live_mut(&mut self, id: SagaId) -> Option<&mut Live> {
        let found = self.live.binary_search_by_key(&id, |live| live.head.id);
        found.ok().map(|at| &mut self.live[at])
    }

    fn is_live(&self, id: SagaId) -> bool {
        let found = self.live.binary_search_by_key(&id, |live| live.head.id);
        found.is_ok()
    }

    fn add_live(&mut self, more: impl IntoIterator<Item = Live>) {
        self.live.extend(more);
        self.live.sort_unstable_by_key(|live| live.head.id);
    }

    /// Takes what the replies are about out of memory, as far as it is there.
    fn recall(&mut self, inputs: &Inputs) {
        if !self.engine.breakers.all_closed() {
            return; // a breaker holds sagas without raising their version
        }
        let recent = &self.engine.recent;
        let recalled = inputs.replies.iter().filter_map(|r| recent.take(r.saga_id));
        let recalled: Vec<Live> = recalled.map(Live::recalled).collect();
        self.add_live(recalled);
    }

    /// What is known of the time, in the database's.
    fn begin(&mut self, now: Timestamp) {
        self.now = now;
        self.spans.began(now);
    }

    /// Inserts new sagas. Of two starts with one id, or one business key, one wins; if `all` are to
    /// be new, that is `Contended`.
    async fn start(
        &mut self,
        connection: &mut Connection,
        starts: &[Start],
        all: bool,
    ) -> Result<(), Error> {
        let mut fresh: Vec<(Live, Vec<Record>, TraceContext, &Start)> = Vec::new();
        let mut seen = HashSet::new();
        for start in starts.iter().filter(|start| seen.insert(start.saga_id)) {
            let (process, anchor) = self.spans.started(start.trace.as_ref());
            let (live, records) = self.started(start, anchor);
            fresh.push((live, records, process, start));
        }
        let changes: Vec<HeadChange<'_>> = fresh.iter().map(|(live, ..)| live.change()).collect();
        let names = fresh.iter().map(|(live, ..)| live.plan.plan.name());
        let names: Vec<&str> = names.collect();
        let history = fresh.iter().flat_map(|(live, ..)| &live.history);
        let history: Vec<&HistoryRow> = history.collect();
        let records = || fresh.iter().flat_map(|(_, records, ..)| records);
        let held = Held::by_statement(records().map(|record| record.key.clone()));
        let sagas = fresh.iter();
        let sagas = sagas.flat_map(|(live, records, ..)| records.iter().map(|_| live.head.id));
        let sent = Sent {
            rows: Rows::of(&held, records(), SERVICE).map_err(not_sent)?,
            sagas: sagas.collect(),
        };
        let inserted = store::insert(connection, &names, &changes, &history, &sent, all);
        let won = inserted.await?;
        let lost = changes.iter().map(|c| c.head.id);
        let lost: Vec<SagaId> = lost.filter(|id| !won.contains(id)).collect();
        let repeated = store::existing(connection, &lost).await?;
        let mut live = Vec::with_capacity(won.len());
        for (mut saga, records, process, start) in fresh {
            let id = saga.head.id;
            if won.contains(&id) {
                saga.history.clear();
                saga.is_stored();
                self.records.extend(records);
                self.spans.start(&saga.head, &saga.plan, process, start);
                live.push(saga);
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
        self.add_live(live);
        self.appended = self.records.len();
        Ok(())
    }

    /// A new saga, and what it sends.
    fn started(&self, start: &Start, anchor: TraceContext) -> (Live, Vec<Record>) {
        let head = Head {
            id: start.saga_id,
            plan_id: start.plan.id,
            business_key: start.business_key.clone(),
            version: 0,
            state: State::new(&start.plan.plan),
            wake_at: None,
            held_by: None,
            started_at: self.now,
            trace: Some(anchor),
        };
        let now = DbTime::from(self.now);
        let breakers = &self.engine.breakers;
        let mut live = Live::new(head, Arc::clone(&start.plan));
        (live.fresh, live.complete) = (true, true);
        live.known.add(&INPUT.into(), start.input.clone());
        if let Some(by) = live.barring(breakers, &Input::Start, now, None) {
            // it starts held, and sends its first command when the breaker has closed
            live.head.held_by = Some(by.to_string());
            let by = by.by("it is open");
            live.go(&Input::Breaker { open: true }, now, Some(&by));
        }
        live.go(&Input::Start, now, None);
        live.set_wake();
        let mut records = Vec::new();
        if let Err(error) = live.outgoing(&self.engine.clock, &mut records) {
            // it starts, and is tried again by its timer
            tracing::error!(saga = %live.head.id, %error, "saga cannot be interpreted");
            live.broken = true;
            live.head.wake_at = Some(self.now + BROKEN_PAUSE);
            if let Some(row) = live.history.first_mut() {
                row.payloads = live.known.pack(0);
            }
        }
        (live, records)
    }

    /// Loads and locks what the inputs are about and is not in hand yet, but for what is started.
    pub(super) async fn load(&mut self, tx: &mut Tx, inputs: &Inputs) -> Result<(), Error> {
        let replied = inputs.replies.iter().map(|r| r.saga_id);
        let mut replied = self.missing(replied.chain(inputs.acted.iter().copied()));
        let started = started(inputs);
        replied.retain(|id| started.binary_search(id).is_err());
        let due = self.missing(inputs.due.iter().copied());
        let freed = self.missing(inputs.freed.iter().copied());
        let mut loaded = store::lock(tx, &replied).await?;
        loaded.append(store::lock_due(tx, &due).await?);
        loaded.append(store::lock_held(tx, &freed).await?);
        self.begin(tx.now());
        self.take_loaded(tx, loaded).await
    }

    /// Loads what was started before, and is answered in the same batch.
    async fn load_started(&mut self, tx: &mut Tx, inputs: &Inputs) -> Result<(), Error> {
        let started = started(inputs);
        let replied = inputs.replies.iter().map(|r| r.saga_id);
        let missing = self.missing(replied.filter(|id| started.binary_search(id).is_ok()));
        let loaded = store::lock(tx, &missing).await?;
        self.take_loaded(tx, loaded).await
    }

    /// Reads the sagas that were remembered and may have moved on; returns them, in order.
    async fn read_doubtful(&mut self, tx: &mut Tx) -> Result<Vec<SagaId>, Error> {
        let mut doubtful = mem::take(&mut self.doubtful);
        doubtful.sort_unstable();
        doubtful.dedup();
        self.live
            .retain(|live| doubtful.binary_search(&live.head.id).is_err());
        let loaded = store::lock(tx, &doubtful).await?;
        self.take_loaded(tx, loaded).await?;
        Ok(doubtful)
    }

    /// Those that are not in hand yet, each once, in order.
    fn missing(&self, ids: impl Iterator<Item = SagaId>) -> Vec<SagaId> {
        let mut missing: Vec<SagaId> = ids.filter(|id| !self.is_live(*id)).collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    async fn take_loaded(&mut self, tx: &mut Tx, loaded: Loaded) -> Result<(), Error> {
        let mut unreadable = loaded.unreadable;
        let mut live = Vec::with_capacity(loaded.heads.len());
        for head in loaded.heads {
            self.engine.recent.take(head.id); // it is no longer what is remembered
            match self.engine.plan(head.plan_id).await? {
                Some(plan) => live.push(Live::new(head, plan)),
                None => {
                    tracing::error!(saga = %head.id, plan = head.plan_id, "plan is missing");
                    unreadable.push(head.id);
                }
            }
        }
        self.add_live(live);
        store::postpone(tx, &unreadable, BROKEN_PAUSE).await?;
        self.unreadable.extend(unreadable);
        Ok(())
    }

    fn reply(&mut self, reply: &Reply) {
        let now = DbTime::from(self.now);
        let found = self
            .live
            .binary_search_by_key(&reply.saga_id, |live| live.head.id);
        let Ok(found) = found else {
            let unreadable = self.unreadable.contains(&reply.saga_id);
            let note = if unreadable {
                "unreadable"
            } else {
                "unknown-saga"
            };
            self.late.push(late(reply, note));
            return;
        };
        let live = &mut self.live[found];
        let Some(step) = live.plan.plan.position(&reply.step) else {
            if live.recalled {
                self.doubtful.push(reply.saga_id);
            } else {
                self.late.push(late(reply, "contradiction"));
            }
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
        let version = live.head.version;
        let note = live.input(breakers, &input, now);
        if live.recalled && live.head.version == version {
            self.doubtful.push(reply.saga_id);
            return;
        }
        if let Some(output) = &reply.output
            && !was_done
            && live.head.state.steps[step] == StepState::Done
        {
            let slot = Arc::clone(&live.plan.steps[step].output);
            live.add(&slot, output.clone());
        }
        if note == Some(Note::Contradiction) {
            tracing::warn!(saga = %reply.saga_id, step = reply.step, "reply contradicts");
            self.late.push(late(reply, "contradiction"));
        }
        self.spans.reply(reply, note);
    }

    fn due(&mut self, id: SagaId) {
        let (engine, now) = (self.engine, self.now);
        if let Some(live) = self.live_mut(id) {
            live.fired = true;
            let breakers = &engine.breakers;
            let state = &live.head.state;
            breakers.heard(id, &live.plan.plan, state, &Input::Due, now);
            live.input(breakers, &Input::Due, DbTime::from(now));
        }
    }

    /// Lets a saga go on that a breaker holds.
    fn free(&mut self, id: SagaId, trial: Option<&Breaker>) {
        let (engine, now) = (self.engine, DbTime::from(self.now));
        if let Some(live) = self.live_mut(id) {
            live.settle_hold(&engine.breakers, now, trial);
        }
    }

    pub(super) async fn write(mut self, tx: &mut Tx) -> Result<Written, Error> {
        for live in self.live.iter_mut().filter(|live| !live.fresh) {
            live.settle_hold(&self.engine.breakers, DbTime::from(self.now), None);
        }
        let wanting = self.live.iter().filter(|live| live.wants_payloads());
        let wanting: Vec<SagaId> = wanting.map(|live| live.head.id).collect();
        for (id, stored) in store::payloads(tx, &wanting).await? {
            if let Some(live) = self.live_mut(id) {
                live.complete(stored);
            }
        }
        let left_out = self.compose();
        self.advance(tx.conn()).await?;
        store::insert_late(tx, &self.late).await?;
        Ok(self.finish(left_out))
    }

    /// Makes the records of all that happened; returns the sagas that are left as they were.
    fn compose(&mut self) -> Vec<SagaId> {
        let mut left_out = Vec::new();
        for live in &mut self.live {
            self.spans.effects(&live.head, &live.plan, &live.effects);
            if let Err(error) = live.outgoing(&self.engine.clock, &mut self.records) {
                tracing::error!(saga = %live.head.id, %error, "saga cannot be interpreted");
                live.leave_out(self.now);
                left_out.push(live.head.id);
            }
            live.set_wake();
        }
        left_out
    }

    async fn advance(&self, connection: &mut Connection) -> Result<(), Error> {
        let changes = self.live.iter().filter(|live| live.is_changed());
        let changes: Vec<HeadChange<'_>> = changes.map(Live::change).collect();
        let history = self.live.iter().flat_map(|live| &live.history);
        let history: Vec<&HistoryRow> = history.collect();
        let records = &self.records[self.appended..];
        let held = Held::by_statement(records.iter().map(|record| record.key.clone()));
        let rows = Rows::of(&held, records, SERVICE).map_err(not_sent)?;
        store::advance(connection, &changes, &history, &rows).await
    }

    fn finish(mut self, left_out: Vec<SagaId>) -> Written {
        self.spans.created(&self.records);
        let wakes = self.live.iter().filter_map(|live| live.head.wake_at);
        Written {
            wakes_in: wakes.min().map(|at| at - self.now),
            spans: self.spans,
            sent: !self.records.is_empty(),
            remembered: self
                .live
                .into_iter()
                .filter_map(Live::into_remembered)
                .collect(),
            left_out,
        }
    }
}

fn not_sent(error: palinode_outbox::Error) -> Error {
    match error {
        palinode_outbox::Error::Db(error) => error,
        other => Error::inconsistent("outbox", "payload", "batch", other),
    }
}

/// The sagas that are to be started, in order.
fn started(inputs: &Inputs) -> Vec<SagaId> {
    let mut started: Vec<SagaId> = inputs.starts.iter().map(|start| start.saga_id).collect();
    started.sort_unstable();
    started
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
