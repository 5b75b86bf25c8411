use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use palinode_db::{Area, Db, MigrateError, Options, keep_partitions, require_current_schema};
use palinode_messaging::{BatchHandler, Consumer, ConsumerOptions, Kafka, Producer, Topic, Turns};
use palinode_outbox::Doorbell;
use palinode_rpc::{Authorizer, Buckets, Credentials, Door, Health, Server};
use palinode_telemetry::{Meter, Tracer};
use palinode_values::Clock;
use tokio::net::{TcpListener, TcpSocket};

use crate::config::{Config, ConfigError, Peers, RelayMode};
use crate::identity::{Keys, OwnToken};
use crate::readiness::{Condition, Readiness};
use crate::relay;
use crate::services::ServiceSpec;
use crate::tasks::Tasks;

/// Everything that a service is built from: `pub async fn build(context: Context)` spawns its
/// tasks and returns when they run.
#[derive(Debug)]
pub struct Context {
    /// The service.
    pub spec: ServiceSpec,
    /// The settings of the process.
    pub config: Arc<Config>,
    /// How to reach Kafka.
    pub kafka: Kafka,
    /// Writes spans.
    pub tracer: Tracer,
    /// Keeps metrics.
    pub meter: Meter,
    /// The time, for ids and spans.
    pub clock: Clock,
    /// Runs tasks, and knows when to stop.
    pub tasks: Tasks,
    /// What the service waits for until it is ready.
    pub readiness: Readiness,
    /// Rung after each commit that appended to the service's outbox.
    pub doorbell: Doorbell,
    pub(crate) shared: Shared,
    db: Option<Db>,
    address: SocketAddr,
    listener: Mutex<Option<TcpListener>>,
}

/// What a [`Context`] is made from.
#[derive(Debug)]
pub struct Opening {
    /// The service.
    pub spec: ServiceSpec,
    /// Settings; validated.
    pub config: Arc<Config>,
    /// Where it listens.
    pub listener: TcpListener,
    /// Where its tasks run.
    pub tasks: Tasks,
    /// Where its spans go.
    pub tracer: Tracer,
    /// Where its metrics go.
    pub meter: Meter,
    /// The time.
    pub clock: Clock,
    /// What it shares with the other parts of the process.
    pub shared: Shared,
}

/// What the parts of a process share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Made when it is first asked for: a second client would bring threads, a connection, and
    /// smaller batches.
    producer: Arc<Mutex<Option<Producer>>>,
    turns: Turns,
}

impl Default for Shared {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            producer: Arc::default(),
            turns: Turns::new(cores),
        }
    }
}

impl Shared {
    pub(crate) fn producer(&self, kafka: &Kafka) -> Result<Producer, palinode_messaging::Error> {
        let mut producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(producer) = &*producer {
            return Ok(producer.clone());
        }
        Ok(producer.insert(Producer::start(kafka)?).clone())
    }
}

/// A service that cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Settings that do not fit.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address is taken, or not ours.
    #[error("{service} cannot listen at {address}")]
    Listen {
        /// The service.
        service: &'static str,
        /// Where.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The database does not answer, or refuses us.
    #[error(
        "{service} cannot use its database at {url}: does PostgreSQL run there, and has \
         `palinode migrate` been run?"
    )]
    Database {
        /// The service.
        service: &'static str,
        /// Which, without its password.
        url: String,
        /// The cause.
        #[source]
        source: palinode_db::Error,
    },
    /// The database has another schema.
    #[error(transparent)]
    Schema(#[from] MigrateError),
    /// The database knows no topics, or those of another prefix.
    #[error("the outbox of {service} is not ready: run `palinode migrate` with this topic prefix")]
    Topics {
        /// The service.
        service: &'static str,
        /// The cause.
        #[source]
        source: palinode_outbox::Error,
    },
    /// The service itself could not be built.
    #[error("{service} cannot be started")]
    Build {
        /// The service.
        service: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

const PROBE_EVERY: Duration = Duration::from_secs(5);
/// How often days of partitioned tables are made ahead and dropped. They are made days ahead.
const PARTITIONS_EVERY: Duration = Duration::from_secs(600);
/// When a table was busy.
const PARTITIONS_AGAIN: Duration = Duration::from_secs(5);

/// Connections that wait to be accepted: as many as tokio's own listeners have.
const BACKLOG: u32 = 1024;

/// Binds the address of a service.
///
/// # Errors
/// `Listen`: it is taken. `Config`: it is not known.
pub async fn bind(config: &Config, spec: ServiceSpec) -> Result<TcpListener, StartError> {
    let address = config.listen_address(spec)?;
    let bound = if config.share_port {
        bind_shared(address)
    } else {
        TcpListener::bind(address).await
    };
    bound.map_err(|source| StartError::Listen {
        service: spec.name,
        address,
        source,
    })
}

fn bind_shared(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Context {
    /// Connects to the service's database, whose schema must be known, and puts the parts
    /// together.
    ///
    /// # Errors
    /// `Database`, `Schema`: says what to run. `Config`: a database is missing.
    pub async fn open(opening: Opening) -> Result<Self, StartError> {
        let Opening {
            spec,
            config,
            listener,
            tasks,
            tracer,
            meter,
            clock,
            shared,
        } = opening;
        let db = open_database(&config, spec).await?;
        let address = listener.local_addr().map_err(|source| StartError::Listen {
            service: spec.name,
            address: SocketAddr::from(([0; 4], spec.port)),
            source,
        })?;
        let context = Self {
            spec,
            kafka: config.kafka(),
            tracer,
            meter,
            clock,
            tasks,
            readiness: Readiness::new(),
            doorbell: Doorbell::new(),
            shared,
            db,
            address,
            listener: Mutex::new(Some(listener)),
            config,
        };
        context.probe_database();
        context.keep_partitions().await;
        Ok(context)
    }

    /// Builds the service; it is ready when [`Context::readiness`] (clone it before) says so.
    ///
    /// # Errors
    /// `Build`.
    pub async fn host<F, Fut>(self, build: F) -> Result<(), StartError>
    where
        F: FnOnce(Self) -> Fut,
        Fut: Future<Output = anyhow::Result<()>>,
    {
        let service = self.spec.name;
        let built = self.readiness.require("build");
        build(self).await.map_err(|error| StartError::Build {
            service,
            source: error.into(),
        })?;
        built.set(true);
        Ok(())
    }

    /// The service's own database.
    ///
    /// # Panics
    /// The service has none: its line in [`crate::SERVICES`] says so.
    #[must_use]
    pub fn db(&self) -> &Db {
        self.db
            .as_ref()
            .expect("a service asks for the database that the table gives it")
    }

    /// Where the service listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where other services are found; give them to [`palinode_rpc::channel`].
    #[must_use]
    pub fn peers(&self) -> &Peers {
        &self.config.peers
    }

    /// Runs a task of this service; see [`Tasks::spawn`].
    pub fn spawn<F>(&self, name: &str, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.tasks
            .spawn(format!("{}: {name}", self.spec.name), task);
    }

    /// The listener, for a service that speaks something else than gRPC.
    ///
    /// # Panics
    /// It was taken before.
    #[must_use]
    pub fn take_listener(&self) -> TcpListener {
        self.listener
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .expect("a service serves its listener once")
    }

    /// A gRPC server of no service yet, with this service's tracer. Behind an authorizer it limits what one
    /// caller may ask, as the settings say.
    #[must_use]
    pub fn grpc(&self, door: Door) -> Server {
        let rate = NonZeroU32::new(self.config.call_limit);
        let rate = rate.filter(|_| matches!(door, Door::Authorized(_)));
        let server = Server::new(self.tracer.clone(), self.clock.clone(), door);
        let Some(rate) = rate else { return server };
        let buckets = Buckets::new(rate);
        self.forget_quiet(buckets.clone());
        server.rate(buckets)
    }

    /// Keeps what is remembered of callers small, until the stop.
    pub fn forget_quiet(&self, buckets: Buckets) {
        let stop = self.tasks.stop_token();
        self.spawn("limits", async move {
            tokio::select! {
                () = stop.cancelled() => Ok(()),
                () = buckets.forget() => Ok(()),
            }
        });
    }

    /// An authorizer in front of this service, with the keys that identity publishes. The service is not ready
    /// before it has some.
    ///
    /// # Errors
    /// A method of our contracts has no rule.
    pub fn authorizer(&self) -> Result<Authorizer, palinode_rpc::Unruled> {
        self.keyed(Some(self.readiness.require("keys of identity")))
    }

    /// The same for who only wants to know who calls, and lets in whom others refuse: it does not wait.
    ///
    /// # Errors
    /// A method of our contracts has no rule.
    pub fn callers(&self) -> Result<Authorizer, palinode_rpc::Unruled> {
        self.keyed(None)
    }

    fn keyed(&self, known: Option<Condition>) -> Result<Authorizer, palinode_rpc::Unruled> {
        let authorizer = Authorizer::new(self.clock.clone())?;
        let keys = Keys {
            identity: palinode_rpc::channel(&self.peers().identity),
            authorizer: authorizer.clone(),
            known,
        };
        let stop = self.tasks.stop_token();
        self.spawn("keys", async move {
            tokio::select! {
                () = stop.cancelled() => Ok(()),
                () = keys.keep() => Ok(()),
            }
        });
        Ok(authorizer)
    }

    /// What this service shows when it calls others in its own name: a token from identity, which is
    /// renewed. The service is not ready before it has one.
    ///
    /// # Errors
    /// `NoServiceSecret`.
    pub fn credentials(&self) -> Result<Credentials, ConfigError> {
        let name = self.spec.name;
        let secret = self.config.service_secret.as_ref();
        let secret = secret.ok_or(ConfigError::NoServiceSecret(name))?;
        let credentials = Credentials::default();
        let own = OwnToken {
            identity: palinode_rpc::channel(&self.peers().identity),
            service: name,
            secret: secret.clone(),
            credentials: credentials.clone(),
            known: self.readiness.require("token of identity"),
        };
        let stop = self.tasks.stop_token();
        self.spawn("own token", async move {
            tokio::select! {
                () = stop.cancelled() => Ok(()),
                () = own.keep() => Ok(()),
            }
        });
        Ok(credentials)
    }

    /// Serves gRPC on the listener. Its health follows [`Context::readiness`].
    pub fn serve_grpc(&self, server: Server) {
        let (listener, stop) = (self.take_listener(), self.tasks.stop_token());
        let (health, readiness) = (server.health(), self.readiness.clone());
        let stopped = stop.clone();
        self.spawn("health", async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = follow(&readiness, &health) => {}
            }
            health.set_not_ready();
            Ok(())
        });
        self.spawn(
            "grpc",
            async move { Ok(server.serve(listener, stop).await?) },
        );
    }

    /// Joins a consumer group and hands its batches to `handler`; the service is not ready before
    /// the group has assigned its partitions. `group` is the service's name, and its part if it
    /// has several loops.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn consume<H>(
        &self,
        group: &str,
        topics: &[Topic],
        handler: H,
    ) -> Result<(), palinode_messaging::Error>
    where
        H: BatchHandler + Send + Sync + 'static,
    {
        let consumer = Consumer::start(&ConsumerOptions {
            turns: Some(self.shared.turns.clone()),
            ..ConsumerOptions::new(&self.kafka, group, topics)
        })?;
        let assigned = self.readiness.require(format!("consumer {group}"));
        let (mut status, stop) = (consumer.status(), self.tasks.stop_token());
        let waiting = stop.clone();
        self.spawn(&format!("consumer {group} joins"), async move {
            tokio::select! {
                () = waiting.cancelled() => return Ok(()),
                // the consumer's own task reports why it went
                joined = status.wait_for(|status| status.assigned) => assigned.set(joined.is_ok()),
            }
            waiting.cancelled().await;
            Ok(())
        });
        self.spawn(&format!("consumer {group}"), async move {
            Ok(consumer.run(handler, stop).await?)
        });
        Ok(())
    }

    /// Publishes the service's outbox from this process, unless the settings leave that to
    /// another.
    ///
    /// # Errors
    /// The producer cannot be made, or a database is missing.
    pub fn spawn_relay(&self) -> anyhow::Result<()> {
        match self.config.relay {
            RelayMode::InProcess => relay::spawn_for(self),
            RelayMode::None => Ok(()),
        }
    }

    /// Makes the days that are missing before anything is written, and keeps them from then on.
    async fn keep_partitions(&self) {
        let Some(db) = self
            .db
            .clone()
            .filter(|_| self.spec.area.is_some_and(Area::has_outbox))
        else {
            return;
        };
        let service = self.spec.name;
        let mut pause = partitions(&db, service).await;
        let stop = self.tasks.stop_token();
        self.spawn("partitions", async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = tokio::time::sleep(pause) => pause = partitions(&db, service).await,
                }
            }
        });
    }

    fn probe_database(&self) {
        let Some(db) = self.db.clone() else { return };
        let (answers, stop) = (self.readiness.require("database"), self.tasks.stop_token());
        answers.set(true); // it has just answered
        self.spawn("database probe", async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = probe(&db, &answers) => {}
            }
            Ok(())
        });
    }
}

async fn open_database(config: &Config, spec: ServiceSpec) -> Result<Option<Db>, StartError> {
    let Some(area) = spec.area else {
        return Ok(None);
    };
    let url = config
        .database_url
        .as_ref()
        .ok_or(ConfigError::NoDatabase(spec.name))?;
    let options = Options {
        url: url.of(area),
        service: spec.name.to_owned(),
        connections_max: config.database_connections,
    };
    let db = Db::connect(&options)
        .await
        .map_err(|source| StartError::Database {
            service: spec.name,
            url: url.to_string(),
            source,
        })?;
    require_current_schema(&db, area).await?;
    if area.has_outbox() {
        let topics = palinode_outbox::require_topics(&db, &config.topic_prefix).await;
        topics.map_err(|source| StartError::Topics {
            service: spec.name,
            source,
        })?;
    }
    Ok(Some(db))
}

/// Keeps the partitions once, and says when it has to be done again. What cannot be done harms
/// nothing today: rows without a day of their own go to the default partition.
async fn partitions(db: &Db, service: &'static str) -> Duration {
    let done = match keep_partitions(db).await {
        Ok(done) => done,
        Err(error) if error.is_transient() => {
            tracing::debug!(service, %error, "the partitions are busy, looked at again soon");
            return PARTITIONS_AGAIN;
        }
        Err(error) => {
            tracing::error!(
                service,
                error = ?error,
                "partitions cannot be kept: does the service's role own its tables?"
            );
            return PARTITIONS_EVERY;
        }
    };
    for (table, day) in &done.dropped {
        tracing::info!(service, table, %day, "a day was dropped");
    }
    for (table, day) in &done.refused {
        tracing::error!(service, table, %day, "a day stays in the default partition: too many rows");
    }
    for table in &done.strays {
        tracing::warn!(
            service,
            table,
            "rows have no day of their own: they are never dropped"
        );
    }
    PARTITIONS_EVERY
}

async fn probe(db: &Db, answers: &Condition) {
    loop {
        tokio::time::sleep(PROBE_EVERY).await;
        let answer = db.ping().await;
        if let Err(error) = &answer {
            tracing::warn!(%error, "the database does not answer");
        }
        answers.set(answer.is_ok());
    }
}

async fn follow(readiness: &Readiness, health: &Health) {
    loop {
        readiness.ready().await;
        health.set_ready();
        readiness.not_ready().await;
        health.set_not_ready();
    }
}
