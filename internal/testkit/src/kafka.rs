//! A real Apache Kafka from its published jars, on the machine's Java: one process that is broker
//! and controller in one, without containers.
//!
//! Slower to start than the in-process broker, and with everything that one lacks: topic creation,
//! transactions, retention by time, data that survives a restart.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rand::seq::IndexedRandom;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::Progress;
use crate::process::{self, Child};
use crate::scratch;

mod error;
mod jars;
mod ready;

pub use error::Error;

/// The version of Kafka that is fetched. 4.4.0 is listed, but one of its dependencies is missing.
pub const VERSION: &str = "4.3.1";

/// What a broker of this version runs on.
const JAVA_MIN: u32 = 17;

/// The features that `kafka-storage format` of this version writes for a new broker: without this
/// file a broker has neither consumer groups of the new kind nor transactions. Made once by that
/// tool and copied since, which saves starting Java twice.
const BOOTSTRAP: &[u8] = include_bytes!("../../../deploy/local/kafka/bootstrap-4.3.1.checkpoint");

/// A start that takes longer has failed.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How a broker is stopped: it hands over and writes everything within a fraction of a second,
/// three seconds under load.
const STOP: [(Signal, Duration); 1] = [(Signal::TERM, Duration::from_secs(10))];

const MARKER: &str = "palinode-kafka";
const TEMP_PREFIX: &str = "palinode-kafka-";

/// What to start, and where.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A folder that keeps the data from one start to the next; `None`: a temporary one, deleted
    /// at the end.
    pub data_dir: Option<PathBuf>,
    /// The port for clients on 127.0.0.1; `None`: any free one.
    pub port: Option<u16>,
    /// Who hears that the jars are downloaded.
    pub progress: Progress,
}

/// A running broker. It stops when it is dropped, and when this process dies.
#[derive(Debug)]
pub struct Broker {
    // Fields drop in this order: the broker ends before its folder goes.
    process: Process,
    launch: Launch,
    ports: Ports,
}

impl Broker {
    /// Starts a broker and waits until it answers: one to three seconds; up to a minute more when
    /// its jars have to be fetched first.
    ///
    /// # Errors
    /// See [`Error`]; each says what to do about it.
    pub async fn start(options: Options) -> Result<Broker, Error> {
        let wanted = options.port;
        let launch = tokio::task::spawn_blocking(move || Launch::prepare(&options))
            .await
            .expect("preparing a folder does not panic")?;
        // Somebody else may take a port between our look and the broker's start.
        let mut tries_left = 3;
        loop {
            let ports = Ports::free(wanted)?;
            match launch.start(ports).await {
                Ok(process) => {
                    return Ok(Broker {
                        process,
                        launch,
                        ports,
                    });
                }
                Err(Error::Start { tail, .. }) if tail.contains("Address already in use") => {
                    tries_left -= 1;
                    if tries_left == 0 {
                        return Err(Error::PortTaken(ports.broker));
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Where clients connect: `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.broker)
    }

    /// The process id of the broker.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.0.pid()
    }

    /// Whether the broker has ended by itself.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.process.0.ended().is_some()
    }

    /// Stops the broker and frees its ports. Data that is kept stays.
    pub async fn stop(self) {
        tokio::task::spawn_blocking(move || drop(self))
            .await
            .expect("stopping a process does not panic");
    }

    /// Kills the broker, as a power cut would, and waits until it is gone. What it acknowledged is
    /// there again after [`Broker::restart`].
    pub fn kill(&self) {
        self.process.0.stop(&[]);
    }

    /// Starts the broker again on the same ports and folder, after stopping it if it still runs.
    ///
    /// After [`Broker::kill`] this takes up to five seconds: the controller refuses the broker
    /// until its old session is over.
    ///
    /// # Errors
    /// As for [`Broker::start`].
    pub async fn restart(&mut self) -> Result<(), Error> {
        let child = self.process.0.clone();
        tokio::task::spawn_blocking(move || child.stop(&STOP))
            .await
            .expect("stopping a process does not panic");
        self.process = self.launch.start(self.ports).await?;
        Ok(())
    }
}

#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.stop(&STOP);
    }
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    broker: u16,
    controller: u16,
}

impl Ports {
    fn free(wanted: Option<u16>) -> Result<Ports, Error> {
        let taken = |_| Error::PortTaken(wanted.unwrap_or_default());
        let broker = TcpListener::bind(("127.0.0.1", wanted.unwrap_or(0))).map_err(taken)?;
        let controller = TcpListener::bind(("127.0.0.1", 0)).map_err(taken)?;
        Ok(Ports {
            broker: broker.local_addr().map_err(taken)?.port(),
            controller: controller.local_addr().map_err(taken)?.port(),
        })
    }
}

/// All that a start needs, and a restart again.
#[derive(Debug)]
struct Launch {
    java: PathBuf,
    jars: PathBuf,
    // The lock is given back before a temporary folder goes.
    _lock: File,
    folder: PathBuf,
    _temp: Option<TempDir>,
}

impl Launch {
    /// Finds Java, gets the jars and takes the folder. Blocks.
    fn prepare(options: &Options) -> Result<Launch, Error> {
        let java = jars::java()?;
        let jars = jars::jars(options.progress)?;
        let (folder, temp) = match &options.data_dir {
            Some(folder) => (folder.clone(), None),
            None => {
                let place = std::env::temp_dir();
                scratch::sweep(&place, TEMP_PREFIX, MARKER, |_| Ok(()));
                let temp = tempfile::Builder::new()
                    .prefix(TEMP_PREFIX)
                    .tempdir_in(&place);
                let temp = temp.map_err(|source| Error::DataDir {
                    path: place,
                    source,
                })?;
                (temp.path().to_owned(), Some(temp))
            }
        };
        let unusable = |source| Error::DataDir {
            path: folder.clone(),
            source,
        };
        fs::create_dir_all(&folder).map_err(unusable)?;
        let folder = fs::canonicalize(&folder).map_err(unusable)?;
        let lock = scratch::lock(&folder.join(MARKER)).map_err(unusable)?;
        let lock = lock.ok_or_else(|| Error::InUse(folder.clone()))?;
        format(&folder.join("log")).map_err(unusable)?;
        Ok(Launch {
            java,
            jars,
            _lock: lock,
            folder,
            _temp: temp,
        })
    }

    fn log(&self) -> PathBuf {
        self.folder.join("kafka.log")
    }

    async fn start(&self, ports: Ports) -> Result<Process, Error> {
        let process = self.spawn(ports)?;
        let failed = |what| Error::Start {
            what,
            log: self.log(),
            tail: process::tail(&self.log()),
        };
        let until = Instant::now() + START_LIMIT;
        while !ready::answers(ports.broker).await {
            if let Some(status) = process.0.ended() {
                return Err(failed(format!("it ended with {status}")));
            }
            if Instant::now() > until {
                return Err(failed(format!(
                    "no answer within {} s",
                    START_LIMIT.as_secs()
                )));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tracing::debug!(port = ports.broker, folder = %self.folder.display(), "Kafka is ready");
        Ok(process)
    }

    fn spawn(&self, ports: Ports) -> Result<Process, Error> {
        let properties = self.folder.join("server.properties");
        let prepare = || {
            fs::write(&properties, server_properties(&self.folder, ports))?;
            let log = File::create(self.log())?;
            Ok((log.try_clone()?, log))
        };
        let unusable = |source| Error::DataDir {
            path: self.folder.clone(),
            source,
        };
        let (stdout, stderr) = prepare().map_err(unusable)?;
        let mut command = Command::new(&self.java);
        // Small and quick to start, for an hour of tests rather than for months of service.
        command.args([
            "-Xms128m",
            "-Xmx256m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
        ]);
        command.arg("-Dorg.slf4j.simpleLogger.showDateTime=true");
        command.arg("-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS");
        command
            .arg("-cp")
            .arg(self.jars.join("*"))
            .arg("kafka.Kafka")
            .arg(&properties);
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        // The folder of the broker's own notes; else they would land wherever we run.
        command.current_dir(&self.folder);
        Child::spawn("kafka", command, Signal::TERM)
            .map(Process)
            .map_err(|_| Error::NoJava)
    }
}

/// Makes `log` a broker's data folder, as `kafka-storage format` does; nothing if it is one.
fn format(log: &Path) -> io::Result<()> {
    let properties = log.join("meta.properties");
    if properties.exists() {
        return Ok(());
    }
    fs::create_dir_all(log)?;
    fs::write(log.join("bootstrap.checkpoint"), BOOTSTRAP)?;
    let (cluster, directory) = (random_id(), random_id());
    // Last: a folder that has it is complete.
    let text = format!("version=1\ncluster.id={cluster}\nnode.id=1\ndirectory.id={directory}\n");
    fs::write(properties, text)
}

/// Sixteen random bytes as Kafka writes them: 22 characters of unpadded base64 for URLs, of which
/// the last one has two bits to carry.
fn random_id() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const LAST: &[u8; 4] = b"AQgw";
    let mut rng = rand::rng();
    let mut pick = |from: &[u8]| char::from(*from.choose(&mut rng).expect("not empty"));
    // Never a dash in front, which Kafka's own tools would take for an option.
    let mut id = String::from(pick(&ALPHABET[..62]));
    id.extend((1..21).map(|_| pick(ALPHABET)));
    id.push(pick(LAST));
    id
}

/// One node that is its own quorum. The timeouts are short, so that a killed broker is soon back;
/// the cleaner's buffer is small, because the default alone is half of the heap.
fn server_properties(folder: &Path, ports: Ports) -> String {
    let Ports { broker, controller } = ports;
    format!(
        "\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={log}
num.partitions=8
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=2000
group.consumer.min.session.timeout.ms=3000
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=1000
log.cleaner.dedupe.buffer.size=4194304
num.io.threads=4
num.network.threads=2
background.threads=2
",
        log = folder.join("log").display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_as_kafka_writes_them() {
        let (one, other) = (random_id(), random_id());
        assert_ne!(one, other);
        assert_eq!(one.len(), 22);
        assert!(!one.starts_with('-'));
    }

    #[test]
    fn the_embedded_files_are_of_one_version() {
        let pom = include_str!("../../../deploy/local/kafka/pom.xml");
        assert!(pom.contains(&format!("<version>{VERSION}</version>")));
        assert_eq!(BOOTSTRAP.len(), 411);
    }
}
