use std::sync::Arc;

use palinode_db::Db;
use palinode_messaging::Producer;
use palinode_outbox::Doorbell;
use palinode_telemetry::{Histogram, Meter, Tracer};
use palinode_values::Clock;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::metrics;
use crate::options::Options;
use crate::publisher::Publisher;
use crate::worker::Worker;

/// Connections of its pool that the relay of one database uses, for what is rare. Leases, pages and
/// acknowledgements have one each beside them.
pub const CONNECTIONS: u32 = 4;

/// A database with an outbox.
#[derive(Debug, Clone)]
pub struct Source {
    /// Name in logs: the service's.
    pub name: String,
    /// A pool of its own, of [`CONNECTIONS`].
    pub db: Db,
    /// Rung by writers in this process; a new one if there are none.
    pub doorbell: Doorbell,
}

/// How the relay of one database is doing, live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseStatus {
    /// The database's name.
    pub name: String,
    /// Lanes that are ours.
    pub lanes: usize,
    /// The database answered the last time.
    pub database: bool,
    /// Kafka acknowledges what it gets: pages are being read.
    pub broker: bool,
    /// Records acknowledged since the start.
    pub published: u64,
    /// Records parked since the start.
    pub parked: u64,
}

/// Publishes the outboxes of some databases. A database that breaks never stops the others.
#[derive(Debug)]
pub struct Relay<P = Producer> {
    options: Options,
    sources: Vec<(Source, watch::Sender<DatabaseStatus>)>,
    publisher: Arc<P>,
    tracer: Tracer,
    lag: Histogram,
    clock: Clock,
}

impl<P: Publisher> Relay<P> {
    /// A relay that does nothing yet. `clock` is for spans only: leases go by the database's time
    /// and by the time since the machine started.
    pub fn new(
        options: Options,
        sources: Vec<Source>,
        publisher: P,
        tracer: Tracer,
        clock: Clock,
    ) -> Self {
        let sources = sources
            .into_iter()
            .map(|source| {
                let status = watch::Sender::new(DatabaseStatus {
                    name: source.name.clone(),
                    lanes: 0,
                    database: true,
                    broker: true,
                    published: 0,
                    parked: 0,
                });
                (source, status)
            })
            .collect();
        Self {
            options,
            sources,
            publisher: Arc::new(publisher),
            tracer,
            lag: Histogram::default(),
            clock,
        }
    }

    /// The same relay, whose [`crate::metrics`] are kept by `meter`.
    #[must_use]
    pub fn measured_by(self, meter: &Meter) -> Self {
        let lag = metrics::observe(meter, self.status());
        Self { lag, ..self }
    }

    /// How it is doing, for each database in the order given; to be watched from outside while it
    /// runs.
    #[must_use]
    pub fn status(&self) -> Vec<watch::Receiver<DatabaseStatus>> {
        let subscribe = |(_, status): &(Source, watch::Sender<_>)| status.subscribe();
        self.sources.iter().map(subscribe).collect()
    }

    /// Runs until `stop`; then reads no more, finishes what is in flight and gives its lanes
    /// back. Dropped, it leaves its leases to run out.
    pub async fn run(self, stop: CancellationToken) {
        let mut workers = JoinSet::new();
        for (source, status) in self.sources {
            let worker = Worker {
                name: source.name,
                db: source.db,
                doorbell: source.doorbell,
                publisher: Arc::clone(&self.publisher),
                options: self.options.clone(),
                tracer: self.tracer.clone(),
                lag: self.lag.clone(),
                clock: self.clock.clone(),
                status,
            };
            workers.spawn(worker.run(stop.clone()));
        }
        while let Some(ended) = workers.join_next().await {
            ended.expect("a worker of the relay does not panic");
        }
    }
}
