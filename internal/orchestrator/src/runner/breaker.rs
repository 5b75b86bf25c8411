//! Breakers: when a participant fails for everyone, sagas wait before it instead of going back.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use palinode_db::Error;
use palinode_saga::{
    Answer, Cause, DbTime, Direction, Effect, Input, Plan, State, StepState, Transition,
};
use palinode_values::{SagaId, Timestamp};
use tokio_util::sync::CancellationToken;

use super::Engine;
use super::batch::Inputs;
use crate::convert::By;
use crate::store::breaker::{self as store, BreakerRow};

/// What stands between sagas and a participant. Going back has one of its own, so that it is not
/// shut off by what happens to those who go forward.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Breaker {
    pub(crate) participant: String,
    pub(crate) direction: Direction,
}

impl Breaker {
    pub(crate) fn of(plan: &Plan, step: usize, direction: Direction) -> Self {
        Self {
            participant: plan.steps()[step].participant.clone(),
            direction,
        }
    }
}

impl Breaker {
    /// It, as the history names who acts.
    pub(crate) fn by(&self, why: &str) -> By {
        Self::by_name(&self.to_string(), why)
    }

    pub(crate) fn by_name(name: &str, why: &str) -> By {
        By {
            principal: format!("breaker {name}"),
            reason: why.to_owned(),
            bulk: None,
        }
    }
}

impl fmt::Display for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.participant, self.direction)
    }
}

/// When breakers open, and how they close.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Attempts are counted that long.
    pub(crate) window: TimeDelta,
    /// Sagas in the window whose attempts ended without a verdict: so many open it.
    pub(crate) sagas_min: usize,
    /// A verdict within that time keeps it closed.
    pub(crate) quiet: TimeDelta,
    /// While it is open, a few sagas are let through that often.
    pub(crate) trial_every: Duration,
    /// So many. More tell the truth sooner, and load the sick service.
    pub(crate) trial_sagas: i64,
    /// Held sagas that go on at once when it has closed, each [`TICK`]: no thundering herd.
    pub(crate) release_sagas: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window: TimeDelta::seconds(10),
            sagas_min: 20,
            quiet: TimeDelta::seconds(1),
            trial_every: Duration::from_secs(3),
            trial_sagas: 5,
            release_sagas: 50,
        }
    }
}

/// How often breakers are read, and held sagas released.
const TICK: Duration = Duration::from_millis(250);
/// How often while all are closed, and none holds a saga.
const IDLE: Duration = Duration::from_secs(1);
/// After a failure of the database.
const PAUSE: Duration = Duration::from_secs(1);

/// What this process knows of the breakers: its own counting, and the table as it was read last.
/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Breakers {
    limits: Limits,
    watches: Arc<Mutex<BTreeMap<Breaker, Watch>>>,
}

/// Counting is in memory, by process: a breaker that does not open for want of a count opens at
/// the next timeouts.
#[derive(Debug, Default)]
struct Watch {
    /// When an attempt of that saga last ended without a verdict; at most `sagas_min`.
    silent: HashMap<SagaId, Timestamp>,
    verdict_at: Option<Timestamp>,
    /// It has to open, and the table does not know yet.
    tripped: bool,
    /// Open since then, as the table has it.
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    since: Timestamp,
    by_hand: bool,
}

impl Breakers {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            watches: Arc::default(),
        }
    }

    fn watches(&self) -> MutexGuard<'_, BTreeMap<Breaker, Watch>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what an input tells about a participant, before the input is applied.
    pub(crate) fn heard(
        &self,
        saga: SagaId,
        plan: &Plan,
        state: &State,
        input: &Input,
        now: Timestamp,
    ) {
        match input {
            Input::Reply {
                step,
                direction,
                answer,
                ..
            } if *step < state.steps.len() => {
                let breaker = Breaker::of(plan, *step, *direction);
                match answer {
                    Answer::Transient => self.silent(breaker, saga, now),
                    Answer::Pending { .. } => {} // taken up: neither a verdict nor a failure
                    Answer::Done
                    | Answer::Failed { .. }
                    | Answer::Refused { .. }
                    | Answer::Undone
                    | Answer::UndoneEmpty
                    | Answer::CannotUndo { .. }
                    | Answer::NotDone => self.verdict(breaker, now),
                }
            }
            Input::Due => {
                for (step, at) in state.steps.iter().enumerate() {
                    let over = at.until().is_some_and(|until| until <= DbTime::from(now));
                    if at.is_out() && over {
                        self.silent(Breaker::of(plan, step, direction(at)), saga, now);
                    }
                }
            }
            Input::Start
            | Input::Reply { .. }
            | Input::Verb { .. }
            | Input::Breaker { .. }
            | Input::Migrate { .. } => {}
        }
    }

    fn silent(&self, breaker: Breaker, saga: SagaId, now: Timestamp) {
        let mut watches = self.watches();
        let watch = watches.entry(breaker).or_default();
        let Limits {
            window,
            sagas_min,
            quiet,
            ..
        } = self.limits;
        if watch.silent.len() >= sagas_min {
            watch.silent.retain(|_, at| now - *at <= window);
        }
        if watch.silent.len() < sagas_min || watch.silent.contains_key(&saga) {
            watch.silent.insert(saga, now);
        }
        let fresh = watch.silent.values().filter(|at| now - **at <= window);
        let heard_lately = watch.verdict_at.is_some_and(|at| now - at < quiet);
        if fresh.count() >= sagas_min && !heard_lately && watch.open.is_none() {
            watch.tripped = true;
        }
    }

    fn verdict(&self, breaker: Breaker, now: Timestamp) {
        let mut watches = self.watches();
        let watch = watches.entry(breaker).or_default();
        watch.verdict_at = Some(now);
        watch.silent.clear();
    }

    fn is_open(&self, breaker: &Breaker) -> bool {
        let watches = self.watches();
        let watch = watches.get(breaker);
        watch.is_some_and(|watch| watch.tripped || watch.open.is_some())
    }

    pub(crate) fn all_closed(&self) -> bool {
        let watches = self.watches();
        !watches
            .values()
            .any(|watch| watch.tripped || watch.open.is_some())
    }

    /// The open breaker that bars what `would` become of a saga: it would send there, or give up
    /// on the step that waits there and roll back. `trial` may pass.
    pub(crate) fn barring(
        &self,
        plan: &Plan,
        before: &State,
        would: &Transition,
        trial: Option<&Breaker>,
    ) -> Option<Breaker> {
        if self.all_closed() {
            return None;
        }
        let sent = would.effects.iter().filter_map(|effect| match effect {
            Effect::Send(command) => Some(Breaker::of(plan, command.step, command.direction)),
            Effect::Emit(_) => None,
        });
        let gives_up = before.cause.is_none()
            && matches!(
                would.state.cause,
                Some(Cause::Unknown { .. } | Cause::Deadline)
            );
        let waiting =
            before.steps.iter().enumerate().filter(|(_, at)| {
                gives_up && matches!(at, StepState::Sent(_) | StepState::Backoff(_))
            });
        let waiting = waiting.map(|(step, _)| Breaker::of(plan, step, Direction::Forward));
        sent.chain(waiting)
            .find(|breaker| trial != Some(breaker) && self.is_open(breaker))
    }

    /// Takes over what the table says.
    fn read(&self, rows: &[BreakerRow]) {
        let mut watches = self.watches();
        for row in rows {
            let watch = watches.entry(row.breaker.clone()).or_default();
            let was_open = watch.open.is_some();
            watch.open = row.is_open.then_some(Open {
                since: row.since,
                by_hand: row.principal.is_some(),
            });
            if was_open && watch.open.is_none() {
                watch.silent.clear();
                watch.tripped = false;
            }
        }
    }

    /// Breakers that have to open, and those that have to close since a verdict came.
    fn wanted(&self) -> (Vec<Breaker>, Vec<(Breaker, Timestamp)>) {
        let watches = self.watches();
        let open = watches.iter().filter(|(_, watch)| watch.tripped);
        let open = open.map(|(breaker, _)| breaker.clone()).collect();
        let close = watches.iter().filter_map(|(breaker, watch)| {
            let open = watch.open.filter(|open| !open.by_hand)?;
            let heard = watch.verdict_at.filter(|at| *at > open.since)?;
            Some((breaker.clone(), heard))
        });
        (open, close.collect())
    }

    /// The table knows that it has to open.
    fn told(&self, breaker: &Breaker) {
        if let Some(watch) = self.watches().get_mut(breaker) {
            watch.tripped = false;
            watch.silent.clear();
        }
    }
}

/// Which way the command goes that is out.
fn direction(at: &StepState) -> Direction {
    match at {
        StepState::Undoing(_) => Direction::Backward,
        StepState::Resolving(resolve) if resolve.claim == palinode_saga::Claim::Undone => {
            Direction::Backward
        }
        _ => Direction::Forward,
    }
}

/// Keeps the breakers until it is told to stop. Any number of processes may run it.
pub(crate) async fn run(engine: Engine, stop: CancellationToken) {
    loop {
        let pause = match step(&engine).await {
            Ok(Keeping::Some) => TICK,
            Ok(Keeping::None) => IDLE,
            Err(error) => {
                tracing::warn!(error = ?error, "breakers cannot be kept");
                PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = engine.set.heard() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Whether there is something to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// A breaker is open, or holds sagas.
    Some,
    /// All is well.
    None,
}

/// Stores what was counted, reads what others have stored, lets a few sagas through where a trial
/// is due, and releases what is held by a breaker that has closed.
pub(crate) async fn step(engine: &Engine) -> Result<Keeping, Error> {
    let Engine { db, breakers, .. } = engine;
    let limits = breakers.limits;
    let (open, close) = breakers.wanted();
    for breaker in &open {
        let why = format!(
            "{} sagas in {} s, and not one verdict",
            limits.sagas_min,
            limits.window.num_seconds()
        );
        if store::trip(db, breaker, &why, limits.trial_every).await? {
            tracing::warn!(%breaker, why, "a breaker has opened");
        }
    }
    for (breaker, heard) in close {
        if store::recover(db, &breaker, heard).await? {
            tracing::info!(%breaker, "a breaker has closed");
        }
    }
    let mut rows = store::all(db).await?;
    breakers.read(&rows);
    // only now, when the table says it: never is it closed in between
    for breaker in &open {
        breakers.told(breaker);
    }
    // those that go back come first
    rows.sort_by_key(|row| row.breaker.direction == Direction::Forward);
    for row in rows.iter().filter(|row| row.holds) {
        let breaker = &row.breaker;
        if !row.is_open {
            let freed = store::held(db, breaker, limits.release_sagas).await?;
            release(engine, freed, None).await?;
        } else if store::take_trial(db, breaker, limits.trial_every).await? {
            let freed = store::newest_held(db, breaker, limits.trial_sagas).await?;
            release(engine, freed, Some(breaker.clone())).await?;
        }
    }
    let is_kept = rows.iter().any(|row| row.is_open || row.holds);
    Ok(if is_kept {
        Keeping::Some
    } else {
        Keeping::None
    })
}

async fn release(engine: &Engine, freed: Vec<SagaId>, trial: Option<Breaker>) -> Result<(), Error> {
    let inputs = Inputs {
        freed,
        trial,
        ..Inputs::default()
    };
    engine.apply("saga.free", &inputs).await?;
    Ok(())
}
