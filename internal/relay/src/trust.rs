use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time since the machine started, time asleep included. The monotonic clock stands still while a
/// machine sleeps, and a lease that it measured would seem to last.
pub(crate) fn boot_time() -> Duration {
    #[cfg(target_os = "linux")]
    let clock = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = ClockId::Monotonic;
    let now = clock_gettime(clock);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(now.tv_nsec).unwrap_or(0))
}

/// Until when a lease is certainly ours. Shared between a lane and its page in flight.
#[derive(Debug, Clone)]
pub(crate) struct Trust {
    /// Boot time, in microseconds; 0 when the lane is lost.
    until: Arc<AtomicU64>,
}

impl Trust {
    pub(crate) fn until(end: Duration) -> Self {
        Self {
            until: Arc::new(AtomicU64::new(micros(end))),
        }
    }

    pub(crate) fn extend(&self, end: Duration) {
        self.until.store(micros(end), Ordering::Release);
    }

    /// The lane is lost: a page that waits is not sent any more.
    pub(crate) fn end(&self) {
        self.until.store(0, Ordering::Release);
    }

    pub(crate) fn holds(&self) -> bool {
        self.holds_at(boot_time())
    }

    /// The same at a boot time that was read for many.
    pub(crate) fn holds_at(&self, now: Duration) -> bool {
        self.end_at() > now
    }

    /// The boot time at which it ends.
    pub(crate) fn end_at(&self) -> Duration {
        Duration::from_micros(self.until.load(Ordering::Acquire))
    }
}

/// The end of the trust in a lease of `ttl`, for a statement that was sent at `sent` (boot time)
/// and took `round_trip`: the server may have read its clock at once, and clocks drift.
pub(crate) fn trust_end(sent: Duration, round_trip: Duration, ttl: Duration) -> Duration {
    (sent + ttl).saturating_sub((ttl / 5).max(round_trip * 2))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn trust_ends_before_the_lease() {
        assert_eq!(trust_end(ms(50_000), ms(10), ms(10_000)), ms(58_000));
        // a slow answer makes it shorter, and one that took longer than the lease leaves nothing
        assert_eq!(trust_end(ms(50_000), ms(3_000), ms(10_000)), ms(54_000));
        assert_eq!(trust_end(ms(50_000), ms(40_000), ms(10_000)), ms(0));
    }

    #[test]
    fn a_lost_lane_is_not_trusted() {
        let trust = Trust::until(boot_time() + ms(60_000));
        let page = trust.clone();
        assert!(page.holds());
        trust.end();
        assert!(!page.holds());
    }
}
