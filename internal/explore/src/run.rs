//! Every step fails, every step is repeated, every write is followed by a crash.

use std::collections::BTreeSet;

use palinode_saga::{Cause, Plan, Status, StepState};

use crate::explorer::{Explorer, explore};
use crate::fault::{Fault, Faults, Leg, Site, legs};
use crate::moment::Moment;
use crate::schedule::Schedule;
use crate::search::{Goal, Search};
use crate::view::View;

/// One way to rest of a run in which something went wrong at one step.
#[derive(Debug)]
pub struct Run<'r> {
    plan: &'r Plan,
    leg: Leg,
    moment: Moment,
    /// How often each effect happened and was taken back, at each rest without the fault.
    calm: &'r BTreeSet<Effects>,
    /// All that happened.
    pub schedule: Schedule,
}

type Effects = Vec<(u8, u8)>;

impl Run<'_> {
    /// The step at which it went wrong.
    #[must_use]
    pub fn step(&self) -> &str {
        let step = self.leg.step();
        step.map_or("", |step| &self.plan.steps()[step].name)
    }

    /// What there is in the end.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View {
            plan: self.plan,
            moment: &self.moment,
        }
    }

    /// The saga ended as it did because of this step, and of no other.
    ///
    /// # Panics
    /// When it ended otherwise: names where it failed, and everything that happened.
    pub fn assert_failed_at_the_step(&self) {
        let state = &self.moment.state;
        let at = self.leg.step().map(|step| &state.steps[step]);
        let failed = match at {
            Some(StepState::Failed { .. }) => {
                matches!(&state.cause, Some(Cause::Failed { step, .. }) if step == self.step())
            }
            // what may not fail is given up, and the saga rests with it
            Some(StepState::Stuck { .. }) => matches!(state.status, Status::NeedsAttention(_)),
            _ => false,
        };
        let step = self.step();
        let found = format!("it is {:?} because of {:?}", state.status, state.cause);
        assert!(failed, "{step} was to fail: {found}\n{}", self.schedule);
    }

    /// Every effect is taken back.
    ///
    /// # Panics
    /// When the saga is not compensated, or an effect is there.
    pub fn assert_compensated(&self) {
        let left = self.plan.steps().iter().zip(&self.moment.sites);
        let left: Vec<&str> = left
            .filter(|(_, site)| site.is_there())
            .map(|(step, _)| step.name.as_str())
            .collect();
        let compensated = self.moment.state.status == Status::Compensated;
        let found = format!("it is {}, and there is {left:?}", self.moment.ending());
        assert!(compensated && left.is_empty(), "{found}\n{}", self.schedule);
    }

    /// Each effect happened and was taken back as often as without the fault.
    ///
    /// # Panics
    /// When one of them did not.
    pub fn assert_same_effects(&self) {
        let effects = effects(&self.moment);
        let (step, calm) = (self.step(), self.calm);
        assert!(
            calm.contains(&effects),
            "with {step} repeated each step happened and was taken back {effects:?} times, \
             else {calm:?}\n{}",
            self.schedule
        );
    }
}

/// Lets the action of each step fail, alone, and calls `check` with every way in which that ends.
/// What may not fail is never done instead, and the saga needs attention.
///
/// # Panics
/// When a step cannot be made to fail, or an invariant is violated; and where `check` does.
pub fn fail_each_step(plan: &Plan, mut check: impl FnMut(&Run<'_>)) {
    let explorer = explore(plan);
    for leg in legs(explorer.plan()) {
        if matches!(leg, Leg::Action(_)) {
            let fault = Fault::Failed;
            let reached = each_rest(&explorer, &[], Site { leg, fault }, &mut check);
            assert!(reached, "{} never fails", leg.words(plan));
        }
    }
}

/// Handles each command twice: actions, compensations and the probe of the pivot; and calls
/// `check` with every way in which that ends.
///
/// # Panics
/// When a command cannot be repeated, because nothing brings it about, or an invariant is
/// violated; and where `check` does.
pub fn repeat_each_step(plan: &Plan, mut check: impl FnMut(&Run<'_>)) {
    let explorer = explore(plan);
    for leg in legs(explorer.plan()) {
        let fault = Fault::HandledTwice;
        let mut reached = leg == Leg::Start;
        for base in what_leads_to(explorer.plan(), leg) {
            let base: Vec<Site> = base.into_iter().collect();
            reached = reached || each_rest(&explorer, &base, Site { leg, fault }, &mut check);
        }
        assert!(reached, "{} is never sent", leg.words(plan));
    }
}

/// What may go wrong so that a command is sent; nothing, for an action.
fn what_leads_to(plan: &Plan, leg: Leg) -> Vec<Option<Site>> {
    let site = |leg, fault| Some(Site { leg, fault });
    match leg {
        Leg::Start | Leg::UndoProbe(_) => Vec::new(),
        Leg::Action(_) => vec![None],
        Leg::Probe(pivot) => vec![site(Leg::Action(pivot), Fault::Never)],
        Leg::Undo(_) => {
            let actions = || {
                legs(plan)
                    .into_iter()
                    .filter(|leg| matches!(leg, Leg::Action(_)))
            };
            let fail = actions().map(|leg| site(leg, Fault::Failed));
            let time_out = actions().map(|leg| site(leg, Fault::Never));
            fail.chain(time_out).collect()
        }
    }
}

fn each_rest(
    explorer: &Explorer,
    base: &[Site],
    site: Site,
    check: &mut impl FnMut(&Run<'_>),
) -> bool {
    let calm = Search::run(explorer.goal(base, &[]));
    let calm: BTreeSet<Effects> = calm
        .ends()
        .iter()
        .map(|(at, _)| effects(&calm.moment(*at)))
        .collect();
    let must: Vec<Site> = base.iter().copied().chain([site]).collect();
    let search = Search::run(explorer.goal(&must, &[]));
    if let Err(words) = kept(&search) {
        panic!("{words}");
    }
    for (at, _) in search.ends() {
        check(&Run {
            plan: explorer.plan(),
            leg: site.leg,
            moment: search.moment(at),
            calm: &calm,
            schedule: search.schedule(at),
        });
    }
    search.fired.contains(&site)
}

/// How often each effect happened, and was taken back.
fn effects(moment: &Moment) -> Effects {
    let sites = moment.sites.iter();
    sites.map(|site| (site.now.done, site.now.undone)).collect()
}

fn kept(search: &Search<'_>) -> Result<(), String> {
    match search.violations.values().next() {
        Some(violation) => Err(violation.to_string()),
        None if search.cut => Err("there are more moments than are kept".to_owned()),
        None => Ok(()),
    }
}

/// What was gone through after crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// Ways on which the saga was sent: forward, back from each step that can fail, back from a
    /// silent pivot.
    pub ways: usize,
    /// Distinct moments, at each of which processes died and started again.
    pub moments: usize,
}

/// Lets a process die after every durable write, and up to `crashes` times in all, so that it
/// dies in recovery too: while the saga goes forward, while it goes back from each step that can
/// fail, and while a silent pivot is asked. At each moment the stored state is read again; what
/// the next input makes of it must be the same, and it must come to rest even with every message
/// lost.
///
/// # Panics
/// When an invariant is violated, or a crash was never reached.
pub fn every_crash_point(plan: &Plan, crashes: u8) -> Recovered {
    recovers(plan, crashes).unwrap_or_else(|words| panic!("{words}"))
}

/// The error says what is violated, or was not reached.
pub(crate) fn recovers(plan: &Plan, crashes: u8) -> Result<Recovered, String> {
    let explorer = explore(plan).faults(Faults::crashes()).at_once(crashes);
    let may = explorer.planned();
    let mut unreached: BTreeSet<Site> = may.iter().copied().collect();
    let mut recovered = Recovered {
        ways: 0,
        moments: 0,
    };
    for way in ways(explorer.plan()) {
        let way: Vec<Site> = way.into_iter().collect();
        let search = Search::run(Goal {
            recovers: true,
            ..explorer.goal(&way, &may)
        });
        kept(&search)?;
        unreached.retain(|site| !search.fired.contains(site));
        recovered.ways += 1;
        recovered.moments += search.states();
    }
    let unreached: Vec<String> = unreached.iter().map(|site| site.id(plan)).collect();
    if unreached.is_empty() {
        Ok(recovered)
    } else {
        Err(format!("planned and not reached: {unreached:?}"))
    }
}

fn ways(plan: &Plan) -> Vec<Option<Site>> {
    let mut ways = vec![None];
    for leg in legs(plan) {
        match leg {
            Leg::Action(step) if plan.may_fail(step) => {
                let fault = Fault::Failed;
                ways.push(Some(Site { leg, fault }));
            }
            Leg::Probe(pivot) => ways.push(Some(Site {
                leg: Leg::Action(pivot),
                fault: Fault::Never,
            })),
            Leg::Start | Leg::Action(_) | Leg::Undo(_) | Leg::UndoProbe(_) => {}
        }
    }
    ways
}
