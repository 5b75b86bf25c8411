use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, SubsecRound, Utc};

/// An instant in UTC.
pub type Timestamp = DateTime<Utc>;

/// Where loops take the time from: the system, or a hand that sets it.
///
/// Stored times are the database's; this clock is for ids, spans and deadlines of calls.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// Microseconds since the Unix epoch, when set by hand.
    manual: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still at `at` until [`Clock::set`].
    #[must_use]
    pub fn manual(at: Timestamp) -> Self {
        Self {
            manual: Some(Arc::new(AtomicI64::new(at.timestamp_micros()))),
        }
    }

    /// The present instant, to the microsecond.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.manual {
            Some(micros) => DateTime::from_timestamp_micros(micros.load(Ordering::Acquire))
                .unwrap_or(DateTime::UNIX_EPOCH),
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place that reads the clock"
            )]
            // what PostgreSQL keeps, so that an instant reads the same before and after it is stored
            None => Utc::now().trunc_subsecs(6),
        }
    }

    /// Sets a manual clock; a system clock is left alone.
    pub fn set(&self, at: Timestamp) {
        if let Some(micros) = &self.manual {
            micros.store(at.timestamp_micros(), Ordering::Release);
        }
    }
}
