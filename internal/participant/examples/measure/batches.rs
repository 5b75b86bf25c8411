//! Batches of commands, handed to a participant on a real PostgreSQL.

use palinode_messaging::{BatchHandler, Committed, Received};
use palinode_testkit::database::TestDatabase;

use crate::spent::{Spent, empty_outbox};

/// Commands of one size, in all.
const COMMANDS: usize = 4_000;
/// Measures one kind of command in batches of `sizes`; `make` makes that many commands.
pub(crate) async fn measure(
    name: &str,
    sizes: &[usize],
    database: &TestDatabase,
    participant: &mut impl BatchHandler,
    mut make: impl FnMut(usize) -> Vec<Received>,
) {
    for &size in sizes {
        let count = if size == 1 { COMMANDS / 4 } else { COMMANDS };
        // the first ones warm up
        for batch in make(20 * size).chunks(size) {
            handle(participant, batch).await;
        }
        empty_outbox(database).await;
        let commands = make(count);
        let before = Spent::now(database).await;
        for batch in commands.chunks(size) {
            handle(participant, batch).await;
        }
        let spent = Spent::now(database).await.since(&before);
        println!("{name:<18} {size:>4} a batch: {}", spent.shown(count));
        empty_outbox(database).await;
    }
}

async fn handle(participant: &mut impl BatchHandler, batch: &[Received]) {
    let Committed = participant.handle(batch).await.expect("it is committed");
}
