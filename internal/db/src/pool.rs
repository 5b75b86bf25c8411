use std::future::Future;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use palinode_values::{Clock, Timestamp};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::Error;
use crate::transaction::{Tx, Warm};

/// How a service connects to its database.
#[derive(Debug, Clone)]
pub struct Options {
    /// `postgres://user:password@host:port/database`.
    pub url: String,
    /// Shown in `pg_stat_activity` as `palinode-<service>`.
    pub service: String,
    /// Connections at the most; more cost memory on the server, fewer make requests wait.
    pub connections_max: u32,
}

/// A pool of connections to one database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Db {
    pool: PgPool,
    warm: Arc<Warm>,
    /// What a transaction begins with.
    begin: &'static str,
}

/// Plans that are made once and fit a table of any size: each row by an index, whatever the planner
/// believes of a table that is empty yet.
const BEGIN_WITH_FIXED_PLANS: &str = "BEGIN; SET LOCAL plan_cache_mode = force_generic_plan; \
     SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; \
     SET LOCAL enable_mergejoin = off";

/// How often a transaction is tried in conflict with others, in all.
const ATTEMPTS_MAX: u32 = 5;
/// Until a connection is there and answers.
pub(crate) const ACQUIRE_LIMIT: Duration = Duration::from_secs(5);

impl Db {
    /// Connects.
    ///
    /// # Errors
    /// `Unavailable`: the server does not answer. `Statement`: the URL cannot be read, or the
    /// server refuses the user or the database.
    pub async fn connect(options: &Options) -> Result<Self, Error> {
        let connect = PgConnectOptions::from_str(&options.url)?
            .application_name(&format!("palinode-{}", options.service))
            .options([
                ("statement_timeout", "5s"),
                ("lock_timeout", "2s"),
                ("idle_in_transaction_session_timeout", "10s"),
                // a generic plan made on an empty table keeps its sequential scan while it grows
                ("plan_cache_mode", "force_custom_plan"),
                ("jit", "off"),
                ("synchronous_commit", "on"),
                ("TimeZone", "UTC"),
            ]);
        let pool = PgPoolOptions::new()
            .max_connections(options.connections_max)
            .acquire_timeout(ACQUIRE_LIMIT)
            .connect_with(connect)
            .await?;
        let warm = Arc::new(Warm::new(options.connections_max));
        let begin = "BEGIN";
        Ok(Self { pool, warm, begin })
    }

    /// The same database, whose transactions plan each statement once a connection instead of each
    /// time: for hot paths, where planning costs as much as the work. Their statements have to find
    /// every row by an index; what reads a table as a whole stays with the handle as it was.
    #[must_use]
    pub fn with_fixed_plans(&self) -> Self {
        Self {
            begin: BEGIN_WITH_FIXED_PLANS,
            ..self.clone()
        }
    }

    /// Begins a transaction. Prefer [`Db::run_tx`], which tries again where that may help.
    ///
    /// # Errors
    /// `Unavailable`: no connection within five seconds.
    pub async fn begin(&self) -> Result<Tx, Error> {
        Tx::begin(&self.pool, &self.warm, self.begin).await
    }

    /// Runs `work` in a transaction named `name` and commits what it returns.
    ///
    /// `work` takes the transaction and gives it back with its result; it must bear a second run
    /// (after a serialization failure or a deadlock) and must not touch the network.
    ///
    /// # Errors
    /// Those of `work`, rolled back; `Contended` after five runs; `Unavailable`, where the outcome
    /// of the commit may be unknown.
    pub async fn run_tx<T, E, F, Fut>(&self, name: &'static str, mut work: F) -> Result<T, E>
    where
        F: FnMut(Tx) -> Fut,
        Fut: Future<Output = Result<(Tx, T), E>>,
        E: From<Error> + AsDbError,
    {
        let mut attempt = 1;
        loop {
            let tx = self.begin().await?;
            let result = match work(tx).await {
                Ok((tx, value)) => tx.commit().await.map(|()| value).map_err(E::from),
                Err(error) => Err(error),
            };
            match result {
                Err(error)
                    if attempt < ATTEMPTS_MAX
                        && matches!(error.as_db_error(), Some(Error::Contended(_))) =>
                {
                    tracing::debug!(transaction = name, attempt, "in conflict, tried again");
                    attempt += 1;
                    // the winner needs a moment to finish; ours is already rolled back
                    tokio::time::sleep(Duration::from_millis(u64::from(attempt) * 5)).await;
                }
                other => return other,
            }
        }
    }

    /// A connection for reads, and for single statements that are whole by themselves.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn ping(&self) -> Result<(), Error> {
        self.pool.acquire().await?;
        Ok(())
    }

    /// Closes every connection, after what is running on them.
    pub async fn close(&self) {
        self.warm.close();
        self.pool.close().await;
    }

    /// How far the machine's clock is ahead of the database's, for spans that mix both.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn clock_skew(&self, clock: &Clock) -> Result<chrono::TimeDelta, Error> {
        #[expect(
            clippy::disallowed_methods,
            reason = "no table is named: nothing to check"
        )]
        let now: Timestamp = sqlx::query_scalar("SELECT clock_timestamp()")
            .fetch_one(&self.pool)
            .await?;
        Ok(clock.now() - now)
    }
}

/// An error that may have a failure of the database at its root.
pub trait AsDbError {
    /// That failure, if it is one.
    fn as_db_error(&self) -> Option<&Error>;
}

impl AsDbError for Error {
    fn as_db_error(&self) -> Option<&Error> {
        Some(self)
    }
}
