use std::fmt;

use palinode_saga::Plan;

use crate::fault::Site;
use crate::moment::{Event, Moment, Rules};

/// Everything that happened, in order: enough to let it happen again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The faults, in the order in which they struck.
    pub sites: Vec<Site>,
    /// The faults as one word: `reserve-stock/forward/late+open-order/backward/never`; `none`.
    pub scenario: String,
    /// The events as one word, for an exact replay: `a0.a0.f0@0.t`.
    pub events: String,
    /// A line for each event.
    pub lines: Vec<String>,
}

impl Schedule {
    pub(crate) fn of(rules: &Rules, start: &Moment, events: &[Event]) -> Self {
        let mut schedule = Self::default();
        let mut words = Vec::new();
        let mut moment = start.clone();
        for event in events {
            words.push(schedule.word(*event));
            schedule.lines.push(line(&rules.plan, &moment, *event));
            let Some(stepped) = moment.after(rules, *event) else {
                break;
            };
            moment = stepped.after;
        }
        schedule.events = words.join(".");
        schedule.scenario = scenario(&rules.plan, &schedule.sites);
        schedule
    }

    pub(crate) fn word(&mut self, event: Event) -> String {
        match event {
            Event::Arrives(at) => format!("a{at}"),
            Event::TimePasses => "t".to_owned(),
            Event::TimerFirst => "x".to_owned(),
            Event::Resumes => "r".to_owned(),
            Event::Goes(site, at) => {
                self.sites.push(site);
                let position = self.sites.len() - 1;
                at.map_or(format!("f{position}"), |at| format!("f{position}@{at}"))
            }
        }
    }
}

/// A set of faults as one word.
pub(crate) fn scenario(plan: &Plan, sites: &[Site]) -> String {
    if sites.is_empty() {
        return "none".to_owned();
    }
    let ids: Vec<String> = sites.iter().map(|site| site.id(plan)).collect();
    ids.join("+")
}

/// What an event is, in words.
pub(crate) fn line(plan: &Plan, moment: &Moment, event: Event) -> String {
    let wire = |at: usize| match moment.wire.get(at) {
        Some(message) => message.words(plan),
        None => "nothing".to_owned(),
    };
    match event {
        Event::Arrives(at) => wire(at),
        Event::TimePasses => "time passes until something is due".to_owned(),
        Event::TimerFirst => "a timer comes before what is under way".to_owned(),
        Event::Resumes => "an operator resumes it".to_owned(),
        Event::Goes(site, None) => format!("FAULT {}", site.id(plan)),
        Event::Goes(site, Some(at)) => format!("FAULT {}: {}", site.id(plan), wire(at)),
    }
}

/// Reads the events of a schedule whose faults are these; `None`: it cannot be read.
pub(crate) fn parse(words: &str, sites: &[Site]) -> Option<Vec<Event>> {
    words
        .split('.')
        .filter(|word| !word.is_empty())
        .map(|word| event(word, sites))
        .collect()
}

fn event(word: &str, sites: &[Site]) -> Option<Event> {
    let (kind, rest) = word.split_at_checked(1)?;
    match kind {
        "a" => rest.parse().ok().map(Event::Arrives),
        "t" => Some(Event::TimePasses),
        "x" => Some(Event::TimerFirst),
        "r" => Some(Event::Resumes),
        "f" => {
            let (site, at) = match rest.split_once('@') {
                Some((site, at)) => (site, Some(at.parse().ok()?)),
                None => (rest, None),
            };
            let site = sites.get(site.parse::<usize>().ok()?)?;
            Some(Event::Goes(*site, at))
        }
        _ => None,
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "    {line}")?;
        }
        Ok(())
    }
}
