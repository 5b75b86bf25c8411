use std::time::Duration;

use palinode_db::Db;
use palinode_outbox::{Doorbell, Held, append};
use rand::Rng;
use tokio::task::JoinSet;

use crate::stack::{Stack, draw_transaction_id, execute, record};

const KEYS: u32 = 20;

/// Writes from several connections at once, as services do: some transactions roll back, some are
/// slow, and each draws its transaction id before it locks its key, so that ids of transactions
/// tell nothing about the order of keys.
pub(crate) struct Writers {
    tasks: JoinSet<()>,
}

impl Writers {
    pub(crate) async fn start(stack: &Stack, writers: u32, transactions: u32) -> Self {
        execute(
            &stack.db,
            "INSERT INTO test_key (key) SELECT 'key-' || n FROM generate_series(0, 19) AS n",
        )
        .await;
        let mut tasks = JoinSet::new();
        for writer in 0..writers {
            let (db, doorbell) = (stack.db.clone(), stack.doorbell.clone());
            tasks.spawn(async move {
                for number in 0..transactions {
                    transaction(&db, &doorbell, writer, number).await;
                }
            });
        }
        Self { tasks }
    }

    pub(crate) async fn done(mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "tables of the test's own are in no migration"
)]
async fn transaction(db: &Db, doorbell: &Doorbell, writer: u32, number: u32) {
    let (key, count, slow, rolled_back) = {
        let mut rng = rand::rng();
        let key = format!("key-{}", rng.random_range(0..KEYS));
        (
            key,
            rng.random_range(1..=3),
            rng.random_bool(0.1),
            rng.random_bool(0.05),
        )
    };
    let mut tx = db.begin().await.unwrap();
    // the inbox first: the transaction has its id now, and waits for the key later
    draw_transaction_id(&mut tx).await;
    if slow {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    sqlx::query("UPDATE test_key SET number = number + 1 WHERE key = $1")
        .bind(&key)
        .execute(tx.conn())
        .await
        .unwrap();
    let held = Held::by_lock(&tx, [key.as_bytes().to_vec()]);
    let records: Vec<_> = (0..count)
        .map(|part| record(&key, format!("{writer}/{number}/{part}").as_bytes()))
        .collect();
    append(&mut tx, &held, &records, "test").await.unwrap();
    if !rolled_back {
        tx.commit().await.unwrap();
        doorbell.ring();
    }
}
