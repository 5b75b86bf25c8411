use std::io::{self, Write};

use serde::Serialize;

use super::eyes::{Pace, Tally};

/// What a demo came to; in JSON the last line of its output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Orders that were to be placed.
    pub orders: u32,
    /// Sagas that went all the way.
    pub completed: u32,
    /// Sagas that were taken back.
    pub compensated: u32,
    /// Sagas that rest until somebody looks.
    pub needs_attention: u32,
    /// Orders that were not placed, or whose saga has not ended.
    pub unfinished: u32,
    /// What must hold and does not.
    pub violations: Vec<String>,
    /// Decided orders per second, from the first order to the last decision.
    pub sagas_per_s: f64,
    /// Half of the orders were decided within that many milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 orders were decided within that many milliseconds.
    pub p99_ms: f64,
    /// Each thing that was checked, and how it fared; for people.
    #[serde(skip)]
    pub checks: Vec<Check>,
}

/// Something that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// What must hold.
    pub holds: &'static str,
    /// How it fared.
    pub result: CheckResult,
}

/// How a check fared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckResult {
    /// It holds.
    Holds,
    /// It does not.
    Violated(Vec<String>),
    /// It cannot be checked on this stack.
    Skipped(&'static str),
}

impl Report {
    pub(crate) fn of(orders: u32, tally: Tally, pace: Pace, checks: Vec<Check>) -> Self {
        let ended = tally.completed + tally.compensated + tally.needs_attention;
        let violations = checks
            .iter()
            .filter_map(|check| match &check.result {
                CheckResult::Violated(words) => Some((check.name, words)),
                CheckResult::Holds | CheckResult::Skipped(_) => None,
            })
            .flat_map(|(name, words)| words.iter().map(move |words| format!("{name}: {words}")))
            .collect();
        Self {
            orders,
            completed: tally.completed,
            compensated: tally.compensated,
            needs_attention: tally.needs_attention,
            unfinished: orders.saturating_sub(ended),
            violations,
            sagas_per_s: rounded(pace.sagas_per_s),
            p50_ms: rounded(pace.p50_ms),
            p99_ms: rounded(pace.p99_ms),
            checks,
        }
    }

    /// Nothing is violated and nothing unfinished.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violations.is_empty() && self.unfinished == 0
    }

    /// Writes tables for people.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "\noutcome            orders")?;
        for (name, count) in [
            ("completed", self.completed),
            ("compensated", self.compensated),
            ("needs attention", self.needs_attention),
            ("unfinished", self.unfinished),
            ("all", self.orders),
        ] {
            writeln!(out, "  {name:<15} {count:>7}")?;
        }
        writeln!(
            out,
            "\n{:.1} sagas/s; decided within {:.0} ms (half of them), {:.0} ms (99 %)",
            self.sagas_per_s, self.p50_ms, self.p99_ms
        )?;
        writeln!(out, "\ninvariants")?;
        for check in &self.checks {
            let (word, lines): (_, &[String]) = match &check.result {
                CheckResult::Holds => ("holds", &[]),
                CheckResult::Violated(words) => ("VIOLATED", words),
                CheckResult::Skipped(_) => ("skipped", &[]),
            };
            writeln!(out, "  {word:<8} {:<30} {}", check.name, check.holds)?;
            for line in lines {
                writeln!(out, "             {line}")?;
            }
        }
        let why = self.checks.iter().find_map(|check| match check.result {
            CheckResult::Skipped(why) => Some(why),
            CheckResult::Holds | CheckResult::Violated(_) => None,
        });
        if let Some(why) = why {
            writeln!(out, "  skipped: {why}")?;
        }
        Ok(())
    }
}

fn rounded(figure: f64) -> f64 {
    (figure * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(unfinished: u32, result: CheckResult) -> Report {
        let tally = Tally {
            completed: 3,
            compensated: 2 - unfinished,
            pending: unfinished,
            ..Tally::default()
        };
        let check = Check {
            name: "stock-adds-up",
            holds: "put in = available + held + sold",
            result,
        };
        Report::of(5, tally, Pace::default(), vec![check])
    }

    #[test]
    fn only_a_run_without_violation_and_rest_is_good() {
        assert!(report(0, CheckResult::Holds).is_good());
        assert!(report(0, CheckResult::Skipped("no database")).is_good());
        assert!(!report(1, CheckResult::Holds).is_good());
        assert!(!report(0, CheckResult::Violated(vec!["mug-blue".to_owned()])).is_good());
    }

    #[test]
    fn json_has_the_keys_in_their_order() {
        let violated = report(1, CheckResult::Violated(vec!["mug-blue: 3".to_owned()]));
        assert_eq!(
            serde_json::to_string(&violated).unwrap(),
            r#"{"orders":5,"completed":3,"compensated":1,"needs_attention":0,"unfinished":1,"violations":["stock-adds-up: mug-blue: 3"],"sagas_per_s":0.0,"p50_ms":0.0,"p99_ms":0.0}"#
        );
    }
}
