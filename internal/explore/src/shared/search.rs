use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

use super::{Happening, Scene, Shared, SharedReport, Violated};
use crate::fault::Site;
use crate::judge::{Invariant, Violation};
use crate::moment::Event;
use crate::report::Ending;
use crate::schedule::Schedule;
use crate::search::{MOMENTS_MAX, Queue, stuck};

/// How a scene was reached first.
#[derive(Debug)]
struct Node {
    parent: u32,
    happening: Option<Happening>,
    spent: u8,
    length: u32,
    rests: bool,
}

/// What is violated, and how it came to that.
struct Found {
    words: String,
    /// Faults, and events.
    price: (u8, u32),
    happenings: Vec<Happening>,
}

/// Breadth first, by the number of faults of all sagas together and then by length.
struct Search<'s, R> {
    shared: &'s Shared<R>,
    nodes: Vec<Node>,
    seen: HashMap<u128, u32>,
    /// What happens without a fault: from, to.
    free: Vec<(u32, u32)>,
    fired: BTreeSet<(usize, Site)>,
    started: BTreeSet<usize>,
    acted: BTreeSet<usize>,
    endings: BTreeMap<String, (usize, u32)>,
    /// The first is the one with the fewest faults and the shortest schedule.
    violated: BTreeMap<Invariant, Found>,
    cut: bool,
}

impl<R: Clone + Eq + Hash> Shared<R> {
    /// Searches breadth first through every interleaving, by the number of faults and then by
    /// length. Nothing is left out for being independent of something else.
    #[must_use]
    pub fn run(&self) -> SharedReport {
        let mut search = Search {
            shared: self,
            nodes: Vec::new(),
            seen: HashMap::new(),
            free: Vec::new(),
            fired: BTreeSet::new(),
            started: BTreeSet::new(),
            acted: BTreeSet::new(),
            endings: BTreeMap::new(),
            violated: BTreeMap::new(),
            cut: false,
        };
        search.everywhere();
        search.report()
    }

    /// What could be reached with so many faults, by what was. Of several sagas of one plan it is
    /// enough that one meets a fault.
    fn unreached(&self, search: &Search<'_, R>) -> Vec<String> {
        let plan = |saga: usize| self.sagas[saga].explorer.plan().label();
        let fired = |of: usize, site: Site| {
            let mut sagas = (0..self.sagas.len()).filter(|saga| plan(*saga) == plan(of));
            sagas.any(|saga| search.fired.contains(&(saga, site)))
        };
        let mut unreached = Vec::new();
        for (saga, member) in self.sagas.iter().enumerate() {
            if member.starts.is_some() && !search.started.contains(&saga) {
                unreached.push(format!("{} never starts", self.label(saga)));
                continue;
            }
            let sites = member.may.iter();
            let missed = sites.filter(|site| site.needs() <= self.at_once && !fired(saga, **site));
            unreached.extend(missed.map(|site| self.site(saga, *site)));
        }
        let acts = self.acts.iter().enumerate();
        let missed = acts.filter(|(act, _)| !search.acted.contains(act));
        unreached.extend(missed.map(|(_, act)| act.name.to_owned()));
        unreached
    }
}

impl<R: Clone + Eq + Hash> Search<'_, R> {
    fn everywhere(&mut self) {
        let shared = self.shared;
        let levels = 0..=shared.at_once;
        let mut queues: Vec<Queue<Scene<R>>> = levels.map(|_| Queue::new()).collect();
        let first = shared.first();
        self.add(0, None, 0, &first);
        queues[0].push(0, 0, first);
        for spent in 0..queues.len() {
            while let Some((at, scene)) = queues[spent].pop() {
                if self.nodes.len() > MOMENTS_MAX {
                    self.cut = true;
                    return;
                }
                for happening in shared.free(&scene) {
                    if let Some(to) = self.step(at, &scene, happening, &mut queues[spent]) {
                        self.free.push((at, to));
                    }
                }
                if let Some(queue) = queues.get_mut(spent + 1) {
                    for happening in shared.faults(&scene) {
                        self.step(at, &scene, happening, queue);
                    }
                }
            }
        }
    }

    fn step(
        &mut self,
        at: u32,
        before: &Scene<R>,
        happening: Happening,
        queue: &mut Queue<Scene<R>>,
    ) -> Option<u32> {
        let (after, violated) = self.shared.after(before, happening)?;
        match happening {
            Happening::Starts(saga) => drop(self.started.insert(saga)),
            Happening::Acts(act) => drop(self.acted.insert(act)),
            Happening::To(saga, Event::Goes(site, _)) => drop(self.fired.insert((saga, site))),
            Happening::To(..) => {}
        }
        let Node { spent, length, .. } = self.nodes[at as usize];
        let (spent, length) = (spent + u8::from(happening.is_fault()), length + 1);
        self.note(at, happening, (spent, length), violated);
        if let Some(&known) = self.seen.get(&after.digest()) {
            return Some(known);
        }
        let to = self.add(at, Some(happening), spent, &after);
        queue.push(length, to, after);
        Some(to)
    }

    fn add(&mut self, parent: u32, by: Option<Happening>, spent: u8, scene: &Scene<R>) -> u32 {
        let at = u32::try_from(self.nodes.len()).expect("fewer moments than that");
        self.seen.insert(scene.digest(), at);
        let before = self.nodes.get(parent as usize);
        let rests = scene.rests();
        self.nodes.push(Node {
            parent,
            happening: by,
            spent,
            length: before.map_or(0, |before| before.length + 1),
            rests,
        });
        if rests {
            let ending = self.endings.entry(self.shared.ending(scene));
            let (states, least) = ending.or_insert((0, at));
            *states += 1;
            let price = |at: u32| {
                let node = &self.nodes[at as usize];
                (node.spent, node.length)
            };
            if price(at) < price(*least) {
                *least = at;
            }
        }
        at
    }

    fn note(&mut self, at: u32, last: Happening, price: (u8, u32), violated: Violated) {
        for (invariant, words) in violated {
            let known = self.violated.get(&invariant);
            if known.is_none_or(|known| price < known.price) {
                let mut happenings = self.happenings(at);
                happenings.push(last);
                let found = Found {
                    words,
                    price,
                    happenings,
                };
                self.violated.insert(invariant, found);
            }
        }
    }

    fn happenings(&self, mut at: u32) -> Vec<Happening> {
        let mut happenings = Vec::new();
        while let Some(happening) = self.nodes[at as usize].happening {
            happenings.push(happening);
            at = self.nodes[at as usize].parent;
        }
        happenings.reverse();
        happenings
    }

    fn schedule(&self, at: u32) -> Schedule {
        self.shared.schedule(&self.happenings(at))
    }

    fn report(mut self) -> SharedReport {
        let free = std::mem::take(&mut self.free);
        let rests = self.nodes.iter().map(|node| node.rests).collect();
        if !self.cut
            && let Some(at) = stuck(free, rests)
        {
            let Node { spent, length, .. } = self.nodes[at as usize];
            let found = Found {
                words: "from here they never come to rest".to_owned(),
                price: (spent, length),
                happenings: self.happenings(at),
            };
            self.violated.entry(Invariant::Liveness).or_insert(found);
        }
        let violation = |(invariant, found): (&Invariant, &Found)| Violation {
            invariant: *invariant,
            words: found.words.clone(),
            schedule: self.shared.schedule(&found.happenings),
        };
        let ending = |(name, (states, at)): (&String, &(usize, u32))| {
            let (states, example) = (*states, self.schedule(*at));
            (name.clone(), Ending { states, example })
        };
        let labels = 0..self.shared.sagas.len();
        SharedReport {
            plans: labels.map(|saga| self.shared.label(saga)).collect(),
            at_once: self.shared.at_once,
            states: self.nodes.len(),
            endings: self.endings.iter().map(ending).collect(),
            unreached: self.shared.unreached(&self),
            violations: self.violated.iter().map(violation).collect(),
            cut: self.cut,
        }
    }
}
