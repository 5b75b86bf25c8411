use std::future::Future;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use palinode_values::{Clock, Timestamp};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::Error;
use crate::own::Own;
use crate::transaction::{BEGIN, BEGIN_SNAPSHOT, Tx, Warm};

/// How a service connects to its database.
#[derive(Debug, Clone)]
pub struct Options {
    /// `postgres://user:password@host:port/database`.
    pub url: String,
    /// Shown in `pg_stat_activity` as `palinode-<service>`.
    pub service: String,
    /// Connections at the most, half of them for transactions with fixed plans; more cost memory on
    /// the server, fewer make requests wait. Those of [`Own`] are not counted.
    pub connections_max: u32,
}

/// A pool of connections to one database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Db {
    pool: PgPool,
    /// Of connections with fixed plans.
    fixed: PgPool,
    /// Of the pool that transactions are begun on.
    warm: Arc<Warm>,
    warm_fixed: Arc<Warm>,
    /// Transactions are begun with fixed plans.
    is_fixed: bool,
    /// How transactions begin.
    begin: &'static str,
    /// The time that the database told last, and when.
    told: Arc<Mutex<Option<(Instant, Timestamp)>>>,
}

/// Plans that are made once and fit a table of any size: each row by an index, whatever the planner
/// believes of a table that is empty yet.
const FIXED_PLANS: [(&str, &str); 5] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
];

/// How often a transaction is tried in conflict with others, in all.
const ATTEMPTS_MAX: u32 = 5;
/// How long the database's time is reckoned from what it was: clocks are set.
const TOLD_MAX: Duration = Duration::from_secs(10);
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
        let fixed = connect.clone().options(FIXED_PLANS);
        let pool_of = |connections: u32| {
            PgPoolOptions::new()
                .max_connections(connections.max(1))
                .acquire_timeout(ACQUIRE_LIMIT)
        };
        // a half each, and one at the least
        let of_fixed = options.connections_max / 2;
        let of_others = options.connections_max - of_fixed;
        Ok(Self {
            pool: pool_of(of_others).connect_with(connect).await?,
            fixed: pool_of(of_fixed).connect_lazy_with(fixed),
            // the others are for reads
            warm: Arc::new(Warm::new(of_others / 2)),
            warm_fixed: Arc::new(Warm::new(of_fixed)),
            is_fixed: false,
            begin: BEGIN,
            told: Arc::default(),
        })
    }

    /// The same database, whose transactions plan each statement once a connection instead of each
    /// time: for hot paths, where planning costs as much as the work. Their statements have to find
    /// every row by an index; what reads a table as a whole stays with the handle as it was.
    #[must_use]
    pub fn with_fixed_plans(&self) -> Self {
        Self {
            is_fixed: true,
            ..self.clone()
        }
    }

    /// The same database, whose transactions see one moment of it from beginning to end
    /// (`REPEATABLE READ`): a row that was changed since is `Contended` to write.
    #[must_use]
    pub fn with_snapshots(&self) -> Self {
        Self {
            begin: BEGIN_SNAPSHOT,
            ..self.clone()
        }
    }

    /// A connection outside of the pool, for one task. Not counted in `connections_max`.
    #[must_use]
    pub fn own(&self) -> Own {
        Own::new(self.fixed.clone())
    }

    /// Begins a transaction. Prefer [`Db::run_tx`], which tries again where that may help.
    ///
    /// # Errors
    /// `Unavailable`: no connection within five seconds.
    pub async fn begin(&self) -> Result<Tx, Error> {
        let tx = if self.is_fixed {
            Tx::begin(&self.fixed, &self.warm_fixed, self.begin).await?
        } else {
            Tx::begin(&self.pool, &self.warm, self.begin).await?
        };
        let told = Some((Instant::now(), tx.now()));
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = told;
        Ok(tx)
    }

    /// The database's time, from what the last transaction of this process was told and what has
    /// passed since; late by a round trip at the most. `None`: none has begun for ten seconds.
    #[must_use]
    pub fn now(&self) -> Option<Timestamp> {
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, time) = told?;
        let since = at.elapsed();
        (since < TOLD_MAX).then(|| time + since)
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
        self.warm_fixed.close();
        self.pool.close().await;
        self.fixed.close().await;
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
