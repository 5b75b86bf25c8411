//! What a batch of commands costs: hands fabricated batches of 1, 10, 50 and 200 commands to a
//! participant on a real PostgreSQL, and prints rate, CPU of both sides and WAL for each command.

use std::time::{Duration, Instant};

use palinode_db::{Area, Db, Options};
use palinode_messaging::{BatchHandler, Committed, Received};
use palinode_testkit::database::{TestDatabase, test_database};

/// Commands of one size, in all.
const COMMANDS: usize = 4_000;
/// Sizes of batches.
pub const SIZES: [usize; 4] = [1, 10, 50, 200];

/// A fresh database of `area`.
pub async fn database(area: Area) -> (Db, TestDatabase) {
    let database = test_database(area).await;
    let options = Options {
        url: database.url.clone(),
        service: area.name().to_owned(),
        connections_max: 5,
    };
    let db = Db::connect(&options).await.expect("the server is there");
    (db, database)
}

/// Measures one kind of command in batches of `sizes`; `make` makes that many commands.
pub async fn measure(
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

/// What has been spent so far.
pub struct Spent {
    at: Instant,
    own: Duration,
    server: Duration,
    wal: i64,
}

impl Spent {
    #[expect(clippy::disallowed_methods, reason = "no query data for examples")]
    pub async fn now(database: &TestDatabase) -> Self {
        let mut connection = database.connect().await;
        let pids: Vec<i32> = sqlx::query_scalar(
            "SELECT pid FROM pg_stat_activity
              WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .fetch_all(&mut connection)
        .await
        .expect("the server answers");
        let wal = sqlx::query_scalar("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")
            .fetch_one(&mut connection)
            .await
            .expect("the server answers");
        Self {
            at: Instant::now(),
            own: threads().into_iter().map(|path| on_cpu(&path)).sum(),
            server: pids.iter().map(|pid| on_cpu(&format!("/proc/{pid}"))).sum(),
            wal,
        }
    }

    pub fn since(&self, before: &Self) -> Self {
        Self {
            at: before.at,
            own: self.own.saturating_sub(before.own),
            server: self.server.saturating_sub(before.server),
            wal: self.wal - before.wal,
        }
    }

    pub fn shown(&self, count: usize) -> String {
        let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        let each = |spent: Duration| spent.as_secs_f64() * 1e6 / count;
        format!(
            "{:>6.0}/s  {:>6.1} µs here  {:>6.1} µs in PostgreSQL  {:>5.0} B of WAL",
            count / self.at.elapsed().as_secs_f64(),
            each(self.own),
            each(self.server),
            self.wal as f64 / count,
        )
    }
}

fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux tells about threads");
    tasks
        .flatten()
        .map(|task| task.path().display().to_string())
        .collect()
}

/// Time that a process or a thread was running.
fn on_cpu(path: &str) -> Duration {
    let told = std::fs::read_to_string(format!("{path}/schedstat")).unwrap_or_default();
    let nanos = told.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

#[expect(clippy::disallowed_methods, reason = "no query data for examples")]
pub async fn empty_outbox(database: &TestDatabase) {
    sqlx::query("TRUNCATE outbox")
        .execute(&mut database.connect().await)
        .await
        .expect("the outbox can be emptied");
}
