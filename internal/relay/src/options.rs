use std::time::Duration;

use palinode_outbox::Shape;

/// How an outbox is emptied; the shape of its table says it. Both have the same contract.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// What is published is deleted. Suits almost everybody.
    #[default]
    Queue,
    /// Rows stay until the table is truncated, and a cursor moves over them: cheaper at a high rate,
    /// and indifferent to a transaction that stays open for long. The table has columns and an
    /// index of its own for it: see `palinode_outbox::to_log`.
    Log,
}

impl Mode {
    /// The mode that a table of this shape is for; `None`: its cursors mean nothing here.
    pub(crate) fn of(shape: Shape) -> Option<Self> {
        match shape {
            Shape::Queue => Some(Self::Queue),
            Shape::Log => Some(Self::Log),
            Shape::Foreign => None,
        }
    }
}

/// Limits of a relay; the defaults suit production.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a lease lasts. Shorter: a killed relay is replaced sooner, and a slow database
    /// costs lanes sooner. Renewed every third of it.
    pub lease_ttl: Duration,
    /// Rows of one read over all idle lanes at the most; more take more memory.
    pub page_rows: u16,
    /// The longest pause between two looks at an outbox that nobody rings for. Shorter: less
    /// delay for writers in other processes, more statements.
    pub poll_pause_max: Duration,
    /// Published rows of a log after which it is emptied although somebody writes all the time;
    /// writers wait for it then, some 150 ms at the most.
    pub log_rows_max: u64,
    /// Whether every writer of this process rings the doorbell after its commit. Then a look finds
    /// all that there is, and looks without a ring are for the rows of other processes alone.
    pub rung: bool,
    /// Rows of a queue that are deleted, and that nobody can remove because a transaction is open
    /// somewhere: with more of them pages begin behind them; 0: always.
    pub dead_rows_max: u32,
    /// How long a page may stay without an acknowledgement before reading stops.
    pub stall_limit: Duration,
    /// How long a stop waits for the pages in flight.
    pub stop_limit: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lease_ttl: Duration::from_secs(10),
            page_rows: 5_000,
            poll_pause_max: Duration::from_millis(20),
            log_rows_max: 1_000_000,
            rung: false,
            dead_rows_max: 10_000,
            stall_limit: Duration::from_secs(5),
            stop_limit: Duration::from_secs(5),
        }
    }
}
