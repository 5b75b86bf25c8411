use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use palinode_saga::{State, StepState};

use crate::fault::Site;
use crate::judge::{self, Invariant, Own, Violation};
use crate::moment::{Event, Moment, Rules, Stepped};
use crate::moves::Move;
use crate::recovery;
use crate::schedule::Schedule;

/// Moments of one search at the most: some 200 bytes each, and 1,000 while one waits to be
/// looked at.
pub(crate) const MOMENTS_MAX: usize = 6_000_000;

/// What is searched for.
#[derive(Debug)]
pub(crate) struct Goal<'g> {
    pub(crate) rules: &'g Rules,
    pub(crate) own: &'g [Own],
    /// Faults that strike once each; what has not met all of them is no end.
    pub(crate) must: &'g [Site],
    /// Faults that may strike, any of them any number of times.
    pub(crate) may: &'g [Site],
    /// So many of these at the most.
    pub(crate) at_once: u8,
    /// When it ends before it has been everywhere.
    pub(crate) until: Option<Until>,
    /// Whether equal moments that were reached by other paths are other moments. Then a saga
    /// that never comes to rest has moments without end.
    pub(crate) by_path: bool,
    /// Whether what is stored is read again at each moment, with nothing else left.
    pub(crate) recovers: bool,
    /// Whether every moment is kept.
    pub(crate) keeps: bool,
}

/// When a search ends before it has been everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// This is violated.
    Violated(Invariant),
    /// It has come to rest, once.
    Rest,
}

/// Breadth first, by the number of faults and then by length.
#[derive(Debug)]
pub(crate) struct Search<'g> {
    pub(crate) goal: Goal<'g>,
    pub(crate) nodes: Vec<Node>,
    /// The moments from which it began; the first nodes are theirs.
    roots: Vec<Moment>,
    /// Every moment, where they are kept.
    pub(crate) kept: Vec<(u32, Moment)>,
    seen: HashMap<u128, u32>,
    /// Steps without a fault: from, to.
    free: Vec<(u32, u32)>,
    pub(crate) fired: HashSet<Site>,
    pub(crate) moves: BTreeSet<(usize, Move)>,
    pub(crate) violations: BTreeMap<Invariant, Violation>,
    /// From which root each violation was reached.
    violated_from: BTreeMap<Invariant, usize>,
    /// Whether it has come to rest, once.
    ended: bool,
    /// True when there were more moments than are kept.
    pub(crate) cut: bool,
}

/// A moment that was seen, and how it was reached first.
#[derive(Debug)]
pub(crate) struct Node {
    parent: u32,
    event: Option<Event>,
    /// Digest of the sequence of the saga's states so far.
    pub(crate) path: u64,
    /// Which of the faults that must strike have struck.
    met: u16,
    /// Faults, of those that may strike.
    pub(crate) spent: u8,
    /// Events so far.
    pub(crate) length: u32,
    /// Whether nothing happens by itself any more.
    rests: bool,
    /// How it ended, if it rests and has met what it must.
    pub(crate) end: Option<&'static str>,
}

/// By length of the schedule, so that the shortest come first.
#[derive(Debug)]
pub(crate) struct Queue<M>(BTreeMap<u32, VecDeque<(u32, M)>>);

impl<M> Queue<M> {
    pub(crate) fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub(crate) fn push(&mut self, length: u32, at: u32, moment: M) {
        let of_length = self.0.entry(length).or_default();
        of_length.push_back((at, moment));
    }

    pub(crate) fn pop(&mut self) -> Option<(u32, M)> {
        let mut first = self.0.first_entry()?;
        let next = first.get_mut().pop_front();
        if first.get().is_empty() {
            first.remove();
        }
        next
    }
}

impl<'g> Search<'g> {
    pub(crate) fn run(goal: Goal<'g>) -> Self {
        let start = Moment::start(goal.rules);
        Self::from(goal, vec![(0, start)])
    }

    /// From these moments on, with so many faults spent.
    pub(crate) fn from(goal: Goal<'g>, starts: Vec<(u8, Moment)>) -> Self {
        let mut search = Self {
            goal,
            nodes: Vec::new(),
            roots: Vec::new(),
            kept: Vec::new(),
            seen: HashMap::new(),
            free: Vec::new(),
            fired: HashSet::new(),
            moves: BTreeSet::new(),
            violations: BTreeMap::new(),
            violated_from: BTreeMap::new(),
            ended: false,
            cut: false,
        };
        if search.everywhere(starts) {
            search.lassos();
        }
        search
    }

    /// False when it ended before it had been everywhere.
    fn everywhere(&mut self, starts: Vec<(u8, Moment)>) -> bool {
        let rules = self.goal.rules;
        // one queue for each number of faults spent: what needs fewer comes first
        let levels = 0..=self.goal.at_once;
        let mut queues: Vec<Queue<Moment>> = levels.map(|_| Queue::new()).collect();
        for (spent, start) in starts {
            let at = self.root(spent, &start);
            queues[usize::from(spent)].push(0, at, start);
        }
        for spent in 0..queues.len() {
            while let Some((at, moment)) = queues[spent].pop() {
                if self.nodes.len() > MOMENTS_MAX {
                    self.cut = true;
                    return false;
                }
                for event in moment.free(rules) {
                    if let Some(to) = self.step(at, &moment, event, &mut queues[spent]) {
                        self.free.push((at, to));
                    }
                }
                for event in moment.faults(rules, self.goal.must) {
                    self.step(at, &moment, event, &mut queues[spent]);
                }
                if let Some(queue) = queues.get_mut(spent + 1) {
                    let faults = moment.faults(rules, self.goal.may);
                    for event in faults.into_iter().chain(moment.race(rules)) {
                        self.step(at, &moment, event, queue);
                    }
                }
                if self.ended && self.goal.until == Some(Until::Rest) {
                    return false;
                }
            }
            // what takes fewer faults is told first, so it is waited for
            if let Some(Until::Violated(of)) = self.goal.until
                && let Some(violation) = self.violations.get(&of)
                && self.cost(violation) <= spent
            {
                return false;
            }
        }
        true
    }

    fn root(&mut self, spent: u8, start: &Moment) -> u32 {
        let at = u32::try_from(self.nodes.len()).expect("fewer moments than that");
        self.seen
            .insert(key(start.digest(self.goal.rules), 0, 0), at);
        self.nodes.push(Node {
            parent: at,
            event: None,
            path: 0,
            met: 0,
            spent,
            length: 0,
            rests: start.rests(),
            end: None,
        });
        self.roots.push(start.clone());
        at
    }

    fn step(
        &mut self,
        at: u32,
        before: &Moment,
        event: Event,
        queue: &mut Queue<Moment>,
    ) -> Option<u32> {
        let Node {
            met, spent, length, ..
        } = self.nodes[at as usize];
        let length = length + 1;
        let (met, spent) = match event {
            Event::Goes(site, _) => {
                let must = self.goal.must.iter().enumerate();
                let mut unmet = must.filter(|(bit, of)| **of == site && met & (1 << bit) == 0);
                match unmet.next() {
                    Some((bit, _)) => (met | 1 << bit, spent),
                    None if self.goal.must.contains(&site) && !self.goal.may.contains(&site) => {
                        return None; // it has struck
                    }
                    None => (met, spent + 1),
                }
            }
            Event::TimerFirst => (met, spent + 1),
            Event::Arrives(_) | Event::TimePasses | Event::Resumes => (met, spent),
        };
        let stepped = before.after(self.goal.rules, event)?;
        if let Event::Goes(site, _) = event {
            self.fired.insert(site);
        }
        self.note_moves(&before.state, &stepped.after.state);
        self.judge(at, before, event, &stepped);
        let after = stepped.after;
        let path = path(self.nodes[at as usize].path, &before.state, &after.state);
        let told_apart = if self.goal.by_path { path } else { 0 };
        let key = key(after.digest(self.goal.rules), told_apart, met);
        if let Some(&known) = self.seen.get(&key) {
            return Some(known);
        }
        let to = u32::try_from(self.nodes.len()).expect("fewer moments than that");
        self.seen.insert(key, to);
        let rests = after.rests();
        let all = (1 << self.goal.must.len()) - 1;
        let end = (rests && met == all).then(|| after.ending());
        self.ended |= end.is_some();
        self.nodes.push(Node {
            parent: at,
            event: Some(event),
            path,
            met,
            spent,
            length,
            rests,
            end,
        });
        if self.goal.keeps {
            self.kept.push((to, after.clone()));
        }
        queue.push(length, to, after);
        Some(to)
    }

    fn note_moves(&mut self, before: &State, after: &State) {
        let steps = before.steps.iter().zip(&after.steps).enumerate();
        for (step, (was, is)) in steps {
            if was.word() != is.word() {
                self.moves.insert((step, (was.word(), is.word())));
            }
        }
    }

    fn judge(&mut self, at: u32, before: &Moment, event: Event, stepped: &Stepped) {
        let (rules, own) = (self.goal.rules, self.goal.own);
        let mut violated = judge::violated(rules, own, before, event, stepped);
        if self.goal.recovers {
            violated.extend(recovery::violated(rules, before, stepped));
        }
        let node = &self.nodes[at as usize];
        let faults = u32::from(node.spent)
            + node.met.count_ones()
            + u32::from(matches!(event, Event::Goes(..) | Event::TimerFirst));
        let price = (faults as usize, node.length as usize + 1);
        for (invariant, words) in violated {
            let known = self.violations.get(&invariant);
            let dearer = |known: &Violation| {
                price < (known.schedule.sites.len(), known.schedule.lines.len())
            };
            if known.is_none_or(dearer) {
                let mut events = self.events(at);
                events.push(event);
                let violation = Violation {
                    invariant,
                    words,
                    schedule: Schedule::of(rules, self.origin(at), &events),
                };
                self.violations.insert(invariant, violation);
                self.violated_from.insert(invariant, self.root_of(at));
            }
        }
    }

    /// Every violation, and from which root it was reached.
    pub(crate) fn violation_roots(&self) -> Vec<(usize, &Violation)> {
        let violations = self.violations.iter();
        violations
            .map(|(of, violation)| (self.violated_from[of], violation))
            .collect()
    }

    /// Faults that a violation takes beyond those that must strike.
    fn cost(&self, violation: &Violation) -> usize {
        violation
            .schedule
            .sites
            .len()
            .saturating_sub(self.goal.must.len())
    }

    /// Moments from which no rest can be reached without a further fault.
    fn lassos(&mut self) {
        let rests = self.nodes.iter().map(|node| node.rests).collect();
        if let Some(stuck) = stuck(std::mem::take(&mut self.free), rests) {
            let violation = Violation {
                invariant: Invariant::Liveness,
                words: "from here it never comes to rest".to_owned(),
                schedule: self.schedule(stuck),
            };
            let root = self.root_of(stuck);
            let known = self.violations.entry(Invariant::Liveness);
            known.or_insert(violation);
            self.violated_from
                .entry(Invariant::Liveness)
                .or_insert(root);
        }
    }

    /// Position among those from which it began.
    pub(crate) fn root_of(&self, mut at: u32) -> usize {
        while self.nodes[at as usize].event.is_some() {
            at = self.nodes[at as usize].parent;
        }
        at as usize
    }

    /// From which moment it was reached.
    fn origin(&self, at: u32) -> &Moment {
        &self.roots[self.root_of(at)]
    }

    /// How a moment was reached first.
    pub(crate) fn events(&self, mut at: u32) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.nodes[at as usize].event {
            events.push(event);
            at = self.nodes[at as usize].parent;
        }
        events.reverse();
        events
    }

    pub(crate) fn moment(&self, at: u32) -> Moment {
        let rules = self.goal.rules;
        let events = self.events(at).into_iter();
        events.fold(self.origin(at).clone(), |moment, event| {
            let stepped = moment.after(rules, event);
            stepped.map_or(moment, |stepped| stepped.after)
        })
    }

    pub(crate) fn schedule(&self, at: u32) -> Schedule {
        Schedule::of(self.goal.rules, self.origin(at), &self.events(at))
    }

    /// Every moment of rest that has met what it must: fewest faults, then shortest schedule.
    pub(crate) fn ends(&self) -> Vec<(u32, &Node)> {
        let nodes = (0..).zip(&self.nodes);
        let mut ends: Vec<(u32, &Node)> = nodes.filter(|(_, node)| node.end.is_some()).collect();
        ends.sort_by_key(|(_, node)| (node.spent, node.length));
        ends
    }

    pub(crate) fn states(&self) -> usize {
        self.nodes.len()
    }
}

/// The first moment from which no rest can be reached by steps without a fault: from, to.
pub(crate) fn stuck(free: Vec<(u32, u32)>, rests: Vec<bool>) -> Option<u32> {
    let number = |at: usize| u32::try_from(at).expect("fewer moments than that");
    let mut before: Vec<Vec<u32>> = vec![Vec::new(); rests.len()];
    for (from, to) in free {
        before[to as usize].push(from);
    }
    let at_rest = rests.iter().enumerate().filter(|(_, rests)| **rests);
    let mut queue: VecDeque<u32> = at_rest.map(|(at, _)| number(at)).collect();
    let mut ends = rests;
    while let Some(at) = queue.pop_front() {
        for from in std::mem::take(&mut before[at as usize]) {
            if !std::mem::replace(&mut ends[from as usize], true) {
                queue.push_back(from);
            }
        }
    }
    ends.iter().position(|ends| !ends).map(number)
}

/// Digest of the sequence of the saga's states, the last one included.
fn path(so_far: u64, before: &State, after: &State) -> u64 {
    let same = |(was, is): (&StepState, &StepState)| was.word() == is.word();
    let unmoved = before.steps.iter().zip(&after.steps).all(same);
    if unmoved && before.status == after.status {
        return so_far;
    }
    let mut hasher = DefaultHasher::new();
    so_far.hash(&mut hasher);
    for step in &after.steps {
        step.word().hash(&mut hasher);
    }
    after.status.hash(&mut hasher);
    hasher.finish()
}

/// Equal moments that were reached by other paths, or have met other faults, are other moments.
fn key(digest: u128, path: u64, met: u16) -> u128 {
    let mut hasher = DefaultHasher::new();
    (path, met).hash(&mut hasher);
    digest ^ u128::from(hasher.finish()).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}
