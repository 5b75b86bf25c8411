use palinode_db::AsDbError;
use palinode_values::{Coded, ErrorCode};

use crate::domain::Reason;

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Db(#[from] palinode_db::Error),
    #[error("{words}")]
    Refused { reason: Reason, words: String },
}

impl Error {
    pub(crate) fn refused(reason: Reason, words: impl Into<String>) -> Self {
        Self::Refused {
            reason,
            words: words.into(),
        }
    }
}

impl AsDbError for Error {
    fn as_db_error(&self) -> Option<&palinode_db::Error> {
        match self {
            Self::Db(error) => Some(error),
            Self::Refused { .. } => None,
        }
    }
}

impl Coded for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Db(error) => error.code(),
            Self::Refused { reason, .. } => reason.code(),
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Db(error) => error.reason(),
            Self::Refused { reason, .. } => reason.as_str(),
        }
    }
}
