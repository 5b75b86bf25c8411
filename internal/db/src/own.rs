use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tokio::time::timeout;

use crate::Error;
use crate::pool::ACQUIRE_LIMIT;

/// A connection outside of the pool, for one task that repeats the same few statements: nobody asks
/// whether it is alive before each, and each is planned once, as with [`crate::Db::with_fixed_plans`].
///
/// Opened by the first statement, and anew after a failure or after work that was given up.
#[derive(Debug)]
pub struct Own {
    options: Arc<PgConnectOptions>,
    connection: Option<PgConnection>,
}

impl Own {
    pub(crate) fn new(options: Arc<PgConnectOptions>) -> Self {
        Self {
            options,
            connection: None,
        }
    }

    /// Runs `work` on the connection.
    ///
    /// # Errors
    /// Those of `work`; `Unavailable`: no connection within five seconds.
    pub async fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut connection = match self.connection.take() {
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
        let opened = timeout(ACQUIRE_LIMIT, self.options.connect()).await;
        Ok(opened.map_err(late)??)
    }
}
