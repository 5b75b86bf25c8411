//! Every single thing that can go wrong with a saga of a plan, by name.

use std::collections::BTreeSet;
use std::fmt;

use palinode_saga::{Plan, StepKind};
use serde::Serialize;

use crate::fault::{Fault, Faults, Leg, Site, can_have, legs};

/// One thing that goes wrong, at one place. Several of them are the same to this world and share
/// a simulation; on real processes each is one of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// `charge-payment/forward/P8/crash`; unique.
    pub id: String,
    /// Where it belongs.
    pub part: Part,
    /// What the place belongs to: `charge-payment/forward`.
    pub row: String,
    /// The place, or the kind: `P8`, `late`.
    pub column: &'static str,
    /// The faults that force it in this world; `None`: this world has no part for it.
    pub sites: Option<Vec<Site>>,
}

/// A part of the life of a saga.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// From the request to the saga.
    Start,
    /// Actions.
    Forward,
    /// Compensations, after each step that can fail.
    Backward,
    /// The question to the pivot, when it has been silent.
    Probe,
    /// The last transition.
    End,
    /// What its owner and operators do.
    Lifecycle,
    /// What befalls processes, databases and the broker: only where there are real ones.
    Infra,
}

impl Part {
    /// Every one, in order.
    pub const ALL: [Self; 7] = [
        Self::Start,
        Self::Forward,
        Self::Backward,
        Self::Probe,
        Self::End,
        Self::Lifecycle,
        Self::Infra,
    ];

    /// One word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Probe => "probe",
            Self::End => "end",
            Self::Lifecycle => "lifecycle",
            Self::Infra => "infra",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Places at which a process can die on the way of a command and its answer; what that is here.
const CRASHES: [(&str, Fault); 13] = [
    ("P1", Fault::CrashBefore),
    ("P2", Fault::CrashBefore),
    ("P3", Fault::CrashBefore),
    ("P4a", Fault::PublishedTwice),
    ("P4b", Fault::PublishedTwice),
    ("P5", Fault::CrashBefore),
    ("P6", Fault::CrashBefore),
    ("P8", Fault::HandledTwice),
    ("P9a", Fault::CrashBefore),
    ("P9b", Fault::AnsweredTwice),
    ("P9c", Fault::AnsweredTwice),
    ("P10", Fault::CrashBefore),
    ("P11", Fault::HeardTwice),
];
/// Where the participant calls an external system: before the call, and after it.
const CALLS: [(&str, Fault); 2] = [("P7a", Fault::Pending), ("P7b", Fault::CalledTwice)];
/// When a timer is due, and while it fires.
const TIMERS: [(&str, Fault); 2] = [("P12a", Fault::TimerCrash), ("P12b", Fault::TimerCrash)];
/// A relay past its lease, an orchestrator inside a batch, a participant past its session.
const PAUSES: [(&str, Fault); 3] = [
    ("P13r", Fault::DuplicateLate),
    ("P13o", Fault::Paused),
    ("P13p", Fault::DuplicateLate),
];
const OUTCOMES: [(&str, Fault); 12] = [
    ("transient", Fault::Transient),
    ("failed", Fault::Failed),
    ("pending", Fault::Pending),
    ("error-after", Fault::ErrorAfter),
    ("late", Fault::Late),
    ("never", Fault::Never),
    ("slow", Fault::Slow),
    ("duplicate", Fault::PublishedTwice),
    ("duplicate-late", Fault::DuplicateLate),
    ("reorder", Fault::AnswerLate),
    ("drop", Fault::Drop),
    ("poison", Fault::AnswerDrop),
];
const START: [(&str, Fault); 11] = [
    ("P0a", Fault::CrashBefore),
    ("P0b", Fault::CrashBefore),
    ("P1", Fault::CrashBefore),
    ("P3", Fault::CrashBefore),
    ("P4a", Fault::PublishedTwice),
    ("P4b", Fault::PublishedTwice),
    ("P10", Fault::CrashBefore),
    ("P11", Fault::HeardTwice),
    // one order has one request, which the starter sends again until the saga is there
    ("key-retried", Fault::CrashBefore),
    ("duplicate", Fault::PublishedTwice),
    ("drop", Fault::Drop),
];
const LIFECYCLE: [(&str, Fault); 3] = [
    ("cancel", Fault::Cancel),
    ("deadline", Fault::Deadline),
    ("hold", Fault::Hold),
];
/// For real processes only.
const INFRA: [&str; 15] = [
    "broker_down",
    "broker_restart",
    "ack_lost",
    "rebalance",
    "db_cut_commit",
    "db_down",
    "db_failover",
    "serialization",
    "pool_exhausted",
    "disk_full",
    "clock_jump",
    "partition",
    "telemetry_down",
    "client_gone",
    "deploy_plan",
];

/// Every scenario of the plan, in order. `external`: by step, whether its participant calls out.
pub(crate) fn scenarios(plan: &Plan, external: &[bool]) -> Vec<Scenario> {
    let mut all = List {
        plan,
        external,
        scenarios: Vec::new(),
    };
    for place in START {
        all.add(Part::Start, "start".to_owned(), place, &[], Leg::Start);
    }
    let actions = || {
        legs(plan)
            .into_iter()
            .filter(|leg| matches!(leg, Leg::Action(_)))
    };
    for leg in actions() {
        all.leg(Part::Forward, leg.words(plan), &[], leg);
    }
    for (failed, undos) in rollbacks(plan) {
        let fault = Fault::Failed;
        let leg = Leg::Action(failed);
        let name = &plan.steps()[failed].name;
        for undo in undos {
            let row = format!("after-{name}/{}", undo.words(plan));
            all.leg(Part::Backward, row, &[Site { leg, fault }], undo);
        }
    }
    for leg in legs(plan) {
        if let Leg::Probe(pivot) = leg {
            let silent = Site {
                leg: Leg::Action(pivot),
                fault: Fault::Never,
            };
            all.leg(Part::Probe, leg.words(plan), &[silent], leg);
        }
    }
    all.ends();
    for leg in actions() {
        for place in LIFECYCLE {
            all.add(Part::Lifecycle, leg.words(plan), place, &[], leg);
        }
    }
    for column in INFRA {
        all.scenarios.push(Scenario {
            id: format!("infra/{column}"),
            part: Part::Infra,
            row: "infra".to_owned(),
            column,
            sites: None,
        });
    }
    all.scenarios
}

struct List<'p> {
    plan: &'p Plan,
    external: &'p [bool],
    scenarios: Vec<Scenario>,
}

impl List<'_> {
    /// All that can happen to a command and its answer.
    fn leg(&mut self, part: Part, row: String, base: &[Site], leg: Leg) {
        let calls = leg.step().is_some_and(|step| self.external[step]);
        let calls = CALLS
            .iter()
            .filter(|_| calls && !matches!(leg, Leg::Probe(_)));
        let places = CRASHES.iter().chain(calls).chain(&TIMERS).chain(&PAUSES);
        for place in places.chain(&OUTCOMES) {
            self.add(part, row.clone(), *place, base, leg);
        }
    }

    fn add(
        &mut self,
        part: Part,
        row: String,
        (column, fault): (&'static str, Fault),
        base: &[Site],
        leg: Leg,
    ) {
        let site = Site { leg, fault };
        debug_assert!(can_have(self.plan, site, self.external), "{row}/{column}");
        self.scenarios.push(Scenario {
            id: format!("{row}/{}", tail(column)),
            part,
            row,
            column,
            sites: Some(base.iter().copied().chain([site]).collect()),
        });
    }

    /// The transaction that ends the saga: not committed, and committed and not told.
    fn ends(&mut self) {
        let plan = self.plan;
        let ends = [("E1a", Fault::CrashBefore), ("E1b", Fault::HeardTwice)];
        let is_last = |leg: &Leg| match leg {
            Leg::Action(step) => plan.descendants(*step).is_empty(),
            Leg::Start | Leg::Probe(_) | Leg::Undo(_) | Leg::UndoProbe(_) => false,
        };
        if let Some(last) = legs(plan).into_iter().rfind(is_last) {
            for place in ends {
                self.add(Part::End, "end/completed".to_owned(), place, &[], last);
            }
        }
        let undone = rollbacks(plan)
            .into_iter()
            .find(|(_, undos)| !undos.is_empty());
        if let Some((failed, undos)) = undone {
            let base = Site {
                leg: Leg::Action(failed),
                fault: Fault::Failed,
            };
            for place in ends {
                self.add(
                    Part::End,
                    "end/compensated".to_owned(),
                    place,
                    &[base],
                    undos[0],
                );
            }
        }
    }
}

fn tail(column: &str) -> String {
    if column.starts_with("P13") {
        format!("{column}/pause")
    } else if column.starts_with(['P', 'E']) {
        format!("{column}/crash")
    } else {
        column.to_owned()
    }
}

/// By step that can fail: the compensations that then may run, in the order of the plan.
fn rollbacks(plan: &Plan) -> Vec<(usize, Vec<Leg>)> {
    let failing = (0..plan.steps().len())
        .filter(|step| plan.steps()[*step].action.is_some() && plan.may_fail(*step));
    let undos = |failed: usize| {
        let later = plan.descendants(failed);
        let before = (0..plan.steps().len()).filter(move |step| {
            *step != failed
                && !later.contains(step)
                && plan.steps()[*step].kind == StepKind::Compensatable
        });
        before.map(Leg::Undo).collect()
    };
    failing.map(|failed| (failed, undos(failed))).collect()
}

/// Reads what goes wrong: the id of a scenario, or faults joined by `+`; `none` is nothing.
pub(crate) fn parse(plan: &Plan, external: &[bool], words: &str) -> Result<Vec<Site>, Unknown> {
    if words == "none" {
        return Ok(Vec::new());
    }
    let named = scenarios(plan, external)
        .into_iter()
        .find(|of| of.id == words);
    if let Some(scenario) = named {
        return scenario
            .sites
            .ok_or_else(|| Unknown::NotHere(words.to_owned()));
    }
    words
        .split('+')
        .map(|word| site(plan, external, word))
        .collect()
}

fn site(plan: &Plan, external: &[bool], word: &str) -> Result<Site, Unknown> {
    let points = [&CRASHES[..], &CALLS, &TIMERS, &PAUSES, &OUTCOMES];
    let points = points.into_iter().flatten();
    for leg in legs(plan) {
        let Some(of_leg) = word.strip_prefix(&format!("{}/", leg.words(plan))) else {
            continue;
        };
        let places: Vec<(&str, Fault)> = if leg == Leg::Start {
            START.to_vec()
        } else {
            points.clone().copied().collect()
        };
        let mut by_place = places
            .into_iter()
            .filter(|(place, _)| tail(place) == of_leg);
        let kinds = Fault::ALL.into_iter().chain(Fault::BEYOND);
        let mut by_word = kinds.filter(|fault| fault.word() == of_leg);
        let fault = by_word
            .next()
            .or_else(|| by_place.next().map(|(_, fault)| fault));
        let site = fault.map(|fault| Site { leg, fault });
        if let Some(site) = site.filter(|site| can_have(plan, *site, external)) {
            return Ok(site);
        }
    }
    let ids = crate::fault::sites(plan, &Faults::all().and(Fault::BEYOND), external);
    let first = word.split('/').next().unwrap_or_default();
    let of_step = ids.iter().map(|site| site.id(plan));
    let near: Vec<String> = of_step.filter(|id| id.starts_with(first)).collect();
    Err(Unknown::Fault {
        word: word.to_owned(),
        near,
    })
}

/// What cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// The plan has no such place, or nothing of that kind happens there.
    Fault {
        /// What was asked for.
        word: String,
        /// What can go wrong at that step.
        near: Vec<String>,
    },
    /// It happens to real processes only.
    NotHere(String),
    /// No schedule is looked for that meets more faults than so many.
    TooMany(usize),
    /// No schedule meets all of these faults.
    Unreached(String),
    /// The events of a schedule cannot happen in that order.
    Schedule(String),
}

impl std::error::Error for Unknown {}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault { word, near } if near.is_empty() => {
                write!(
                    f,
                    "the plan has no place {word}; a fault is named STEP/forward/KIND"
                )
            }
            Self::Fault { word, near } => {
                write!(f, "{word} cannot happen; there are: {}", near.join(", "))
            }
            Self::NotHere(word) => {
                write!(
                    f,
                    "{word} befalls real processes; the simulated world has none"
                )
            }
            Self::TooMany(limit) => {
                write!(
                    f,
                    "no schedule is looked for with more than {limit} faults; give its events"
                )
            }
            Self::Unreached(word) => write!(f, "no schedule meets all of {word}"),
            Self::Schedule(word) => write!(f, "these events cannot happen in that order: {word}"),
        }
    }
}

/// How many scenarios a plan has, by part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Which part.
    pub part: Part,
    /// Commands with their answers.
    pub legs: usize,
    /// Those that are forced in the simulated world.
    pub simulated: usize,
    /// Those that are forced on real processes.
    pub real: usize,
}

/// The table of a plan's scenarios, a line for each part.
#[must_use]
pub fn count(scenarios: &[Scenario]) -> Vec<Count> {
    let of_part = |part: Part| {
        let of_part = scenarios.iter().filter(|scenario| scenario.part == part);
        let rows: BTreeSet<&str> = of_part.clone().map(|of| of.row.as_str()).collect();
        let has_legs = !matches!(part, Part::End | Part::Infra);
        Count {
            part,
            legs: if has_legs { rows.len() } else { 0 },
            simulated: of_part.clone().filter(|of| of.sites.is_some()).count(),
            real: of_part.count(),
        }
    };
    Part::ALL.into_iter().map(of_part).collect()
}
