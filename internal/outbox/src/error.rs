use palinode_db::AsDbError;
use palinode_values::{Coded, ErrorCode};

/// Why records were not appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A bug: the transaction does not hold the row of this key, so its records might be published
    /// out of order.
    #[error("the row of the key {key} is not held by the transaction")]
    NotHeld {
        /// The key.
        key: String,
    },
    /// Refused here, before the commit, so that it is never parked later.
    #[error("a message {kind} has {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// Type of the message.
        kind: String,
        /// Bytes of its body.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// More records than one statement should carry.
    #[error("more than {max} records in one append")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// The number of partitions does not divide the number of lanes.
    #[error("{name} has {partitions} partitions, which do not divide 64 lanes")]
    Partitions {
        /// The topic.
        name: String,
        /// What it has.
        partitions: i32,
    },
    /// The dictionary of topics lacks some: `palinode migrate --kafka` fills it.
    #[error("topics are missing in the database: {}", .0.join(", "))]
    MissingTopics(Vec<String>),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] palinode_db::Error),
}

impl AsDbError for Error {
    fn as_db_error(&self) -> Option<&palinode_db::Error> {
        match self {
            Self::Db(error) => Some(error),
            Self::NotHeld { .. }
            | Self::TooLarge { .. }
            | Self::TooMany { .. }
            | Self::Partitions { .. }
            | Self::MissingTopics(_) => None,
        }
    }
}

impl Coded for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Db(error) => error.code(),
            Self::NotHeld { .. }
            | Self::TooLarge { .. }
            | Self::TooMany { .. }
            | Self::Partitions { .. }
            | Self::MissingTopics(_) => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Db(error) => error.reason(),
            Self::NotHeld { .. }
            | Self::TooLarge { .. }
            | Self::TooMany { .. }
            | Self::Partitions { .. }
            | Self::MissingTopics(_) => "INTERNAL",
        }
    }
}
