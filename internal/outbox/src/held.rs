use std::collections::HashSet;

use palinode_db::Tx;

/// Evidence that an open transaction holds the rows of some keys.
///
/// Only the `store` function that ran the statement makes it, from the keys of the rows that came
/// back. For commands and replies the key is the saga's id, for events the aggregate's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    keys: HashSet<Vec<u8>>,
}

impl Held {
    /// The rows were locked: `SELECT … FOR UPDATE`.
    #[must_use]
    pub fn by_lock(_tx: &Tx, keys: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self::of(keys)
    }

    /// The compare-and-set was won: `UPDATE … WHERE version = $expected RETURNING`.
    #[must_use]
    pub fn by_swap(_tx: &Tx, keys: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self::of(keys)
    }

    /// The rows are new: `INSERT … RETURNING`, whose unique key makes any other writer wait.
    #[must_use]
    pub fn by_insert(_tx: &Tx, keys: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self::of(keys)
    }

    /// The statement that appends is the very one that writes the rows, and does nothing unless it
    /// wins all of them: by a version that only they know who have seen the last commit, or because
    /// the rows are new. Numbers that it draws before it waits for another writer are given up with it.
    #[must_use]
    pub fn by_statement(keys: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self::of(keys)
    }

    /// Both.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.keys.extend(other.keys);
        self
    }

    /// Whether the row of `key` is held.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.keys.contains(key)
    }

    fn of(keys: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self {
            keys: keys.into_iter().collect(),
        }
    }
}
