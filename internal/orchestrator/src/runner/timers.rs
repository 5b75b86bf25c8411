use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use palinode_db::Error;
use palinode_outbox::Doorbell;
use palinode_values::Clock;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Engine;
use super::batch::Inputs;
use crate::store::saga as store;

/// How often due sagas are looked for.
const TICK: Duration = Duration::from_millis(250);
/// How often while this process has sagas that are due soon. A backoff starts at 100 ms.
const TICK_SOON: Duration = Duration::from_millis(20);
/// A timer that is due within that time is due soon.
const SOON: Duration = Duration::from_secs(1);
/// After a failure of the database.
const PAUSE: Duration = Duration::from_secs(1);
/// Due sagas taken from each lane at once.
const PER_LANE: i64 = 32;

/// Tells the timers of this process about what is due soon, so that they need not look all the
/// time. Cheap to clone; sagas of which nobody tells are found a little later.
#[derive(Debug, Clone, Default)]
pub(crate) struct Soon {
    /// Microseconds since the epoch: until then there may be some.
    until: Arc<AtomicI64>,
    bell: Doorbell,
}

impl Soon {
    /// A timer was set that is due after `wait`.
    pub(crate) fn set(&self, wait: TimeDelta, clock: &Clock) {
        let Ok(wait) = wait.to_std() else {
            self.bell.ring(); // it is due
            return;
        };
        if wait < SOON {
            let until = (clock.now() + wait + TICK).timestamp_micros();
            self.until.fetch_max(until, Ordering::Relaxed);
            self.bell.ring();
        }
    }

    fn tick(&self, clock: &Clock) -> Duration {
        if self.until.load(Ordering::Relaxed) > clock.now().timestamp_micros() {
            TICK_SOON
        } else {
            TICK
        }
    }

    /// Until the timers are looked at next.
    async fn wait(&self, clock: &Clock) {
        let began = Instant::now();
        loop {
            let tick = self.tick(clock);
            if timeout_at(began + tick, self.bell.heard()).await.is_err() {
                return;
            }
        }
    }
}

/// Wakes sagas whose timer is due, until it is told to stop. Any number of processes may run it.
pub(crate) async fn run(engine: Engine, stop: CancellationToken) {
    loop {
        let woken = step(&engine).await;
        let pause = async {
            match woken {
                Ok(0) => engine.soon.wait(&engine.clock).await,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(error = ?error, "timers cannot be read");
                    sleep(PAUSE).await;
                }
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = pause => {}
        }
    }
}

/// Wakes what is due now; returns how many sagas that were.
pub(crate) async fn step(engine: &Engine) -> Result<usize, Error> {
    let due = store::due(&engine.db, PER_LANE).await?;
    if due.is_empty() {
        return Ok(0);
    }
    let inputs = Inputs {
        due,
        ..Inputs::default()
    };
    engine.apply("saga.wake", &inputs).await?;
    Ok(inputs.due.len())
}
