use std::time::Duration;

use rand::Rng;

/// Pauses between tries at something that is away: 100 ms, doubled each time up to 5 s, each
/// between half and all of that, so that those who wait do not come back together.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    tries: u32,
}

const FIRST_MS: u64 = 100;
const LONGEST_MS: u64 = 5_000;

impl Backoff {
    /// The pause before the next try.
    pub fn next_pause(&mut self) -> Duration {
        let full = (FIRST_MS << self.tries.min(16)).min(LONGEST_MS);
        self.tries = self.tries.saturating_add(1);
        Duration::from_millis(rand::rng().random_range(full / 2..=full))
    }

    /// Tries since it last answered.
    #[must_use]
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// It answered: the next outage begins anew.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..20).map(|_| backoff.next_pause()).collect();
        assert!(pauses[0] <= Duration::from_millis(100), "{pauses:?}");
        for pause in &pauses[6..] {
            assert!(*pause >= Duration::from_millis(2_500), "{pauses:?}");
            assert!(*pause <= Duration::from_secs(5), "{pauses:?}");
        }
        backoff.reset();
        assert!(backoff.next_pause() <= Duration::from_millis(100));
    }
}
