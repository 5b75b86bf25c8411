use std::path::PathBuf;

use anyhow::Context;
use palinode_messaging::{BrokerKind, InProcessBroker, Kafka, reachable};
use palinode_testkit::{Progress, kafka, postgres, skipped};

use crate::prepare::server_of;

/// Partitions of a topic on a real Kafka.
const PARTITIONS_REAL: i32 = 8;
/// The in-process broker may keep 5 MiB for each: one is enough for one process.
const PARTITIONS_IN_PROCESS: i32 = 1;
/// Between two looks at whether a server still runs.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(500);
const REACH_LIMIT: std::time::Duration = std::time::Duration::from_secs(10);

/// Where Kafka comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KafkaChoice {
    /// The broker inside this process; it forgets everything at the end.
    InProcess,
    /// One that runs already, as `HOST:PORT`.
    Given(String),
    /// Started from its published jars, on the local Java.
    Jars {
        /// Keeps its data; `None`: thrown away.
        data_dir: Option<PathBuf>,
        /// Port for clients; `None`: a free one.
        port: Option<u16>,
    },
    /// From its jars, thrown away at the end; the broker in this process where that is not to be.
    JarsIfJava,
}

/// What a stack stands on.
#[derive(Debug, Clone)]
pub struct BackingOptions {
    /// A PostgreSQL server that runs already; `None`: one of our own.
    pub database_url: Option<String>,
    /// Keeps the data of our own; `None`: thrown away.
    pub data_dir: Option<PathBuf>,
    /// Kafka.
    pub kafka: KafkaChoice,
    /// What names on Kafka begin with.
    pub prefix: String,
    /// Who hears that something is fetched.
    pub progress: Progress,
}

/// PostgreSQL and Kafka, running. Those that were started here stop when it is dropped.
#[derive(Debug)]
pub struct Backing {
    /// The PostgreSQL server, without a database name; holds a password.
    pub database_url: String,
    /// Kafka.
    pub kafka: Kafka,
    /// Partitions that topics get when they are made.
    pub partitions: i32,
    /// What PostgreSQL is, for people.
    pub postgres_is: String,
    /// What Kafka is, for people.
    pub kafka_is: String,
    broker: Option<kafka::Broker>,
    in_process: Option<InProcessBroker>,
    cluster: Option<postgres::Cluster>,
}

impl Backing {
    /// Starts what is not given, and waits until both answer.
    ///
    /// # Errors
    /// Says what is missing and what to do about it.
    pub async fn start(options: BackingOptions) -> anyhow::Result<Self> {
        let postgres = start_postgres(&options);
        let kafka = start_kafka(&options);
        // the first error wins, and what the other has started is dropped
        let ((database_url, postgres_is, cluster), kafka) = tokio::try_join!(postgres, kafka)?;
        let partitions = match kafka.kafka.broker {
            BrokerKind::InProcess => PARTITIONS_IN_PROCESS,
            BrokerKind::Real => PARTITIONS_REAL,
        };
        Ok(Self {
            database_url,
            kafka: kafka.kafka,
            partitions,
            postgres_is,
            kafka_is: kafka.is,
            broker: kafka.broker,
            in_process: kafka.in_process,
            cluster,
        })
    }

    /// Waits until something that was started here has ended by itself, and says what.
    pub(crate) async fn lost(&self) -> anyhow::Error {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Some(cluster) = self.cluster.as_ref().filter(|c| c.has_ended()) {
                let folder = cluster.data_dir().display();
                return anyhow::anyhow!("PostgreSQL has ended by itself; its log is in {folder}");
            }
            if self.broker.as_ref().is_some_and(kafka::Broker::has_ended) {
                return anyhow::anyhow!("Kafka has ended by itself");
            }
        }
    }

    /// Stops what was started here: Kafka first, then PostgreSQL.
    pub async fn stop(self) {
        if let Some(broker) = self.broker {
            broker.stop().await;
        }
        drop(self.in_process);
        if let Some(cluster) = self.cluster {
            cluster.stop().await;
        }
    }
}

async fn start_postgres(
    options: &BackingOptions,
) -> anyhow::Result<(String, String, Option<postgres::Cluster>)> {
    if let Some(url) = &options.database_url {
        return Ok((server_of(url), "the server that was given".to_owned(), None));
    }
    let cluster = postgres::Cluster::start(postgres::Options {
        source: postgres::Source::from_env(),
        data_dir: options.data_dir.clone(),
        port: None,
        progress: options.progress,
        settings: Vec::new(),
    })
    .await?;
    let kept = match &options.data_dir {
        Some(_) => "data in",
        None => "data thrown away at the end, in",
    };
    let is = format!(
        "{}, 127.0.0.1:{}, {kept} {}",
        cluster.version(),
        cluster.port(),
        cluster.data_dir().display()
    );
    Ok((server_of(&cluster.admin_url()), is, Some(cluster)))
}

struct StartedKafka {
    kafka: Kafka,
    is: String,
    broker: Option<kafka::Broker>,
    in_process: Option<InProcessBroker>,
}

async fn start_kafka(options: &BackingOptions) -> anyhow::Result<StartedKafka> {
    match &options.kafka {
        KafkaChoice::InProcess => in_process(&options.prefix),
        KafkaChoice::JarsIfJava => match from_jars(options, None, None).await {
            Ok(broker) => Ok(broker),
            Err(error) => {
                skipped("real Kafka", format!("{error:#}"));
                in_process(&options.prefix)
            }
        },
        KafkaChoice::Given(bootstrap) => {
            let kafka = Kafka {
                bootstrap: bootstrap.clone(),
                prefix: options.prefix.clone(),
                broker: BrokerKind::Real,
            };
            reachable(&kafka, REACH_LIMIT)
                .await
                .with_context(|| format!("is Kafka running at {bootstrap}?"))?;
            Ok(StartedKafka {
                is: bootstrap.clone(),
                kafka,
                broker: None,
                in_process: None,
            })
        }
        KafkaChoice::Jars { data_dir, port } => from_jars(options, data_dir.clone(), *port).await,
    }
}

fn in_process(prefix: &str) -> anyhow::Result<StartedKafka> {
    let (broker, kafka) = InProcessBroker::start(prefix, PARTITIONS_IN_PROCESS)
        .context("the in-process broker does not start")?;
    Ok(StartedKafka {
        is: format!("in-process broker, {}; forgets at the end", kafka.bootstrap),
        kafka,
        broker: None,
        in_process: Some(broker),
    })
}

async fn from_jars(
    options: &BackingOptions,
    data_dir: Option<PathBuf>,
    port: Option<u16>,
) -> anyhow::Result<StartedKafka> {
    let broker = kafka::Broker::start(kafka::Options {
        data_dir,
        port,
        progress: options.progress,
    })
    .await?;
    Ok(StartedKafka {
        is: format!("Apache Kafka {}, {}", kafka::VERSION, broker.address()),
        kafka: Kafka {
            bootstrap: broker.address(),
            prefix: options.prefix.clone(),
            broker: BrokerKind::Real,
        },
        broker: Some(broker),
        in_process: None,
    })
}
