//! Several sagas that work on the same rows.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use palinode_saga::{Direction, Plan};

use crate::explorer::Explorer;
use crate::fault::{Fault, Site};
use crate::judge::{self, Invariant, Violation};
use crate::moment::{Event, Moment};
use crate::participant::Ruling;
use crate::report::Ending;
use crate::schedule::{self, Schedule};
use crate::view::View;

mod drawn;
mod search;

pub use drawn::SharedRun;

/// Several sagas that share what they work on, in every order in which that can happen.
///
/// Each saga has the engine, the guard, messages and faults that an exploration of its plan has.
/// What they share is a value. Whenever a guard lets an action or a compensation run, and never
/// for a repeat, a rule is asked what the rows have to say to it, and changes them when it
/// happens. Each saga has a clock of its own: which of two sagas is the faster one is left open,
/// so nothing that is shared can depend on time.
///
/// ```
/// # use palinode_saga::{step, secs, Plan, PlanErrors};
/// # #[derive(Clone, PartialEq, prost::Message)] struct M {}
/// # impl prost::Name for M { const PACKAGE: &'static str = "shop"; const NAME: &'static str = "M"; }
/// # fn book_seat() -> Result<Plan, PlanErrors> {
/// #     Plan::new("book-seat", 1).input::<M>().deadline(secs(60))
/// #         .step(step("seat").at("seats").compensatable::<M, M>().token("seat"))
/// #         .build()
/// # }
/// use palinode_explore::{Ruling, Shared, explore};
/// use palinode_saga::Direction;
///
/// let plan = book_seat()?;
/// // two sagas want the only seat
/// let report = Shared::new(1_u8, |seats, _saga, _step, direction| match (direction, *seats) {
///     (Direction::Forward, 0) => Ruling::Fails,
///     (Direction::Forward, _) => { *seats -= 1; Ruling::Happens }
///     (Direction::Backward, _) => { *seats += 1; Ruling::Happens }
/// })
/// .saga(explore(&plan))
/// .saga(explore(&plan))
/// .at_once(1)
/// .invariant("one-seat", |seats, sagas| {
///     let taken = sagas.iter().flatten().filter(|saga| saga.is_there("seat")).count();
///     if taken + usize::from(*seats) == 1 { Ok(()) } else { Err(format!("{taken} taken")) }
/// })
/// .run();
/// assert!(report.is_safe(), "{report:#?}");
/// assert!(report.endings.contains_key("compensated × completed"));
/// # Ok::<(), PlanErrors>(())
/// ```
#[derive(Clone)]
pub struct Shared<R> {
    rows: R,
    rule: Arc<Rule<R>>,
    sagas: Vec<Member<R>>,
    acts: Vec<Act<R>>,
    always: Vec<OwnShared<R>>,
    at_rest: Vec<OwnShared<R>>,
    at_once: u8,
}

type Rule<R> = dyn Fn(&mut R, usize, &str, Direction) -> Ruling + Send + Sync;
type Starts<R> = dyn Fn(&R, &[Option<View<'_>>]) -> bool + Send + Sync;
type Check<R> = dyn Fn(&R, &[Option<View<'_>>]) -> Result<(), String> + Send + Sync;

/// One of the sagas.
#[derive(Clone)]
struct Member<R> {
    explorer: Explorer,
    /// Which faults it may meet.
    may: Vec<Site>,
    /// When it may start; `None`: it has started before anything happens.
    starts: Option<Arc<Starts<R>>>,
}

/// What people do, or another program.
#[derive(Clone)]
struct Act<R> {
    name: &'static str,
    act: Arc<dyn Fn(&mut R) + Send + Sync>,
}

#[derive(Clone)]
struct OwnShared<R> {
    name: &'static str,
    check: Arc<Check<R>>,
}

/// What is at one moment of all sagas.
#[derive(Debug, Clone)]
struct Scene<R> {
    rows: R,
    /// `None`: it has not started.
    sagas: Vec<Option<Arc<Moment>>>,
    digests: Vec<u128>,
}

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Happening {
    /// A saga starts.
    Starts(usize),
    /// Something happens to a saga.
    To(usize, Event),
    /// Somebody does this.
    Acts(usize),
}

impl Happening {
    fn is_fault(self) -> bool {
        matches!(self, Self::To(_, Event::Goes(..) | Event::TimerFirst))
    }
}

type Violated = Vec<(Invariant, String)>;

impl<R: Clone + Eq + Hash> Shared<R> {
    /// These rows, and what they have to say when the guard lets a step of a saga run (by its
    /// position among the sagas) or take back what it did. What the rule changes counts only where
    /// it says that it happens. The opening step is asked for when its saga starts.
    ///
    /// What was promised to an external system is asked for when that answers.
    #[must_use]
    pub fn new(
        rows: R,
        rule: impl Fn(&mut R, usize, &str, Direction) -> Ruling + Send + Sync + 'static,
    ) -> Self {
        Self {
            rows,
            rule: Arc::new(rule),
            sagas: Vec::new(),
            acts: Vec::new(),
            always: Vec::new(),
            at_rest: Vec::new(),
            at_once: 1,
        }
    }

    /// A saga that is there from the beginning, with the faults and invariants of its exploration;
    /// without those that no saga is promised to survive.
    #[must_use]
    pub fn saga(self, explorer: Explorer) -> Self {
        self.member(explorer, None)
    }

    /// A saga that may start whenever `starts` says so, which sees the rows and the sagas (`None`:
    /// one that has not started); or never.
    #[must_use]
    pub fn saga_when(
        self,
        explorer: Explorer,
        starts: impl Fn(&R, &[Option<View<'_>>]) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.member(explorer, Some(Arc::new(starts)))
    }

    fn member(mut self, explorer: Explorer, starts: Option<Arc<Starts<R>>>) -> Self {
        let mut may = explorer.planned();
        may.retain(|site| !Fault::BEYOND.contains(&site.fault));
        self.sagas.push(Member {
            explorer,
            may,
            starts,
        });
        self
    }

    /// Somebody may do this at any time; where it changes nothing, nothing happens.
    #[must_use]
    pub fn act(mut self, name: &'static str, act: impl Fn(&mut R) + Send + Sync + 'static) -> Self {
        let act = Arc::new(act);
        self.acts.push(Act { name, act });
        self
    }

    /// With up to so many faults at the same time, of all sagas together.
    #[must_use]
    pub fn at_once(mut self, faults: u8) -> Self {
        self.at_once = faults;
        self
    }

    /// What must hold of the rows and the sagas (`None`: one that has not started) after every
    /// event.
    #[must_use]
    pub fn invariant(
        mut self,
        name: &'static str,
        check: impl Fn(&R, &[Option<View<'_>>]) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        let check = Arc::new(check);
        self.always.push(OwnShared { name, check });
        self
    }

    /// What must hold wherever nothing happens by itself any more.
    #[must_use]
    pub fn at_rest(
        mut self,
        name: &'static str,
        check: impl Fn(&R, &[Option<View<'_>>]) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        let check = Arc::new(check);
        self.at_rest.push(OwnShared { name, check });
        self
    }

    /// Every saga that waits for nobody has started.
    fn first(&self) -> Scene<R> {
        let mut scene = Scene {
            rows: self.rows.clone(),
            sagas: vec![None; self.sagas.len()],
            digests: vec![0; self.sagas.len()],
        };
        for (saga, member) in self.sagas.iter().enumerate() {
            if member.starts.is_none()
                && let Some(started) = self.start(&scene, saga)
            {
                scene = started;
            }
        }
        scene
    }

    /// The starter's transaction: its opening steps, and the request. `None`: the rows refuse it.
    fn start(&self, before: &Scene<R>, saga: usize) -> Option<Scene<R>> {
        let mut after = before.clone();
        let rules = &self.sagas[saga].explorer.rules;
        let opening = rules.plan.steps().iter().filter(|of| of.action.is_none());
        for step in opening {
            let ruling = (self.rule)(&mut after.rows, saga, &step.name, Direction::Forward);
            if ruling != Ruling::Happens {
                return None;
            }
        }
        self.put(&mut after, saga, Moment::start(rules));
        Some(after)
    }

    fn put(&self, scene: &mut Scene<R>, saga: usize, moment: Moment) {
        scene.digests[saga] = moment.digest(&self.sagas[saga].explorer.rules);
        scene.sagas[saga] = Some(Arc::new(moment));
    }

    /// Everything that may happen to all of them, apart from faults.
    fn free(&self, scene: &Scene<R>) -> Vec<Happening> {
        let mut all: Vec<Happening> = (0..self.acts.len()).map(Happening::Acts).collect();
        for (saga, member) in self.sagas.iter().enumerate() {
            match &scene.sagas[saga] {
                Some(moment) => {
                    let free = moment.free(&member.explorer.rules).into_iter();
                    all.extend(free.map(|event| Happening::To(saga, event)));
                }
                None if self.may_start(scene, saga) => all.push(Happening::Starts(saga)),
                None => {}
            }
        }
        all
    }

    fn may_start(&self, scene: &Scene<R>, saga: usize) -> bool {
        let starts = self.sagas[saga].starts.as_ref();
        starts.is_some_and(|starts| starts(&scene.rows, &self.views(scene)))
    }

    /// Every fault that may strike now.
    fn faults(&self, scene: &Scene<R>) -> Vec<Happening> {
        let mut all = Vec::new();
        for (saga, member) in self.sagas.iter().enumerate() {
            if let Some(moment) = &scene.sagas[saga] {
                let rules = &member.explorer.rules;
                let faults = moment.faults(rules, &member.may).into_iter();
                let faults = faults.chain(moment.race(rules));
                all.extend(faults.map(|event| Happening::To(saga, event)));
            }
        }
        all
    }

    /// What becomes of it, and what is violated. `None`: it cannot happen, or changes nothing.
    fn after(&self, before: &Scene<R>, happening: Happening) -> Option<(Scene<R>, Violated)> {
        let (scene, mut violated) = match happening {
            Happening::Starts(saga) => (self.start(before, saga)?, Vec::new()),
            Happening::Acts(act) => {
                let mut after = before.clone();
                (self.acts[act].act)(&mut after.rows);
                if after.rows == before.rows {
                    return None;
                }
                (after, Vec::new())
            }
            Happening::To(saga, event) => self.after_event(before, saga, event)?,
        };
        let views = self.views(&scene);
        let rests = scene.rests().then_some(&self.at_rest);
        for own in self.always.iter().chain(rests.into_iter().flatten()) {
            if let Err(words) = (own.check)(&scene.rows, &views) {
                violated.push((Invariant::Own(own.name), words));
            }
        }
        drop(views);
        Some((scene, violated))
    }

    fn after_event(
        &self,
        before: &Scene<R>,
        saga: usize,
        event: Event,
    ) -> Option<(Scene<R>, Violated)> {
        let Explorer { rules, own, .. } = &self.sagas[saga].explorer;
        let moment = before.sagas[saga].as_ref()?;
        let mut after = before.clone();
        let stepped = moment.after_asking(rules, event, &mut |step, direction| {
            let mut rows = after.rows.clone();
            let name = &rules.plan.steps()[step].name;
            let ruling = (self.rule)(&mut rows, saga, name, direction);
            if ruling == Ruling::Happens {
                after.rows = rows;
            }
            ruling
        })?;
        let violated = judge::violated(rules, own, moment, event, &stepped);
        self.put(&mut after, saga, stepped.after);
        Some((after, violated))
    }

    fn views<'s>(&'s self, scene: &'s Scene<R>) -> Vec<Option<View<'s>>> {
        let members = self.sagas.iter().zip(&scene.sagas);
        let view = |(member, moment): (&'s Member<R>, &'s Option<Arc<Moment>>)| {
            Some(View {
                plan: member.explorer.plan(),
                moment: moment.as_ref()?,
            })
        };
        members.map(view).collect()
    }

    /// How each of them stands, in words.
    fn ending(&self, scene: &Scene<R>) -> String {
        let ending = |saga: &Option<Arc<Moment>>| match saga {
            Some(moment) => moment.ending(),
            None => "never started",
        };
        let endings: Vec<&str> = scene.sagas.iter().map(ending).collect();
        endings.join(" × ")
    }

    /// Names of the sagas: those of their plans, numbered where there are several of one.
    fn label(&self, saga: usize) -> String {
        let label = |member: &Member<R>| member.explorer.plan().label();
        let own = label(&self.sagas[saga]);
        let same = |members: &[Member<R>]| members.iter().filter(|of| label(of) == own).count();
        if same(&self.sagas) == 1 {
            own
        } else {
            format!("{own} #{}", same(&self.sagas[..=saga]))
        }
    }

    fn site(&self, saga: usize, site: Site) -> String {
        let plan = self.sagas[saga].explorer.plan();
        format!("{} {}", self.label(saga), site.id(plan))
    }

    fn schedule(&self, happenings: &[Happening]) -> Schedule {
        let mut schedule = Schedule::default();
        let (mut scenario, mut words) = (Vec::new(), Vec::new());
        let mut scene = self.first();
        for happening in happenings {
            let line = match *happening {
                Happening::Starts(saga) => {
                    words.push(format!("s{saga}"));
                    format!("{} is asked for", self.label(saga))
                }
                Happening::Acts(act) => {
                    words.push(format!("o{act}"));
                    self.acts[act].name.to_owned()
                }
                Happening::To(saga, event) => {
                    words.push(format!("{saga}{}", schedule.word(event)));
                    if let Event::Goes(site, _) = event {
                        scenario.push(self.site(saga, site));
                    }
                    let plan = self.sagas[saga].explorer.plan();
                    let moment = scene.sagas[saga].as_ref();
                    let line = moment.map(|moment| schedule::line(plan, moment, event));
                    format!("{}: {}", self.label(saga), line.unwrap_or_default())
                }
            };
            schedule.lines.push(line);
            let Some((after, _)) = self.after(&scene, *happening) else {
                break;
            };
            scene = after;
        }
        schedule.events = words.join(".");
        schedule.scenario = match scenario.is_empty() {
            true => "none".to_owned(),
            false => scenario.join("+"),
        };
        schedule
    }
}

impl<R: Hash> Scene<R> {
    /// Whether nothing happens by itself any more.
    fn rests(&self) -> bool {
        self.sagas.iter().flatten().all(|moment| moment.rests())
    }

    /// Equal for scenes with equal futures.
    fn digest(&self) -> u128 {
        let half = |salt: u64| {
            let mut hasher = DefaultHasher::new();
            (salt, &self.digests, &self.rows).hash(&mut hasher);
            u128::from(hasher.finish())
        };
        half(0) << 64 | half(1)
    }
}

/// What an exploration of several sagas found.
#[derive(Debug, Clone, Default)]
pub struct SharedReport {
    /// Name and version of each plan.
    pub plans: Vec<String>,
    /// Faults at the same time, of all sagas together, at the most.
    pub at_once: u8,
    /// Distinct moments of all of them.
    pub states: usize,
    /// Ways to end, of each saga in turn, with what leads there.
    pub endings: BTreeMap<String, Ending>,
    /// What could happen and did not, in any order: faults, starts, acts. Of several sagas of one
    /// plan it is enough that one meets a fault.
    pub unreached: Vec<String>,
    /// The first violation of each invariant: fewest faults, shortest schedule.
    pub violations: Vec<Violation>,
    /// True when the search was stopped by its limit.
    pub cut: bool,
}

impl SharedReport {
    /// Nothing is violated, everything that was planned was reached, and the search was complete.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        self.violations.is_empty() && self.unreached.is_empty() && !self.cut
    }

    /// The violation of this invariant, if it is violated.
    #[must_use]
    pub fn violation(&self, of: Invariant) -> Option<&Violation> {
        self.violations.iter().find(|found| found.invariant == of)
    }
}

impl<R: fmt::Debug> fmt::Debug for Shared<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plans = self.sagas.iter().map(|member| member.explorer.plan());
        f.debug_struct("Shared")
            .field("rows", &self.rows)
            .field("plans", &plans.map(Plan::label).collect::<Vec<_>>())
            .field("at_once", &self.at_once)
            .finish_non_exhaustive()
    }
}
