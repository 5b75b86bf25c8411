use std::convert::Infallible;
use std::time::Duration;

use crate::Error;

/// How often the old is looked for.
const EVERY: Duration = Duration::from_secs(60);
/// Between two statements while there is more of it, so that traffic gets its share.
const PAUSE: Duration = Duration::from_millis(500);

/// Removes what is old, now and then, until its caller drops it: `step` removes at most `rows_max` rows and
/// says how many. A failure is logged, and looked at again.
pub async fn purge<F, Step>(what: &'static str, rows_max: u64, step: F) -> Infallible
where
    F: Fn() -> Step,
    Step: Future<Output = Result<u64, Error>>,
{
    loop {
        let pause = match step().await {
            Ok(rows) if rows >= rows_max => PAUSE,
            Ok(_) => EVERY,
            Err(error) => {
                tracing::warn!(what, error = ?error, "what is old cannot be removed");
                EVERY
            }
        };
        tokio::time::sleep(pause).await;
    }
}
