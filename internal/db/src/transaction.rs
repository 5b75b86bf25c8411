//! Open transactions, and the connections that wait for the next one.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use palinode_values::Timestamp;
use sqlx::pool::PoolConnection;
use sqlx::{Executor, PgConnection, PgPool, Postgres, Row};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::Error;
use crate::pool::ACQUIRE_LIMIT;

/// A connection goes back to the pool then, which closes old ones.
const AGE_MAX: Duration = Duration::from_secs(600);

/// How a transaction begins: its time comes with the same round trip.
pub const BEGIN: &str = "BEGIN; SELECT now()";
/// The same, of one that sees what its first statement sees, to its end.
pub(crate) const BEGIN_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT now()";

/// An open transaction; dropped without [`Tx::commit`], it is rolled back.
#[derive(Debug)]
pub struct Tx {
    /// `None`: committed.
    connection: Option<Connection>,
    warm: Arc<Warm>,
    now: Timestamp,
}

struct Connection {
    inner: PoolConnection<Postgres>,
    taken_at: Instant,
}

/// Connections that have just committed. The pool asks each one whether it is alive when it is
/// taken and when it is given back: two round trips that the next transaction does without.
pub(crate) struct Warm {
    kept: Mutex<Kept>,
    idle_max: usize,
}

struct Kept {
    /// `None`: the pool is being closed.
    idle: Option<Vec<Connection>>,
    /// Transactions that found none idle and wait for the pool: it has to get what comes free.
    waiting: usize,
}

/// Somebody waits for the pool.
struct Waiting<'a>(&'a Warm);

impl Tx {
    /// `how`: [`BEGIN`] or [`BEGIN_SNAPSHOT`].
    pub(crate) async fn begin(
        pool: &PgPool,
        warm: &Arc<Warm>,
        how: &'static str,
    ) -> Result<Self, Error> {
        let waiting = loop {
            let mut tx = match warm.take() {
                Ok(connection) => Self::of(connection, warm),
                Err(waiting) => break waiting,
            };
            if let Ok(Ok(())) = timeout(ACQUIRE_LIMIT, tx.open(how)).await {
                return Ok(tx);
            }
            // it was lost while nobody looked; the pool finds out in which way
        };
        let connection = Connection {
            inner: pool.acquire().await?,
            taken_at: Instant::now(),
        };
        drop(waiting);
        let mut tx = Self::of(connection, warm);
        tx.open(how).await?;
        Ok(tx)
    }

    fn of(connection: Connection, warm: &Arc<Warm>) -> Self {
        Self {
            connection: Some(connection),
            warm: Arc::clone(warm),
            now: Timestamp::default(),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "two statements at once cannot be prepared, and no table is named"
    )]
    async fn open(&mut self, how: &'static str) -> Result<(), sqlx::Error> {
        let row = sqlx::raw_sql(how).fetch_one(self.conn());
        self.now = row.await?.try_get(0)?;
        Ok(())
    }

    /// The database's time when the transaction began: `now()` in its statements.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The connection, for statements of this transaction.
    #[expect(
        clippy::missing_panics_doc,
        reason = "only a commit takes the connection"
    )]
    pub fn conn(&mut self) -> &mut PgConnection {
        let connection = self.connection.as_mut();
        &mut connection
            .expect("a transaction is used until its commit")
            .inner
    }

    /// Makes the transaction durable.
    ///
    /// # Errors
    /// `Contended`: it was rolled back. `Unavailable`: the outcome is unknown.
    pub async fn commit(mut self) -> Result<(), Error> {
        self.conn().execute("COMMIT").await?;
        if let Some(connection) = self.connection.take() {
            self.warm.keep(connection);
        }
        Ok(())
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        let Some(Connection { mut inner, .. }) = self.connection.take() else {
            return;
        };
        // the pool may have it back when it is rolled back; without a runtime it is closed
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                if inner.execute("ROLLBACK").await.is_err() {
                    drop(inner.detach());
                }
            })),
            Err(_) => drop(inner.detach()),
        }
    }
}

impl Warm {
    pub(crate) fn new(idle_max: u32) -> Self {
        Self {
            kept: Mutex::new(Kept {
                idle: Some(Vec::new()),
                waiting: 0,
            }),
            idle_max: usize::try_from(idle_max).unwrap_or_default(),
        }
    }

    /// An idle connection, or the sign that there is none: as long as it is held none is kept.
    fn take(&self) -> Result<Connection, Waiting<'_>> {
        let mut kept = self.lock();
        if let Some(connection) = kept.idle.as_mut().and_then(Vec::pop) {
            return Ok(connection);
        }
        kept.waiting += 1;
        Err(Waiting(self))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, connection: Connection) {
        let mut kept = self.lock();
        if kept.waiting == 0
            && let Some(idle) = kept.idle.as_mut()
            && idle.len() < self.idle_max
            && connection.taken_at.elapsed() < AGE_MAX
        {
            idle.push(connection);
        }
    }

    /// Gives every connection back, and keeps none from now on.
    pub(crate) fn close(&self) {
        drop(self.lock().idle.take());
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        let kept = self.kept.get_mut().unwrap_or_else(PoisonError::into_inner);
        for connection in kept.idle.take().into_iter().flatten() {
            // giving it back needs a runtime, which may have ended; closing it does not
            drop(connection.inner.detach());
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl fmt::Debug for Warm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Warm").finish_non_exhaustive()
    }
}
