use palinode_values::{Coded, ErrorCode};

/// What a failure of the database means for the caller.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be reached, or is too busy. Nothing was done, unless it was lost in the
    /// commit; try again with the same keys.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// Another transaction was in the way (serialization failure, deadlock, lock time-out). Nothing
    /// was done; try again.
    #[error("the transaction was in conflict with another")]
    Contended(#[source] sqlx::Error),
    /// A constraint refused the row.
    #[error("constraint {constraint} refused the row")]
    Constraint {
        /// The constraint's name, by which the caller knows what it means.
        constraint: String,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// A stored row breaks a rule of its domain.
    #[error("{table}.{column} of {id} cannot be read: {why}")]
    Inconsistent {
        /// Table.
        table: &'static str,
        /// Column.
        column: &'static str,
        /// Which row.
        id: String,
        /// What is wrong with it.
        why: String,
    },
    /// A statement that cannot be run: a bug.
    #[error("the statement failed")]
    Statement(#[source] sqlx::Error),
}

impl Error {
    /// A row that breaks a rule of its domain.
    pub fn inconsistent(
        table: &'static str,
        column: &'static str,
        id: impl ToString,
        why: impl ToString,
    ) -> Self {
        Self::Inconsistent {
            table,
            column,
            id: id.to_string(),
            why: why.to_string(),
        }
    }

    /// Whether the same work may succeed if it is done again, unchanged.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Contended(_))
    }

    /// The name of the constraint that refused a row.
    #[must_use]
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Constraint { constraint, .. } => Some(constraint),
            Self::Unavailable(_)
            | Self::Contended(_)
            | Self::Inconsistent { .. }
            | Self::Statement(_) => None,
        }
    }
}

impl Coded for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unavailable(_) | Self::Contended(_) => ErrorCode::Unavailable,
            Self::Constraint { .. } | Self::Inconsistent { .. } | Self::Statement(_) => {
                ErrorCode::Internal
            }
        }
    }

    fn reason(&self) -> &str {
        match self.code() {
            ErrorCode::Unavailable => "DATABASE_UNAVAILABLE",
            _ => "INTERNAL",
        }
    }
}

impl From<sqlx::Error> for Error {
    /// The one place that turns SQLSTATE into meaning.
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(database) = &error else {
            return match error {
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
                _ => Self::Statement(error),
            };
        };
        let state = database.code().unwrap_or_default();
        match state.as_ref() {
            // serialization_failure, deadlock_detected, lock_not_available
            "40001" | "40P01" | "55P03" => Self::Contended(error),
            // connection exceptions, insufficient resources, operator intervention (among them
            // query_canceled, which statement_timeout raises), system error
            s if ["08", "53", "57", "58"]
                .iter()
                .any(|class| s.starts_with(class)) =>
            {
                Self::Unavailable(error)
            }
            s if s.starts_with("23") => Self::Constraint {
                constraint: database.constraint().unwrap_or_default().to_owned(),
                source: error,
            },
            _ => Self::Statement(error),
        }
    }
}
