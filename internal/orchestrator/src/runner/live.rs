//! A saga in the hands of a transaction: what the inputs make of it, and what it sends.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use palinode_messaging::{Record, SagaHeaders, Topic};
use palinode_pb::saga::v1::SagaEnded;
use palinode_saga::{
    Claim, Command, DbTime, Direction, Effect, Ended, Input, Note, Plan, State, Status, StepKind,
    StepState, Transition, next,
};
use palinode_telemetry::TraceContext;
use palinode_values::{Clock, EventId, Timestamp};
use prost::{Message, Name};

use super::breaker::{Breaker, Breakers};
use super::deed::Deed;
use super::encode::{EncodeError, Payload, Payloads};
use super::recent::Remembered;
use super::registry::StoredPlan;
use crate::convert::{self, By};
use crate::store::saga::{Head, HeadChange, HistoryRow, WaitColumns};

/// A saga that cannot be interpreted is asked again after that, and harms no other.
pub(super) const BROKEN_PAUSE: Duration = Duration::from_secs(60);

/// A saga in the hands of this transaction.
pub(super) struct Live {
    pub(super) head: Head,
    pub(super) plan: Arc<StoredPlan>,
    /// As it stands in the table.
    version: i64,
    wake_at: Option<Timestamp>,
    held_by: Option<String>,
    /// State and plan as they stand in the table, once they are no longer the head's.
    before: Option<(State, Arc<StoredPlan>)>,
    /// From memory: neither read nor locked.
    pub(super) recalled: bool,
    /// Inserted by this very transaction.
    pub(super) fresh: bool,
    pub(super) fired: bool,
    pub(super) broken: bool,
    progressed: bool,
    /// Each with the version of the saga that brought it about.
    pub(super) effects: Vec<(i64, Effect)>,
    pub(super) history: Vec<HistoryRow>,
    pub(super) known: Payloads,
    /// So many of those are stored.
    stored: usize,
    /// Whether all that are stored are known.
    pub(super) complete: bool,
}

impl Live {
    pub(super) fn new(head: Head, plan: Arc<StoredPlan>) -> Self {
        Self {
            version: head.version,
            wake_at: head.wake_at,
            held_by: head.held_by.clone(),
            head,
            plan,
            before: None,
            recalled: false,
            fresh: false,
            fired: false,
            broken: false,
            progressed: false,
            effects: Vec::new(),
            history: Vec::new(),
            known: Payloads::default(),
            stored: 0,
            complete: false,
        }
    }

    pub(super) fn recalled(saga: Remembered) -> Self {
        Self {
            recalled: true,
            stored: saga.known.len(),
            complete: true,
            known: saga.known,
            ..Self::new(saga.head, saga.plan)
        }
    }

    /// What can be remembered of it: a saga that goes on, and that nothing holds.
    pub(super) fn into_remembered(self) -> Option<Remembered> {
        let goes_on = matches!(
            self.head.state.status,
            Status::Running | Status::Compensating
        );
        let is_held = self.head.state.hold.is_some() || self.head.held_by.is_some();
        (goes_on && !is_held && !self.broken && self.complete).then_some(Remembered {
            head: self.head,
            plan: self.plan,
            known: self.known,
        })
    }

    /// An input that nobody is answerable for. Where it would send to a participant whose breaker
    /// is open, the saga is held first.
    pub(super) fn input(
        &mut self,
        breakers: &Breakers,
        input: &Input,
        now: DbTime,
    ) -> Option<Note> {
        if self.head.state.hold.is_none()
            && let Some(breaker) = self.barring(breakers, input, now, None)
        {
            let by = breaker.by("it is open");
            self.go(&Input::Breaker { open: true }, now, Some(&by));
        }
        self.go(input, now, None)
    }

    /// What bars the input, if a breaker does.
    pub(super) fn barring(
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
    pub(super) fn settle_hold(
        &mut self,
        breakers: &Breakers,
        now: DbTime,
        trial: Option<&Breaker>,
    ) {
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

    pub(super) fn go(&mut self, input: &Input, now: DbTime, by: Option<&By>) -> Option<Note> {
        let transition = next(&self.plan.plan, &self.head.state, input, now);
        let note = transition.note;
        self.take(transition, input, by);
        note
    }

    /// Takes what a deed has made of the saga; `by` is answerable for it.
    pub(super) fn act(&mut self, deed: &Deed, transition: Transition, by: &By) {
        let input = deed.input(&self.plan);
        let plan = Arc::clone(deed.plan_after(&self.plan));
        let before = mem::replace(&mut self.plan, plan);
        self.head.plan_id = self.plan.id;
        let is_first = self.before.is_none();
        self.take(transition, &input, Some(by));
        if let Some((_, plan)) = self.before.as_mut().filter(|_| is_first) {
            *plan = before;
        }
    }

    pub(super) fn take(&mut self, transition: Transition, input: &Input, by: Option<&By>) {
        let Transition { state, effects, .. } = transition;
        let changed = state != self.head.state
            || !effects.is_empty()
            || matches!(input, Input::Migrate { .. });
        if !changed {
            return;
        }
        let before = mem::replace(&mut self.head.state, state);
        self.progressed |= has_progressed(&before, &self.head.state);
        if self.before.is_none() {
            self.before = Some((before, Arc::clone(&self.plan)));
        }
        self.head.version += 1;
        let version = self.head.version;
        let body = convert::history_body(&self.plan.plan, input, &self.head.state, &effects, by);
        self.history.push(HistoryRow {
            saga_id: self.head.id,
            version,
            kind: convert::kind_number(input),
            body,
            payloads: None,
        });
        let effects = effects.into_iter().map(|effect| (version, effect));
        self.effects.extend(effects);
    }

    pub(super) fn add(&mut self, slot: &Arc<str>, payload: Payload) {
        self.known.add(slot, payload);
    }

    /// What an operator said that a step would have answered is its output, once it is believed.
    pub(super) fn take_word(&mut self) {
        if self.history.is_empty() || !self.complete {
            return; // nothing of it is written, or read
        }
        for (codec, at) in self.plan.steps.iter().zip(&self.head.state.steps) {
            if *at == StepState::ByHand(Claim::Done)
                && let Some(said) = self.known.get(&codec.claimed).cloned()
            {
                self.known.add(&codec.output, said);
            }
        }
    }

    /// Everything that is stored is known now.
    pub(super) fn complete(&mut self, stored: Payloads) {
        let added = mem::replace(&mut self.known, stored);
        self.stored = self.known.len();
        self.known.append(added);
        self.complete = true;
    }

    /// The records of the effects, in order.
    pub(super) fn outgoing(
        &mut self,
        clock: &Clock,
        records: &mut Vec<Record>,
    ) -> Result<(), EncodeError> {
        self.take_word();
        let before = records.len();
        for (version, effect) in mem::take(&mut self.effects) {
            let record = match effect {
                Effect::Send(command) => send(self, command, version, clock),
                Effect::Emit(ended) => Ok(emit(self, ended, clock)),
            };
            match record {
                Ok(record) => records.push(record),
                Err(error) => {
                    records.truncate(before);
                    return Err(error);
                }
            }
        }
        if let Some(row) = self.history.first_mut() {
            row.payloads = self.known.pack(self.stored);
        }
        Ok(())
    }

    /// Leaves the saga as it was, to be looked at again later.
    pub(super) fn leave_out(&mut self, now: Timestamp) {
        if let Some((state, plan)) = self.before.take() {
            self.head.state = state;
            self.head.plan_id = plan.id;
            self.plan = plan;
        }
        self.head.version = self.version;
        self.head.held_by.clone_from(&self.held_by);
        self.history.clear();
        self.effects.clear();
        self.broken = true;
        self.head.wake_at = Some(now + BROKEN_PAUSE);
    }

    /// What is in the head stands in the table now.
    pub(super) fn is_stored(&mut self) {
        self.version = self.head.version;
        self.wake_at = self.head.wake_at;
        self.held_by.clone_from(&self.head.held_by);
        self.stored = self.known.len();
        self.before = None;
    }

    pub(super) fn is_changed(&self) -> bool {
        self.head.version != self.version
            || self.head.wake_at != self.wake_at
            || self.head.held_by != self.held_by
    }

    /// `wake_at` is a lower bound: lowered at once, raised only when it fires.
    pub(super) fn set_wake(&mut self) {
        if self.broken {
            return;
        }
        let next = self.head.state.wake_at(&self.plan.plan);
        let next = next.map(DbTime::timestamp);
        self.head.wake_at = match (next, self.wake_at) {
            (Some(next), Some(stored)) if !self.fired => Some(next.min(stored)),
            (next, _) => next,
        };
    }

    pub(super) fn change(&self) -> HeadChange<'_> {
        let waits = self.head.state.waits();
        let waits = waits.map_or_else(WaitColumns::default, |waits| WaitColumns {
            waits_for: Some(waits.what.as_str()),
            waits_step: waits
                .step
                .map(|step| self.plan.plan.steps()[step].name.as_str()),
            wait_until: (waits.until < DbTime::FAR).then(|| waits.until.timestamp()),
        });
        HeadChange {
            head: &self.head,
            expected: self.version,
            waits,
            owed_since: owed_since(&self.plan.plan, &self.head.state),
            progressed: self.progressed,
        }
    }

    pub(super) fn wants_payloads(&self) -> bool {
        let sends = |(_, effect): &(i64, Effect)| matches!(effect, Effect::Send(_));
        !self.complete && self.effects.iter().any(sends)
    }
}

/// Whether a step was settled between the two, or the saga's state changed. Retries are none.
fn has_progressed(before: &State, after: &State) -> bool {
    let settled = |step: &StepState| step.until().map_or(step.word(), |_under_way| "");
    let mut steps = before.steps.iter().zip(&after.steps);
    before.status != after.status
        || before.steps.len() != after.steps.len()
        || steps.any(|(before, after)| settled(before) != settled(after))
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

fn send(
    live: &mut Live,
    command: Command,
    version: i64,
    clock: &Clock,
) -> Result<Record, EncodeError> {
    let plan = Arc::clone(&live.plan);
    let step = &plan.plan.steps()[command.step];
    let codec = &plan.steps[command.step];
    let message = match command.direction {
        Direction::Forward => codec.action.as_ref(),
        Direction::Backward => codec.compensation.as_ref(),
    };
    let unknown = || EncodeError::UnknownMessage(format!("{} of {}", command.direction, step.name));
    let message = message.ok_or_else(unknown)?;
    let topic = codec.topic.ok_or_else(unknown)?;
    // sent again byte for byte, whatever release builds commands by then
    let body: Bytes = match live.known.get(&message.slot) {
        Some(stored) => stored.body.clone(),
        None => {
            let body = message.encode(&live.known, live.head.state.cause.as_ref())?;
            let kind = Arc::clone(&message.kind);
            let payload = Payload {
                kind,
                body: body.clone(),
            };
            live.known.add(&message.slot, payload);
            body
        }
    };
    Ok(Record {
        topic,
        key: live.head.id.key(),
        event_id: EventId::new(clock),
        kind: message.kind.to_string().into(),
        body,
        trace: child(live),
        saga: Some(SagaHeaders {
            saga_id: live.head.id,
            plan: plan.label.clone(),
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

fn emit(live: &Live, ended: Ended, clock: &Clock) -> Record {
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
