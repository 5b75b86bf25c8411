use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use crate::stack::Stack;

/// What a run came to, once the checker has found nothing wrong.
#[derive(Debug)]
pub(crate) struct Sum {
    pub(crate) committed: usize,
    pub(crate) repeats: usize,
}

impl Stack {
    /// Delivered and parked together are what was committed; for each topic and key the first
    /// occurrences follow the ids; the outbox is empty.
    pub(crate) async fn check(&mut self) -> Sum {
        self.drained().await;
        let kept = kept(self).await;
        let parked: BTreeSet<Uuid> = sqlx::query_scalar!("SELECT event_id FROM outbox_parked")
            .fetch_all(self.db.pool())
            .await
            .unwrap()
            .into_iter()
            .collect();
        // every record of a deleted row is in the log: it comes, however many repeats come before it
        let missing = kept.keys().filter(|id| !parked.contains(id)).copied();
        self.see_all(missing.collect()).await;
        self.see_the_rest().await;
        let mut first_seen = BTreeSet::new();
        let mut last_of_key: HashMap<(i16, Vec<u8>), i64> = HashMap::new();
        let mut repeats = 0;
        for record in &self.seen {
            let event_id = record.event_id().unwrap().0;
            let row = kept.get(&event_id);
            let (id, topic, key) = row.unwrap_or_else(|| panic!("never committed: {record:?}"));
            assert_eq!(record.key, key.as_slice());
            if !first_seen.insert(event_id) {
                repeats += 1;
                continue;
            }
            let before = last_of_key.insert((*topic, key.clone()), *id);
            assert!(
                before.is_none_or(|before| before < *id),
                "{id} came after {before:?}"
            );
        }
        let ended: BTreeSet<Uuid> = first_seen.union(&parked).copied().collect();
        let committed: BTreeSet<Uuid> = kept.keys().copied().collect();
        assert_eq!(ended, committed);
        Sum {
            committed: committed.len(),
            repeats,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a table of the test's own is in no migration"
)]
async fn kept(stack: &Stack) -> BTreeMap<Uuid, (i64, i16, Vec<u8>)> {
    let rows: Vec<(Uuid, i64, i16, Vec<u8>)> =
        sqlx::query_as("SELECT event_id, id, topic, key FROM kept")
            .fetch_all(stack.db.pool())
            .await
            .unwrap();
    let entry = |(event_id, id, topic, key)| (event_id, (id, topic, key));
    rows.into_iter().map(entry).collect()
}
