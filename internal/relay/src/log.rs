//! Log mode: rows stay, and a cursor moves over them from snapshot to snapshot.
//!
//! A window is what became visible between the snapshots `s1` and `s2`. Of one key, every snapshot
//! sees the records up to some id: so windows one after the other, each in the order of ids, keep
//! the order of the key, and a row that commits late is in a later window. A transaction that stays
//! open for long is one number in a list, and delays nobody.
#![expect(
    clippy::disallowed_methods,
    reason = "the columns of log mode are in no migration: a queue must not pay for them"
)]

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use palinode_db::{Db, Error, Tx};
use sqlx::{FromRow, PgConnection, Row as _};
use tokio::time::Instant;
use uuid::Uuid;

use crate::lanes::Asked;
use crate::page::{LaneReport, Page, Park, Topics};
use crate::store::Row;

/// How long writers wait for the rest of a log to be published, and how often that is looked at.
const HOLD_LIMIT: Duration = Duration::from_millis(50);
const HOLD_PAUSE: Duration = Duration::from_millis(2);

/// Up to where a lane is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Everything that this snapshot sees.
    pub(crate) s1: Arc<str>,
    /// And of what the second snapshot sees besides, everything up to this id.
    pub(crate) open: Option<(Arc<str>, i64)>,
}

/// The part of a lane that a page holds.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    s1: Arc<str>,
    s2: Arc<str>,
    /// The rows before are published.
    after_id: i64,
    /// All that is left of it was read.
    closes: bool,
}

impl Window {
    /// What `s2` sees and `s1` does not, after an id; `closes`: all that is left of it was read.
    pub(crate) fn new(s1: Arc<str>, s2: Arc<str>, after_id: i64, closes: bool) -> Self {
        Self {
            s1,
            s2,
            after_id,
            closes,
        }
    }

    /// Where the lane stands once the rows up to `id` are published.
    fn moved_to(&self, id: i64, closes: bool) -> Cursor {
        if closes {
            return Cursor {
                s1: Arc::clone(&self.s2),
                open: None,
            };
        }
        Cursor {
            s1: Arc::clone(&self.s1),
            open: Some((Arc::clone(&self.s2), id)),
        }
    }

    /// Where the lane stands when the page has no row of it.
    pub(crate) fn moved_on(&self) -> Cursor {
        self.moved_to(self.after_id, self.closes)
    }

    /// Where the lane stands after a page: `done` are the ids that are published or parked,
    /// `open` those that are not, `whole` says that nothing else was read.
    pub(crate) fn after(&self, done: &[i64], open: &[i64], whole: bool) -> Cursor {
        let first_open = open.iter().copied().min().unwrap_or(i64::MAX);
        let passed = done.iter().copied().filter(|id| *id < first_open).max();
        let whole = whole && open.is_empty();
        self.moved_to(passed.unwrap_or(self.after_id), whole && self.closes)
    }
}

/// The cursors of some lanes.
pub(crate) async fn cursors(
    conn: &mut PgConnection,
    lanes: &[i16],
) -> Result<Vec<(i16, Cursor)>, Error> {
    let rows: Vec<(i16, String, Option<String>, i64)> = sqlx::query_as(
        "SELECT lane, s1::text, s2::text, last_id FROM outbox_lane WHERE lane = ANY($1)",
    )
    .bind(lanes)
    .fetch_all(conn)
    .await?;
    let cursor = |(lane, s1, s2, last_id): (i16, String, Option<String>, i64)| {
        let open = s2.map(|s2| (Arc::from(s2), last_id));
        (
            lane,
            Cursor {
                s1: Arc::from(s1),
                open,
            },
        )
    };
    Ok(rows.into_iter().map(cursor).collect())
}

/// Reads a page: of windows that are open, or of what is new.
pub(crate) async fn read(
    conn: &mut PgConnection,
    page: &mut Page,
    topics: &Topics,
    limit: usize,
    deep: bool,
) -> Result<(), Error> {
    if deep {
        read_deep(conn, page, topics, limit).await
    } else {
        read_small(conn, page, topics, limit).await
    }
}

/// Reads what became visible in lanes whose window is not open, all of it up to `limit` rows; of
/// lanes with more only that there is more. Lanes without a cursor are not read.
async fn read_small(
    conn: &mut PgConnection,
    page: &mut Page,
    topics: &Topics,
    limit: usize,
) -> Result<(), Error> {
    let s2: String = sqlx::query_scalar("SELECT pg_current_snapshot()::text")
        .fetch_one(&mut *conn)
        .await?;
    let s2: Arc<str> = Arc::from(s2);
    let (lanes, s1): (Vec<i16>, Vec<String>) = starts(page.lanes());
    let mut large = Vec::new();
    {
        let mut rows = sqlx::query(include_str!("sql/log_small.sql"))
            .bind(&lanes)
            .bind(&s1)
            .bind(&*s2)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch(&mut *conn);
        // the rows of a lane come together
        let mut of_lane: Vec<Row> = Vec::new();
        loop {
            let row = rows.try_next().await?.map(|row| Row::from_row(&row));
            let row = row.transpose()?;
            let lane = row.as_ref().map(|row| row.lane);
            if let Some(first) = of_lane.first()
                && lane != Some(first.lane)
            {
                if of_lane.len() >= limit {
                    large.push(first.lane);
                    of_lane.clear();
                }
                for row in of_lane.drain(..) {
                    page.push(row, topics);
                }
            }
            match row {
                Some(row) => of_lane.push(row),
                None => break,
            }
        }
    }
    let floors = floors(conn, page.lanes(), &large).await?;
    for asked in page.lanes_mut() {
        let Some(cursor) = &asked.cursor else {
            continue;
        };
        let floor = floors.iter().find(|(lane, _)| *lane == asked.lane);
        let after_id = floor.map_or(0, |(_, id)| id - 1);
        let (s1, s2) = (Arc::clone(&cursor.s1), Arc::clone(&s2));
        asked.window = Some(Window::new(s1, s2, after_id, floor.is_none()));
    }
    Ok(())
}

/// Where the windows of these lanes begin.
async fn floors(
    conn: &mut PgConnection,
    all: &[Asked],
    large: &[i16],
) -> Result<Vec<(i16, i64)>, Error> {
    if large.is_empty() {
        return Ok(Vec::new());
    }
    let of = all.iter().filter(|asked| large.contains(&asked.lane));
    let (lanes, s1) = starts(of);
    let rows: Vec<(i16, Option<i64>)> = sqlx::query_as(include_str!("sql/log_floor.sql"))
        .bind(&lanes)
        .bind(&s1)
        .fetch_all(conn)
        .await?;
    let floor = |(lane, id): (i16, Option<i64>)| (lane, id.unwrap_or(1));
    Ok(rows.into_iter().map(floor).collect())
}

fn starts<'a>(lanes: impl IntoIterator<Item = &'a Asked>) -> (Vec<i16>, Vec<String>) {
    lanes
        .into_iter()
        .filter_map(|asked| Some((asked.lane, asked.cursor.as_ref()?.s1.to_string())))
        .unzip()
}

/// Reads on in windows that are open, `limit` rows of each at the most.
async fn read_deep(
    conn: &mut PgConnection,
    page: &mut Page,
    topics: &Topics,
    limit: usize,
) -> Result<(), Error> {
    let (mut lanes, mut s1, mut s2, mut last_ids) = (vec![], vec![], vec![], vec![]);
    for asked in page.lanes() {
        if let Some(cursor) = &asked.cursor
            && let Some((end, last_id)) = &cursor.open
        {
            lanes.push(asked.lane);
            s1.push(cursor.s1.to_string());
            s2.push(end.to_string());
            last_ids.push(*last_id);
        }
    }
    {
        let mut rows = sqlx::query(include_str!("sql/log_deep.sql"))
            .bind(&lanes)
            .bind(&s1)
            .bind(&s2)
            .bind(&last_ids)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch(conn);
        while let Some(row) = rows.try_next().await? {
            page.push(Row::from_row(&row)?, topics);
        }
    }
    let counts = page.counts().to_vec();
    for (asked, count) in page.lanes_mut().iter_mut().zip(counts) {
        let Some(cursor) = &asked.cursor else {
            continue;
        };
        let Some((s2, last_id)) = &cursor.open else {
            continue;
        };
        let (s1, s2) = (Arc::clone(&cursor.s1), Arc::clone(s2));
        asked.window = Some(Window::new(s1, s2, *last_id, count < limit));
    }
    Ok(())
}

impl FromRow<'_, sqlx::postgres::PgRow> for Row {
    fn from_row(row: &sqlx::postgres::PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            lane: row.try_get(0)?,
            id: row.try_get(1)?,
            topic: row.try_get(2)?,
            event_id: row.try_get(3)?,
            created_at: row.try_get(4)?,
            key: row.try_get(5)?,
            traceparent: row.try_get(6)?,
            tracestate: row.try_get(7)?,
            baggage: row.try_get(8)?,
            headers: row.try_get(9)?,
            payload: row.try_get(10)?,
        })
    }
}

/// Parks what is to be parked and moves the cursors, in one transaction. Returns the lanes that are
/// lost: nothing of theirs was moved.
pub(crate) async fn settle(
    db: &Db,
    worker: Uuid,
    moved: &[&LaneReport],
    park: &[&Park],
) -> Result<Vec<i16>, Error> {
    let mut tx = db.begin().await?;
    let (mut lanes, mut epochs, mut s1) = (vec![], vec![], vec![]);
    let (mut s2, mut last_ids) = (vec![], vec![]);
    for of in moved {
        if let Some(cursor) = &of.cursor {
            lanes.push(of.lane);
            epochs.push(of.epoch);
            s1.push(cursor.s1.to_string());
            s2.push(cursor.open.as_ref().map(|(s2, _)| s2.to_string()));
            last_ids.push(cursor.open.as_ref().map_or(0, |(_, id)| *id));
        }
    }
    let held: Vec<i16> = sqlx::query_scalar(include_str!("sql/log_move.sql"))
        .bind(worker)
        .bind(&lanes)
        .bind(&epochs)
        .bind(&s1)
        .bind(&s2)
        .bind(&last_ids)
        .fetch_all(tx.conn())
        .await?;
    let park: Vec<_> = park
        .iter()
        .filter(|park| held.contains(&park.lane))
        .collect();
    if !park.is_empty() {
        sqlx::query(include_str!("sql/log_park.sql"))
            .bind(park.iter().map(|park| park.lane).collect::<Vec<_>>())
            .bind(park.iter().map(|park| park.id).collect::<Vec<_>>())
            .bind(
                park.iter()
                    .map(|park| park.error.as_str())
                    .collect::<Vec<_>>(),
            )
            .bind(park.iter().map(|park| park.behind).collect::<Vec<_>>())
            .execute(tx.conn())
            .await?;
    }
    tx.commit().await?;
    lanes.retain(|lane| !held.contains(lane));
    Ok(lanes)
}

/// Empties the log, once everything in it is published; false: there was no moment for it. Writers
/// wait meanwhile: for who writes at the beginning, and then for the rest to be published.
pub(crate) async fn truncate(db: &Db) -> Result<bool, Error> {
    match hold_and_truncate(db.begin().await?).await {
        Err(Error::Contended(_)) => Ok(false), // somebody has it open for longer
        done => done,
    }
}

async fn hold_and_truncate(mut tx: Tx) -> Result<bool, Error> {
    sqlx::raw_sql(include_str!("sql/log_hold.sql"))
        .execute(tx.conn())
        .await?;
    let until = Instant::now() + HOLD_LIMIT;
    while sqlx::query_scalar(include_str!("sql/log_pending.sql"))
        .fetch_one(tx.conn())
        .await?
    {
        if Instant::now() >= until {
            return Ok(false);
        }
        tokio::time::sleep(HOLD_PAUSE).await;
    }
    sqlx::raw_sql("TRUNCATE outbox").execute(tx.conn()).await?;
    tx.commit().await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(closes: bool) -> Window {
        Window::new(Arc::from("10:10:"), Arc::from("20:20:"), 5, closes)
    }

    #[test]
    fn a_cursor_passes_what_is_over_and_nothing_behind_a_gap() {
        let at = |id| Cursor {
            s1: Arc::from("10:10:"),
            open: Some((Arc::from("20:20:"), id)),
        };
        let closed = Cursor {
            s1: Arc::from("20:20:"),
            open: None,
        };
        assert_eq!(window(true).after(&[6, 7], &[], true), closed);
        assert_eq!(window(true).after(&[7, 6], &[], false), at(7));
        assert_eq!(window(true).after(&[6, 8], &[7], true), at(6));
        assert_eq!(window(true).after(&[8], &[7], true), at(5));
        assert_eq!(window(false).after(&[6, 9], &[], true), at(9));
        assert_eq!(window(true).moved_on(), closed);
        assert_eq!(window(false).moved_on(), at(5));
    }
}
