//! Use cases.

mod dispatch_shipment;
mod run_commands;

pub(crate) use dispatch_shipment::{Desk, dispatch_shipment};
pub(crate) use run_commands::{Seen, expected, run_commands};

use palinode_db::{AsDbError, Error as DbError};
use palinode_values::{Coded, ErrorCode};

use crate::domain::Refusal;

/// Why a use case did not happen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A rule said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The event could not be written.
    #[error(transparent)]
    Outbox(#[from] palinode_outbox::Error),
}

impl AsDbError for Error {
    fn as_db_error(&self) -> Option<&DbError> {
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
            Self::Refused(refusal) => refusal.reason.code(),
            Self::Db(error) => error.code(),
            Self::Outbox(error) => error.code(),
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Refused(refusal) => refusal.reason.as_str(),
            Self::Db(error) => error.reason(),
            Self::Outbox(error) => error.reason(),
        }
    }
}
