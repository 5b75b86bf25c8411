use std::sync::Arc;
use std::time::Duration;

use palinode_db::{Db, Error};
use sqlx::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Event, Read, Run};
use crate::lanes::fair_share;
use crate::log;
use crate::options::Mode;
use crate::page::{Page, Report};
use crate::publisher::Publisher;
use crate::store::{self, RoundPlan};

/// A statement that takes longer has lost its connection.
const STATEMENT_LIMIT: Duration = Duration::from_secs(10);
/// A vacuum that takes longer is left to the database.
const VACUUM_LIMIT: Duration = Duration::from_secs(600);

/// Rows of one lane in a page, at the least and at the most.
pub(super) const LANE_ROWS_MIN: usize = 16;
const LANE_ROWS_MAX: usize = 1_000;

/// What is begun here runs beside the worker and comes back as an [`Event`].
impl<P: Publisher> Run<'_, P> {
    pub(super) fn start_leasing(&mut self) {
        let share = fair_share(self.living);
        let excess = self.lanes.give_up_excess(share);
        let held = self.lanes.begin_round();
        let plan = RoundPlan {
            worker: self.id,
            ttl: self.worker.options.lease_ttl,
            mode: self.mode,
            held: held.clone(),
            excess,
            share,
        };
        self.leasing.running = true;
        let own = Arc::clone(&self.lease_on);
        // an answer that comes later than this is worth nothing
        let limit = self.worker.options.lease_ttl / 2;
        self.tasks.spawn(async move {
            let mut own = own.lock().await;
            let round = own.run(async |conn| store::lease_round(conn, &plan).await);
            let round = within(limit, round).await;
            Event::Leased(held, round)
        });
    }

    pub(super) fn start_reading(&mut self) {
        let others_due = self.lanes.has_idle(false) && self.poll.next() <= Instant::now();
        // a backlog must not keep the lanes waiting that have none
        let deep = self.lanes.has_idle(true) && !(self.read_deep && others_due);
        if !deep && !others_due {
            return;
        }
        self.read_deep = deep;
        let asked = self.lanes.take_for_read(deep);
        if !deep {
            self.poll.reading();
        }
        let rows = usize::from(self.worker.options.page_rows);
        // the window of a log is of each lane by itself
        let is_queue = self.mode == Mode::Queue;
        let left_out = (is_queue && !deep && !self.behind_dead)
            .then(|| self.lanes.left_out(&asked))
            .flatten();
        let limit = if left_out.is_some() {
            rows
        } else {
            (rows / asked.len()).clamp(LANE_ROWS_MIN, LANE_ROWS_MAX)
        };
        self.reading.running = true;
        let rings = self.poll.rings();
        let (db, mode) = (self.worker.db.clone(), self.mode);
        let topics = Arc::clone(&self.topics);
        let reader = Arc::clone(&self.reader);
        self.tasks.spawn(async move {
            let mut reader = reader.lock().await;
            let lanes = asked.iter().map(|asked| (asked.lane, asked.epoch));
            let lanes: Vec<(i16, i64)> = lanes.collect();
            let page = Page::new(asked, limit, rings);
            let read = async {
                match mode {
                    Mode::Queue => reader.queue(&db, left_out, topics, page, limit).await,
                    Mode::Log => reader.log(&db, topics, page, limit, deep).await,
                }
            };
            let read = within(STATEMENT_LIMIT, read).await;
            let (page, topics) = match read {
                Ok((page, topics)) => (Ok(page), topics),
                Err(error) => (Err((lanes, error)), None),
            };
            Event::Read(Read {
                page,
                topics,
                behind_dead: reader.is_behind_dead(),
            })
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
        let mut reports = std::mem::take(&mut self.reports);
        reports.append(&mut self.waiting);
        self.settling.running = true;
        let (db, worker) = (self.worker.db.clone(), self.id);
        let mode = self.mode;
        let own = Arc::clone(&self.settle_on);
        self.tasks.spawn(async move {
            let mut own = own.lock().await;
            let settled = async {
                match mode {
                    Mode::Queue => {
                        own.run(async |conn| settle(conn, worker, &reports).await)
                            .await
                    }
                    Mode::Log => settle_log(&db, worker, &reports).await,
                }
            };
            let done = within(STATEMENT_LIMIT, settled).await;
            Event::Settled(reports, done)
        });
    }

    /// Much was published, and there is time now.
    pub(super) fn start_vacuum(&mut self) {
        let rows = std::mem::take(&mut self.to_vacuum);
        self.vacuuming.running = true;
        let (db, mode) = (self.worker.db.clone(), self.mode);
        self.tasks.spawn(async move {
            let done = match mode {
                Mode::Queue => within(VACUUM_LIMIT, store::vacuum(&db))
                    .await
                    .map(|()| true),
                Mode::Log => within(STATEMENT_LIMIT, log::truncate(&db)).await,
            };
            Event::Vacuumed(rows, done)
        });
    }
}

/// Moves the cursors over what was published or parked.
async fn settle_log(db: &Db, worker: Uuid, reports: &[Report]) -> Result<Vec<i16>, Error> {
    let moved: Vec<_> = reports.iter().flat_map(|report| &report.lanes).collect();
    let park: Vec<_> = reports.iter().flat_map(|report| &report.park).collect();
    log::settle(db, worker, &moved, &park).await
}

/// Parks and deletes rows. Returns the lanes that are lost: nothing of theirs was parked.
async fn settle(
    conn: &mut PgConnection,
    worker: Uuid,
    reports: &[Report],
) -> Result<Vec<i16>, Error> {
    let park: Vec<_> = reports.iter().flat_map(|report| &report.park).collect();
    let mut lost = Vec::new();
    if !park.is_empty() {
        let held = store::park(conn, worker, &park).await?;
        lost.extend(park.iter().map(|park| park.lane));
        lost.retain(|lane| !held.contains(lane));
    }
    let acked = || reports.iter().filter(|report| !report.acked.is_empty());
    if let (Some(report), None) = (acked().next(), acked().nth(1)) {
        store::delete(conn, &report.acked_lanes, &report.acked).await?;
        return Ok(lost);
    }
    let lanes: Vec<i16> = acked()
        .flat_map(|report| &report.acked_lanes)
        .copied()
        .collect();
    let ids: Vec<i64> = acked().flat_map(|report| &report.acked).copied().collect();
    if !ids.is_empty() {
        store::delete(conn, &lanes, &ids).await?;
    }
    Ok(lost)
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
