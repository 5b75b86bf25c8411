use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use palinode_db::{Db, Error, Own};
use palinode_messaging::Backoff;
use palinode_outbox::{Doorbell, TopicRow};
use palinode_telemetry::{Histogram, Tracer};
use palinode_values::Clock;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::lanes::{Lanes, Loss};
use crate::options::{Mode, Options};
use crate::page::{Page, Report, Topics};
use crate::poll::Poll;
use crate::publisher::Publisher;
use crate::relay::DatabaseStatus;
use crate::store::{self, Leased};
use crate::verdict::Carried;

mod events;
mod reader;
mod steps;
mod verdict;

use reader::Reader;
use steps::within;

/// Pages in flight at the most.
const PAGES_MAX: usize = 16;

/// How long rows of a few wait to be deleted together, and how many do: a relay that dies meanwhile
/// is followed by one that publishes them again.
const WAITING_LIMIT: Duration = Duration::from_millis(10);
const WAITING_ROWS_MAX: usize = 256;

/// Publishes the outbox of one database: leases lanes, reads pages, publishes them, deletes what
/// was acknowledged. One task owns all of the state; what takes time runs beside it and comes back
/// as an event.
pub(crate) struct Worker<P> {
    pub(crate) name: String,
    pub(crate) db: Db,
    pub(crate) doorbell: Doorbell,
    pub(crate) publisher: Arc<P>,
    pub(crate) options: Options,
    pub(crate) tracer: Tracer,
    pub(crate) lag: Histogram,
    pub(crate) clock: Clock,
    pub(crate) status: watch::Sender<DatabaseStatus>,
}

/// Why an outbox is not published.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(
        "the outbox was restored into another server, or into the past of this one: its cursors \
         mean nothing here; publish all that is in it once more with palinode outbox mode log"
    )]
    Foreign,
    #[error(transparent)]
    Db(#[from] Error),
}

/// Something that took time is over.
enum Event {
    Leased(Vec<(i16, i64, i64)>, Result<Leased, Error>),
    Read(Read),
    Published(u64, Report),
    /// With the lanes that turned out to be lost.
    Settled(Vec<Report>, Result<Vec<i16>, Error>),
    /// So many rows were to go; false: not now.
    Vacuumed(u64, Result<bool, Error>),
    Decided {
        page: u64,
        lane: i16,
        epoch: i64,
        carried: Result<Carried, Error>,
    },
}

/// A page that was read, and the dictionary if it was read anew; or the lanes that it was to be of,
/// with their epochs.
struct Read {
    page: Result<Page, (Vec<(i16, i64)>, Error)>,
    topics: Option<Arc<Topics>>,
    /// Lanes are read each by itself for a while.
    behind_dead: bool,
}

/// A worker at work.
struct Run<'a, P> {
    worker: &'a Worker<P>,
    mode: Mode,
    /// The outbox has another shape by now, or its log may be another one: this run is over.
    over: bool,
    id: Uuid,
    topics: Arc<Topics>,
    lanes: Lanes,
    living: usize,
    tasks: JoinSet<Event>,
    /// Lanes are read each by itself: a look at all of them steps over many dead rows.
    behind_dead: bool,
    /// Connections of the steps that are repeated all the time; each step runs once at a time.
    reader: Arc<Mutex<Reader>>,
    settle_on: Arc<Mutex<Own>>,
    /// As long as it is open the worker lives, for others.
    lease_on: Arc<Mutex<Own>>,
    poll: Poll,
    /// Pages in flight, and when they were sent.
    in_flight: BTreeMap<u64, Instant>,
    /// The last read was of deep lanes: the others are next.
    read_deep: bool,
    pages: u64,
    /// Reports whose rows are still to be deleted or parked. Their lanes are busy so long.
    reports: Vec<Report>,
    /// The same of lanes that are not busy, and since when.
    waiting: Vec<Report>,
    waiting_since: Instant,
    /// A read met so many rows that wait to be deleted that there may be others behind them.
    hidden: bool,
    leasing: Step,
    reading: Step,
    settling: Step,
    deciding: Step,
    vacuuming: Step,
    /// Rows published since the last vacuum, or since the log was truncated.
    to_vacuum: u64,
}

/// A step that runs once at a time, and later when it failed.
struct Step {
    running: bool,
    next: Instant,
    backoff: Backoff,
}

impl<P: Publisher> Worker<P> {
    /// Runs until `stop`, whatever becomes of the database; then finishes the pages in flight and
    /// gives its lanes back.
    pub(crate) async fn run(self, stop: CancellationToken) {
        while let Some((mode, topics)) = self.load(&stop).await {
            self.run_as(mode, topics, &stop).await;
        }
    }

    /// Runs until `stop`, or until the outbox may be another one.
    async fn run_as(&self, mode: Mode, topics: Topics, stop: &CancellationToken) {
        let mut run = Run {
            worker: self,
            mode,
            over: false,
            id: uuid::Builder::from_random_bytes(rand::random()).into_uuid(),
            topics: Arc::new(topics),
            lanes: Lanes::default(),
            living: 1,
            tasks: JoinSet::new(),
            reader: Arc::new(Mutex::new(Reader::new(
                self.db.own(),
                self.options.dead_rows_max,
            ))),
            settle_on: Arc::new(Mutex::new(self.db.own())),
            lease_on: Arc::new(Mutex::new(self.db.own())),
            poll: Poll::new(self.options.poll_pause_max, self.options.rung),
            in_flight: BTreeMap::new(),
            read_deep: false,
            behind_dead: false,
            pages: 0,
            reports: Vec::new(),
            waiting: Vec::new(),
            waiting_since: Instant::now(),
            hidden: false,
            leasing: Step::new(),
            reading: Step::new(),
            settling: Step::new(),
            deciding: Step::new(),
            vacuuming: Step::new(),
            to_vacuum: 0,
        };
        while !stop.is_cancelled() && !run.over {
            run.start_what_is_due();
            let wake = run.next_wake();
            tokio::select! {
                () = stop.cancelled() => {}
                Some(event) = run.tasks.join_next() => run.on_event(event),
                () = self.doorbell.heard() => run.poll.ring(),
                () = tokio::time::sleep_until(wake) => {}
            }
        }
        run.finish().await;
    }

    /// Asks what the outbox is made for, and reads the dictionary of topics.
    async fn look(&self) -> Result<(Mode, Vec<TopicRow>), Refusal> {
        let mut connection = self.db.pool().acquire().await.map_err(Error::from)?;
        let mode = Mode::of(palinode_outbox::shape(&mut connection).await?);
        let mode = mode.ok_or(Refusal::Foreign)?;
        drop(connection);
        Ok((mode, palinode_outbox::topics(&self.db).await?))
    }

    /// `None`: stopped.
    async fn load(&self, stop: &CancellationToken) -> Option<(Mode, Topics)> {
        let mut backoff = Backoff::default();
        loop {
            if stop.is_cancelled() {
                return None;
            }
            match self.look().await {
                Ok((mode, rows)) => return Some((mode, Topics::of(rows))),
                Err(error) => {
                    self.status.send_modify(|status| status.database = false);
                    tracing::warn!(
                        database = self.name,
                        error = &error as &dyn std::error::Error,
                        "the relay waits for its database"
                    );
                }
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(backoff.next_pause()) => {}
            }
        }
    }
}

impl<P: Publisher> Run<'_, P> {
    fn start_what_is_due(&mut self) {
        let (expired, loss) = self.lanes.expire();
        if expired > 0 {
            tracing::warn!(
                database = self.worker.name,
                lanes = expired,
                "leases ran out before they were renewed"
            );
            self.purge_after(loss);
        }
        if self.leasing.is_due() {
            self.start_leasing();
        }
        if self.settling.is_due() && self.settle_at().is_some_and(|at| at <= Instant::now()) {
            self.start_settling();
        }
        if self.is_stalled() {
            self.circuit(false);
            return;
        }
        if self.deciding.is_due() {
            self.start_verdicts();
        }
        if self.reading.is_due() && self.in_flight.len() < PAGES_MAX {
            self.start_reading();
        }
    }

    fn next_wake(&self) -> Instant {
        let now = Instant::now();
        let mut wake = now + self.worker.options.lease_ttl;
        if !self.leasing.running {
            wake = wake.min(self.leasing.next);
        }
        if !self.settling.running
            && let Some(at) = self.settle_at()
        {
            wake = wake.min(at.max(self.settling.next));
        }
        if let Some(left) = self.lanes.trust_left() {
            wake = wake.min(now + left);
        }
        if !self.is_stalled() {
            if let Some(sent) = self.in_flight.values().min() {
                wake = wake.min(*sent + self.worker.options.stall_limit);
            }
            if !self.deciding.running && self.lanes.with_verdicts().is_some() {
                wake = wake.min(self.deciding.next);
            }
            if !self.reading.running && self.in_flight.len() < PAGES_MAX {
                if self.lanes.has_idle(true) {
                    wake = wake.min(self.reading.next);
                } else if self.lanes.has_idle(false) {
                    wake = wake.min(self.poll.next().max(self.reading.next));
                }
            }
        }
        // the timer's grain: an instant that is just over would be asked for again and again
        wake.max(now + Duration::from_micros(200))
    }

    fn has_to_settle(&self) -> bool {
        !self.reports.is_empty() || !self.waiting.is_empty()
    }

    /// When there is something to delete: at once where lanes wait for it.
    fn settle_at(&self) -> Option<Instant> {
        if !self.reports.is_empty() {
            return Some(self.settling.next);
        }
        let waiting: usize = self.waiting.iter().map(|report| report.acked.len()).sum();
        let pause = if waiting < WAITING_ROWS_MAX {
            WAITING_LIMIT
        } else {
            Duration::ZERO
        };
        (waiting > 0).then(|| self.waiting_since + pause)
    }

    /// A page is not acknowledged for long: no record's fault, and no use in reading more.
    fn is_stalled(&self) -> bool {
        let limit = self.worker.options.stall_limit;
        let oldest = self.in_flight.values().min();
        oldest.is_some_and(|sent| sent.elapsed() >= limit)
    }

    fn circuit(&self, closed: bool) {
        let changed = self.worker.status.send_if_modified(|status| {
            let changed = status.broker != closed;
            status.broker = closed;
            changed
        });
        if changed && closed {
            tracing::info!(database = self.worker.name, "Kafka acknowledges again");
        } else if changed {
            tracing::warn!(
                database = self.worker.name,
                "Kafka does not acknowledge: no more pages are read"
            );
        }
    }

    fn purge_after(&self, loss: Loss) {
        if loss == Loss::InFlight
            && let Err(error) = self.worker.publisher.purge()
        {
            tracing::error!(%error, "records of a lost lane may still be sent");
        }
    }

    /// Stops: no more pages; those in flight are finished, within limits; lanes are given back.
    async fn finish(mut self) {
        // leases are not renewed any more
        let trust_left = self.lanes.trust_left().unwrap_or_default();
        let mut deadline = Instant::now() + self.worker.options.stop_limit.min(trust_left);
        if self.over {
            // what is acknowledged and not settled is published again
            deadline = Instant::now();
        }
        let mut purged = false;
        loop {
            if self.over && self.mode == Mode::Log {
                // a cursor of another server would skip what this one has
                self.reports.clear();
                self.waiting.clear();
            }
            if self.has_to_settle() && self.settling.is_due() {
                self.start_settling();
            }
            if self.in_flight.is_empty() && !self.has_to_settle() && !self.settling.running {
                break;
            }
            let wake = if self.settling.running || !self.has_to_settle() {
                deadline
            } else {
                deadline.min(self.settling.next)
            };
            tokio::select! {
                Some(event) = self.tasks.join_next() => {
                    match event.expect("a step of the relay does not panic") {
                        Event::Published(number, report) => self.on_published(number, report),
                        Event::Settled(reports, done) => self.on_settled(reports, done),
                        // what was read is not sent any more; its lanes are given back below
                        Event::Read(_) => self.reading.running = false,
                        Event::Vacuumed(rows, done) => self.on_vacuumed(rows, done),
                        Event::Leased(asked, round) => self.on_leased(&asked, round),
                        Event::Decided {
                            page,
                            lane,
                            epoch,
                            carried,
                        } => self.on_decided(page, lane, epoch, carried),
                    }
                }
                () = tokio::time::sleep_until(wake) => {}
            }
            if Instant::now() >= deadline {
                if purged {
                    break;
                }
                // no acknowledgement in time: what is queued must not be sent after the leases
                purged = true;
                self.purge_after(Loss::InFlight);
                deadline = Instant::now() + self.worker.options.stop_limit;
            }
        }
        // a lease round in flight might take lanes after they were given back
        while let Some(event) = self.tasks.join_next().await {
            if let Ok(Event::Leased(asked, round)) = event {
                self.on_leased(&asked, round);
            }
        }
        let held: Vec<_> = self.lanes.begin_round();
        let held: Vec<_> = held
            .iter()
            .map(|(lane, epoch, _)| (*lane, *epoch))
            .collect();
        let left = store::leave(&self.worker.db, self.id, &held);
        if let Err(error) = within(self.worker.options.stop_limit, left).await {
            self.warn("leases", &error); // they end by themselves
        }
    }

    fn warn(&self, what: &str, error: &Error) {
        tracing::warn!(
            database = self.worker.name,
            what,
            error = error as &dyn std::error::Error,
            "the relay's database is in trouble"
        );
    }
}

impl Step {
    fn new() -> Self {
        Self {
            running: false,
            next: Instant::now(),
            backoff: Backoff::default(),
        }
    }

    fn is_due(&self) -> bool {
        !self.running && self.next <= Instant::now()
    }

    fn is_well(&self) -> bool {
        self.backoff.tries() == 0
    }

    fn done(&mut self, pause: Duration) {
        self.running = false;
        self.backoff.reset();
        self.next = Instant::now() + pause;
    }

    /// Not before a while.
    fn pause(&mut self) {
        self.next = Instant::now() + self.backoff.next_pause();
    }

    /// At once, unless it has just failed.
    fn hurry(&mut self) {
        if self.is_well() {
            self.next = Instant::now();
        }
    }

    fn failed(&mut self, pause_max: Duration) {
        self.running = false;
        self.next = Instant::now() + self.backoff.next_pause().min(pause_max);
    }
}
