use std::time::Duration;

/// Wrong passwords in a row that cost nothing.
const FREE: u32 = 5;
const FIRST: Duration = Duration::from_secs(1);
const MAX: Duration = Duration::from_mins(15);

/// How long a login is refused after so many wrong passwords in a row: a second after the fifth, twice as
/// long after each further one, a quarter of an hour at the most.
pub(crate) fn pause(failures: u32) -> Option<Duration> {
    let beyond = failures.checked_sub(FREE)?;
    Some(FIRST.saturating_mul(1 << beyond.min(16)).min(MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fifth_wrong_password_costs_a_second_and_none_more_than_a_quarter_of_an_hour() {
        let seconds = |failures| pause(failures).map(|pause| pause.as_secs());
        assert_eq!(seconds(4), None);
        assert_eq!(seconds(5), Some(1));
        assert_eq!(seconds(6), Some(2));
        assert_eq!(seconds(14), Some(512));
        assert_eq!(seconds(15), Some(900));
        assert_eq!(seconds(u32::MAX), Some(900));
    }
}
