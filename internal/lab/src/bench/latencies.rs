use std::time::Duration;

use hdrhistogram::Histogram;

use super::report::Figures;

/// Longer ones count as this.
const LONGEST: Duration = Duration::from_secs(3_600);
/// Two digits are 1 %, three are 0.1 %.
const DIGITS: u8 = 3;

/// How long something took, many times. What is to be recorded counts from the *intended* start:
/// a start that came late because the system was slow is the system's time too.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl Latencies {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        let highest = micros(LONGEST);
        Self(Histogram::new_with_bounds(1, highest, DIGITS).expect("the bounds are valid"))
    }

    /// Adds one.
    pub fn record(&mut self, took: Duration) {
        self.0.saturating_record(micros(took));
    }

    /// Adds all of another.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency in milliseconds that `percent` of them do not exceed; 0 when there are none.
    #[must_use]
    pub fn ms(&self, percent: f64) -> f64 {
        millis(self.0.value_at_percentile(percent))
    }

    /// Puts `p50_ms`, `p90_ms`, `p99_ms`, `p999_ms` and `max_ms` in.
    pub fn put(&self, figures: &mut Figures) {
        self.put_as(figures, "");
    }

    /// The same with a prefix, such as `call_`.
    pub fn put_as(&self, figures: &mut Figures, prefix: &str) {
        for (name, percent) in [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p999", 99.9)] {
            figures.put(&format!("{prefix}{name}_ms"), self.ms(percent));
        }
        figures.put(&format!("{prefix}max_ms"), millis(self.0.max()));
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "an hour of microseconds is exact"
)]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut all = Latencies::new();
        for ms in 1..=1_000 {
            let mut one = Latencies::new();
            one.record(Duration::from_millis(ms));
            all.add(&one);
        }
        assert_eq!(all.count(), 1_000);
        assert!((all.ms(50.0) - 500.0).abs() < 1.0, "{}", all.ms(50.0));
        assert!((all.ms(99.0) - 990.0).abs() < 1.0, "{}", all.ms(99.0));
        all.clear();
        assert!(all.ms(99.0).abs() < f64::EPSILON);
    }
}
