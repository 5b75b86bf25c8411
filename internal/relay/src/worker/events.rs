use std::time::Duration;

use palinode_db::Error;
use tokio::task::JoinError;
use tokio::time::Instant;

use super::steps::LANE_ROWS_MIN;
use super::{Event, Read, Run};
use crate::lanes::fair_share;
use crate::log::{Cursor, Window};
use crate::options::Mode;
use crate::page::Report;
use crate::publisher::Publisher;
use crate::store::Leased;

/// Published rows that are worth a vacuum once there is time, and how often there is one at the most.
const VACUUM_AFTER: u64 = 50_000;
const VACUUM_EVERY: Duration = Duration::from_secs(10);

impl<P: Publisher> Run<'_, P> {
    pub(super) fn on_event(&mut self, event: Result<Event, JoinError>) {
        match event.expect("a step of the relay does not panic") {
            Event::Leased(asked, round) => self.on_leased(&asked, round),
            Event::Read(read) => self.on_read(read),
            Event::Published(number, report) => self.on_published(number, report),
            Event::Settled(reports, done) => self.on_settled(reports, done),
            Event::Vacuumed(rows, done) => self.on_vacuumed(rows, done),
            Event::Decided {
                page,
                lane,
                epoch,
                carried,
            } => self.on_decided(page, lane, epoch, carried),
        }
    }

    pub(super) fn on_leased(&mut self, asked: &[(i16, i64, i64)], round: Result<Leased, Error>) {
        let ttl = self.worker.options.lease_ttl;
        let database = self.worker.name.as_str();
        match round {
            Ok(Leased::Reshaped) => {
                tracing::info!(database, "the outbox has another shape");
                self.over = true;
                self.leasing.done(Duration::ZERO);
            }
            Ok(Leased::Round(round)) => {
                self.living = round.living;
                if !round.taken.is_empty() {
                    let lanes = round.taken.len();
                    tracing::debug!(database, lanes, living = round.living, "lanes taken");
                    self.poll.look_now();
                }
                let loss = self.lanes.apply(asked, round);
                self.purge_after(loss);
                // whoever misses lanes looks more often, to take over from the dead at once
                let satisfied = self.lanes.len() == fair_share(self.living);
                self.leasing
                    .done(if satisfied { ttl / 3 } else { ttl / 10 });
            }
            Err(error) => {
                self.warn("leases", &error);
                // with its session the worker is dead to others, who may have its lanes by now
                let loss = self.lanes.drop_all();
                self.purge_after(loss);
                self.leasing.failed(ttl / 5);
            }
        }
        let (lanes, database) = (self.lanes.len(), self.leasing.is_well());
        self.worker.status.send_if_modified(|status| {
            let changed = (status.lanes, status.database) != (lanes, database);
            (status.lanes, status.database) = (lanes, database);
            changed
        });
    }

    fn on_read(&mut self, read: Read) {
        if let Some(topics) = read.topics {
            self.topics = topics;
        }
        if read.behind_dead && !self.behind_dead {
            tracing::warn!(
                database = self.worker.name,
                "deleted rows of the outbox cannot be removed: somebody leaves a transaction open, see \
                 backend_xmin in pg_stat_activity; pages begin behind them"
            );
        }
        self.behind_dead = read.behind_dead;
        match read.page {
            Ok(mut page) => {
                self.reading.done(Duration::ZERO);
                if !self.read_deep {
                    self.poll.read(!page.is_empty());
                }
                if page.is_cut() {
                    self.poll.look_now();
                }
                self.hidden |= page.passed_over() >= LANE_ROWS_MIN;
                for asked in page.take_empty() {
                    let moved_on = asked.window.as_ref().map(Window::moved_on);
                    self.free_unread(asked.lane, asked.epoch, moved_on);
                }
                let idle = page.is_empty() && self.to_vacuum >= VACUUM_AFTER;
                let full = self.mode == Mode::Log
                    && !self.read_deep
                    && self.to_vacuum >= self.worker.options.log_rows_max;
                if (idle || full) && self.vacuuming.is_due() {
                    self.start_vacuum();
                }
                if !page.is_empty() {
                    self.start_publishing(page);
                }
            }
            Err((lanes, error)) => {
                self.warn("pages", &error);
                // it may be the shape of the outbox, which a lease round finds out
                self.leasing.hurry();
                self.reading.failed(Duration::MAX);
                if self.mode == Mode::Log && matches!(error, Error::Unavailable(_)) {
                    // a server that has crashed draws numbers of transactions again that a cursor here may
                    // count as seen: those that it has stored are the ones that hold
                    self.over = true;
                }
                for (lane, epoch) in lanes {
                    self.free_unread(lane, epoch, None);
                }
            }
        }
    }

    /// A lane of which nothing was read may be read again.
    fn free_unread(&mut self, lane: i16, epoch: i64, moved_on: Option<Cursor>) {
        if let Some(lane) = self.lanes.get_mut(lane, epoch) {
            lane.busy = false;
            lane.deep = false;
            lane.careful = false;
            if let Some(cursor) = moved_on {
                lane.move_to(cursor);
            }
        }
    }

    pub(super) fn on_published(&mut self, number: u64, report: Report) {
        self.in_flight.remove(&number);
        if !report.acked.is_empty() {
            self.circuit(true);
        }
        if let Some(lag) = report.lag {
            // two clocks: it may be less than nothing
            let lag = lag.to_std().unwrap_or_default().as_secs_f64();
            let labels = [("database", self.worker.name.as_str())];
            self.worker.lag.record(lag, &labels);
        }
        if report.acked.is_empty() && report.park.is_empty() {
            self.free(report);
        } else if report.can_wait() {
            self.free_before_settling(report);
        } else {
            self.reports.push(report);
        }
    }

    /// The lanes of the page may be read again; its rows are deleted with others, a little later.
    fn free_before_settling(&mut self, mut report: Report) {
        let epochs = report.epochs();
        for (number, id) in report.acked_lanes.iter().zip(&report.acked) {
            if let Some(lane) = self.lanes.get_mut(*number, epochs[number]) {
                lane.publish(*id);
            }
        }
        self.free_lanes(&report);
        if self.waiting.is_empty() {
            self.waiting_since = Instant::now();
        }
        report.waits = true;
        self.waiting.push(report);
    }

    pub(super) fn on_vacuumed(&mut self, rows: u64, done: Result<bool, Error>) {
        match done {
            Ok(true) => {}
            Ok(false) => self.to_vacuum += rows,
            // its owner may be another user: then autovacuum has to do
            Err(error) => tracing::debug!(%error, "the outbox was not vacuumed"),
        }
        self.vacuuming.done(VACUUM_EVERY);
    }

    pub(super) fn on_settled(&mut self, mut reports: Vec<Report>, done: Result<Vec<i16>, Error>) {
        match done {
            Ok(lost) => {
                self.settling.done(Duration::ZERO);
                for report in &mut reports {
                    for of in report.lanes.iter().filter(|of| lost.contains(&of.lane)) {
                        self.lanes.drop_lost(of.lane, of.epoch);
                    }
                    report.park.retain(|park| !lost.contains(&park.lane));
                }
                for report in reports {
                    self.free(report);
                }
                if std::mem::take(&mut self.hidden) {
                    self.poll.look_now();
                }
            }
            Err(error) => {
                // until it succeeds the lanes stay busy, or the rows would be published again
                self.warn("acknowledgements", &error);
                self.settling.failed(Duration::MAX);
                let (waiting, reports): (Vec<_>, Vec<_>) =
                    reports.into_iter().partition(|report| report.waits);
                self.reports.splice(0..0, reports);
                self.waiting.splice(0..0, waiting);
            }
        }
    }

    /// A page is over.
    fn free(&mut self, report: Report) {
        let (acked, parked) = (report.acked.len() as u64, report.park.len() as u64);
        for park in &report.park {
            tracing::error!(
                database = self.worker.name,
                lane = park.lane,
                id = park.id,
                error = park.error,
                "a record is parked"
            );
        }
        self.to_vacuum += acked + parked;
        if acked + parked > 0 {
            self.worker.status.send_modify(|status| {
                status.published += acked;
                status.parked += parked;
            });
        }
        if report.waits {
            self.forget_published(&report);
        } else {
            self.free_lanes(&report);
        }
        for park in report.park {
            if let Some(lane) = self.lanes.get_mut(park.lane, park.epoch) {
                lane.block(park.topic, park.key);
            }
        }
    }

    fn forget_published(&mut self, report: &Report) {
        let epochs = report.epochs();
        for (number, id) in report.acked_lanes.iter().zip(&report.acked) {
            if let Some(lane) = self.lanes.get_mut(*number, epochs[number]) {
                lane.forget(*id);
            }
        }
    }

    /// The lanes of a page may be read again.
    fn free_lanes(&mut self, report: &Report) {
        let lanes = || report.lanes.iter();
        if lanes().any(|lane| lane.suspect) || report.rings < self.poll.rings() {
            self.poll.look_now();
        }
        if report.acked.is_empty() && lanes().any(|lane| lane.unsent) {
            self.reading.pause();
        }
        for of in &report.lanes {
            if let Some(lane) = self.lanes.get_mut(of.lane, of.epoch) {
                lane.busy = false;
                lane.deep = of.deep;
                if let Some(cursor) = of.cursor.clone() {
                    lane.move_to(cursor);
                }
                // once its culprit is found it is read as the others, who wait for it so long
                let is_clear = of.acked || report.park.iter().any(|park| park.lane == of.lane);
                lane.careful = of.suspect || (lane.careful && !is_clear);
            }
        }
    }
}
