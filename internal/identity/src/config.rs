use std::time::Duration;

/// What a password costs: the service, and whoever guesses.
///
/// Source: OWASP Password Storage Cheat Sheet (Argon2id, 19 MiB, 2 passes, 1 lane).
#[derive(Debug, Clone)]
pub(crate) struct Passwords {
    /// Memory of one hash, in KiB. More makes guessing dearer, and takes as much for each permit.
    pub(crate) memory_kib: u32,
    /// Passes over the memory. More take longer.
    pub(crate) passes: u32,
    /// Lanes of the memory.
    pub(crate) lanes: u32,
    /// Hashes that are reckoned at once; more than cores only slow each other down.
    pub(crate) at_once: usize,
    /// Callers that wait for their turn; more wait longer than they like.
    pub(crate) waiting_max: usize,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            memory_kib: 19_456,
            passes: 2,
            lanes: 1,
            at_once: std::thread::available_parallelism().map_or(1, usize::from),
            waiting_max: 64,
        }
    }
}

/// How long an access token is good for: so long is somebody trusted whose session has ended.
pub(crate) const ACCESS_LIFETIME: Duration = Duration::from_mins(15);
/// How long a service's token is good for. The longest of all.
pub(crate) const SERVICE_LIFETIME: Duration = Duration::from_hours(1);
/// Pause between looks at the keys, and between purges.
pub(crate) const UPKEEP_EVERY: Duration = Duration::from_mins(1);
/// Pause after one that failed.
pub(crate) const UPKEEP_AGAIN: Duration = Duration::from_secs(5);
/// However many tokens name unknown keys, the table is not read more often.
pub(crate) const WANTED_PAUSE: Duration = Duration::from_secs(1);
