//! Both modes over a model of the database: any interleaving of writers, looks and crashes loses
//! nothing, publishes nothing that was rolled back, and keeps the order of every key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use crate::log::{Cursor, Window};
use crate::options::Mode;

const WRITERS: usize = 4;
const KEYS: usize = 2;
/// Rows of one page.
const PAGE: usize = 3;

#[derive(Debug, Clone)]
enum Op {
    /// The transaction gets its number here, before it locks anything.
    Begin(usize),
    Lock(usize, usize),
    /// Draws an id for a key that is locked.
    Append(usize, usize),
    Commit(usize),
    Rollback(usize),
    Look(Crash),
}

/// After which part of a look the relay dies; its successor knows what the database has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crash {
    No,
    AfterRead,
    /// So many records of the page are in the log, and it was not told.
    AfterSend(usize),
}

#[derive(Debug, Clone)]
struct Row {
    id: i64,
    key: usize,
    xid: u64,
}

#[derive(Debug)]
struct Writer {
    xid: u64,
    locks: BTreeSet<usize>,
}

/// Transactions that a snapshot sees.
type Snapshot = BTreeSet<u64>;

#[derive(Debug)]
struct World {
    mode: Mode,
    writers: BTreeMap<usize, Writer>,
    xids: u64,
    ids: i64,
    /// Every row that was ever written; queue mode marks what it deleted.
    rows: Vec<Row>,
    deleted: BTreeSet<i64>,
    committed: Snapshot,
    snapshots: Vec<Snapshot>,
    cursor: Cursor,
    /// What a relay that lives knows besides.
    alive: Option<Cursor>,
    log: Vec<Row>,
}

impl World {
    fn new(mode: Mode) -> Self {
        let cursor = Cursor {
            s1: Arc::from("0"),
            open: None,
        };
        Self {
            mode,
            writers: BTreeMap::new(),
            xids: 0,
            ids: 0,
            rows: Vec::new(),
            deleted: BTreeSet::new(),
            committed: Snapshot::new(),
            snapshots: vec![Snapshot::new()],
            cursor,
            alive: None,
            log: Vec::new(),
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Begin(writer) => {
                if !self.writers.contains_key(&writer) {
                    self.xids += 1;
                    let xid = self.xids;
                    let locks = BTreeSet::new();
                    self.writers.insert(writer, Writer { xid, locks });
                }
            }
            Op::Lock(writer, key) => {
                let is_free = self.writers.values().all(|w| !w.locks.contains(&key));
                if let Some(writer) = self.writers.get_mut(&writer).filter(|_| is_free) {
                    writer.locks.insert(key);
                }
            }
            Op::Append(writer, key) => {
                let Some(writer) = self.writers.get(&writer) else {
                    return;
                };
                if writer.locks.contains(&key) {
                    self.ids += 1;
                    let (id, xid) = (self.ids, writer.xid);
                    self.rows.push(Row { id, key, xid });
                }
            }
            Op::Commit(writer) => {
                if let Some(writer) = self.writers.remove(&writer) {
                    self.committed.insert(writer.xid);
                }
            }
            Op::Rollback(writer) => {
                if let Some(writer) = self.writers.remove(&writer) {
                    self.rows.retain(|row| row.xid != writer.xid);
                }
            }
            Op::Look(crash) => self.look(crash),
        }
    }

    fn look(&mut self, crash: Crash) {
        match self.mode {
            Mode::Queue => self.look_at_queue(crash),
            Mode::Log => self.look_at_log(crash),
        }
    }

    fn look_at_queue(&mut self, crash: Crash) {
        let is_there = |row: &&Row| self.committed.contains(&row.xid);
        let left = self.rows.iter().filter(is_there);
        let left = left.filter(|row| !self.deleted.contains(&row.id));
        let page: Vec<Row> = left.take(PAGE).cloned().collect();
        match crash {
            Crash::AfterRead => {}
            Crash::AfterSend(count) => self.log.extend(page.into_iter().take(count)),
            Crash::No => {
                self.deleted.extend(page.iter().map(|row| row.id));
                self.log.extend(page);
            }
        }
    }

    fn seen_by(&self, snapshot: &str) -> &Snapshot {
        &self.snapshots[snapshot.parse::<usize>().unwrap()]
    }

    fn look_at_log(&mut self, crash: Crash) {
        let cursor = self.alive.clone().unwrap_or_else(|| self.cursor.clone());
        let (s2, after_id, limit) = match &cursor.open {
            Some((s2, id)) => (Arc::clone(s2), *id, PAGE),
            None => {
                self.snapshots.push(self.committed.clone());
                let number = (self.snapshots.len() - 1).to_string();
                (Arc::from(number), 0, usize::MAX)
            }
        };
        let (before, seen) = (self.seen_by(&cursor.s1), self.seen_by(&s2));
        let is_new = |row: &&Row| !before.contains(&row.xid) && seen.contains(&row.xid);
        let rows = self.rows.iter().filter(is_new);
        let rows = rows.filter(|row| row.id > after_id);
        let mut page: Vec<Row> = rows.take(limit).cloned().collect();
        let mut closes = page.len() < limit;
        let mut floor = after_id;
        if cursor.open.is_none() && page.len() > PAGE {
            // too large for one page: it is read in parts from now on
            floor = page[0].id - 1;
            closes = false;
            page.clear();
        }
        let window = Window::new(Arc::clone(&cursor.s1), s2, floor, closes);
        let (sent, lives) = match crash {
            Crash::No => (page.len(), true),
            Crash::AfterRead => (0, false),
            Crash::AfterSend(count) => (count.min(page.len()), false),
        };
        self.log.extend(page[..sent].iter().cloned());
        if !lives {
            self.alive = None;
            return;
        }
        let done: Vec<i64> = page.iter().map(|row| row.id).collect();
        if done.is_empty() {
            self.alive = Some(window.moved_on()); // not written down
        } else {
            self.cursor = window.after(&done, &[], true);
            self.alive = Some(self.cursor.clone());
        }
    }

    /// Ends every transaction and looks until nothing more comes.
    fn finish(&mut self) {
        for writer in 0..WRITERS {
            self.apply(&Op::Commit(writer));
        }
        for _ in 0..self.rows.len() * 2 + 4 {
            self.look(Crash::No);
        }
    }

    fn check(&self) {
        let committed: Vec<i64> = self.rows.iter().map(|row| row.id).collect();
        let mut first_seen = BTreeSet::new();
        let mut last = [0; KEYS];
        for row in &self.log {
            assert!(
                self.committed.contains(&row.xid),
                "never committed: {row:?}"
            );
            if first_seen.insert(row.id) {
                assert!(
                    last[row.key] < row.id,
                    "{row:?} came after {}",
                    last[row.key]
                );
                last[row.key] = row.id;
            }
        }
        assert_eq!(first_seen.into_iter().collect::<Vec<_>>(), committed);
    }
}

fn op() -> impl Strategy<Value = Op> {
    let crash = prop_oneof![
        4 => Just(Crash::No),
        1 => Just(Crash::AfterRead),
        1 => (0..=PAGE).prop_map(Crash::AfterSend),
    ];
    prop_oneof![
        1 => (0..WRITERS).prop_map(Op::Begin),
        1 => (0..WRITERS, 0..KEYS).prop_map(|(writer, key)| Op::Lock(writer, key)),
        3 => (0..WRITERS, 0..KEYS).prop_map(|(writer, key)| Op::Append(writer, key)),
        1 => (0..WRITERS).prop_map(Op::Commit),
        1 => (0..WRITERS).prop_map(Op::Rollback),
        2 => crash.prop_map(Op::Look),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_interleaving_loses_nothing_and_keeps_the_order_of_keys(
        ops in prop::collection::vec(op(), 0..120)
    ) {
        for mode in [Mode::Queue, Mode::Log] {
            let mut world = World::new(mode);
            for op in &ops {
                world.apply(op);
            }
            world.finish();
            world.check();
        }
    }
}
