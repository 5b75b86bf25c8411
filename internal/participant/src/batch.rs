use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use palinode_db::{Db, Tx};
use palinode_messaging::{BatchHandler, Committed, Failure, Received, Record, SagaHeaders};
use palinode_outbox::Doorbell;
use palinode_pb::saga::v1::step_reply::refused::Cause;
use palinode_saga::Direction;
use palinode_saga::guard::Arrival;
use palinode_telemetry::{TraceContext, Tracer};
use palinode_values::{Clock, SagaId, Timestamp};
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::outgoing::{self, Addressed};
use crate::row::{Answered, Arrived, Held, Reply};
use crate::waves::waves;
use crate::{Decided, Event, Handler, Task, reply, spans, step_key, store};

/// A consumer's batch handler around the service's own [`Handler`].
///
/// A batch is one transaction: guard rows, effects, replies, events, parked records.
#[derive(Debug)]
pub struct Participant<H> {
    service: &'static str,
    db: Db,
    handler: Arc<H>,
    doorbell: Doorbell,
    tracer: Tracer,
    clock: Clock,
    /// Sagas that started before it are refused: their guard rows may be gone. As the batch before
    /// has read it; a day is dropped a day later than it has to be, so that this does no harm.
    oldest: Mutex<Option<Timestamp>>,
}

/// A command of the batch, read.
struct Command<'a, C> {
    record: &'a Received,
    saga: SagaHeaders,
    /// `None`: a probe, which no handler sees.
    body: Option<C>,
    arrival: Arrival,
    hash: [u8; 32],
    /// Context of the `process` span.
    trace: TraceContext,
    expired: bool,
}

/// A record that cannot be read, and why.
type Parked<'a> = (&'a Received, String);

/// What is told of a batch after its commit.
#[derive(Default)]
struct Handled {
    processed: Vec<spans::Processed>,
    records: Vec<Record>,
}

impl<H: Handler> Participant<H> {
    /// A participant named `service`, whose guard, business tables and outbox are in `db`.
    pub fn new(
        service: &'static str,
        db: Db,
        handler: Arc<H>,
        doorbell: Doorbell,
        tracer: Tracer,
        clock: Clock,
    ) -> Self {
        Self {
            service,
            db,
            handler,
            doorbell,
            tracer,
            clock,
            oldest: Mutex::new(None),
        }
    }

    async fn run(&self, mut tx: Tx, batch: &[Received]) -> Result<(Tx, Handled), Error> {
        let oldest = self.oldest(&mut tx).await?;
        let (mut commands, parked) = self.read(batch);
        store::park(&mut tx, &parked).await?;
        if commands.is_empty() {
            return Ok((tx, Handled::default()));
        }
        let (keys, at) = distinct(&commands);
        // of what is refused no row is made: its day is gone
        let expired: Vec<bool> = keys
            .iter()
            .map(|(saga, _)| is_before(*saga, oldest))
            .collect();
        let (mut rows, times) = store::lock(&mut tx, &borrowed(&keys), &expired).await?;
        let now = times.now;
        *self.oldest.lock().unwrap_or_else(PoisonError::into_inner) = Some(times.oldest);
        for command in &mut commands {
            command.expired = is_before(command.saga.saga_id, times.oldest.max(oldest));
        }
        let mut answers: Vec<Option<(Reply, Vec<Event>)>> = Vec::new();
        answers.resize_with(commands.len(), || None);
        for wave in waves(&at) {
            let mut running = Vec::new();
            let mut tasks = Vec::new();
            for index in wave {
                match ask(&mut rows[at[index]], &mut commands[index], now)? {
                    Asked::Reply(reply) => answers[index] = Some((reply, vec![])),
                    Asked::Run(task) => {
                        running.push(index);
                        tasks.push(task);
                    }
                }
            }
            if tasks.is_empty() {
                continue;
            }
            let (open, decided) = self.handler.handle(tx, &tasks, now).await?;
            tx = open;
            self.check_count(tasks.len(), decided.len())?;
            for (index, Decided { outcome, events }) in running.into_iter().zip(decided) {
                let reply = rows[at[index]].apply(outcome, commands[index].arrived());
                answers[index] = Some((reply.map_err(|what| self.broken(what))?, events));
            }
        }
        store::write(&mut tx, &rows).await?;
        let answered = commands.into_iter().zip(answers.into_iter().flatten());
        let (processed, addressed) = answered.map(address).unzip();
        let records = outgoing::records(addressed, &self.clock, TraceContext::child);
        outgoing::append(&mut tx, self.service, &records).await?;
        Ok((tx, Handled { processed, records }))
    }

    /// When the oldest saga has started that is not refused.
    async fn oldest(&self, tx: &mut Tx) -> Result<Timestamp, Error> {
        let known = *self.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        match known {
            Some(oldest) => Ok(oldest),
            None => Ok(store::times(tx).await?.oldest),
        }
    }

    /// Reads the batch: what is a command, and what has to be parked.
    fn read<'a>(&self, batch: &'a [Received]) -> (Vec<Command<'a, H::Command>>, Vec<Parked<'a>>) {
        let mut commands = Vec::with_capacity(batch.len());
        let mut parked = Vec::new();
        for record in batch {
            match self.read_one(record) {
                Ok(command) => commands.push(command),
                Err(error) => {
                    tracing::warn!(
                        topic = &*record.topic,
                        partition = record.partition,
                        offset = record.offset,
                        error,
                        "a command is parked"
                    );
                    parked.push((record, error));
                }
            }
        }
        (commands, parked)
    }

    fn read_one<'a>(&self, record: &'a Received) -> Result<Command<'a, H::Command>, String> {
        let saga = SagaHeaders::read(&record.headers).map_err(|error| error.to_string())?;
        let kind = record.kind().map_err(|error| error.to_string())?;
        let arrival = match (saga.direction, saga.probe) {
            (Direction::Forward, false) => Arrival::Action { same_body: true },
            (Direction::Forward, true) => Arrival::Probe,
            (Direction::Backward, false) => Arrival::Compensation,
            (Direction::Backward, true) => Arrival::UndoProbe,
        };
        let body = match arrival {
            Arrival::Probe | Arrival::UndoProbe => None,
            Arrival::Action { .. } | Arrival::Compensation => Some(
                self.handler
                    .decode(kind, &record.body)
                    .map_err(|error| error.to_string())?,
            ),
        };
        let trace = record
            .trace()
            .map_or_else(TraceContext::root, |create| create.child());
        let hash = Sha256::digest(&record.body).into();
        Ok(Command {
            record,
            saga,
            body,
            arrival,
            hash,
            trace,
            expired: false, // told when the row is locked
        })
    }

    fn check_count(&self, asked: usize, answered: usize) -> Result<(), Error> {
        if asked == answered {
            return Ok(());
        }
        Err(self.broken(format!("{answered} outcomes for {asked} tasks")))
    }

    fn broken(&self, what: String) -> Error {
        Error::Handler {
            service: self.service,
            what,
        }
    }
}

impl<H: Handler> BatchHandler for Participant<H> {
    async fn handle(&mut self, batch: &[Received]) -> Result<Committed, Failure> {
        let this = &*self;
        let taken_up = this.clock.now();
        let handled = this
            .db
            .run_tx("guard.batch", |tx| this.run(tx, batch))
            .await?;
        this.doorbell.ring();
        if this.tracer.is_enabled() {
            let committed = this.clock.now();
            let Handled { processed, records } = handled;
            spans::emit(&this.tracer, processed, records, (taken_up, committed));
        }
        Ok(Committed)
    }

    async fn park(&mut self, record: &Received, error: &str) -> Result<Committed, Failure> {
        let parked = [(record, error.to_owned())];
        self.db
            .run_tx("guard.park", async |mut tx| {
                store::park(&mut tx, &parked).await?;
                Ok::<_, Error>((tx, ()))
            })
            .await?;
        Ok(Committed)
    }
}

impl<C> Command<'_, C> {
    fn arrived(&self) -> Arrived<'_> {
        Arrived {
            record: self.record,
            direction: self.saga.direction,
            may_fail: self.saga.may_fail,
            hash: self.hash,
            trace: &self.trace,
        }
    }
}

enum Asked<C> {
    Reply(Reply),
    Run(Task<C>),
}

/// What the guard says to a command; the body goes into the task, if there is one.
fn ask<C>(
    row: &mut Held,
    command: &mut Command<'_, C>,
    now: Timestamp,
) -> Result<Asked<C>, palinode_db::Error> {
    if command.expired {
        let body = reply::refused(Cause::Expired);
        return Ok(Asked::Reply(Reply {
            body,
            result: "refused_expired",
        }));
    }
    let arrival = match command.arrival {
        Arrival::Action { .. } => {
            let same_body = row
                .act_hash
                .as_deref()
                .is_none_or(|hash| *hash == command.hash);
            Arrival::Action { same_body }
        }
        other @ (Arrival::Compensation | Arrival::Probe | Arrival::UndoProbe) => other,
    };
    if let Answered::Reply(reply) = row.ask(arrival, command.arrived(), now)? {
        return Ok(Asked::Reply(reply));
    }
    let body = command
        .body
        .take()
        .expect("the guard runs no probe, and each command once");
    let saga = command.saga.clone();
    Ok(Asked::Run(Task {
        command: body,
        direction: saga.direction,
        step_key: step_key(saga.saga_id, &saga.step, saga.direction),
        saga,
    }))
}

/// The keys of the batch, each once, and where in them the key of each command stands.
fn distinct<'a, C>(commands: &'a [Command<'_, C>]) -> (Vec<(SagaId, String)>, Vec<usize>) {
    let mut keys: Vec<(SagaId, String)> = Vec::new();
    let mut places: HashMap<(SagaId, &'a str), usize> = HashMap::new();
    let at = commands
        .iter()
        .map(|command| {
            let key = (command.saga.saga_id, command.saga.step.as_str());
            *places.entry(key).or_insert_with(|| {
                keys.push((key.0, key.1.to_owned()));
                keys.len() - 1
            })
        })
        .collect();
    (keys, at)
}

fn borrowed(keys: &[(SagaId, String)]) -> Vec<(SagaId, &str)> {
    keys.iter()
        .map(|(saga, step)| (*saga, step.as_str()))
        .collect()
}

/// Whether the saga has started before that, by the time in its id.
fn is_before(saga: SagaId, oldest: Timestamp) -> bool {
    let started_at = saga.0.get_timestamp().and_then(|at| {
        let (seconds, nanos) = at.to_unix();
        Timestamp::from_timestamp(i64::try_from(seconds).ok()?, nanos)
    });
    started_at.is_some_and(|at| at < oldest)
}

/// A command and its answer: what its span tells, and what is written into the outbox.
fn address<C>(
    (command, (reply, events)): (Command<'_, C>, (Reply, Vec<Event>)),
) -> (spans::Processed, Addressed) {
    let processed = spans::Processed {
        topic: command.record.topic.clone(),
        message: command
            .record
            .headers
            .text("ce_id")
            .unwrap_or_default()
            .to_owned(),
        saga: command.saga.clone(),
        context: command.trace.clone(),
        created: command.record.trace(),
        result: reply.result,
        records: 1 + events.len(),
    };
    let Command { saga, trace, .. } = command;
    (
        processed,
        Addressed {
            saga,
            trace,
            reply: Some(reply.body),
            events,
        },
    )
}
