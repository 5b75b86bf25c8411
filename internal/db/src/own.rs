use sqlx::{ConnectOptions, PgConnection, PgPool};
use tokio::time::timeout;

use crate::Error;
use crate::pool::ACQUIRE_LIMIT;

/// A connection outside of the pool, for one task that repeats the same few statements: nobody asks
/// whether it is alive before each, and each is planned once, as with [`crate::Db::with_fixed_plans`].
///
/// Opened by the first statement, and anew after a failure or after work that was given up.
#[derive(Debug)]
pub struct Own {
    /// Whose settings it has, and with which it is closed.
    pool: PgPool,
    connection: Option<PgConnection>,
}

impl Own {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self {
            pool,
            connection: None,
        }
    }

    /// Runs `work` on the connection.
    ///
    /// # Errors
    /// Those of `work`; `Unavailable`: no connection within five seconds, or the database was closed.
    pub async fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut connection = match self.connection.take() {
            _ if self.pool.is_closed() => {
                return Err(Error::Unavailable(sqlx::Error::PoolClosed));
            }
            Some(connection) => connection,
            None => self.open().await?,
        };
        let done = work(&mut connection).await;
        // after a failure it may be in any state
        if done.is_ok() {
            self.connection = Some(connection);
        }
        done
    }

    async fn open(&self) -> Result<PgConnection, Error> {
        let late = |_elapsed| {
            let late = std::io::Error::new(std::io::ErrorKind::TimedOut, "no connection in time");
            Error::Unavailable(late.into())
        };
        let opened = timeout(ACQUIRE_LIMIT, self.pool.connect_options().connect()).await;
        Ok(opened.map_err(late)??)
    }
}
