use std::sync::{Arc, Mutex, PoisonError};

use palinode_db::{Db, Tx};
use palinode_messaging::{BatchHandler, Committed, Failure, Received, Record, SagaHeaders};
use palinode_outbox::Doorbell;
use palinode_pb::saga::v1::step_reply::refused::Cause;
use palinode_saga::Direction;
use palinode_saga::guard::Arrival;
use palinode_telemetry::{TraceContext, Tracer};
use palinode_values::{Clock, EventId, SagaId, Timestamp};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::error::Error;
use crate::outgoing::{self, Addressed};
use crate::row::{Answered, Arrived, Held, Reply};
use crate::store::{Wanted, Way, Where};
use crate::waves::waves;
use crate::{Decided, Event, Handler, Outcome, Task, reply, spans, store};

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
    /// For the handler.
    new_id: Uuid,
}

/// A record that cannot be read, and why.
type Parked<'a> = (&'a Received, String);

/// A batch, read.
struct Batch<'a, C> {
    commands: Vec<Command<'a, C>>,
    parked: Vec<Parked<'a>>,
}

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
            db: db.with_fixed_plans(),
            handler,
            doorbell,
            tracer,
            clock,
            oldest: Mutex::new(None),
        }
    }

    async fn run(
        &self,
        mut tx: Tx,
        batch: &Batch<'_, H::Command>,
        way: Way,
    ) -> Result<(Tx, Handled), Error> {
        store::park(&mut tx, &batch.parked).await?;
        let commands = &batch.commands;
        if commands.is_empty() {
            return Ok((tx, Handled::default()));
        }
        let oldest = self.oldest(&mut tx).await?;
        // of what is refused no row is made: its day is gone
        let (mut rows, at) = self.rows(commands, oldest);
        let locked = store::lock(&mut tx, &mut rows, way).await?;
        let told = locked.ok_or(Error::LongWay)?;
        let now = tx.now();
        *self.oldest.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        let oldest = oldest.max(told);

        let mut answers: Vec<Option<(Reply, Vec<Event>)>> = Vec::new();
        answers.resize_with(commands.len(), || None);
        for wave in waves(&at, rows.len()) {
            let mut running = Vec::with_capacity(wave.len());
            let mut tasks = Vec::with_capacity(wave.len());
            for index in wave {
                let command = &commands[index];
                match command.ask(&mut rows[at[index]].held, now, oldest)? {
                    Answered::Reply(reply) => answers[index] = Some((reply, vec![])),
                    Answered::Run => {
                        running.push(index);
                        tasks.push(command.task());
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
                let held = &mut rows[at[index]].held;
                let reply = held.apply(outcome, commands[index].arrived());
                answers[index] = Some((reply.map_err(|what| self.broken(what))?, events));
            }
        }
        store::write(&mut tx, rows.iter().map(|row| &row.held)).await?;
        let mut handled = Handled::default();
        let mut addressed = Vec::with_capacity(commands.len());
        for (command, (reply, events)) in commands.iter().zip(answers.into_iter().flatten()) {
            if self.tracer.is_enabled() {
                let records = 1 + events.len();
                handled
                    .processed
                    .push(command.processed(reply.result, records));
            }
            addressed.push(Addressed {
                saga: command.saga.clone(),
                trace: command.trace.clone(),
                reply: Some(reply.body),
                events,
            });
        }
        handled.records = outgoing::records(addressed, &self.clock, TraceContext::child);
        outgoing::append(&mut tx, self.service, &handled.records).await?;
        Ok((tx, handled))
    }

    /// The rows of the batch in key order, each once, with what is expected of them; and where
    /// among them the row of each command stands.
    fn rows(
        &self,
        commands: &[Command<'_, H::Command>],
        oldest: Timestamp,
    ) -> (Vec<Wanted>, Vec<usize>) {
        let key = |index: &usize| {
            let SagaHeaders { saga_id, step, .. } = &commands[*index].saga;
            (*saga_id, step.as_str())
        };
        let mut order: Vec<usize> = (0..commands.len()).collect();
        order.sort_by(|one, other| key(one).cmp(&key(other))); // stable: the first arrival first
        let mut at = vec![0; commands.len()];
        let mut rows: Vec<Wanted> = Vec::with_capacity(commands.len());
        let now = self.clock.now();
        for index in order {
            let (saga, step) = key(&index);
            let is_first = rows
                .last()
                .is_none_or(|row| (row.held.saga_id, row.held.step.as_str()) != (saga, step));
            if is_first {
                let first = &commands[index];
                let mut held = Held::new(saga, step.to_owned());
                let place = match first.arrival {
                    _ if is_before(saga, oldest) => Where::Gone,
                    Arrival::Action { .. } => {
                        if let Some(outcome) = self.handler.expected(&first.task(), now) {
                            held.expect(outcome, first.arrived());
                        }
                        Where::Missing
                    }
                    Arrival::Compensation => match self.handler.expected(&first.task(), now) {
                        Some(Outcome::Undone) => Where::Done,
                        _ => Where::There,
                    },
                    Arrival::Probe | Arrival::UndoProbe => Where::There,
                };
                rows.push(Wanted { held, at: place });
            }
            at[index] = rows.len() - 1;
        }
        (rows, at)
    }

    /// When the oldest saga has started that is not refused.
    async fn oldest(&self, tx: &mut Tx) -> Result<Timestamp, Error> {
        let known = *self.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        match known {
            Some(oldest) => Ok(oldest),
            None => Ok(store::oldest(tx).await?),
        }
    }

    /// Reads the batch: what is a command, and what has to be parked.
    fn read<'a>(&self, batch: &'a [Received]) -> Batch<'a, H::Command> {
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
        Batch { commands, parked }
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
        let hash = match arrival {
            Arrival::Action { .. } => Sha256::digest(&record.body).into(),
            Arrival::Compensation | Arrival::Probe | Arrival::UndoProbe => [0; 32],
        };
        Ok(Command {
            record,
            saga,
            body,
            arrival,
            hash,
            trace,
            // of no kind yet: whoever makes something of it says what it is
            new_id: EventId::new(&self.clock).0,
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
        let batch = &this.read(batch);
        let run = |way| {
            this.db
                .run_tx("guard.batch", move |tx| this.run(tx, batch, way))
        };
        let handled = match run(Way::Short).await {
            Err(Error::LongWay) => run(Way::Long).await?,
            handled => handled?,
        };
        this.doorbell.ring();
        if this.tracer.is_enabled() {
            let committed = this.clock.now();
            let Handled { processed, records } = handled;
            spans::emit(&this.tracer, processed, records, (taken_up, committed));
        }
        Ok(Committed)
    }

    async fn park(&mut self, record: &Received, error: &str) -> Result<Committed, Failure> {
        store::park_alone(&self.db, "guard.park", record, error).await?;
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

    /// The command, for the handler.
    fn task(&self) -> Task<'_, C> {
        let command = self.body.as_ref();
        Task {
            command: command.expect("the guard runs no probe"),
            saga: &self.saga,
            direction: self.saga.direction,
            new_id: self.new_id,
        }
    }

    /// What the guard says.
    fn ask(
        &self,
        row: &mut Held,
        now: Timestamp,
        oldest: Timestamp,
    ) -> Result<Answered, palinode_db::Error> {
        if is_before(self.saga.saga_id, oldest) {
            let body = reply::refused(Cause::Expired);
            return Ok(Answered::Reply(Reply {
                body,
                result: "refused_expired",
            }));
        }
        let arrival = match self.arrival {
            Arrival::Action { .. } => Arrival::Action {
                same_body: row.act_hash.is_none_or(|hash| hash == self.hash),
            },
            other @ (Arrival::Compensation | Arrival::Probe | Arrival::UndoProbe) => other,
        };
        row.ask(arrival, self.arrived(), now)
    }

    /// What its span tells.
    fn processed(&self, result: &'static str, records: usize) -> spans::Processed {
        let message = self.record.headers.text("ce_id");
        spans::Processed {
            topic: Arc::clone(&self.record.topic),
            message: message.unwrap_or_default().to_owned(),
            saga: self.saga.clone(),
            context: self.trace.clone(),
            created: self.record.trace(),
            result,
            records,
        }
    }
}

/// Whether the saga has started before that, by the time in its id.
fn is_before(saga: SagaId, oldest: Timestamp) -> bool {
    let started_at = saga.0.get_timestamp().and_then(|at| {
        let (seconds, nanos) = at.to_unix();
        Timestamp::from_timestamp(i64::try_from(seconds).ok()?, nanos)
    });
    started_at.is_some_and(|at| at < oldest)
}
