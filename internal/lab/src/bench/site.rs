use std::time::Duration;

use anyhow::{Context, ensure};
use palinode_db::Area;
use palinode_messaging::{BrokerKind, delete_topics};
use palinode_testkit::database::with_database;
use palinode_testkit::{Progress, postgres};
use sqlx::{Connection, PgConnection, Row};

use super::machine::Machine;
use super::meter::{Meter, Usage};
use super::report::Report;
use crate::backing::{Backing, BackingOptions, KafkaChoice};
use crate::invariants;
use crate::prepare::migrate;
use crate::stack::{Ports, Stack, StackOptions, Tracing};

/// More partitions than instances make batches smaller and bring nothing.
const PARTITIONS: i32 = 1;
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Without any change for so long, nothing moves any more.
const REST_LIMIT: Duration = Duration::from_secs(30);

/// Settings of every bench.
#[derive(Debug, Clone, Default)]
pub struct Common {
    /// A Kafka that runs, as `HOST:PORT`; `None`: the broker in this process.
    pub kafka: Option<String>,
    /// A PostgreSQL server that runs and has no database of ours; `None`: one of our own.
    pub database_url: Option<String>,
    /// Partitions of each topic on a real Kafka; `None`: one, as there is one instance of each
    /// service.
    pub partitions: Option<i32>,
    /// How long to measure; `None`: as the bench finds right.
    pub seconds: Option<u32>,
    /// Statements are counted and ranked, which costs a few percent; on a server of our own.
    pub ranks_statements: bool,
}

impl Common {
    /// How long to measure.
    #[must_use]
    pub fn length(&self, default_s: u32) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(default_s).into())
    }
}

/// PostgreSQL and Kafka with fresh databases and topics, thrown away at the end.
#[derive(Debug)]
pub struct Site {
    /// What it stands on.
    pub backing: Backing,
    postgres: PgConnection,
    is_given: bool,
    /// When it is another than the backing's.
    cluster: Option<postgres::Cluster>,
}

impl Site {
    /// Starts what is not given, makes databases and topics.
    ///
    /// # Errors
    /// Something does not start; the server that was given holds databases of ours.
    pub async fn open(common: &Common) -> anyhow::Result<Self> {
        let kafka = common.kafka.clone();
        let cluster = if common.ranks_statements && common.database_url.is_none() {
            Some(ranking_cluster().await?)
        } else {
            None
        };
        let url = cluster.as_ref().map(postgres::Cluster::admin_url);
        let mut backing = Backing::start(BackingOptions {
            database_url: url.or_else(|| common.database_url.clone()),
            data_dir: None,
            kafka: kafka.map_or(KafkaChoice::InProcess, KafkaChoice::Given),
            prefix: format!("bench-{:08x}", rand::random::<u32>()),
            progress: Progress::Stderr,
        })
        .await?;
        if backing.kafka.broker == BrokerKind::Real {
            backing.partitions = common.partitions.unwrap_or(PARTITIONS);
        }
        let admin = with_database(&backing.database_url, "postgres");
        let mut postgres = PgConnection::connect(&admin)
            .await
            .context("no connection to PostgreSQL")?;
        let is_given = common.database_url.is_some();
        if is_given {
            require_empty(&mut postgres).await?;
        }
        if cluster.is_some() {
            create_extension(&mut postgres).await?;
        }
        migrate(&backing.database_url, &backing.kafka, backing.partitions).await?;
        Ok(Self {
            backing,
            postgres,
            is_given,
            cluster,
        })
    }

    /// An empty report of a bench here.
    ///
    /// # Errors
    /// PostgreSQL does not answer, or loses commits.
    pub async fn report(&mut self, bench: &'static str) -> anyhow::Result<Report> {
        let machine = Machine::look(&mut self.postgres, &self.backing.kafka_is).await?;
        let mut report = Report::new(bench, machine);
        report.settings.put("partitions", self.backing.partitions);
        Ok(report)
    }

    /// All services, in this process.
    ///
    /// # Errors
    /// One does not start.
    pub async fn stack(&self, tracing: Tracing) -> anyhow::Result<Stack> {
        Stack::start(StackOptions {
            database_url: self.backing.database_url.clone(),
            kafka: self.backing.kafka.clone(),
            ports: Ports::Free,
            tracing,
            plans: Vec::new(),
            rate_limit: 0,
        })
        .await
    }

    /// Begins to measure.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn meter(&mut self) -> anyhow::Result<Meter> {
        let kafka = &self.backing.kafka;
        let broker = (kafka.broker == BrokerKind::Real).then_some(kafka.bootstrap.as_str());
        Meter::start(&mut self.postgres, broker).await
    }

    /// Ends to measure.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn usage(&mut self, meter: Meter) -> anyhow::Result<Usage> {
        meter.stop(&mut self.postgres).await
    }

    /// Waits until outboxes are empty, and gives what is not as it must be.
    ///
    /// # Errors
    /// A database does not answer.
    pub async fn judge(&self) -> anyhow::Result<Vec<String>> {
        self.rest().await?;
        let findings = invariants::check(&self.backing.database_url).await?;
        let told = findings.into_iter().flat_map(|finding| {
            let words = move |violation| format!("{}: {violation}", finding.name);
            finding.violations.into_iter().map(words)
        });
        Ok(told.collect())
    }

    /// Waits until outboxes are empty, or nothing moves.
    #[expect(clippy::disallowed_methods, reason = "the lab reads every database")]
    async fn rest(&self) -> anyhow::Result<()> {
        let mut outboxes = Vec::new();
        for area in Area::ALL.into_iter().filter(|area| area.has_outbox()) {
            let url = with_database(&self.backing.database_url, &area.database());
            outboxes.push(PgConnection::connect(&url).await?);
        }
        let (mut before, mut changed) = (0, tokio::time::Instant::now());
        loop {
            let mut rows = 0;
            for outbox in &mut outboxes {
                let row = sqlx::query("SELECT outbox_pending()")
                    .fetch_one(outbox)
                    .await?;
                rows += row.try_get::<i64, _>(0)?;
            }
            if rows != before {
                (before, changed) = (rows, tokio::time::Instant::now());
            }
            if rows == 0 || changed.elapsed() > REST_LIMIT {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Throws away what was made. Stop the stack before.
    ///
    /// # Errors
    /// A database cannot be dropped.
    pub async fn close(mut self) -> anyhow::Result<()> {
        if self.backing.kafka.broker == BrokerKind::Real
            && let Err(error) = delete_topics(&self.backing.kafka).await
        {
            tracing::warn!(%error, prefix = self.backing.kafka.prefix, "the bench's topics stay");
        }
        if self.is_given {
            drop_databases(&mut self.postgres).await?;
        }
        self.postgres.close().await?;
        self.backing.stop().await;
        if let Some(cluster) = self.cluster {
            cluster.stop().await;
        }
        Ok(())
    }
}

async fn ranking_cluster() -> anyhow::Result<postgres::Cluster> {
    let settings = ["shared_preload_libraries=pg_stat_statements"];
    let options = postgres::Options {
        source: postgres::Source::from_env(),
        progress: Progress::Stderr,
        settings: settings.map(str::to_owned).to_vec(),
        ..postgres::Options::default()
    };
    postgres::Cluster::start(options)
        .await
        .context("does this PostgreSQL have pg_stat_statements? Statements are ranked by it")
}

#[expect(clippy::disallowed_methods, reason = "no table of ours")]
async fn create_extension(postgres: &mut PgConnection) -> anyhow::Result<()> {
    sqlx::raw_sql("CREATE EXTENSION pg_stat_statements")
        .execute(postgres)
        .await?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the server's own tables")]
async fn require_empty(postgres: &mut PgConnection) -> anyhow::Result<()> {
    for area in Area::ALL {
        let row = sqlx::query("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(area.database())
            .fetch_one(&mut *postgres)
            .await?;
        ensure!(
            !row.try_get::<bool, _>(0)?,
            "the server has a database {}: a bench makes and drops its own, so give a server \
             without it",
            area.database()
        );
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the server's own tables")]
async fn drop_databases(postgres: &mut PgConnection) -> anyhow::Result<()> {
    for area in Area::ALL {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", area.database());
        sqlx::raw_sql(sqlx::AssertSqlSafe(drop))
            .execute(&mut *postgres)
            .await?;
    }
    Ok(())
}
