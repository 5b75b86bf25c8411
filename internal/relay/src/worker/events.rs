use std::collections::BTreeMap;
use std::time::Duration;

use palinode_db::Error;
use tokio::task::JoinError;

use super::{Event, Run};
use crate::lanes::fair_share;
use crate::page::{Page, Report, Topics};
use crate::publisher::Publisher;
use crate::store::{Round, Row};

impl<P: Publisher> Run<'_, P> {
    pub(super) async fn on_event(&mut self, event: Result<Event, JoinError>) {
        match event.expect("a step of the relay does not panic") {
            Event::Leased(asked, round) => self.on_leased(&asked, round),
            Event::Read {
                asked,
                limit,
                rings,
                rows,
            } => self.on_read(&asked, limit, rings, rows).await,
            Event::Published(number, report) => self.on_published(number, report),
            Event::Settled(reports, done) => self.on_settled(reports, done),
        }
    }

    pub(super) fn on_leased(&mut self, asked: &[(i16, i64, i64)], round: Result<Round, Error>) {
        let ttl = self.worker.options.lease_ttl;
        let database = self.worker.name.as_str();
        match round {
            Ok(round) => {
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

    async fn on_read(
        &mut self,
        asked: &[(i16, i64)],
        limit: usize,
        rings: u64,
        rows: Result<Vec<Row>, Error>,
    ) {
        let mut by_lane: BTreeMap<i16, Vec<Row>> = BTreeMap::new();
        match rows {
            Ok(rows) => {
                self.reading.done(Duration::ZERO);
                self.poll.read(!rows.is_empty());
                if rows.iter().any(|row| !self.topics.know(row.topic)) {
                    self.reload_topics().await;
                }
                for row in rows {
                    by_lane.entry(row.lane).or_default().push(row);
                }
            }
            Err(error) => {
                self.warn("pages", &error);
                self.reading.failed(Duration::MAX);
            }
        }
        for (number, epoch) in asked {
            // lost meanwhile: its rows are somebody else's
            let Some(lane) = self.lanes.get_mut(*number, *epoch) else {
                continue;
            };
            match by_lane.remove(number) {
                None => lane.busy = false,
                Some(rows) => {
                    let full = rows.len() >= limit;
                    let page = Page::new(*number, lane, rows, &self.topics, full, rings);
                    self.start_publishing(page);
                }
            }
        }
    }

    /// A row names a topic that was added after the start.
    async fn reload_topics(&mut self) {
        match palinode_outbox::topics(&self.worker.db).await {
            Ok(rows) => self.topics = Topics::of(rows),
            Err(error) => tracing::warn!(%error, "the dictionary of topics cannot be read"),
        }
    }

    pub(super) fn on_published(&mut self, number: u64, report: Report) {
        self.in_flight.remove(&number);
        if !report.acked.is_empty() {
            self.circuit(true);
        }
        if report.acked.is_empty() && report.park.is_empty() {
            self.free(report);
        } else {
            self.reports.push(report);
        }
    }

    pub(super) fn on_settled(&mut self, reports: Vec<Report>, done: Result<(), Error>) {
        match done {
            Ok(()) => {
                self.settling.done(Duration::ZERO);
                for report in reports {
                    self.free(report);
                }
            }
            Err(error) => {
                // until it succeeds the lanes stay busy, or the rows would be published again
                self.warn("acknowledgements", &error);
                self.settling.failed(Duration::MAX);
                self.reports.splice(0..0, reports);
            }
        }
    }

    /// A page is over: its lane may be read again.
    fn free(&mut self, report: Report) {
        let (acked, parked) = (report.acked.len() as u64, report.park.len() as u64);
        for park in &report.park {
            tracing::error!(
                database = self.worker.name,
                lane = report.lane,
                id = park.id,
                error = park.error,
                "a record is parked"
            );
        }
        if acked + parked > 0 {
            self.worker.status.send_modify(|status| {
                status.published += acked;
                status.parked += parked;
            });
        }
        if report.full || report.suspect || report.rings < self.poll.rings() {
            self.poll.look_now();
        }
        if report.unsent && report.acked.is_empty() {
            let pause = self.reading.backoff.next_pause();
            self.poll.pause(pause);
        }
        if let Some(lane) = self.lanes.get_mut(report.lane, report.epoch) {
            lane.busy = false;
            lane.careful = report.suspect || (lane.careful && report.acked.is_empty());
            for park in report.park {
                lane.block(park.topic, park.key);
            }
        }
    }
}
