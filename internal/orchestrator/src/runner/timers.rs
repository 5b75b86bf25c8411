use std::time::Duration;

use palinode_db::Error;
use tokio_util::sync::CancellationToken;

use super::Engine;
use super::batch::{Inputs, apply};
use crate::store::saga as store;

/// How often due sagas are looked for. A backoff starts at 100 ms, so half of that is lost at most.
const TICK: Duration = Duration::from_millis(50);
/// After a failure of the database.
const PAUSE: Duration = Duration::from_secs(1);
/// Due sagas taken from each lane at once.
const PER_LANE: i64 = 32;

/// Wakes sagas whose timer is due, until it is told to stop. Any number of processes may run it.
pub(crate) async fn run(engine: Engine, stop: CancellationToken) {
    loop {
        let pause = match step(&engine).await {
            Ok(0) => TICK,
            Ok(_) => Duration::ZERO,
            Err(error) => {
                tracing::warn!(error = ?error, "timers cannot be read");
                PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
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
    let spans = engine
        .db
        .run_tx("saga.wake", |tx| apply(engine, tx, &inputs))
        .await?;
    engine.doorbell.ring();
    spans.emit(&engine.clock);
    Ok(inputs.due.len())
}
