use std::sync::Arc;
use std::time::Duration;

use palinode_db::{Db, Error};
use tokio::time::Instant;

use super::{Event, Run};
use crate::lanes::fair_share;
use crate::page::{Page, Report};
use crate::publisher::Publisher;
use crate::store::{self, RoundPlan};

/// A statement that takes longer has lost its connection.
const STATEMENT_LIMIT: Duration = Duration::from_secs(10);

/// What is begun here runs beside the worker and comes back as an [`Event`].
impl<P: Publisher> Run<'_, P> {
    pub(super) fn start_leasing(&mut self) {
        let share = fair_share(self.living);
        let excess = self.lanes.give_up_excess(share);
        let held = self.lanes.begin_round();
        let plan = RoundPlan {
            worker: self.id,
            ttl: self.worker.options.lease_ttl,
            held: held.clone(),
            excess,
            share,
        };
        self.leasing.running = true;
        let db = self.worker.db.clone();
        // an answer that comes later than this is worth nothing
        let limit = self.worker.options.lease_ttl / 2;
        self.tasks.spawn(async move {
            let round = within(limit, store::lease_round(&db, &plan)).await;
            Event::Leased(held, round)
        });
    }

    pub(super) fn start_reading(&mut self) {
        let asked = self.lanes.idle();
        if asked.is_empty() {
            return;
        }
        let rows = usize::from(self.worker.options.page_rows) / asked.len();
        let limit = rows.clamp(16, 1_000);
        for (lane, epoch) in &asked {
            if let Some(lane) = self.lanes.get_mut(*lane, *epoch) {
                lane.busy = true;
            }
        }
        self.reading.running = true;
        self.poll.reading();
        let rings = self.poll.rings();
        let db = self.worker.db.clone();
        self.tasks.spawn(async move {
            let lanes: Vec<i16> = asked.iter().map(|(lane, _)| *lane).collect();
            let limit_rows = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = within(STATEMENT_LIMIT, store::read_page(&db, &lanes, limit_rows)).await;
            Event::Read {
                asked,
                limit,
                rings,
                rows,
            }
        });
    }

    pub(super) fn start_publishing(&mut self, page: Page) {
        self.pages += 1;
        let number = self.pages;
        self.in_flight.insert(number, Instant::now());
        let publisher = Arc::clone(&self.worker.publisher);
        let (tracer, clock) = (self.worker.tracer.clone(), self.worker.clock.clone());
        self.tasks.spawn(async move {
            let report = page.publish(publisher.as_ref(), &tracer, &clock).await;
            Event::Published(number, report)
        });
    }

    /// Deletes and parks the rows of every report that is there, over all lanes.
    pub(super) fn start_settling(&mut self) {
        let reports = std::mem::take(&mut self.reports);
        self.settling.running = true;
        let db = self.worker.db.clone();
        self.tasks.spawn(async move {
            let done = within(STATEMENT_LIMIT, settle(&db, &reports)).await;
            Event::Settled(reports, done)
        });
    }
}

async fn settle(db: &Db, reports: &[Report]) -> Result<(), Error> {
    let parks = || {
        reports
            .iter()
            .flat_map(|report| report.park.iter().map(|park| (report.lane, park)))
    };
    if parks().next().is_some() {
        let lanes: Vec<i16> = parks().map(|(lane, _)| lane).collect();
        let ids: Vec<i64> = parks().map(|(_, park)| park.id).collect();
        let errors: Vec<String> = parks().map(|(_, park)| park.error.clone()).collect();
        store::park(db, &lanes, &ids, &errors).await?;
    }
    let acked = || {
        reports
            .iter()
            .flat_map(|report| report.acked.iter().map(|id| (report.lane, *id)))
    };
    let (lanes, ids): (Vec<i16>, Vec<i64>) = acked().unzip();
    if !ids.is_empty() {
        store::delete(db, &lanes, &ids).await?;
    }
    Ok(())
}

/// Gives a statement up after `limit`: its connection may be half open.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let late = |_elapsed| {
        let late = std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time");
        Error::Unavailable(late.into())
    };
    tokio::time::timeout(limit, work).await.map_err(late)?
}
