use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use palinode_saga::Plan;

use crate::fault::{Fault, Faults, Leg, Site, sites};
use crate::judge::{Invariant, Own, Violation};
use crate::moment::{Rules, shortened};
use crate::moves;
use crate::mutant::Mutant;
use crate::replay::Replay;
use crate::report::{Ending, Path, Report, Tried, told};
use crate::scenario::{Scenario, Unknown, parse, scenarios};
use crate::script::{Script, script};
use crate::search::{Goal, Search, Until};
use crate::view::View;

/// Prepares an exploration of a plan, with two faults at a time.
///
/// Its budgets are shortened: what is given up after a day is given up after a few attempts.
#[must_use]
pub fn explore(plan: &Plan) -> Explorer {
    Explorer::new(plan)
}

/// Faults of one scenario for which a schedule is looked for, at the most.
const REPLAYED_MAX: usize = 12;

/// Where there are more moments, only those with up to two faults are told apart by their paths; of
/// the others the catalogue has the first path to each.
const BY_PATH_MAX: usize = 150_000;

/// An exploration to be run.
#[derive(Debug, Clone)]
pub struct Explorer {
    pub(crate) rules: Rules,
    pub(crate) own: Vec<Own>,
    faults: Faults,
    pub(crate) at_once: u8,
}

impl Explorer {
    /// Of that plan, with every fault, up to two at a time.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        Self {
            rules: Rules {
                external: vec![false; plan.steps().len()],
                plan: shortened(plan),
                mutant: None,
                remembers: false,
                unreduced: false,
            },
            own: Vec::new(),
            faults: Faults::all(),
            at_once: 2,
        }
    }

    /// With these faults only.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.rules.remembers = faults.has(Fault::Restored);
        self.faults = faults;
        self
    }

    /// With up to so many faults at the same time.
    #[must_use]
    pub fn at_once(mut self, faults: u8) -> Self {
        self.at_once = faults;
        self
    }

    /// At these steps the participant calls an external system, with the step's key, and may die
    /// before it knows what came of it.
    ///
    /// # Panics
    /// When the plan has no such step.
    #[must_use]
    pub fn calls_out<'s>(mut self, steps: impl IntoIterator<Item = &'s str>) -> Self {
        for name in steps {
            let step = self.rules.plan.position(name);
            let label = || self.rules.plan.label();
            let step = step.unwrap_or_else(|| panic!("{} has no step {name}", label()));
            self.rules.external[step] = true;
        }
        self
    }

    /// An invariant of one's own, which is asked after every event.
    #[must_use]
    pub fn invariant(
        mut self,
        name: &'static str,
        check: impl Fn(&View<'_>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        let check = Arc::new(check);
        self.own.push(Own { name, check });
        self
    }

    /// In a world with a planted bug, among the faults that it needs.
    #[must_use]
    pub fn mutant(mut self, mutant: Mutant) -> Self {
        self.rules.mutant = Some(mutant);
        self.faults(mutant.faults())
    }

    /// Without what makes the search small: time may pass although a message could arrive, for
    /// the price of a fault, and what is overdue is told apart by how long it is overdue.
    #[must_use]
    pub fn without_reduction(mut self) -> Self {
        self.rules.unreduced = true;
        self
    }

    /// The plan that is explored, with its shortened budgets.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.rules.plan
    }

    /// Every scenario of the plan, by name.
    #[must_use]
    pub fn scenarios(&self) -> Vec<Scenario> {
        scenarios(&self.rules.plan, &self.rules.external)
    }

    /// Searches breadth first, by the number of faults and then by length; then tries every
    /// scenario.
    #[must_use]
    pub fn run(&self) -> Report {
        let (mut report, paths) = self.search();
        self.try_scenarios(&mut report, &paths);
        report
    }

    /// How the invariant is violated, if it is: fewest faults, shortest schedule.
    #[must_use]
    pub fn violation(&self, of: Invariant) -> Option<Violation> {
        let may = self.planned();
        let goal = Goal {
            until: Some(Until::Violated(of)),
            ..self.goal(&[], &may)
        };
        Search::run(goal).violations.remove(&of)
    }

    pub(crate) fn planned(&self) -> Vec<Site> {
        let mut sites = sites(&self.rules.plan, &self.faults, &self.rules.external);
        if self.rules.mutant == Some(Mutant::EmptyNetsDone) {
            // only what an external system did stays when its participant is restored
            let external = |leg: Leg| leg.step().is_some_and(|step| self.rules.external[step]);
            sites.retain(|site| site.fault != Fault::Restored || external(site.leg));
        }
        sites
    }

    pub(crate) fn goal<'g>(&'g self, must: &'g [Site], may: &'g [Site]) -> Goal<'g> {
        Goal {
            rules: &self.rules,
            own: &self.own,
            must,
            may,
            at_once: self.at_once,
            until: None,
            by_path: false,
            recovers: false,
            keeps: false,
        }
    }

    /// And which path has which digest.
    fn search(&self) -> (Report, HashMap<u64, usize>) {
        let plan = &self.rules.plan;
        let may = self.planned();
        let search = Search::run(self.goal(&[], &may));
        let mut endings: BTreeMap<&'static str, (usize, u32)> = BTreeMap::new();
        for (at, node) in search.ends() {
            // the first is the one with the fewest faults and the shortest schedule
            let ending = endings.entry(node.end.unwrap_or_default());
            ending.or_insert((0, at)).0 += 1;
        }
        let by_path = self.by_path(&search, &may);
        let mut paths: HashMap<u64, usize> = HashMap::new();
        let mut catalogue = Vec::new();
        for search in by_path.iter().chain([&search]) {
            for (at, node) in search.ends() {
                paths.entry(node.path).or_insert_with(|| {
                    let (changes, residue) = told(&self.rules, &search.events(at));
                    catalogue.push(Path {
                        ending: node.end.unwrap_or_default(),
                        changes,
                        example: search.schedule(at),
                        scenarios: 0,
                        residue,
                    });
                    catalogue.len() - 1
                });
            }
        }
        let ending = |(name, (states, at)): (&'static str, (usize, u32))| {
            let example = search.schedule(at);
            (name, Ending { states, example })
        };
        let expected = moves::expected(plan);
        let made = search.moves.iter().copied();
        let unreached = may
            .iter()
            .filter(|site| !search.fired.contains(site) && site.needs() <= self.at_once);
        let report = Report {
            plan: plan.label(),
            at_once: self.at_once,
            sites: may.len(),
            unreached: unreached.map(|site| site.id(plan)).collect(),
            scenarios: Vec::new(),
            states: search.states(),
            paths: catalogue,
            transitions: expected.len(),
            missed: moves::words(plan, expected.difference(&search.moves).copied()),
            made: moves::words(plan, made),
            endings: endings.into_iter().map(ending).collect(),
            violations: search.violations.values().cloned().collect(),
            cut: search.cut,
        };
        (report, paths)
    }

    /// The same, with moments that were reached by different paths told apart; nothing where a
    /// saga that never rests would have paths without end.
    fn by_path<'g>(&'g self, search: &Search<'_>, may: &'g [Site]) -> Option<Search<'g>> {
        let many = search.states() > BY_PATH_MAX;
        let rests = !search.violations.contains_key(&Invariant::Liveness);
        rests.then(|| {
            Search::run(Goal {
                by_path: true,
                at_once: self.at_once.min(if many { 2 } else { u8::MAX }),
                ..self.goal(&[], may)
            })
        })
    }

    /// Forces every scenario that so few faults can force. Those with the same faults share a
    /// search.
    fn try_scenarios(&self, report: &mut Report, paths: &HashMap<u64, usize>) {
        let planned: BTreeSet<Site> = self.planned().into_iter().collect();
        let mut tried: HashMap<Vec<Site>, Outcome> = HashMap::new();
        for scenario in self.scenarios() {
            let Some(sites) = &scenario.sites else {
                continue;
            };
            let fits = sites.len() <= usize::from(self.at_once)
                && sites.iter().all(|site| planned.contains(site));
            if !fits {
                continue;
            }
            let outcome = tried.entry(sites.clone());
            let outcome = outcome.or_insert_with(|| Outcome::of(self, sites));
            for path in outcome.paths.iter().filter_map(|path| paths.get(path)) {
                report.paths[*path].scenarios += 1;
            }
            report.scenarios.push(Tried {
                endings: outcome.endings.clone(),
                violated: outcome.violated.clone(),
                scenario,
            });
        }
    }

    /// Every path that one fault can lead to, and every scenario, each as a script for a stack
    /// that is to do the same. What cannot be forced from outside is left out.
    #[must_use]
    pub fn scripts(&self) -> Vec<Script> {
        let may = self.planned();
        let single = Goal {
            at_once: 1,
            ..self.goal(&[], &may)
        };
        let mut scripts: BTreeMap<(String, String), Script> = BTreeMap::new();
        let mut keep = |search: &Search<'_>| {
            let mut seen = BTreeSet::new();
            for (at, node) in search.ends() {
                let events = search.events(at);
                let Some(script) = script(&self.rules, &events) else {
                    continue;
                };
                if seen.insert((node.path, script.scenario.clone())) {
                    scripts.insert((script.scenario.clone(), script.events.clone()), script);
                }
            }
        };
        keep(&Search::run(single));
        let scenarios = self.scenarios().into_iter();
        let sets: BTreeSet<Vec<Site>> = scenarios.filter_map(|scenario| scenario.sites).collect();
        for sites in &sets {
            keep(&Search::run(Goal {
                until: Some(Until::Rest),
                ..self.goal(sites, &[])
            }));
        }
        scripts.into_values().collect()
    }

    /// The shortest schedule with exactly the faults of a scenario: its id, or faults joined by
    /// `+`, or `none`.
    ///
    /// # Errors
    /// [`Unknown`]: there are no such faults, or no schedule meets them all.
    pub fn replay(&self, scenario: &str) -> Result<Replay, Unknown> {
        let sites = parse(&self.rules.plan, &self.rules.external, scenario)?;
        if sites.len() > REPLAYED_MAX {
            return Err(Unknown::TooMany(REPLAYED_MAX));
        }
        let explorer = self.remembering(&sites);
        let goal = Goal {
            until: Some(Until::Rest),
            ..explorer.goal(&sites, &[])
        };
        let search = Search::run(goal);
        let end = search.ends().first().map(|(at, _)| *at);
        let end = end.ok_or_else(|| Unknown::Unreached(scenario.to_owned()))?;
        Ok(Replay::of(&explorer, &search.events(end)))
    }

    /// Exactly these events, as [`crate::Schedule::events`] has them.
    ///
    /// # Errors
    /// [`Unknown`]: there are no such faults, or the events cannot happen in that order.
    pub fn replay_exactly(&self, scenario: &str, events: &str) -> Result<Replay, Unknown> {
        let sites = parse(&self.rules.plan, &self.rules.external, scenario)?;
        let broken = || Unknown::Schedule(events.to_owned());
        let schedule = crate::schedule::parse(events, &sites).ok_or_else(broken)?;
        let replay = Replay::of(&self.remembering(&sites), &schedule);
        let is_whole = replay.frames.len() == schedule.len() + 1;
        is_whole.then_some(replay).ok_or_else(broken)
    }

    fn remembering(&self, sites: &[Site]) -> Self {
        let mut explorer = self.clone();
        let is_restore = |site: &Site| site.fault == Fault::Restored;
        explorer.rules.remembers |= sites.iter().any(is_restore);
        explorer
    }
}

/// What came of a set of faults.
struct Outcome {
    endings: BTreeSet<&'static str>,
    violated: BTreeSet<Invariant>,
    paths: BTreeSet<u64>,
}

impl Outcome {
    fn of(explorer: &Explorer, sites: &[Site]) -> Self {
        let search = Search::run(Goal {
            by_path: explorer.rules.mutant.is_none(),
            ..explorer.goal(sites, &[])
        });
        let ends = search.ends();
        Self {
            endings: ends.iter().filter_map(|(_, node)| node.end).collect(),
            violated: search.violations.keys().copied().collect(),
            paths: ends.iter().map(|(_, node)| node.path).collect(),
        }
    }
}
