use std::time::Duration;

use palinode_saga::{DbTime, Input, Plan, Rule, Verb};

use crate::judge;
use crate::moment::{Event, Moment, Rules, Stepped};
use crate::scenario::{Unknown, parse};
use crate::schedule::line;
use crate::view::View;
use crate::{Invariant, Site};

/// Events of one call at the most.
const EVENTS_MAX: usize = 10_000;

/// One saga, step by step, with a clock that moves when it is told to. Messages take no time,
/// unless a fault makes them; budgets are those of the plan.
///
/// ```
/// # use palinode_saga::{step, secs, Plan, PlanErrors};
/// # #[derive(Clone, PartialEq, prost::Message)] struct M {}
/// # impl prost::Name for M { const PACKAGE: &'static str = "shop"; const NAME: &'static str = "M"; }
/// # fn hold_stock() -> Result<Plan, PlanErrors> {
/// #     Plan::new("hold-stock", 1).input::<M>().deadline(secs(60))
/// #         .step(step("reserve").at("stock").compensatable::<M, M>().token("hold"))
/// #         .step(step("pay").at("bank").after(["reserve"]).compensatable::<M, M>().token("pay"))
/// #         .build()
/// # }
/// use palinode_explore::World;
/// use palinode_saga::Status;
///
/// let plan = hold_stock()?;
/// let mut world = World::new(&plan);
/// world.inject("pay/forward/never").expect("the plan has that step");
/// world.advance(secs(2));
/// world.check("stock is held", |view| match view.is_there("reserve") {
///     true => Ok(()),
///     false => Err("it is not".to_owned()),
/// });
/// world.advance(secs(60)); // nobody answers, so it goes back
/// assert_eq!(world.view().status(), Status::Compensated);
/// assert!(!world.view().is_there("reserve"));
/// world.assert_fired();
/// # Ok::<(), PlanErrors>(())
/// ```
#[derive(Debug)]
pub struct World {
    rules: Rules,
    moment: Moment,
    planned: Vec<Site>,
    lines: Vec<String>,
}

impl World {
    /// A saga of that plan, which has been asked for and has not started.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let rules = Rules {
            plan: plan.clone(),
            mutant: None,
            external: vec![false; plan.steps().len()],
            remembers: true,
            unreduced: false,
        };
        Self {
            moment: Moment::start(&rules),
            rules,
            planned: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// Something will go wrong, once, as soon as it can: the id of a scenario, or faults joined
    /// by `+`.
    ///
    /// # Errors
    /// [`Unknown`]: the plan has no such place; names those that there are.
    pub fn inject(&mut self, scenario: &str) -> Result<(), Unknown> {
        // any participant may call out
        let external = vec![true; self.rules.external.len()];
        let sites = parse(&self.rules.plan, &external, scenario)?;
        self.planned.extend(sites);
        Ok(())
    }

    /// Lets time pass, and everything happen that happens in it.
    ///
    /// # Panics
    /// When an invariant is violated, or there is no end to what happens.
    pub fn advance(&mut self, span: Duration) {
        let until = self.moment.now.after(span);
        self.happens(until);
        self.moment.now = self.moment.now.max(until);
    }

    /// Lets everything happen until the saga rests, and asserts that all faults have struck.
    ///
    /// # Panics
    /// As [`World::advance`] and [`World::assert_fired`].
    pub fn run(&mut self) {
        self.happens(DbTime::FAR);
        self.assert_fired();
    }

    /// An operator, or the owner of the saga, acts.
    ///
    /// # Errors
    /// The rule that the verb breaks; nothing changed then.
    ///
    /// # Panics
    /// When an invariant is violated.
    pub fn act(&mut self, verb: Verb) -> Result<(), Rule> {
        let mut after = self.moment.clone();
        let words = format!("VERB {}", verb.word());
        let engine = after.input(&self.rules, Input::Verb { verb });
        if let Some(rule) = engine.1.refused {
            return Err(rule);
        }
        let engine = Some(engine);
        self.takes(Event::Resumes, words, Stepped { after, engine });
        Ok(())
    }

    /// Looks at what there is now.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View {
            plan: &self.rules.plan,
            moment: &self.moment,
        }
    }

    /// Everything that happened so far, a line each.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Asks an invariant of one's own.
    ///
    /// # Panics
    /// When it does not hold: says what was found, and everything that happened.
    pub fn check(&self, name: &str, check: impl FnOnce(&View<'_>) -> Result<(), String>) {
        if let Err(found) = check(&self.view()) {
            panic!("{name}: {found}\n{}", self.lines.join("\n"));
        }
    }

    /// Every fault that was injected has struck.
    ///
    /// # Panics
    /// When one has not.
    pub fn assert_fired(&self) {
        let plan = &self.rules.plan;
        let left: Vec<String> = self.planned.iter().map(|site| site.id(plan)).collect();
        let lines = self.lines.join("\n");
        assert!(
            left.is_empty(),
            "injected and not reached: {left:?}\n{lines}"
        );
    }

    fn happens(&mut self, until: DbTime) {
        for _ in 0..EVENTS_MAX {
            if !self.one(until) {
                return;
            }
        }
        panic!("there is no end to it:\n{}", self.lines.join("\n"));
    }

    /// Whether anything happened.
    fn one(&mut self, until: DbTime) -> bool {
        let faults = self.moment.faults(&self.rules, &self.planned).into_iter();
        let due = self.moment.due(&self.rules.plan);
        let in_time =
            |event: &Event| *event != Event::TimePasses || due.is_some_and(|at| at <= until);
        // what is late comes when nothing else does
        let late =
            |event: &Event| matches!(event, Event::Arrives(at) if self.moment.wire[*at].late);
        let mut free = self.moment.free(&self.rules);
        free.retain(|event| *event != Event::Resumes && in_time(event));
        free.sort_by_key(late);
        for event in faults.chain(free) {
            let Some(stepped) = self.moment.after(&self.rules, event) else {
                continue;
            };
            if let Event::Goes(site, _) = event {
                let struck = self.planned.iter().position(|planned| *planned == site);
                struck.map(|at| self.planned.swap_remove(at));
            }
            let words = line(&self.rules.plan, &self.moment, event);
            self.takes(event, words, stepped);
            return true;
        }
        false
    }

    fn takes(&mut self, event: Event, words: String, stepped: Stepped) {
        self.lines.push(words);
        let violated = judge::violated(&self.rules, &[], &self.moment, event, &stepped);
        if let Some((invariant, words)) = violated.into_iter().next() {
            self.violates(invariant, &words);
        }
        self.moment = stepped.after;
    }

    fn violates(&self, invariant: Invariant, words: &str) {
        // a participant that is restored, or asked for what it was never sent, is no fault of
        // the saga's; whoever injects that looks for it
        let beyond = |line: &String| line.contains("/restored");
        let excused = self.lines.iter().any(beyond);
        assert!(excused, "{invariant}: {words}\n{}", self.lines.join("\n"));
    }
}
