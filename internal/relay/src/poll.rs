use std::time::Duration;

use tokio::time::Instant;

/// Pauses after the first, second … look that found nothing; doubled from there on.
const PAUSES_MS: [u64; 5] = [1, 2, 5, 10, 20];
/// Where they begin when writers ring: what nobody rang for is another process's.
const RUNG_FROM: usize = 4;

/// From the begin of one look to that of the next at the least: while there is much to do, a look
/// finds more and costs the same. The first row after a silence does not wait for it.
const GAP: Duration = Duration::from_millis(1);

/// When to look at the outbox again: at once while there is something, then ever later, and at
/// once when the doorbell rings.
#[derive(Debug)]
pub(crate) struct Poll {
    next: Instant,
    /// When the last look began.
    last: Instant,
    empty: usize,
    /// Rings so far; a page that was read before the last one may have missed a row.
    rings: u64,
    rings_at_read: u64,
    pause_max: Duration,
    /// Writers ring: a look that was not too early has seen what they wrote.
    rung: bool,
}

impl Poll {
    pub(crate) fn new(pause_max: Duration, rung: bool) -> Self {
        Self {
            next: Instant::now(),
            last: Instant::now(),
            empty: 0,
            rings: 0,
            rings_at_read: 0,
            pause_max,
            rung,
        }
    }

    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    pub(crate) fn rings(&self) -> u64 {
        self.rings
    }

    /// The doorbell rang.
    pub(crate) fn ring(&mut self) {
        self.rings += 1;
        self.look_now();
    }

    pub(crate) fn look_now(&mut self) {
        self.empty = 0;
        self.next = Instant::now().max(self.last + GAP);
    }

    /// A look begins.
    pub(crate) fn reading(&mut self) {
        self.last = Instant::now();
        self.rings_at_read = self.rings;
    }

    /// A look has ended.
    pub(crate) fn read(&mut self, found: bool) {
        if self.rings > self.rings_at_read || (found && !self.rung) {
            self.look_now();
            return;
        }
        if found {
            self.empty = 0;
        }
        let first = if self.rung { RUNG_FROM } else { 0 };
        let pause = pause_after(first + self.empty).min(self.pause_max);
        self.next = Instant::now() + pause;
        self.empty += 1;
    }
}

fn pause_after(empty: usize) -> Duration {
    let last = PAUSES_MS.len() - 1;
    let doublings = empty.saturating_sub(last).min(16);
    Duration::from_millis(PAUSES_MS[empty.min(last)] << doublings)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// The pause after each of some looks that found nothing.
    fn pauses(poll: &mut Poll, looks: usize) -> Vec<Duration> {
        let look = |_| {
            poll.reading();
            poll.read(false);
            poll.next() - Instant::now()
        };
        (0..looks).map(look).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_their_limit() {
        let mut poll = Poll::new(ms(60), false);
        let expected = [1, 2, 5, 10, 20, 40, 60, 60].map(ms);
        assert_eq!(pauses(&mut poll, 8), expected);
        poll.reading();
        poll.read(true);
        assert_eq!(poll.next(), Instant::now() + GAP);
        assert_eq!(pauses(&mut poll, 2), [1, 2].map(ms));
    }

    #[tokio::test(start_paused = true)]
    async fn the_doorbell_ends_a_pause() {
        let mut poll = Poll::new(ms(60_000), false);
        pauses(&mut poll, 12);
        assert!(poll.next() > Instant::now() + ms(1_000));
        tokio::time::advance(ms(500)).await;
        poll.ring();
        assert_eq!(poll.next(), Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn a_ring_during_a_look_asks_for_another() {
        let mut poll = Poll::new(ms(60), false);
        poll.reading();
        poll.ring(); // its row may be younger than the snapshot of the look
        poll.read(false);
        assert_eq!(poll.next(), Instant::now() + GAP);
    }

    #[tokio::test(start_paused = true)]
    async fn where_writers_ring_a_look_that_found_something_is_enough() {
        let mut poll = Poll::new(ms(60), true);
        assert_eq!(pauses(&mut poll, 3), [20, 40, 60].map(ms));
        poll.ring();
        poll.reading();
        poll.read(true);
        assert_eq!(poll.next(), Instant::now() + ms(20));
        poll.reading();
        poll.ring(); // its row may be younger than the snapshot of the look
        poll.read(true);
        assert_eq!(poll.next(), Instant::now() + GAP);
    }
}
