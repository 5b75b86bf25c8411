use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use palinode_saga::{Plan, State, Transition};

use crate::fault::{Site, sites};
use crate::judge::{self, Invariant, Violation};
use crate::moves::{self, Move};
use crate::mutant::Mutant;
use crate::report::{Ending, Report};
use crate::world::{Event, World, shortened};

/// Worlds of one search at the most: some 400 bytes each.
const WORLDS_MAX: usize = 4_000_000;

/// Explores a plan with one and with two faults at a time.
#[must_use]
pub fn explore(plan: &Plan) -> Report {
    Explorer::new(plan).run()
}

/// An exploration to be run.
#[derive(Debug, Clone)]
pub struct Explorer {
    plan: Plan,
    faults: u8,
    mutant: Option<Mutant>,
    stop_at_first: bool,
}

struct Node {
    world: World,
    parent: u32,
    event: Option<Event>,
    /// Digest of the sequence of the saga's states so far.
    path: u64,
}

impl Explorer {
    /// Of that plan, with up to two faults. Its budgets are shortened: what is given up after a day
    /// is given up after a few attempts.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        Self {
            plan: shortened(plan),
            faults: 2,
            mutant: None,
            stop_at_first: false,
        }
    }

    /// With up to `faults` at the same time.
    #[must_use]
    pub fn faults(mut self, faults: u8) -> Self {
        self.faults = faults;
        self
    }

    /// In a world with a planted bug; the search stops at the first violation.
    #[must_use]
    pub fn mutant(mut self, mutant: Mutant) -> Self {
        self.mutant = Some(mutant);
        self.stop_at_first = true;
        self
    }

    /// Searches breadth first, by the number of faults and then by length.
    #[must_use]
    pub fn run(&self) -> Report {
        let planned = sites(&self.plan);
        let mut search = Search {
            explorer: self,
            nodes: Vec::new(),
            seen: HashMap::new(),
            free: Vec::new(),
            fired: HashSet::new(),
            moves: BTreeSet::new(),
            violations: BTreeMap::new(),
        };
        let cut = search.all(&planned);
        search.report(&planned, cut)
    }
}

struct Search<'e> {
    explorer: &'e Explorer,
    nodes: Vec<Node>,
    seen: HashMap<u128, u32>,
    /// Steps without a fault: from, to.
    free: Vec<(u32, u32)>,
    fired: HashSet<Site>,
    moves: BTreeSet<(usize, Move)>,
    violations: BTreeMap<Invariant, Violation>,
}

impl Search<'_> {
    fn plan(&self) -> &Plan {
        &self.explorer.plan
    }

    fn all(&mut self, planned: &[Site]) -> bool {
        let (world, _) = World::start(self.plan(), self.explorer.faults, self.explorer.mutant);
        self.note_moves(&State::new(self.plan()), &world.state);
        self.seen.insert(world.digest(), 0);
        self.nodes.push(Node {
            world,
            parent: 0,
            event: None,
            path: 0,
        });
        // one queue for each number of faults spent: what needs fewer comes first
        let mut queues: Vec<VecDeque<u32>> =
            vec![VecDeque::new(); usize::from(self.explorer.faults) + 1];
        queues[0].push_back(0);
        for spent in 0..queues.len() {
            while let Some(at) = queues[spent].pop_front() {
                if self.nodes.len() > WORLDS_MAX {
                    return true;
                }
                if self.explorer.stop_at_first && !self.violations.is_empty() {
                    return false;
                }
                let world = self.nodes[at as usize].world.clone();
                for event in world.free(self.plan()) {
                    if let Some(to) = self.step(at, &world, event, &mut queues[spent]) {
                        self.free.push((at, to));
                    }
                }
                if spent + 1 < queues.len() {
                    for event in world.faults(self.plan(), planned) {
                        if let Event::Goes(site, _) = event {
                            self.fired.insert(site);
                        }
                        self.step(at, &world, event, &mut queues[spent + 1]);
                    }
                }
            }
        }
        self.lassos();
        false
    }

    fn step(
        &mut self,
        at: u32,
        before: &World,
        event: Event,
        queue: &mut VecDeque<u32>,
    ) -> Option<u32> {
        let (after, transition) = before.after(self.plan(), event, self.explorer.mutant)?;
        self.note_moves(&before.state, &after.state);
        self.judge(at, event, before, &after, transition.as_ref());
        if let Some(&known) = self.seen.get(&after.digest()) {
            return Some(known);
        }
        let to = u32::try_from(self.nodes.len()).expect("fewer worlds than that");
        self.seen.insert(after.digest(), to);
        let path = self.path(at, before, &after);
        self.nodes.push(Node {
            world: after,
            parent: at,
            event: Some(event),
            path,
        });
        queue.push_back(to);
        Some(to)
    }

    /// Digest of the sequence of the saga's states, this one included.
    fn path(&self, at: u32, before: &World, after: &World) -> u64 {
        let path = self.nodes[at as usize].path;
        if before.state == after.state {
            return path;
        }
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        for step in &after.state.steps {
            step.word().hash(&mut hasher);
        }
        after.state.status.hash(&mut hasher);
        hasher.finish()
    }

    fn note_moves(&mut self, before: &State, after: &State) {
        let steps = before.steps.iter().zip(&after.steps).enumerate();
        for (step, (was, is)) in steps {
            if was.word() != is.word() {
                self.moves.insert((step, (was.word(), is.word())));
            }
        }
    }

    fn judge(
        &mut self,
        at: u32,
        event: Event,
        before: &World,
        after: &World,
        transition: Option<&Transition>,
    ) {
        let plan = self.plan();
        let of_transition =
            transition.map_or(Ok(()), |t| judge::transition(plan, before, after, t));
        let verdicts = [of_transition, judge::state(plan, after)];
        for (invariant, words) in verdicts.into_iter().filter_map(Result::err) {
            if !self.violations.contains_key(&invariant) {
                let mut trace = self.trace(at);
                trace.push(self.words(before, event));
                let violation = Violation {
                    invariant,
                    words,
                    trace,
                };
                self.violations.insert(invariant, violation);
            }
        }
    }

    /// Worlds from which no rest can be reached without a further fault.
    fn lassos(&mut self) {
        let mut before: Vec<Vec<u32>> = vec![Vec::new(); self.nodes.len()];
        for (from, to) in &self.free {
            before[*to as usize].push(*from);
        }
        let mut ends = vec![false; self.nodes.len()];
        let mut queue: VecDeque<u32> = VecDeque::new();
        for (at, node) in self.nodes.iter().enumerate() {
            if node.world.rests() {
                ends[at] = true;
                queue.push_back(u32::try_from(at).expect("fewer worlds than that"));
            }
        }
        while let Some(at) = queue.pop_front() {
            for from in std::mem::take(&mut before[at as usize]) {
                if !std::mem::replace(&mut ends[from as usize], true) {
                    queue.push_back(from);
                }
            }
        }
        if let Some(stuck) = ends.iter().position(|ends| !ends) {
            let at = u32::try_from(stuck).expect("fewer worlds than that");
            let trace = self.trace(at);
            self.violations
                .entry(Invariant::Liveness)
                .or_insert(Violation {
                    invariant: Invariant::Liveness,
                    words: "from here it never comes to rest".to_owned(),
                    trace,
                });
        }
    }

    fn trace(&self, mut at: u32) -> Vec<String> {
        let mut trace = Vec::new();
        while let Some(event) = self.nodes[at as usize].event {
            let parent = self.nodes[at as usize].parent;
            trace.push(self.words(&self.nodes[parent as usize].world, event));
            at = parent;
        }
        trace.reverse();
        trace
    }

    fn words(&self, world: &World, event: Event) -> String {
        let plan = self.plan();
        match event {
            Event::Arrives(at) => world.wire[at].words(plan),
            Event::TimePasses => "time passes until something is due".to_owned(),
            Event::Resumes => "an operator resumes it".to_owned(),
            Event::Goes(site, _) => format!("FAULT {}", site.id(plan)),
        }
    }

    fn report(&self, planned: &[Site], cut: bool) -> Report {
        let plan = self.plan();
        let mut endings: BTreeMap<String, (Ending, u32)> = BTreeMap::new();
        let mut paths = BTreeSet::new();
        for (at, node) in self.nodes.iter().enumerate() {
            if !node.world.rests() {
                continue;
            }
            paths.insert(node.path);
            let spent = self.explorer.faults - node.world.faults_left;
            let at = u32::try_from(at).expect("fewer worlds than that");
            // the first is the one with the fewest faults and the shortest schedule
            let (ending, _) = endings.entry(node.world.ending().to_owned()).or_insert((
                Ending {
                    faults: spent,
                    ..Ending::default()
                },
                at,
            ));
            ending.worlds += 1;
        }
        let endings = endings.into_iter().map(|(name, (ending, at))| {
            let example = self.trace(at);
            (name, Ending { example, ..ending })
        });
        let expected = moves::expected(plan);
        let unreached = planned.iter().filter(|site| !self.fired.contains(site));
        Report {
            plan: plan.label(),
            faults: self.explorer.faults,
            scenarios: planned.len(),
            unreached: unreached.map(|site| site.id(plan)).collect(),
            states: self.nodes.len(),
            paths: paths.len(),
            transitions: expected.len(),
            missed: moves::words(plan, expected.difference(&self.moves).copied()),
            endings: endings.collect(),
            violations: self.violations.values().cloned().collect(),
            cut,
        }
    }
}
