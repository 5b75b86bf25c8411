//! Waiting for a fact instead of for a time.

use std::time::Duration;

use tokio::time::Instant;

/// The first look is repeated after this, the next ones ever later, up to `PAUSE_MAX`.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Asks `condition` again and again until it gives a value, and returns that.
///
/// # Panics
/// When `limit` is over: "within 5 s: {what}". The condition is asked once more after the limit,
/// so a slow machine fails only where the fact really is missing. An answer that never comes is
/// not cut off.
pub async fn eventually<T>(
    limit: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    let until = Instant::now() + limit;
    let mut pause = PAUSE_MIN;
    loop {
        let last = Instant::now() >= until;
        if let Some(value) = condition().await {
            return value;
        }
        assert!(!last, "not seen within {limit:?}: {what}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_value_is_returned_once_it_is_there() {
        let mut asked = 0;
        let limit = Duration::from_secs(5);
        let value = eventually(limit, "the third question is answered", async || {
            asked += 1;
            (asked == 3).then_some("here")
        })
        .await;
        assert_eq!((value, asked), ("here", 3));
    }

    #[test]
    fn at_the_limit_it_says_what_was_missing() {
        let waiting = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build();
            let limit = Duration::from_millis(20);
            let condition = async || None::<()>;
            runtime
                .unwrap()
                .block_on(eventually(limit, "the moon is blue", condition));
        });
        let panic = waiting.join().unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains("the moon is blue"), "{message}");
    }
}
