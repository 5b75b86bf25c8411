use palinode_db::AsDbError;
use palinode_messaging::Failure;

/// Why a batch of commands was rolled back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The database's, or the handler's.
    #[error(transparent)]
    Db(#[from] palinode_db::Error),
    /// The outbox refused a reply or an event.
    #[error(transparent)]
    Outbox(#[from] palinode_outbox::Error),
    /// The handler broke its contract: a bug of the service.
    #[error("the handler of {service} broke its contract: {what}")]
    Handler { service: &'static str, what: String },
    /// A row of the guard that was to be there is not: the batch makes it first.
    #[error("a row of the guard is missing: the batch is run again and makes it")]
    LongWay,
}

impl AsDbError for Error {
    fn as_db_error(&self) -> Option<&palinode_db::Error> {
        match self {
            Self::Db(error) => Some(error),
            Self::Outbox(error) => error.as_db_error(),
            Self::Handler { .. } | Self::LongWay => None,
        }
    }
}

impl From<Error> for Failure {
    /// A fault of the database is no record's fault; anything else may be, so the batch is halved.
    fn from(error: Error) -> Self {
        if error
            .as_db_error()
            .is_some_and(palinode_db::Error::is_transient)
        {
            Self::unavailable(error)
        } else {
            Self::batch(error)
        }
    }
}
