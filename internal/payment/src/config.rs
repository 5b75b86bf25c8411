use std::time::Duration;

/// Limits of the calls to the card processor.
#[derive(Debug, Clone)]
pub(crate) struct CardCalls {
    /// Calls that are out at once; more put more load on the processor.
    pub(crate) calls_max: usize,
    /// How long a call may take. Longer holds a place among `calls_max`.
    pub(crate) call_limit: Duration,
    /// How long an intent is left alone after it was taken: longer than a call, its connection and
    /// the transaction after it. Longer delays what a crash left behind.
    pub(crate) lease: Duration,
    /// The processor forgets keys after 24 h; older than this, less a margin, an intent is looked
    /// up and never called.
    pub(crate) key_age_max: Duration,
    /// Pause after the first failed call of an intent, doubled with each.
    pub(crate) retry_first: Duration,
    /// The longest pause between calls.
    pub(crate) retry_max: Duration,
    /// Pause between looks at an intent that is too old and unknown to the processor.
    pub(crate) retry_forgotten: Duration,
    /// Pause between polls while nobody rings. Shorter costs statements.
    pub(crate) poll: Duration,
    /// How long calls that are out may go on after the stop.
    pub(crate) drain_limit: Duration,
}

impl Default for CardCalls {
    fn default() -> Self {
        Self {
            calls_max: 16,
            call_limit: Duration::from_secs(3),
            lease: Duration::from_secs(8),
            key_age_max: Duration::from_hours(23),
            retry_first: Duration::from_millis(100),
            retry_max: Duration::from_secs(5),
            retry_forgotten: Duration::from_mins(10),
            poll: Duration::from_millis(100),
            drain_limit: Duration::from_secs(2),
        }
    }
}
