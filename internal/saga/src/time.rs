use std::fmt;
use std::time::Duration;

use palinode_values::Timestamp;
use serde::{Deserialize, Serialize};

/// Database time in milliseconds since the Unix epoch; the engine knows no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DbTime(pub i64);

impl DbTime {
    /// The last millisecond of the year 9999: when nothing happens by itself.
    pub const FAR: Self = Self(253_402_300_799_999);

    /// The instant `span` later; saturates at the end of time.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// The instant in UTC.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        Timestamp::from_timestamp_millis(self.0).unwrap_or(Timestamp::MAX_UTC)
    }
}

impl From<Timestamp> for DbTime {
    /// Rounds down to the millisecond.
    fn from(at: Timestamp) -> Self {
        Self(at.timestamp_millis())
    }
}

impl fmt::Display for DbTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.timestamp().fmt(f)
    }
}

/// `n` seconds.
#[must_use]
pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// `n` milliseconds.
#[must_use]
pub const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}
