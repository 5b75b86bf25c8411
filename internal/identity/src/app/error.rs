use std::time::Duration;

use palinode_auth::KeyError;
use palinode_db::AsDbError;
use palinode_rpc::Violations;
use palinode_values::{Coded, ErrorCode};

use crate::domain::Reason;

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A rule said no.
    #[error("{}", .0.words())]
    Refused(Reason),
    /// Too many wrong passwords; for how long no other is looked at.
    #[error("{}", Reason::TooManyAttempts.words())]
    Throttled(Duration),
    /// The request is malformed.
    #[error("the request is not valid")]
    Invalid(#[from] Violations),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] palinode_db::Error),
    /// The event could not be written.
    #[error(transparent)]
    Outbox(#[from] palinode_outbox::Error),
    /// A key cannot be made or used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No key was read yet.
    #[error("there is no key to sign with")]
    NoKey,
    /// A password cannot be hashed, or a hash cannot be read.
    #[error("a password cannot be hashed: {0}")]
    Hash(argon2::password_hash::Error),
    /// The system gives no random bytes.
    #[error("the system has no randomness")]
    NoRandomness,
}

impl Error {
    /// When the caller may try again, if that is known.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            // a client that waits whole seconds must not come too early
            Self::Throttled(pause) => Some(Duration::from_secs(pause.as_secs() + 1)),
            Self::Refused(_)
            | Self::Invalid(_)
            | Self::Db(_)
            | Self::Outbox(_)
            | Self::Key(_)
            | Self::NoKey
            | Self::Hash(_)
            | Self::NoRandomness => None,
        }
    }
}

impl AsDbError for Error {
    fn as_db_error(&self) -> Option<&palinode_db::Error> {
        match self {
            Self::Db(error) => Some(error),
            Self::Outbox(error) => error.as_db_error(),
            Self::Refused(_)
            | Self::Throttled(_)
            | Self::Invalid(_)
            | Self::Key(_)
            | Self::NoKey
            | Self::Hash(_)
            | Self::NoRandomness => None,
        }
    }
}

impl Coded for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(reason) => reason.code(),
            Self::Throttled(_) => Reason::TooManyAttempts.code(),
            Self::Invalid(violations) => violations.code(),
            Self::Db(error) => error.code(),
            Self::Outbox(error) => error.code(),
            Self::Key(_) | Self::NoKey | Self::Hash(_) | Self::NoRandomness => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Refused(reason) => reason.as_str(),
            Self::Throttled(_) => Reason::TooManyAttempts.as_str(),
            Self::Invalid(violations) => violations.reason(),
            Self::Db(error) => error.reason(),
            Self::Outbox(error) => error.reason(),
            Self::Key(_) | Self::NoKey | Self::Hash(_) | Self::NoRandomness => "INTERNAL",
        }
    }
}

/// Why accounts were not seeded, or a token was not made.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Failed(#[from] Error);
