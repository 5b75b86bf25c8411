//! Use cases.

mod adjust_stock;
mod follow_products;
mod grant;
mod run_commands;
mod seed;

pub(crate) use adjust_stock::{Adjustment, adjust_stock};
pub(crate) use follow_products::follow_products;
pub use grant::{Granted, grant};
pub(crate) use run_commands::{expected, run_commands};
pub use seed::{SeedError, seed};

use palinode_db::AsDbError;
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
    Db(#[from] palinode_db::Error),
}

impl AsDbError for Error {
    fn as_db_error(&self) -> Option<&palinode_db::Error> {
        match self {
            Self::Db(error) => Some(error),
            Self::Refused(_) => None,
        }
    }
}

impl Coded for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(refusal) => refusal.reason.code(),
            Self::Db(error) => error.code(),
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Refused(refusal) => refusal.reason.as_str(),
            Self::Db(error) => error.reason(),
        }
    }
}
