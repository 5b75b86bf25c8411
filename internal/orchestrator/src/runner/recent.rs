use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use palinode_values::SagaId;

use super::encode::Payloads;
use super::registry::StoredPlan;
use crate::store::saga::Head;

/// Sagas remembered in one of the two halves at the most: they end within milliseconds, mostly.
const SAGAS_MAX: usize = 10_000;
/// Bytes of payloads remembered in one of the two halves at the most.
const BYTES_MAX: usize = 16 << 20;

/// Sagas that are under way as this process has committed them last, so that the next answer need
/// not read them. Cheap to clone.
///
/// What is remembered may be old: another process may have moved the saga on. So it is written only
/// under its version, which such a saga has left; and where it says that an answer changes nothing,
/// the row is read after all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recent {
    halves: Arc<Mutex<Halves>>,
}

/// What is put in goes to the new half. Once that is full the old one is forgotten.
#[derive(Debug, Default)]
struct Halves {
    new: HashMap<SagaId, Remembered>,
    old: HashMap<SagaId, Remembered>,
    new_bytes: usize,
}

/// A saga as it was committed: nothing holds it, and its payloads are complete.
#[derive(Debug)]
pub(crate) struct Remembered {
    pub(crate) head: Head,
    pub(crate) plan: Arc<StoredPlan>,
    pub(crate) known: Payloads,
}

impl Recent {
    /// Takes the saga out, to be put back when it is committed; so of two that work on it at the
    /// same time one reads the row.
    pub(crate) fn take(&self, id: SagaId) -> Option<Remembered> {
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        let Halves { new, old, .. } = &mut *halves;
        new.remove(&id).or_else(|| old.remove(&id))
    }

    /// Remembers what was committed.
    pub(crate) fn put(&self, committed: Vec<Remembered>) {
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        for saga in committed {
            if halves.new.len() >= SAGAS_MAX || halves.new_bytes >= BYTES_MAX {
                halves.old = mem::take(&mut halves.new);
                halves.new_bytes = 0;
            }
            halves.new_bytes += saga.known.bytes();
            halves.new.insert(saga.head.id, saga);
        }
    }
}
