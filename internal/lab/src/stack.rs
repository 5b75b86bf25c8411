use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use palinode_messaging::{BrokerKind, Kafka};
use palinode_service::{
    Config, Context, DatabaseUrl, Opening, Part, PlanVersion, Readiness, SERVICES, ServiceSpec,
    Shared, Tasks, build_relay,
};
use palinode_telemetry::{InMemorySpanExporter, Meter, Tracer};
use palinode_values::Clock;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A stack whose services are not ready by then will not be.
const READY_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Where services listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// Any free ports.
    Free,
    /// The usual ones, and free ones in place of those that are taken. The gateway's own is as
    /// asked.
    Usual(GatewayPort),
}

/// Where the gateway listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayPort {
    /// Here and nowhere else.
    Exactly(u16),
    /// Here, or at any free port when that is taken.
    Preferably(u16),
}

/// Where spans go.
#[derive(Debug, Clone, Default)]
pub enum Tracing {
    /// Nowhere.
    #[default]
    Off,
    /// Into memory: for tests.
    Memory(InMemorySpanExporter),
    /// To an OTLP collector.
    Otlp(String),
}

/// A stack to be started.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// A migrated PostgreSQL server; names no database.
    pub database_url: String,
    /// Kafka, with all topics.
    pub kafka: Kafka,
    /// Where services listen.
    pub ports: Ports,
    /// Where spans go.
    pub tracing: Tracing,
    /// Versions of plans that new sagas run; the others run the one that is current.
    pub plans: Vec<PlanVersion>,
    /// Requests a second that one caller of the gateway may make; 0: any number.
    pub rate_limit: u32,
}

/// Every service in this process, each with its own pools, relay and address: they meet over
/// Kafka and gRPC alone, as they do in processes of their own.
#[derive(Debug)]
pub struct Stack {
    tasks: Tasks,
    addresses: Vec<(&'static str, SocketAddr)>,
    tracers: Vec<Tracer>,
}

/// The service of that name as a part of a process.
#[must_use]
pub fn part(name: &str) -> Option<Part> {
    match name {
        "order" => Part::new(name, palinode_order::build),
        "inventory" => Part::new(name, palinode_inventory::build),
        "payment" => Part::new(name, palinode_payment::build),
        "shipping" => Part::new(name, palinode_shipping::build),
        "orchestrator" => Part::new(name, palinode_orchestrator::build),
        "cardprocessor" => Part::new(name, palinode_cardprocessor::build),
        "identity" => Part::new(name, palinode_identity::build),
        "catalog" => Part::new(name, palinode_catalog::build),
        "gateway" => Part::new(name, palinode_gateway::build),
        "relay" => Part::new(name, build_relay),
        _ => None,
    }
}

impl Stack {
    /// Starts every service and waits until all are ready.
    ///
    /// # Errors
    /// A service cannot start, its port is taken, or it is not ready in time; says which.
    pub async fn start(options: StackOptions) -> anyhow::Result<Self> {
        // each service relays its own outbox, so there is no relay among them
        let specs = SERVICES.iter().filter(|spec| spec.name != "relay");
        let mut config = config_of(&options)?;
        let mut listeners = Vec::new();
        for &spec in specs {
            let listener = listen(spec, options.ports).await?;
            let address = listener.local_addr()?;
            if config.peers.of(spec.name).is_some() {
                config.peers.set(spec.name, address)?;
            }
            listeners.push((spec, listener, address));
        }
        let config = Arc::new(config);
        let mut stack = Self {
            tasks: Tasks::new(),
            addresses: Vec::new(),
            tracers: Vec::new(),
        };
        let mut waiting = Vec::new();
        let shared = Shared::default();
        for (spec, listener, address) in listeners {
            stack.addresses.push((spec.name, address));
            let tracer = tracer_of(&options.tracing, spec.name)?;
            stack.tracers.push(tracer.clone());
            let opening = Opening {
                spec,
                config: Arc::clone(&config),
                listener,
                tasks: stack.tasks.clone(),
                tracer,
                meter: Meter::disabled(),
                clock: Clock::system(),
                shared: shared.clone(),
            };
            waiting.push((spec.name, host(opening).await?));
        }
        stack.ready(waiting).await?;
        Ok(stack)
    }

    /// The gateway's address, as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        let gateway = self.addresses.iter().find(|(name, _)| *name == "gateway");
        let (_, address) = gateway.expect("a stack has a gateway");
        format!("http://{address}")
    }

    /// Services and where they listen.
    #[must_use]
    pub fn addresses(&self) -> &[(&'static str, SocketAddr)] {
        &self.addresses
    }

    /// Cancelled when the stack stops, by itself after a failure.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.tasks.stop_token()
    }

    /// Stops every service.
    ///
    /// # Errors
    /// A task had failed, or did not end in time.
    pub async fn stop(self) -> anyhow::Result<()> {
        let stopped = self.tasks.stop(STOP_LIMIT).await;
        let tracers = self.tracers;
        tokio::task::spawn_blocking(move || tracers.iter().for_each(Tracer::flush))
            .await
            .context("spans were not flushed")?;
        if let Some(failure) = self.tasks.failed().borrow().clone() {
            return Err(failure.into());
        }
        Ok(stopped?)
    }

    async fn ready(&self, waiting: Vec<(&'static str, Readiness)>) -> anyhow::Result<()> {
        let stop = self.tasks.stop_token();
        let all = async {
            for (_, readiness) in &waiting {
                readiness.ready().await;
            }
        };
        tokio::select! {
            () = all => Ok(()),
            () = stop.cancelled() => {
                let failure = self.tasks.failed().borrow().clone();
                Err(failure.map_or_else(|| anyhow::anyhow!("stopped"), Into::into))
            }
            () = tokio::time::sleep(READY_LIMIT) => {
                let missing: Vec<String> = waiting
                    .iter()
                    .filter(|(_, readiness)| !readiness.is_ready())
                    .map(|(name, readiness)| format!("{name}: {}", readiness.missing().join(", ")))
                    .collect();
                anyhow::bail!("not ready in time: {}", missing.join("; "))
            }
        }
    }
}

async fn host(opening: Opening) -> anyhow::Result<Readiness> {
    let part = part(opening.spec.name).expect("every service of the table has its part");
    let context = Context::open(opening).await?;
    let readiness = context.readiness.clone();
    part.host(context).await?;
    Ok(readiness)
}

fn config_of(options: &StackOptions) -> anyhow::Result<Config> {
    let mut config = Config::from_map(&BTreeMap::new())?;
    config.database_url = Some(options.database_url.parse::<DatabaseUrl>()?);
    config.kafka.clone_from(&options.kafka.bootstrap);
    config.topic_prefix.clone_from(&options.kafka.prefix);
    config.plans.clone_from(&options.plans);
    config.rate_limit = options.rate_limit;
    if options.rate_limit == 0 {
        config.call_limit = 0;
    }
    config.service_secret = Some(random_secret().into());
    config.broker = match options.kafka.broker {
        BrokerKind::Real => palinode_service::Broker::Real,
        BrokerKind::InProcess => palinode_service::Broker::InProcess,
    };
    Ok(config)
}

/// What the services of one stack have in common, and no other stack.
pub(crate) fn random_secret() -> String {
    format!(
        "{:032x}{:032x}",
        rand::random::<u128>(),
        rand::random::<u128>()
    )
}

fn tracer_of(tracing: &Tracing, service: &str) -> anyhow::Result<Tracer> {
    Ok(match tracing {
        Tracing::Off => Tracer::disabled(),
        Tracing::Memory(exporter) => Tracer::in_memory(service, exporter),
        Tracing::Otlp(endpoint) => Tracer::otlp(service, endpoint)?,
    })
}

async fn listen(spec: ServiceSpec, ports: Ports) -> anyhow::Result<TcpListener> {
    let at = async |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let (port, or_free) = match ports {
        Ports::Free => (0, true),
        Ports::Usual(GatewayPort::Exactly(port)) if spec.name == "gateway" => (port, false),
        Ports::Usual(GatewayPort::Preferably(port)) if spec.name == "gateway" => (port, true),
        Ports::Usual(_) => (spec.port, true),
    };
    match at(port).await {
        Ok(listener) => Ok(listener),
        Err(error) if or_free => {
            tracing::debug!(service = spec.name, port, %error, "listens at a free port");
            Ok(at(0).await?)
        }
        Err(error) => Err(error).with_context(|| taken(spec.name, port)),
    }
}

/// Says early what would fail late: that the gateway's port is taken.
///
/// # Errors
/// It is; with the way out.
pub(crate) fn require_free(port: u16) -> anyhow::Result<()> {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .map(drop)
        .with_context(|| taken("gateway", port))
}

fn taken(name: &str, port: u16) -> String {
    format!(
        "{name} cannot listen at port {port}: stop what uses it, or give another --port \
         (0: any free one)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_of_the_table_has_its_part() {
        let missing = SERVICES.iter().filter(|spec| part(spec.name).is_none());
        let missing: Vec<_> = missing.map(|spec| spec.name).collect();
        assert!(
            missing.is_empty(),
            "add to `part` in lab/src/stack.rs: {missing:?}"
        );
    }
}
