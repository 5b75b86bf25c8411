use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::Resettable;
use clap::{CommandFactory, FromArgMatches, Parser};
use http::uri::Authority;
use http::{HeaderValue, Uri};
use palinode_db::Area;
use palinode_messaging::{BrokerKind, Kafka};
use palinode_telemetry::LogFormat;

use crate::services::ServiceSpec;

/// Settings of a process: what is not given stands in its environment or has its default.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// PostgreSQL. Without a database in it, the URL of a server with a database `palinode_<area>`
    /// for each service; with one, the database of the only service of this process
    #[arg(
        long,
        env = "PALINODE_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub database_url: Option<DatabaseUrl>,
    /// For the relay: a database to publish from; may be repeated [default: that of every service
    /// with an outbox, on the server of --database-url]
    #[arg(
        long = "database",
        env = "PALINODE_DATABASES",
        hide_env_values = true,
        value_name = "NAME=URL",
        value_delimiter = ','
    )]
    pub databases: Vec<NamedDatabase>,
    /// Connections to each database at the most, half of them for the hot path; a relay has three more
    #[arg(long, env = "PALINODE_DATABASE_CONNECTIONS", value_name = "N", default_value_t = 16,
          value_parser = clap::value_parser!(u32).range(2..=500))]
    pub database_connections: u32,
    /// Kafka's bootstrap servers
    #[arg(
        long,
        env = "PALINODE_KAFKA",
        value_name = "HOST:PORT,…",
        default_value = "127.0.0.1:9092"
    )]
    pub kafka: String,
    /// What answers there
    #[arg(long, env = "PALINODE_BROKER", value_enum, default_value_t = Broker::Real)]
    pub broker: Broker,
    /// What the names of topics and consumer groups begin with
    #[arg(
        long,
        env = "PALINODE_TOPIC_PREFIX",
        value_name = "NAME",
        default_value = "palinode"
    )]
    pub topic_prefix: String,
    /// Where to listen, when the process hosts one service [default: the service's own address]
    #[arg(long, env = "PALINODE_LISTEN", value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
    /// Listen at a port that whoever started this process keeps for it, so that nobody else gets it while this process
    /// is away (`SO_REUSEPORT`: other processes of this user may listen there too, if they share it)
    #[arg(long, env = "PALINODE_SHARE_PORT")]
    pub share_port: bool,
    /// Where the services find each other.
    #[command(flatten)]
    pub peers: Peers,
    /// For the orchestrator: the version of a plan that new sagas run; may be repeated [default: the
    /// one that the release has made current]
    #[arg(
        long = "plan",
        env = "PALINODE_PLANS",
        value_name = "NAME@VERSION",
        value_delimiter = ','
    )]
    pub plans: Vec<PlanVersion>,
    /// What services show to identity for a token of theirs, 32 characters at least; the same for all
    /// [default: services get no tokens]
    #[arg(
        long,
        env = "PALINODE_SERVICE_SECRET",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub service_secret: Option<Secret>,
    /// For identity: the e-mail address of the first administrator. While there is none, the account
    /// with this address becomes one, or `admin` is registered with it
    #[arg(
        long,
        env = "PALINODE_FIRST_ADMIN",
        value_name = "EMAIL",
        requires = "first_admin_password"
    )]
    pub first_admin: Option<String>,
    /// The password that the first administrator gets
    #[arg(
        long,
        env = "PALINODE_FIRST_ADMIN_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD"
    )]
    pub first_admin_password: Option<Secret>,
    /// For the gateway: requests a second that one caller may make, and twice as many at once; 0: any number
    #[arg(long, env = "PALINODE_RATE_LIMIT", value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub rate_limit: u32,
    /// For services: calls a second that one caller may make at the service's own port, and twice as many at
    /// once; 0: any number. Who is not signed in is counted by his address, and behind a gateway that is the
    /// gateway's
    #[arg(long, env = "PALINODE_CALL_LIMIT", value_name = "N", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub call_limit: u32,
    /// For the gateway: the certificate that it shows, and those above it, as PEM; it is read again when the
    /// file has changed [default: plain HTTP]
    #[arg(
        long,
        env = "PALINODE_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,
    /// The private key of the certificate, as PEM
    #[arg(
        long,
        env = "PALINODE_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,
    /// For the gateway: what stands before it speaks HTTPS with its clients. Cookies are for HTTPS alone then, and
    /// browsers are told to come by it
    #[arg(long, env = "PALINODE_BEHIND_HTTPS")]
    pub behind_https: bool,
    /// For the gateway: an origin whose pages may use the API, such as `https://shop.example.org`; may be
    /// repeated [default: none]
    #[arg(
        long = "cors-origin",
        env = "PALINODE_CORS_ORIGINS",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub cors_origins: Vec<String>,
    /// Where the outbox is published from
    #[arg(long, env = "PALINODE_RELAY", value_enum, default_value_t = RelayMode::InProcess)]
    pub relay: RelayMode,
    /// OTLP collector for spans, over gRPC [default: spans are not exported]
    #[arg(long, env = "PALINODE_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// OTLP collector for metrics, over gRPC [default: metrics are not exported]
    #[arg(long, env = "PALINODE_OTLP_METRICS_ENDPOINT", value_name = "URL")]
    pub otlp_metrics_endpoint: Option<String>,
    /// Which log lines are written, such as `info,palinode_relay=debug`
    #[arg(
        long,
        env = "PALINODE_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub log: String,
    /// How log lines look
    #[arg(long, env = "PALINODE_LOG_FORMAT", value_enum, default_value_t = LogStyle::Text)]
    pub log_format: LogStyle,
    /// Seconds that a stop may take before what still runs is cut off
    #[arg(long, env = "PALINODE_STOP_LIMIT_S", value_name = "SECONDS", default_value_t = 20,
          value_parser = clap::value_parser!(u64).range(1..=600))]
    pub stop_limit_s: u64,
    /// Show the settings and end
    #[arg(long)]
    pub print_config: bool,
}

/// Where the services find each other, as `HOST:PORT`.
#[derive(Debug, Clone, clap::Args)]
pub struct Peers {
    /// The order service
    #[arg(
        long = "order",
        env = "PALINODE_ORDER",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:50051"
    )]
    pub order: Authority,
    /// The inventory service
    #[arg(
        long = "inventory",
        env = "PALINODE_INVENTORY",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:50052"
    )]
    pub inventory: Authority,
    /// The payment service
    #[arg(
        long = "payment",
        env = "PALINODE_PAYMENT",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:50053"
    )]
    pub payment: Authority,
    /// The shipping service
    #[arg(
        long = "shipping",
        env = "PALINODE_SHIPPING",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:50054"
    )]
    pub shipping: Authority,
    /// The orchestrator
    #[arg(
        long = "orchestrator",
        env = "PALINODE_ORCHESTRATOR",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:50055"
    )]
    pub orchestrator: Authority,
    /// The card processor
    #[arg(
        long = "cardprocessor",
        env = "PALINODE_CARDPROCESSOR",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:50056"
    )]
    pub cardprocessor: Authority,
    /// The identity service
    #[arg(
        long = "identity",
        env = "PALINODE_IDENTITY",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:50058"
    )]
    pub identity: Authority,
    /// The catalog service
    #[arg(
        long = "catalog",
        env = "PALINODE_CATALOG",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:50059"
    )]
    pub catalog: Authority,
}

/// What answers at Kafka's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Broker {
    /// Apache Kafka.
    Real,
    /// The broker inside `palinode dev`.
    InProcess,
}

/// Where the outbox of a service is published from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RelayMode {
    /// The service's own process.
    InProcess,
    /// Another process (`relay`).
    None,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogStyle {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl From<LogStyle> for LogFormat {
    fn from(style: LogStyle) -> Self {
        match style {
            LogStyle::Text => Self::Text,
            LogStyle::Json => Self::Json,
        }
    }
}

/// The URL of a PostgreSQL server or database; its password is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

/// Something that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The fewest characters of the secret that services have in common: 128 bits, in hexadecimal.
const SERVICE_SECRET_LEN_MIN: usize = 32;

/// A database of some service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedDatabase {
    /// The service's name, for logs and metrics.
    pub name: String,
    /// Where it is.
    pub url: DatabaseUrl,
}

/// A version of a plan, `place-order@2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanVersion {
    /// The plan's name.
    pub name: String,
    /// Counts from 1.
    pub version: u32,
}

impl FromStr for PlanVersion {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let named = text.split_once('@').and_then(|(name, version)| {
            let version = version.parse().ok().filter(|version| *version > 0)?;
            (!name.is_empty()).then(|| Self {
                name: name.to_owned(),
                version,
            })
        });
        named.ok_or(ConfigError::Plan)
    }
}

impl fmt::Display for PlanVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

impl FromStr for NamedDatabase {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let (name, url) = text.split_once('=').ok_or(ConfigError::NamedDatabase)?;
        let url: DatabaseUrl = url.parse()?;
        if name.is_empty() || !url.names_one() {
            return Err(ConfigError::NamedDatabase);
        }
        Ok(Self {
            name: name.to_owned(),
            url,
        })
    }
}

/// Settings that do not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A URL that is none of PostgreSQL's.
    #[error(
        "a database URL looks like postgres://user@host:5432 or postgres://user@host:5432/name"
    )]
    DatabaseUrl,
    /// A database of the relay that is no name and URL.
    #[error("--database is NAME=URL, such as order=postgres://user@host:5432/palinode_order")]
    NamedDatabase,
    /// A secret that can be guessed.
    #[error("--service-secret has 32 characters at least, such as `openssl rand -hex 32` draws")]
    ServiceSecret,
    /// A service that calls others was not told the secret.
    #[error(
        "{0} calls other services in its own name: give --service-secret or PALINODE_SERVICE_SECRET, \
         the same as identity's"
    )]
    NoServiceSecret(&'static str),
    /// A page's origin that is none.
    #[error(
        "--cors-origin is an origin such as https://shop.example.org, without a path, and not {0:?}"
    )]
    Origin(String),
    /// A plan that is no name and version.
    #[error("--plan is NAME@VERSION, such as place-order@2")]
    Plan,
    /// A service that owns a database was not told where it is.
    #[error("{0} needs a database: give --database-url or PALINODE_DATABASE_URL")]
    NoDatabase(&'static str),
    /// The relay was not told what to publish from.
    #[error("the relay needs databases: give --database NAME=URL, or the server's --database-url")]
    NoRelayDatabase,
    /// One database for several services.
    #[error(
        "{0} services cannot share one database: give --database-url without a database name, and \
         each uses its own palinode_<area>"
    )]
    SharedDatabase(usize),
    /// One address for several services.
    #[error("{0} services cannot share --listen: each listens where --order, --inventory … say")]
    SharedListen(usize),
    /// The service's own address is a name, and it was not told where to listen.
    #[error("{service} is found at {address}; give --listen, such as --listen 0.0.0.0:{port}")]
    NoListen {
        /// The service.
        service: &'static str,
        /// Where others find it.
        address: String,
        /// Its usual port.
        port: u16,
    },
    /// A prefix that Kafka would not take.
    #[error("--topic-prefix is 1 to 100 characters of a-z A-Z 0-9 . _ -")]
    TopicPrefix,
    /// No address in the list of Kafka's servers.
    #[error("--kafka is HOST:PORT, or several with commas between")]
    Kafka,
    /// A name that is no service.
    #[error("{0:?} is no service")]
    NoService(String),
    /// Text that is no setting.
    #[error("{0}")]
    Arguments(String),
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    config: Config,
}

impl Config {
    /// Settings from a map of `PALINODE_…` variables and from nothing else: for stacks that are put
    /// together by a program, and for tests.
    ///
    /// # Errors
    /// `Arguments`: names the value that cannot be read.
    pub fn from_map(variables: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let command = Line::command();
        let mut line = vec!["palinode".to_owned()];
        for argument in command.get_arguments() {
            let variable = argument.get_env().and_then(|name| name.to_str());
            if let (Some(name), Some(flag)) = (variable, argument.get_long())
                && let Some(value) = variables.get(name)
            {
                line.push(format!("--{flag}={value}"));
            }
        }
        command
            .mut_args(|argument| argument.env(Resettable::Reset))
            .try_get_matches_from(line)
            .and_then(|matches| Line::from_arg_matches(&matches))
            .map(|line| line.config)
            .map_err(|error| ConfigError::Arguments(error.to_string().trim().to_owned()))
    }

    /// Checks what does not depend on which services are hosted, and what does.
    ///
    /// # Errors
    /// Says which setting does not fit, and what to give instead.
    pub fn validate(&self, services: &[ServiceSpec]) -> Result<(), ConfigError> {
        let prefix_fits = (1..=100).contains(&self.topic_prefix.len())
            && self
                .topic_prefix
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if !prefix_fits {
            return Err(ConfigError::TopicPrefix);
        }
        let is_address = |server: &str| {
            server
                .trim()
                .parse::<Authority>()
                .is_ok_and(|address| address.port_u16().is_some())
        };
        if !self.kafka.split(',').all(is_address) {
            return Err(ConfigError::Kafka);
        }
        self.origins()?;
        // not by the parser, which would show what it does not like
        let is_short = |secret: &Secret| secret.0.chars().count() < SERVICE_SECRET_LEN_MIN;
        if self.service_secret.as_ref().is_some_and(is_short) {
            return Err(ConfigError::ServiceSecret);
        }
        if services.len() > 1 && self.listen.is_some() {
            return Err(ConfigError::SharedListen(services.len()));
        }
        let with_database = services.iter().filter(|spec| spec.area.is_some()).count();
        if with_database > 1
            && self
                .database_url
                .as_ref()
                .is_some_and(DatabaseUrl::names_one)
        {
            return Err(ConfigError::SharedDatabase(with_database));
        }
        for spec in services {
            self.listen_address(*spec)?;
            if spec.area.is_some() && self.database_url.is_none() {
                return Err(ConfigError::NoDatabase(spec.name));
            }
            if spec.name == "relay" {
                self.relay_databases()?;
            }
        }
        Ok(())
    }

    /// Origins whose pages may use the API (RFC 6454): scheme, host, and port unless it is the usual one.
    ///
    /// # Errors
    /// `Origin`: names the one that is none.
    pub fn origins(&self) -> Result<Vec<HeaderValue>, ConfigError> {
        let origin = |text: &String| {
            let is_one = text.parse::<Uri>().is_ok_and(|uri| {
                let scheme = uri.scheme_str().unwrap_or_default();
                ["http", "https"].contains(&scheme)
                    && uri
                        .authority()
                        .is_some_and(|host| *text == format!("{scheme}://{host}"))
            });
            let value = HeaderValue::try_from(text.as_str()).ok();
            value
                .filter(|_| is_one)
                .ok_or_else(|| ConfigError::Origin(text.clone()))
        };
        self.cors_origins.iter().map(origin).collect()
    }

    /// Where a service listens.
    ///
    /// # Errors
    /// `NoListen`.
    pub fn listen_address(&self, spec: ServiceSpec) -> Result<SocketAddr, ConfigError> {
        if let Some(address) = self.listen {
            return Ok(address);
        }
        let Some(own) = self.peers.of(spec.name) else {
            return Ok(SocketAddr::from(([127, 0, 0, 1], spec.port)));
        };
        own.as_str()
            .parse()
            .map_err(|_a_name| ConfigError::NoListen {
                service: spec.name,
                address: own.to_string(),
                port: spec.port,
            })
    }

    /// The databases that the relay publishes from, by name: those given, or that of each area with
    /// an outbox.
    ///
    /// # Errors
    /// `NoRelayDatabase`: there is neither a list nor a server.
    pub fn relay_databases(&self) -> Result<Vec<(String, String)>, ConfigError> {
        if !self.databases.is_empty() {
            let given = self.databases.iter();
            return Ok(given
                .map(|one| (one.name.clone(), one.url.0.clone()))
                .collect());
        }
        let server = self.database_url.as_ref().filter(|url| !url.names_one());
        let server = server.ok_or(ConfigError::NoRelayDatabase)?;
        let areas = Area::ALL.into_iter().filter(|area| area.has_outbox());
        Ok(areas
            .map(|area| (area.name().to_owned(), server.of(area)))
            .collect())
    }

    /// How to reach Kafka.
    #[must_use]
    pub fn kafka(&self) -> Kafka {
        Kafka {
            bootstrap: self.kafka.clone(),
            prefix: self.topic_prefix.clone(),
            broker: match self.broker {
                Broker::Real => BrokerKind::Real,
                Broker::InProcess => BrokerKind::InProcess,
            },
        }
    }
}

impl Peers {
    /// Where a service is found; `None` for the gateway, which nobody calls.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<&Authority> {
        match name {
            "order" => Some(&self.order),
            "inventory" => Some(&self.inventory),
            "payment" => Some(&self.payment),
            "shipping" => Some(&self.shipping),
            "orchestrator" => Some(&self.orchestrator),
            "cardprocessor" => Some(&self.cardprocessor),
            "identity" => Some(&self.identity),
            "catalog" => Some(&self.catalog),
            _ => None,
        }
    }

    /// Says where a service is found.
    ///
    /// # Errors
    /// `NoService`: nobody calls a service of that name.
    pub fn set(&mut self, name: &str, address: SocketAddr) -> Result<(), ConfigError> {
        let slot = match name {
            "order" => &mut self.order,
            "inventory" => &mut self.inventory,
            "payment" => &mut self.payment,
            "shipping" => &mut self.shipping,
            "orchestrator" => &mut self.orchestrator,
            "cardprocessor" => &mut self.cardprocessor,
            "identity" => &mut self.identity,
            "catalog" => &mut self.catalog,
            other => return Err(ConfigError::NoService(other.to_owned())),
        };
        *slot = address
            .to_string()
            .parse()
            .expect("an IP and a port are an authority");
        Ok(())
    }
}

impl DatabaseUrl {
    /// The URL of the database of `area`: this one, if it names a database.
    #[must_use]
    pub fn of(&self, area: Area) -> String {
        if self.names_one() {
            return self.0.clone();
        }
        let (server, query) = match self.0.split_once('?') {
            Some((server, query)) => (server, format!("?{query}")),
            None => (self.0.as_str(), String::new()),
        };
        format!(
            "{}/{}{query}",
            server.trim_end_matches('/'),
            area.database()
        )
    }

    /// Whether it names a database, and not only a server.
    #[must_use]
    pub fn names_one(&self) -> bool {
        let place = self.0.split('?').next().unwrap_or_default();
        let after_scheme = place.split_once("://").map_or(place, |(_, rest)| rest);
        after_scheme
            .split_once('/')
            .is_some_and(|(_, database)| !database.is_empty())
    }
}

impl Secret {
    /// What it is: to be compared or hashed, and never to be written anywhere.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl FromStr for DatabaseUrl {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text.split_once("://") {
            Some(("postgres" | "postgresql", rest)) if !rest.is_empty() => {}
            _ => return Err(ConfigError::DatabaseUrl),
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_string())
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return f.write_str("***");
        };
        // parameters may hold a password, too
        let (place, parameters) = rest
            .split_once('?')
            .map_or((rest, ""), |(p, _)| (p, "?***"));
        match place.rsplit_once('@') {
            Some((user, host)) => {
                let name = user.split(':').next().unwrap_or_default();
                let secret = if user.contains(':') { ":***" } else { "" };
                write!(f, "{scheme}://{name}{secret}@{host}{parameters}")
            }
            None => write!(f, "{scheme}://{place}{parameters}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::service;

    fn config(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let map = variables
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Config::from_map(&map)
    }

    fn specs(names: &[&str]) -> Vec<ServiceSpec> {
        names.iter().map(|name| service(name).unwrap()).collect()
    }

    #[test]
    fn defaults_are_the_ports_of_the_table() {
        let config = config(&[]).unwrap();
        for spec in crate::SERVICES {
            let expect = SocketAddr::from(([127, 0, 0, 1], spec.port));
            assert_eq!(
                config.listen_address(*spec).unwrap(),
                expect,
                "{}",
                spec.name
            );
        }
    }

    #[test]
    fn variables_are_read_and_wrong_ones_named() {
        let config_given = config(&[
            ("PALINODE_DATABASE_URL", "postgres://palinode@db:5432"),
            ("PALINODE_RELAY", "none"),
            ("PALINODE_PAYMENT", "payment:50053"),
        ])
        .unwrap();
        assert_eq!(config_given.relay, RelayMode::None);
        assert_eq!(config_given.peers.payment, "payment:50053");
        let error = config(&[("PALINODE_DATABASE_CONNECTIONS", "none")]).unwrap_err();
        assert!(
            error.to_string().contains("--database-connections"),
            "{error}"
        );
        let error = config(&[("PALINODE_DATABASE_URL", "mysql://db")]).unwrap_err();
        assert!(
            error.to_string().contains("postgres://user@host"),
            "{error}"
        );
    }

    #[test]
    fn settings_that_do_not_fit_are_refused() {
        let server = ("PALINODE_DATABASE_URL", "postgres://palinode@db:5432");
        let one = (
            "PALINODE_DATABASE_URL",
            "postgres://palinode@db:5432/orders",
        );
        let check =
            |variables: &[(&str, &str)], services: &[&str], expect: Result<(), ConfigError>| {
                let config = config(variables).unwrap();
                assert_eq!(
                    config.validate(&specs(services)),
                    expect,
                    "{variables:?} {services:?}"
                );
            };
        check(&[server], &["order", "payment"], Ok(()));
        check(&[one], &["order", "gateway"], Ok(()));
        check(&[], &["gateway"], Ok(()));
        check(&[], &["order"], Err(ConfigError::NoDatabase("order")));
        check(
            &[one],
            &["order", "payment"],
            Err(ConfigError::SharedDatabase(2)),
        );
        check(
            &[server, ("PALINODE_LISTEN", "0.0.0.0:1")],
            &["order", "payment"],
            Err(ConfigError::SharedListen(2)),
        );
        check(
            &[("PALINODE_KAFKA", "kafka")],
            &["gateway"],
            Err(ConfigError::Kafka),
        );
        check(
            &[("PALINODE_TOPIC_PREFIX", "a b")],
            &["gateway"],
            Err(ConfigError::TopicPrefix),
        );
        check(
            &[server, ("PALINODE_ORDER", "order:50051")],
            &["order"],
            Err(ConfigError::NoListen {
                service: "order",
                address: "order:50051".to_owned(),
                port: 50051,
            }),
        );
    }

    #[test]
    fn a_server_has_a_database_for_each_area() {
        for (url, expect) in [
            (
                "postgres://p@db:5432",
                "postgres://p@db:5432/palinode_order",
            ),
            (
                "postgres://p@db:5432/?sslmode=require",
                "postgres://p@db:5432/palinode_order?sslmode=require",
            ),
            (
                "postgres://p@%2Frun%2Fpg",
                "postgres://p@%2Frun%2Fpg/palinode_order",
            ),
            ("postgres://p@db:5432/own", "postgres://p@db:5432/own"),
        ] {
            assert_eq!(url.parse::<DatabaseUrl>().unwrap().of(Area::Order), expect);
        }
    }

    #[test]
    fn the_relay_takes_a_list_or_a_whole_server() {
        let names = |variables: &[(&str, &str)]| {
            config(variables).unwrap().relay_databases().map(|all| {
                all.into_iter()
                    .map(|(name, url)| format!("{name} {url}"))
                    .collect::<Vec<_>>()
            })
        };
        let list = "order=postgres://p@a/o,payment=postgres://p@b/p";
        let given = names(&[("PALINODE_DATABASES", list)]).unwrap();
        assert_eq!(
            given,
            ["order postgres://p@a/o", "payment postgres://p@b/p"]
        );
        let all = names(&[("PALINODE_DATABASE_URL", "postgres://p@db")]).unwrap();
        assert_eq!(all.len(), 7);
        assert_eq!(all[0], "saga postgres://p@db/palinode_saga");
        assert_eq!(names(&[]), Err(ConfigError::NoRelayDatabase));
        for bad in ["order", "=postgres://p@a/o", "order=postgres://p@a"] {
            let error = config(&[("PALINODE_DATABASES", bad)]).unwrap_err();
            assert!(error.to_string().contains("NAME=URL"), "{error}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let config = config(&[(
            "PALINODE_DATABASE_URL",
            "postgres://p:hunter2@db:5432/x?password=hunter2",
        )]);
        let shown = format!("{:?}", config.unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("postgres://p:***@db:5432/x?***"), "{shown}");
    }

    #[test]
    fn a_secret_is_long_and_never_shown() {
        let secret = "hunter2".repeat(5);
        let given = config(&[
            ("PALINODE_SERVICE_SECRET", &secret),
            ("PALINODE_FIRST_ADMIN", "root@example.org"),
            ("PALINODE_FIRST_ADMIN_PASSWORD", "hunter2-hunter2"),
        ])
        .unwrap();
        let shown = format!("{given:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(given.service_secret.unwrap().expose(), secret);
        let short = config(&[("PALINODE_SERVICE_SECRET", &secret[..31])]).unwrap();
        let refused = short.validate(&specs(&["gateway"]));
        assert_eq!(refused, Err(ConfigError::ServiceSecret));
        let alone = config(&[("PALINODE_FIRST_ADMIN", "root@example.org")]).unwrap_err();
        assert!(
            alone.to_string().contains("--first-admin-password"),
            "{alone}"
        );
    }
}
