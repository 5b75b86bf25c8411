use palinode_db::AsDbError;
use palinode_values::{Coded, ErrorCode};

use crate::domain::Reason;

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A rule said no.
    #[error("{}", .0.words())]
    Refused(Reason),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] palinode_db::Error),
    /// The event could not be written.
    #[error(transparent)]
    Outbox(#[from] palinode_outbox::Error),
}

impl AsDbError for Error {
    fn as_db_error(&self) -> Option<&palinode_db::Error> {
        match self {
            Self::Db(error) => Some(error),
            Self::Outbox(error) => error.as_db_error(),
            Self::Refused(_) => None,
        }
    }
}

impl Coded for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(reason) => reason.code(),
            Self::Db(error) => error.code(),
            Self::Outbox(error) => error.code(),
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Refused(reason) => reason.as_str(),
            Self::Db(error) => error.reason(),
            Self::Outbox(error) => error.reason(),
        }
    }
}

/// Why products were not seeded.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Failed(#[from] Error);
