use crate::explorer::Explorer;
use crate::fault::legs;
use crate::judge::{self, Invariant, Violation};
use crate::moment::{Event, Moment};
use crate::schedule::Schedule;

/// Transitions of each leg, after the faults have stopped, at the most.
pub(crate) const QUIET_MAX: usize = 50;
/// One event in so many is a fault, as long as there are any left.
pub(crate) const FAULT_EVERY: u64 = 4;

/// A long run whose schedule and faults are drawn; its seed gives the same run again.
#[derive(Debug, Clone)]
pub struct RandomRun {
    /// What it was drawn from.
    pub seed: u64,
    /// All that happened.
    pub schedule: Schedule,
    /// How it ended; `under way` is a violation.
    pub ending: &'static str,
    /// The first violation.
    pub violation: Option<Violation>,
}

impl Explorer {
    /// Draws a run: any event at any time and up to `faults` faults, then quiet. It must keep
    /// every invariant and come to rest, and what arrives after that must change nothing for the
    /// worse.
    #[must_use]
    pub fn random(&self, seed: u64, faults: u32) -> RandomRun {
        let rules = &self.rules;
        let planned = self.planned();
        let mut draw = Draw(seed);
        let mut moment = Moment::start(rules);
        let mut events = Vec::new();
        let mut left = draw.below(u64::from(faults) + 1);
        let limit = QUIET_MAX * legs(&rules.plan).len();
        let mut quiet = 0;
        while quiet < limit {
            let faults = moment.faults(rules, &planned);
            let strikes = left > 0 && !faults.is_empty() && draw.below(FAULT_EVERY) == 0;
            let events_now = if strikes { faults } else { moment.free(rules) };
            let Some(event) = draw.of(&events_now) else {
                break; // it rests, and nothing is late
            };
            let Some(stepped) = moment.after(rules, event) else {
                continue; // this fault cannot strike here
            };
            left -= u64::from(strikes);
            quiet += usize::from(left == 0 || moment.rests());
            events.push(event);
            let violated = judge::violated(rules, &self.own, &moment, event, &stepped);
            moment = stepped.after;
            if let Some((invariant, words)) = violated.into_iter().next() {
                return self.drawn(seed, &events, &moment, Some((invariant, words)));
            }
        }
        let stuck = (!moment.rests()).then(|| {
            let words = format!("it does not rest within {limit} events after the last fault");
            (Invariant::Liveness, words)
        });
        self.drawn(seed, &events, &moment, stuck)
    }

    fn drawn(
        &self,
        seed: u64,
        events: &[Event],
        moment: &Moment,
        violated: Option<(Invariant, String)>,
    ) -> RandomRun {
        let schedule = Schedule::of(&self.rules, &Moment::start(&self.rules), events);
        RandomRun {
            seed,
            ending: moment.ending(),
            violation: violated.map(|(invariant, words)| Violation {
                invariant,
                words,
                schedule: schedule.clone(),
            }),
            schedule,
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        let limit = u64::try_from(choices.len())
            .ok()
            .filter(|limit| *limit > 0)?;
        choices
            .get(usize::try_from(self.below(limit)).ok()?)
            .copied()
    }
}
