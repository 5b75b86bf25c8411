use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use crate::topics::Topic;

/// Where Kafka is, and which names are ours on it. Cheap enough to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kafka {
    /// `HOST:PORT`, several with commas between.
    pub bootstrap: String,
    /// What the names of topics and groups begin with: `palinode`, or a random word for a
    /// throw-away stack.
    pub prefix: String,
    /// What answers there.
    pub broker: BrokerKind,
}

/// What kind of broker answers: their latencies are tuned differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerKind {
    /// [`crate::InProcessBroker`]. A fetch that waits there is not cut short by a new record.
    InProcess,
    /// Apache Kafka 4, or what speaks its protocol.
    Real,
}

/// What went wrong between us and Kafka.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing answers at the address, or not in time.
    #[error("no Kafka broker answers at {bootstrap}")]
    Unreachable {
        /// The address that was tried.
        bootstrap: String,
        /// The cause.
        #[source]
        source: KafkaError,
    },
    /// Topics are missing: `palinode migrate --kafka` creates them.
    #[error("topics are missing: {}", .0.join(", "))]
    Missing(Vec<String>),
    /// A topic could not be created or deleted.
    #[error("the topic {topic} could not be {verb}: {why}")]
    Topic {
        /// The topic.
        topic: String,
        /// `created` or `deleted`.
        verb: &'static str,
        /// The broker's answer.
        why: String,
    },
    /// The in-process broker makes its topics when it starts and keeps them until it ends.
    #[error("the in-process broker cannot do that")]
    InProcess,
    /// A client could not be made, or gave up for good.
    #[error("the Kafka client failed")]
    Client(#[from] KafkaError),
    /// A thread could not be started.
    #[error("a thread could not be started")]
    Thread(#[source] std::io::Error),
}

impl Kafka {
    /// The name of a topic on this Kafka.
    #[must_use]
    pub fn topic_name(&self, topic: Topic) -> String {
        topic.name(&self.prefix)
    }

    /// The name of a group of consumers on this Kafka.
    #[must_use]
    pub fn group_name(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.prefix)
    }

    /// Settings that every client has.
    pub(crate) fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", &self.prefix)
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.ms", "100")
            .set("reconnect.backoff.max.ms", "5000")
            .set("allow.auto.create.topics", "false")
            .set("log.connection.close", "false")
            .set_log_level(RDKafkaLogLevel::Info);
        config
    }

    /// Whether all of it is on this machine, where compressing costs more than it saves.
    pub(crate) fn is_loopback(&self) -> bool {
        let local = |address: &str| {
            ["127.", "localhost", "[::1]"]
                .iter()
                .any(|host| address.trim().starts_with(host))
        };
        self.broker == BrokerKind::InProcess || self.bootstrap.split(',').all(local)
    }

    pub(crate) fn unreachable(&self, source: KafkaError) -> Error {
        Error::Unreachable {
            bootstrap: self.bootstrap.clone(),
            source,
        }
    }
}

/// How long a question to the broker may take.
pub(crate) const ASK_LIMIT: Duration = Duration::from_secs(10);

/// Brings what librdkafka says into our logs. While a broker is away it repeats itself with each
/// attempt to connect, so most of it is for debugging; the loops report outages themselves.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LogContext;

impl rdkafka::consumer::ConsumerContext for LogContext {}

impl ClientContext for LogContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

pub(crate) fn log_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::warn!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning
        | RDKafkaLogLevel::Notice
        | RDKafkaLogLevel::Info
        | RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}

pub(crate) fn log_error(error: &KafkaError, reason: &str) {
    tracing::debug!(target: "librdkafka", %error, "{reason}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_loopback() {
        for (bootstrap, expect) in [
            ("127.0.0.1:9092", true),
            ("localhost:9092, 127.0.0.2:9093", true),
            ("[::1]:9092", true),
            ("127.0.0.1:9092,kafka.example:9092", false),
        ] {
            let kafka = Kafka {
                bootstrap: bootstrap.to_owned(),
                prefix: "palinode".to_owned(),
                broker: BrokerKind::Real,
            };
            assert_eq!(kafka.is_loopback(), expect, "{bootstrap}");
        }
    }
}
