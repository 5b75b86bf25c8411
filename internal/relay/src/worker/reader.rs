use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use palinode_db::{Db, Error, Own};
use sqlx::PgConnection;
use tokio::time::Instant;

use crate::floor::{self, Floor};
use crate::log;
use crate::page::{Page, Topics};
use crate::store;

/// A read that takes longer, and longer a row, may have stepped over dead rows.
const SLOW: Duration = Duration::from_millis(5);
const SLOW_ROW: Duration = Duration::from_micros(20);
/// How often the dead rows are counted at the most.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// For how long pages begin behind them; twice as long each time that they are still there then.
const BEHIND_FOR: Duration = Duration::from_secs(5);
const BEHIND_FOR_MAX: Duration = Duration::from_secs(60);
/// How often the floor is raised at the most.
const RAISE_EVERY: Duration = Duration::from_millis(100);

/// A page, and the dictionary of topics if it was read anew.
type Found = (Page, Option<Arc<Topics>>);

/// Reads pages, on a connection of its own.
pub(super) struct Reader {
    own: Own,
    dead_rows_max: u32,
    /// Known of this connection's server alone: gone with the first failure.
    floor: Floor,
    raise_at: Instant,
    /// The last read was slow.
    slow: bool,
    count_at: Instant,
    behind_dead: bool,
    behind_for: Duration,
}

impl Reader {
    pub(super) fn new(own: Own, dead_rows_max: u32) -> Self {
        Self {
            own,
            dead_rows_max,
            floor: Floor::default(),
            raise_at: Instant::now(),
            slow: false,
            count_at: Instant::now(),
            behind_dead: dead_rows_max == 0,
            behind_for: BEHIND_FOR,
        }
    }

    /// Many rows are dead and nobody can remove them: lanes have to be read each by itself.
    pub(super) fn is_behind_dead(&self) -> bool {
        self.behind_dead
    }

    /// A page of a queue: of all lanes but `left_out` as a whole; `None`: of those of the page, each by
    /// itself.
    pub(super) async fn queue(
        &mut self,
        db: &Db,
        left_out: Option<Vec<i16>>,
        topics: Arc<Topics>,
        page: Page,
        limit: usize,
    ) -> Result<Found, Error> {
        let now = Instant::now();
        let count =
            (self.slow || self.behind_dead) && self.count_at <= now && self.dead_rows_max > 0;
        let raise = self.behind_dead && self.raise_at <= now;
        // back only after a success: what fails, or is given up, costs the connection
        let mut floor = std::mem::take(&mut self.floor);
        let read = self.own.run(async |conn| {
            // a count that is cancelled has its answer, many; a lost connection shows below
            let dead = if count {
                Some(floor::dead(conn).await.unwrap_or(i64::MAX))
            } else {
                None
            };
            if raise {
                floor.raise(conn).await?;
            }
            let began = Instant::now();
            let (found, rows) = read(db, conn, left_out, floor.id(), topics, page, limit).await?;
            let slow = began.elapsed() >= SLOW + SLOW_ROW * rows;
            Ok((found, slow, dead, floor))
        });
        let (found, slow, dead, floor) = read.await?;
        self.floor = floor;
        self.slow = slow;
        if raise {
            self.raise_at = Instant::now() + RAISE_EVERY;
        }
        if let Some(dead) = dead {
            self.note_dead(dead);
        }
        Ok(found)
    }

    fn note_dead(&mut self, dead: i64) {
        let was_behind = std::mem::replace(&mut self.behind_dead, dead > self.dead_rows_max.into());
        let pause = if self.behind_dead {
            if was_behind {
                self.behind_for = (self.behind_for * 2).min(BEHIND_FOR_MAX);
            }
            self.behind_for
        } else {
            self.behind_for = BEHIND_FOR;
            COUNT_EVERY
        };
        self.count_at = Instant::now() + pause;
    }

    /// A page of a log.
    pub(super) async fn log(
        &mut self,
        db: &Db,
        topics: Arc<Topics>,
        page: Page,
        limit: usize,
        deep: bool,
    ) -> Result<Found, Error> {
        let read =
            async |conn: &mut PgConnection| read_log(db, conn, topics, page, limit, deep).await;
        self.own.run(read).await
    }
}

/// Reads a page, and the dictionary of topics too when a row names one that was added meanwhile.
async fn read(
    db: &Db,
    conn: &mut PgConnection,
    left_out: Option<Vec<i16>>,
    floor: i64,
    mut topics: Arc<Topics>,
    mut page: Page,
    limit: usize,
) -> Result<(Found, u32), Error> {
    let mut fresh = None;
    let mut count = 0;
    let lanes: Vec<i16> = page.lanes().iter().map(|asked| asked.lane).collect();
    let rows_max = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = match &left_out {
        Some(without) => store::read_small_page(conn, without, rows_max).boxed(),
        None => store::read_page(conn, &lanes, rows_max, floor).boxed(),
    };
    while let Some(row) = rows.try_next().await? {
        if fresh.is_none() && !topics.know(row.topic) {
            topics = Arc::new(Topics::of(palinode_outbox::topics(db).await?));
            fresh = Some(Arc::clone(&topics));
        }
        count += 1;
        page.push(row, &topics);
    }
    if left_out.is_some() && i64::from(count) == rows_max {
        page.cut();
    }
    drop(rows);
    Ok(((page, fresh), count))
}

/// The same of a log.
async fn read_log(
    db: &Db,
    conn: &mut PgConnection,
    topics: Arc<Topics>,
    mut page: Page,
    limit: usize,
    deep: bool,
) -> Result<Found, Error> {
    log::read(conn, &mut page, &topics, limit, deep).await?;
    if !page.names_unknown_topic() {
        return Ok((page, None));
    }
    let topics = Arc::new(Topics::of(palinode_outbox::topics(db).await?));
    page.forget_rows();
    log::read(conn, &mut page, &topics, limit, deep).await?;
    Ok((page, Some(topics)))
}
