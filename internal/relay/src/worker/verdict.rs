use std::sync::Arc;
use std::time::Duration;

use palinode_db::Error;
use tokio::time::Instant;

use super::{Event, Run};
use crate::publisher::Publisher;
use crate::verdict::{Carried, ROWS_MAX, carry_out};

impl<P: Publisher> Run<'_, P> {
    /// A lane with verdicts is not read until they are carried out: what is parked comes before
    /// what stands in the outbox.
    pub(super) fn start_verdicts(&mut self) {
        let Some((number, epoch)) = self.lanes.with_verdicts() else {
            return;
        };
        let Some(lane) = self.lanes.get_mut(number, epoch) else {
            return;
        };
        lane.busy = true;
        lane.verdicts = false;
        let rows_max = if lane.careful { 1 } else { ROWS_MAX };
        let trust = lane.trust.clone();
        self.pages += 1;
        let page = self.pages;
        self.in_flight.insert(page, Instant::now());
        self.deciding.running = true;
        let publisher = Arc::clone(&self.worker.publisher);
        let db = self.worker.db.clone();
        self.tasks.spawn(async move {
            let carried = carry_out(&db, publisher.as_ref(), number, &trust, rows_max).await;
            Event::Decided {
                page,
                lane: number,
                epoch,
                carried,
            }
        });
    }

    pub(super) fn on_decided(
        &mut self,
        page: u64,
        number: i16,
        epoch: i64,
        carried: Result<Carried, Error>,
    ) {
        self.in_flight.remove(&page);
        let carried = match carried {
            Ok(carried) => carried,
            Err(error) => {
                self.warn("verdicts", &error);
                self.deciding.failed(Duration::MAX);
                if let Some(lane) = self.lanes.get_mut(number, epoch) {
                    lane.busy = false;
                    lane.verdicts = true;
                }
                return;
            }
        };
        self.tell(number, &carried);
        if carried.more && !carried.is_progress() && !carried.suspect {
            self.deciding.failed(Duration::MAX);
        } else {
            self.deciding.done(Duration::ZERO);
        }
        if let Some(lane) = self.lanes.get_mut(number, epoch) {
            lane.busy = false;
            lane.careful = carried.suspect || (lane.careful && !carried.is_progress());
            // a verdict that was given meanwhile has set it again
            lane.verdicts |= carried.more;
            lane.settle_parked(carried.parked);
        }
        self.poll.look_now();
    }

    fn tell(&self, lane: i16, carried: &Carried) {
        let database = self.worker.name.as_str();
        let Carried {
            acked,
            skipped,
            refused,
            ..
        } = carried;
        if carried.is_progress() {
            tracing::info!(
                database,
                lane,
                replayed = ?acked,
                ?skipped,
                "verdicts on parked records are carried out"
            );
        }
        for (id, error) in refused {
            tracing::error!(database, lane, id, error, "a record is parked again");
        }
        if !acked.is_empty() {
            self.circuit(true);
            let count = acked.len() as u64;
            self.worker
                .status
                .send_modify(|status| status.published += count);
        }
    }
}
