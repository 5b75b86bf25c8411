//! One verb for many sagas: frozen and counted, then run at a set rate, one input each.

use std::collections::BTreeMap;
use std::time::Duration;

use palinode_db::{AsDbError, Error, Tx};
use palinode_rpc::Violations;
use palinode_saga::DbTime;
use palinode_values::{BulkId, Coded, ErrorCode, SagaId};
use tokio_util::sync::CancellationToken;

use super::Engine;
use super::batch::{Batch, Inputs, Written};
use super::deed::{Deed, Refusal};
use crate::convert::{self, WantedBulk};
use crate::store::bulk::{self as store, BulkRow, Candidate, Count, Item, Outcome, Settled, What};

/// Sagas of one bulk at the most: freezing and counting them has to fit into one request.
pub(crate) const SAGAS_MAX: u32 = 100_000;
/// Bulks that wait or run at the same time, at the most.
const OPEN_MAX: i64 = 100;
/// Sagas that are counted at once.
const PAGE: i64 = 1_000;
/// Different things that may happen with the sagas of a bulk and are told apart.
const COUNTS_MAX: usize = 50;
/// Examples of each.
const EXAMPLES: usize = 5;

/// How often due slices are looked for, while there may be some.
const TICK: Duration = Duration::from_millis(100);
/// How often when there were none for so many ticks: another process may have run a bulk.
const IDLE: Duration = Duration::from_secs(1);
const IDLE_TICKS: u32 = 50;
/// Slices a second, of a bulk that is fast enough to fill them.
const SLICES_PER_SECOND: i32 = 10;
/// After a failure of the database.
const PAUSE: Duration = Duration::from_secs(1);
/// Old bulks are looked for every that many ticks without work: about once a minute.
const FORGET_TICKS: u32 = 60 + IDLE_TICKS;

/// Why nothing came of what was asked about a bulk.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BulkError {
    #[error("there is no bulk {0}")]
    NotFound(BulkId),
    #[error("bulk {0} is done")]
    Ended(BulkId),
    #[error("the filter finds more than {0} sagas; narrow it, or go through them by age")]
    TooManySagas(u32),
    #[error("{0} bulks wait or run already; stop some, or wait for their end")]
    TooManyBulks(i64),
    #[error("the idempotency key was used for another request")]
    KeyReused,
    #[error("the request is not valid")]
    Invalid(#[from] Violations),
    #[error("the bulk cannot be read or written")]
    Database(#[from] Error),
}

impl AsDbError for BulkError {
    fn as_db_error(&self) -> Option<&Error> {
        match self {
            Self::Database(error) => Some(error),
            Self::NotFound(_)
            | Self::Ended(_)
            | Self::TooManySagas(_)
            | Self::TooManyBulks(_)
            | Self::KeyReused
            | Self::Invalid(_) => None,
        }
    }
}

impl Coded for BulkError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound(_) => ErrorCode::NotFound,
            Self::Ended(_) | Self::TooManySagas(_) => ErrorCode::Refused,
            Self::TooManyBulks(_) => ErrorCode::Limited,
            Self::KeyReused => ErrorCode::Conflict,
            Self::Invalid(_) => ErrorCode::Invalid,
            Self::Database(error) => error.code(),
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::NotFound(_) => "BULK_NOT_FOUND",
            Self::Ended(_) => "BULK_ENDED",
            Self::TooManySagas(_) => "TOO_MANY_SAGAS",
            Self::TooManyBulks(_) => "TOO_MANY_BULKS",
            Self::KeyReused => "IDEMPOTENCY_KEY_REUSED",
            Self::Invalid(_) => "INVALID_REQUEST",
            Self::Database(error) => error.reason(),
        }
    }
}

/// Freezes the sagas that are wanted and counts what would become of them, in one transaction. With the same
/// key, a repeat freezes nothing, and is answered with the same bulk as it is then.
///
/// # Errors
/// `TooManySagas` above `sagas_max`; `TooManyBulks`; `KeyReused`: the key came with another request. Nothing
/// is left of it then.
pub(crate) async fn prepare(
    engine: &Engine,
    wanted: &WantedBulk,
    sagas_max: u32,
) -> Result<BulkRow, BulkError> {
    let id = BulkId::new(&engine.clock);
    let deed = wanted.deed.deed(engine).await?;
    // one moment: what is counted is what was frozen
    let db = engine.db.with_snapshots();
    let prepared = db
        .run_tx("bulk.prepare", |mut tx| {
            let deed = deed.as_ref();
            async move {
                if let Some(before) = before(&mut tx, wanted).await? {
                    return Ok((tx, before));
                }
                if store::count_open(&mut tx).await? >= OPEN_MAX {
                    return Err(BulkError::TooManyBulks(OPEN_MAX));
                }
                store::insert(&mut tx, id, wanted).await?;
                let limit = i64::from(sagas_max) + 1;
                let found = store::freeze(&mut tx, id, &wanted.filter, limit).await?;
                let size = i32::try_from(found).unwrap_or(i32::MAX);
                if found > u64::from(sagas_max) {
                    return Err(BulkError::TooManySagas(sagas_max));
                }
                let preview = count(engine, &mut tx, id, deed).await?;
                let row = store::prepared(&mut tx, id, size, &preview, wanted.run).await?;
                Ok((tx, row))
            }
        })
        .await;
    engine.bulks.ring();
    prepared
}

/// The bulk that came of the same request before.
async fn before(tx: &mut Tx, wanted: &WantedBulk) -> Result<Option<BulkRow>, BulkError> {
    let Some(key) = &wanted.key else {
        return Ok(None);
    };
    match store::of_key(tx, &wanted.by.principal, key).await? {
        Some((before, true)) => Ok(Some(before)),
        Some((_, false)) => Err(BulkError::KeyReused),
        None => Ok(None),
    }
}

/// Runs a bulk that waits, or goes on with one that was stopped.
pub(crate) async fn run(engine: &Engine, id: BulkId) -> Result<BulkRow, BulkError> {
    let began = store::run(&engine.db, id).await?;
    engine.bulks.ring();
    let row = get(engine, id).await?;
    // it may have come to its end since it began just now
    if began { Ok(row) } else { not_ended(row) }
}

/// Stops a bulk. When this returns, nothing more of it is done.
pub(crate) async fn stop(engine: &Engine, id: BulkId) -> Result<BulkRow, BulkError> {
    store::stop(&engine.db, id).await?;
    not_ended(get(engine, id).await?)
}

async fn get(engine: &Engine, id: BulkId) -> Result<BulkRow, BulkError> {
    let row = store::get(engine.db.pool(), id).await?;
    row.ok_or(BulkError::NotFound(id))
}

fn not_ended(row: BulkRow) -> Result<BulkRow, BulkError> {
    if row.state == "done" {
        return Err(BulkError::Ended(row.id));
    }
    Ok(row)
}

/// What would become of the bulk's sagas, the most first: the same `next`, on copies.
async fn count(
    engine: &Engine,
    tx: &mut Tx,
    id: BulkId,
    deed: Option<&Deed>,
) -> Result<Vec<Count>, Error> {
    let now = DbTime::from(tx.now());
    let mut counts: BTreeMap<What, Count> = BTreeMap::new();
    let mut after = None;
    loop {
        let page = store::candidates(tx, id, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.saga_id);
        for candidate in &page {
            let what = what(engine, candidate, deed, now).await?;
            add(&mut counts, what, candidate.saga_id);
        }
    }
    let mut counts: Vec<Count> = counts.into_values().collect();
    counts.sort_by_key(|count| std::cmp::Reverse(count.count));
    Ok(counts)
}

fn add(counts: &mut BTreeMap<What, Count>, what: What, saga: SagaId) {
    let is_known = counts.contains_key(&what);
    let what = if is_known || counts.len() < COUNTS_MAX {
        what
    } else {
        What {
            words: "do something else".to_owned(),
            effects: Vec::new(),
            refused: String::new(),
        }
    };
    let count = counts.entry(what.clone()).or_insert_with(|| Count {
        what,
        count: 0,
        examples: Vec::new(),
    });
    count.count += 1;
    if count.examples.len() < EXAMPLES {
        count.examples.push(saga);
    }
}

async fn what(
    engine: &Engine,
    candidate: &Candidate,
    deed: Option<&Deed>,
    now: DbTime,
) -> Result<What, Error> {
    let plan = engine.plan(candidate.plan_id).await?;
    let (Some(state), Some(plan), Some(deed)) = (&candidate.state, plan, deed) else {
        return Ok(What::not_interpreted());
    };
    Ok(match deed.attempt(&plan, state, now) {
        Ok(would) => {
            let after = deed.plan_after(&plan);
            let effects = would.effects.iter().map(|effect| {
                let words = convert::effect_words(&after.plan, effect);
                // sagas differ in their attempts, not in what is sent
                let sent = words.rsplit_once(" #").map(|(sent, _)| sent.to_owned());
                sent.unwrap_or(words)
            });
            What {
                words: deed.words(state, &would.state),
                effects: effects.collect(),
                refused: String::new(),
            }
        }
        Err(refusal) => What {
            words: refusal.words,
            effects: Vec::new(),
            refused: refusal.rule.to_owned(),
        },
    })
}

/// Runs slices of bulks, until it is told to stop. Any number of processes may do so.
pub(crate) async fn work(engine: Engine, stop: CancellationToken) {
    let mut idle = 0;
    loop {
        let pause = match step(&engine).await {
            Ok(0) => {
                idle += 1;
                if idle < IDLE_TICKS { TICK } else { IDLE }
            }
            Ok(_) => {
                idle = 0;
                Duration::ZERO
            }
            Err(error) => {
                tracing::warn!(error = ?error, "bulks cannot be run");
                PAUSE
            }
        };
        if idle >= FORGET_TICKS {
            idle = IDLE_TICKS;
            let forgotten = async {
                store::forget(&engine.db).await?;
                store::forget_keys(&engine.db).await
            };
            if let Err(error) = forgotten.await {
                tracing::warn!(error = ?error, "old bulks cannot be forgotten");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = engine.bulks.heard() => idle = 0,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Runs the slice that is due, if there is one; returns how many sagas were looked at.
///
/// What becomes of the sagas, and that they were looked at, is one transaction: after a crash the
/// slice was run, or it was not.
pub(crate) async fn step(engine: &Engine) -> Result<usize, Error> {
    let (looked, written) = engine
        .db
        .run_tx("bulk.run", |tx| transact(engine, tx))
        .await?;
    if let Some(written) = written {
        written.committed(engine);
    }
    Ok(looked)
}

pub(super) async fn transact(
    engine: &Engine,
    mut tx: Tx,
) -> Result<(Tx, (usize, Option<Written>)), Error> {
    let Some((id, bulk)) = store::take_due(&mut tx).await? else {
        return Ok((tx, (0, None)));
    };
    let deed = match &bulk {
        Ok(bulk) => bulk.deed.deed(engine).await?,
        Err(_) => None,
    };
    let (bulk, deed) = match (bulk, deed) {
        (Ok(bulk), Some(deed)) => (bulk, deed),
        (bulk, _) => {
            let error = bulk.err();
            tracing::error!(bulk = %id, ?error, "a bulk cannot be run by this orchestrator");
            store::postpone(&mut tx, id).await?;
            return Ok((tx, (0, None)));
        }
    };
    let limit = (bulk.rate / SLICES_PER_SECOND).max(1);
    let items = store::open_items(&mut tx, id, i64::from(limit)).await?;
    let mut batch = Batch::new(engine);
    let inputs = Inputs {
        acted: items.iter().map(|item| item.saga_id).collect(),
        ..Inputs::default()
    };
    batch.load(&mut tx, &inputs).await?;
    let outcomes = items.iter().map(|item| Settled {
        saga_id: item.saga_id,
        outcome: act(&mut batch, item, &deed, &bulk),
    });
    let mut settled: Vec<Settled> = outcomes.collect();
    let written = batch.write(&mut tx).await?;
    for item in &mut settled {
        if written.left_out.contains(&item.saga_id) {
            item.outcome = Outcome::Failed;
        }
    }
    store::settle(&mut tx, id, &settled).await?;
    Ok((tx, (items.len(), Some(written))))
}

fn act(batch: &mut Batch<'_>, item: &Item, deed: &Deed, bulk: &BulkRow) -> Outcome {
    let now = DbTime::from(batch.now);
    if batch.unreadable.contains(&item.saga_id) {
        return Outcome::Failed;
    }
    // one that is gone has ended long ago
    let Some(live) = batch.live_mut(item.saga_id) else {
        return Outcome::Moved;
    };
    if live.head.version != item.version && !bulk.moved_too {
        return Outcome::Moved;
    }
    match deed.attempt(&live.plan, &live.head.state, now) {
        Ok(transition) => {
            live.act(deed, transition, &bulk.by);
            Outcome::Done
        }
        Err(Refusal { rule, words }) => Outcome::Refused { rule, words },
    }
}
