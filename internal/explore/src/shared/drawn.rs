use std::hash::Hash;

use super::{Happening, Scene, Shared};
use crate::fault::legs;
use crate::judge::{Invariant, Violation};
use crate::random::{Draw, FAULT_EVERY, QUIET_MAX};

/// One event in so many is something that people do.
const ACT_EVERY: u64 = 16;

/// A long run of several sagas whose order and faults are drawn; its seed gives the same run again.
#[derive(Debug, Clone)]
pub struct SharedRun {
    /// What it was drawn from.
    pub seed: u64,
    /// Events in all.
    pub events: usize,
    /// Faults that struck.
    pub faults: u32,
    /// How each saga ended; `under way` is a violation.
    pub endings: Vec<&'static str>,
    /// The first violation.
    pub violation: Option<Violation>,
}

/// What is under way of a run.
struct Drawing<'s, R> {
    shared: &'s Shared<R>,
    draw: Draw,
    scene: Scene<R>,
    happenings: Vec<Happening>,
    /// Sagas to which something may still happen.
    live: Vec<usize>,
    /// Events of each saga since it should have been coming to rest.
    quiet: Vec<usize>,
    faults: u32,
    left: u32,
}

impl<R: Clone + Eq + Hash> Shared<R> {
    /// Draws a run: any event of any saga at any time and up to `faults` faults, then quiet. All
    /// invariants must hold and every saga must come to rest; those that may not start yet are
    /// asked for again as long as others go on.
    #[must_use]
    pub fn random(&self, seed: u64, faults: u32) -> SharedRun {
        let mut draw = Draw(seed);
        let left = draw.below(u64::from(faults) + 1);
        let mut drawing = Drawing {
            shared: self,
            draw,
            scene: self.first(),
            happenings: Vec::new(),
            live: (0..self.sagas.len()).collect(),
            quiet: vec![0; self.sagas.len()],
            faults: 0,
            left: u32::try_from(left).unwrap_or(faults),
        };
        let violated = drawing.goes_on();
        let ending = |saga: usize| match &drawing.scene.sagas[saga] {
            Some(moment) => moment.ending(),
            None => "never started",
        };
        SharedRun {
            seed,
            events: drawing.happenings.len(),
            faults: drawing.faults,
            endings: (0..self.sagas.len()).map(ending).collect(),
            violation: violated.map(|(invariant, words)| Violation {
                invariant,
                words,
                schedule: self.schedule(&drawing.happenings),
            }),
        }
    }
}

impl<R: Clone + Eq + Hash> Drawing<'_, R> {
    /// Until nothing can happen any more; or the first violation.
    fn goes_on(&mut self) -> Option<(Invariant, String)> {
        let waits = |scene: &Scene<R>, saga: usize| scene.sagas[saga].is_none();
        while self.live.iter().any(|saga| !waits(&self.scene, *saga)) || self.starts_one() {
            let Some(happening) = self.next() else {
                continue;
            };
            let Some((after, violated)) = self.shared.after(&self.scene, happening) else {
                continue; // it cannot happen here
            };
            self.scene = after;
            self.happenings.push(happening);
            if let Some(violated) = violated.into_iter().next() {
                return Some(violated);
            }
            if let Some(words) = self.counts(happening) {
                return Some((Invariant::Liveness, words));
            }
        }
        None
    }

    /// Whether one that waits may start although nothing else happens.
    fn starts_one(&self) -> bool {
        let mut waiting = self.live.iter();
        waiting.any(|saga| {
            self.shared.may_start(&self.scene, *saga)
                && self.shared.start(&self.scene, *saga).is_some()
        })
    }

    /// `None`: nothing can happen to the saga that was drawn.
    fn next(&mut self) -> Option<Happening> {
        let acts = u64::try_from(self.shared.acts.len()).unwrap_or_default();
        if acts > 0 && self.draw.below(ACT_EVERY) == 0 {
            let act = usize::try_from(self.draw.below(acts)).ok()?;
            return Some(Happening::Acts(act));
        }
        let saga = self.draw.of(&self.live)?;
        let member = &self.shared.sagas[saga];
        let Some(moment) = &self.scene.sagas[saga] else {
            let may = self.shared.may_start(&self.scene, saga);
            return may.then_some(Happening::Starts(saga));
        };
        let faults = moment.faults(&member.explorer.rules, &member.may);
        let strikes = self.left > 0 && !faults.is_empty() && self.draw.below(FAULT_EVERY) == 0;
        let events = if strikes {
            faults
        } else {
            moment.free(&member.explorer.rules)
        };
        let Some(event) = self.draw.of(&events) else {
            self.live.retain(|live| *live != saga); // it rests, and nothing is late
            return None;
        };
        Some(Happening::To(saga, event))
    }

    /// The error says that a saga does not come to rest.
    fn counts(&mut self, happening: Happening) -> Option<String> {
        let Happening::To(saga, _) = happening else {
            return None;
        };
        if happening.is_fault() {
            self.left -= 1;
            self.faults += 1;
        }
        let moment = self.scene.sagas[saga].as_ref()?;
        self.quiet[saga] += usize::from(self.left == 0 || moment.rests());
        let plan = self.shared.sagas[saga].explorer.plan();
        if self.quiet[saga] < QUIET_MAX * legs(plan).len() {
            return None;
        }
        self.live.retain(|live| *live != saga);
        let label = self.shared.label(saga);
        (!moment.rests()).then(|| format!("{label} does not come to rest after the last fault"))
    }
}
