//! What work costs: its rate, CPU of both sides, and WAL.

use std::time::{Duration, Instant};

use palinode_db::{Area, Db, Options};
use palinode_testkit::database::{TestDatabase, test_database};

/// Sizes of batches.
pub(crate) const SIZES: [usize; 4] = [1, 10, 50, 200];

/// A fresh database of `area`.
pub(crate) async fn database(area: Area) -> (Db, TestDatabase) {
    let database = test_database(area).await;
    let options = Options {
        url: database.url.clone(),
        service: area.name().to_owned(),
        connections_max: 5,
    };
    let db = Db::connect(&options).await.expect("the server is there");
    (db, database)
}

/// What has been spent so far.
pub(crate) struct Spent {
    at: Instant,
    own: Duration,
    server: Duration,
    wal: i64,
}

impl Spent {
    #[expect(clippy::disallowed_methods, reason = "no query data for examples")]
    pub(crate) async fn now(database: &TestDatabase) -> Self {
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

    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            at: before.at,
            own: self.own.saturating_sub(before.own),
            server: self.server.saturating_sub(before.server),
            wal: self.wal - before.wal,
        }
    }

    pub(crate) fn shown(&self, count: usize) -> String {
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
pub(crate) async fn empty_outbox(database: &TestDatabase) {
    sqlx::query("TRUNCATE outbox")
        .execute(&mut database.connect().await)
        .await
        .expect("the outbox can be emptied");
}
