use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use palinode_messaging::{BrokerKind, Kafka};
use palinode_rpc::channel;
use palinode_service::SERVICES;
use palinode_testkit::process::{Child, tail};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::gateway::Gateway;
use crate::stack::random_secret;

const READY_LIMIT: Duration = Duration::from_secs(90);
const LISTEN_LIMIT: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Above the limit that a service gives itself.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Processes to be started.
#[derive(Debug, Clone)]
pub struct FleetOptions {
    /// The executable of the tool: `serve <service>` runs one service.
    pub program: PathBuf,
    /// A migrated PostgreSQL server; names no database.
    pub database_url: String,
    /// Kafka, with all topics.
    pub kafka: Kafka,
    /// The gateway's port; `None`: any free one.
    pub gateway_port: Option<u16>,
    /// Where each service leaves its log; `None`: thrown away at the end.
    pub logs: Option<PathBuf>,
    /// Which log lines are written.
    pub log: String,
    /// Where spans go, if anywhere.
    pub otlp_endpoint: Option<String>,
}

/// Every service as a process of its own, the relay too. They end with this process.
#[derive(Debug)]
pub struct Fleet {
    program: PathBuf,
    variables: BTreeMap<&'static str, String>,
    addresses: BTreeMap<&'static str, Address>,
    logs: PathBuf,
    own_logs: Mutex<Option<TempDir>>,
    children: Mutex<BTreeMap<&'static str, Child>>,
}

impl Fleet {
    /// Starts a process for each service and waits until all are ready.
    ///
    /// # Errors
    /// A process ended, or is not ready in time: with the last lines of its log.
    pub async fn start(options: FleetOptions) -> anyhow::Result<Self> {
        let own_logs = match &options.logs {
            Some(folder) => {
                fs::create_dir_all(folder)
                    .with_context(|| format!("the folder {}", folder.display()))?;
                None
            }
            None => Some(
                tempfile::Builder::new()
                    .prefix("palinode-logs-")
                    .tempdir()?,
            ),
        };
        let logs = match (&options.logs, &own_logs) {
            (Some(folder), _) => folder.clone(),
            (None, Some(own)) => own.path().to_owned(),
            (None, None) => std::env::temp_dir(),
        };
        let addresses = addresses(options.gateway_port)?;
        let fleet = Self {
            variables: variables(&options, &addresses),
            program: options.program,
            addresses,
            logs,
            own_logs: Mutex::new(own_logs),
            children: Mutex::default(),
        };
        for spec in SERVICES {
            fleet.spawn(spec.name)?;
        }
        for spec in SERVICES {
            fleet.ready(spec.name).await?;
        }
        Ok(fleet)
    }

    /// The gateway's address, as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addresses["gateway"].at)
    }

    /// Services and where they listen.
    #[must_use]
    pub fn addresses(&self) -> BTreeMap<&'static str, SocketAddr> {
        let addresses = self.addresses.iter();
        addresses
            .map(|(name, address)| (*name, address.at))
            .collect()
    }

    /// Where the logs are.
    #[must_use]
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// Keeps the logs after the end, for whoever asks why; says where.
    pub fn keep_logs(&self) {
        let own = self
            .own_logs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(own) = own {
            let folder = own.keep();
            tracing::error!(folder = %folder.display(), "the logs of all services are kept");
        }
    }

    /// Kills a service, as a power cut would, and waits until it is gone.
    pub async fn kill(&self, name: &'static str) {
        let child = self.children().get(name).cloned();
        if let Some(child) = child {
            // it waits for the system, which takes milliseconds
            tokio::task::spawn_blocking(move || child.stop(&[]))
                .await
                .ok();
        }
    }

    /// Starts a service that is gone.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn spawn(&self, name: &'static str) -> anyhow::Result<()> {
        let log = self.log_of(name);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("the log {}", log.display()))?;
        let mut command = Command::new(&self.program);
        for (variable, _) in std::env::vars_os() {
            // only what is said here holds for the services
            if variable.to_string_lossy().starts_with("PALINODE_") {
                command.env_remove(variable);
            }
        }
        command
            .args(["serve", name])
            .envs(&self.variables)
            .env("PALINODE_LISTEN", self.addresses[name].at.to_string())
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let child = Child::spawn(name, command, Signal::TERM)
            .with_context(|| format!("{} cannot be started", self.program.display()))?;
        self.children().insert(name, child);
        Ok(())
    }

    /// Waits until a service answers at its address, ready or not.
    ///
    /// # Errors
    /// Its process ended, or it takes too long.
    pub async fn listens(&self, name: &'static str) -> anyhow::Result<()> {
        self.until(name, LISTEN_LIMIT, async || {
            TcpStream::connect(self.addresses[name].at).await.is_ok()
        })
        .await
    }

    /// Waits until a service says that it is ready.
    ///
    /// # Errors
    /// Its process ended, or it takes too long.
    pub async fn ready(&self, name: &'static str) -> anyhow::Result<()> {
        if name == "gateway" {
            let gateway = Gateway::at(&self.url())?;
            let ready = async || {
                let answer = gateway.get("/readyz").await;
                answer.is_ok_and(|answer| answer.status.is_success())
            };
            return self.until(name, READY_LIMIT, ready).await;
        }
        let channel = channel(&self.addresses[name].at.to_string().parse()?);
        let ready = async || {
            let request = HealthCheckRequest {
                service: String::new(),
            };
            let answer = HealthClient::new(channel.clone()).check(request).await;
            answer.is_ok_and(|answer| answer.into_inner().status() == ServingStatus::Serving)
        };
        self.until(name, READY_LIMIT, ready).await
    }

    /// Services whose process has ended.
    #[must_use]
    pub fn ended(&self) -> Vec<&'static str> {
        let children = self.children();
        let ended = children.iter().filter(|(_, child)| child.ended().is_some());
        ended.map(|(name, _)| *name).collect()
    }

    /// Asks every process to stop and waits for it.
    ///
    /// # Errors
    /// Names those that did not end with success.
    pub async fn stop(self) -> anyhow::Result<()> {
        let children = std::mem::take(&mut *self.children());
        let stopped = tokio::task::spawn_blocking(move || {
            for child in children.values() {
                child.signal(Signal::TERM);
            }
            let mut failed = Vec::new();
            for (name, child) in &children {
                match child.wait(STOP_LIMIT) {
                    Some(status) if status.success() => {}
                    Some(status) => failed.push(format!("{name} ended with {status}")),
                    None => {
                        child.stop(&[]);
                        failed.push(format!("{name} had to be killed"));
                    }
                }
            }
            failed
        });
        let failed = stopped.await?;
        anyhow::ensure!(failed.is_empty(), "{}", failed.join(", "));
        Ok(())
    }

    async fn until(
        &self,
        name: &'static str,
        limit: Duration,
        fact: impl AsyncFn() -> bool,
    ) -> anyhow::Result<()> {
        let until = Instant::now() + limit;
        loop {
            // first: what answers there may be something else
            let ended = self.children().get(name).and_then(Child::ended);
            if ended.is_none() && fact().await {
                return Ok(());
            }
            if ended.is_some() || Instant::now() > until {
                let how = ended.map_or_else(
                    || format!("is not there within {} s", limit.as_secs()),
                    |status| format!("ended with {status}"),
                );
                anyhow::bail!(
                    "{name} {how}; its log ends with\n{}",
                    tail(&self.log_of(name))
                );
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    fn log_of(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    fn children(&self) -> MutexGuard<'_, BTreeMap<&'static str, Child>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for child in self.children().values() {
            child.signal(Signal::KILL);
        }
    }
}

/// An address for each service, its usual port or a free one where that is taken, and what keeps it.
fn addresses(gateway_port: Option<u16>) -> anyhow::Result<BTreeMap<&'static str, Address>> {
    let mut addresses = BTreeMap::new();
    for spec in SERVICES {
        let wanted = match (spec.name, gateway_port) {
            ("gateway", Some(port)) => port,
            ("gateway", None) => 0,
            _ => spec.port,
        };
        let address = match (Address::keep(wanted), spec.name) {
            (Ok(address), _) => address,
            (Err(error), "gateway") => {
                return Err(error).with_context(|| {
                    format!("port {wanted} is taken: stop what uses it, or give another --port")
                });
            }
            (Err(_), _) => Address::keep(0)?,
        };
        addresses.insert(spec.name, address);
    }
    Ok(addresses)
}

/// Where a service listens, kept for it while it is away: with the port free for a moment, another process could
/// get it, and be taken for the service.
#[derive(Debug)]
struct Address {
    at: SocketAddr,
    /// Bound, and never listening: whoever connects while the service is away is refused.
    _kept: TcpSocket,
}

impl Address {
    /// Port 0: any free one.
    fn keep(port: u16) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseport(true)?;
        socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
        Ok(Self {
            at: socket.local_addr()?,
            _kept: socket,
        })
    }
}

fn variables(
    options: &FleetOptions,
    addresses: &BTreeMap<&'static str, Address>,
) -> BTreeMap<&'static str, String> {
    let broker = match options.kafka.broker {
        BrokerKind::Real => "real",
        BrokerKind::InProcess => "in-process",
    };
    let mut variables = BTreeMap::from([
        ("PALINODE_DATABASE_URL", options.database_url.clone()),
        ("PALINODE_KAFKA", options.kafka.bootstrap.clone()),
        ("PALINODE_BROKER", broker.to_owned()),
        ("PALINODE_TOPIC_PREFIX", options.kafka.prefix.clone()),
        ("PALINODE_RELAY", "none".to_owned()),
        ("PALINODE_SHARE_PORT", "true".to_owned()),
        ("PALINODE_LOG", options.log.clone()),
        ("PALINODE_SERVICE_SECRET", random_secret()),
        // whoever is on this machine may load it as he likes
        ("PALINODE_RATE_LIMIT", "0".to_owned()),
        ("PALINODE_CALL_LIMIT", "0".to_owned()),
        // ten pools on one server
        ("PALINODE_DATABASE_CONNECTIONS", "8".to_owned()),
    ]);
    if let Some(endpoint) = &options.otlp_endpoint {
        variables.insert("PALINODE_OTLP_ENDPOINT", endpoint.clone());
    }
    for (variable, name) in [
        ("PALINODE_ORDER", "order"),
        ("PALINODE_INVENTORY", "inventory"),
        ("PALINODE_PAYMENT", "payment"),
        ("PALINODE_SHIPPING", "shipping"),
        ("PALINODE_ORCHESTRATOR", "orchestrator"),
        ("PALINODE_CARDPROCESSOR", "cardprocessor"),
        ("PALINODE_IDENTITY", "identity"),
        ("PALINODE_CATALOG", "catalog"),
    ] {
        variables.insert(variable, addresses[name].at.to_string());
    }
    variables
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use palinode_service::{Config, bind, service};

    use super::*;

    #[tokio::test]
    async fn the_port_of_a_service_that_is_away_is_kept_for_it() {
        let address = Address::keep(0).unwrap();
        let mut alone = Config::from_map(&BTreeMap::new()).unwrap();
        alone.listen = Some(address.at);
        let mut shares = alone.clone();
        shares.share_port = true;
        let relay = service("relay").unwrap();
        for _life in 0..2 {
            // nobody is there, and nobody else can be
            assert!(TcpStream::connect(address.at).await.is_err());
            assert!(TcpListener::bind(address.at).is_err());
            assert!(bind(&alone, relay).await.is_err());
            let listener = bind(&shares, relay).await.unwrap();
            assert!(TcpListener::bind(address.at).is_err());
            let (met, _) = tokio::join!(TcpStream::connect(address.at), listener.accept());
            met.unwrap();
        }
        drop(address);
    }
}
