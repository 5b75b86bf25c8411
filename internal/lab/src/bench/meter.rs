use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value as Json, json};
use sqlx::{PgConnection, Row};

use super::processes::{Cpu, Memory, Processes};
use super::report::Figures;

/// Statements that are told.
const RANKED_MAX: i64 = 25;
const MEMORY_EVERY: Duration = Duration::from_secs(1);

/// Measures from the outside what a stretch of work costs: PostgreSQL's own counts, and what
/// `/proc` says of processes.
#[derive(Debug)]
pub struct Meter {
    processes: Processes,
    began: Instant,
    counts: Counts,
    cpu: Cpu,
    memory: JoinHandle<Vec<Memory>>,
    stop: mpsc::Sender<()>,
}

/// What PostgreSQL has counted since it began.
#[derive(Debug, Clone, Default)]
struct Counts {
    commits: BTreeMap<String, i64>,
    rollbacks: i64,
    wal_bytes: i64,
    wal_full_pages: i64,
    wal_syncs: i64,
}

/// A statement, as `pg_stat_statements` ranks it.
#[derive(Debug, Clone)]
struct Ranked {
    database: String,
    calls: i64,
    rows: i64,
    total_ms: f64,
    text: String,
}

/// What a stretch of work cost.
#[derive(Debug, Clone)]
pub struct Usage {
    /// How long it was.
    pub took: Duration,
    /// Transactions that committed, in all databases of ours.
    pub commits: i64,
    /// By database.
    pub commits_by_database: BTreeMap<String, i64>,
    /// Transactions that did not.
    pub rollbacks: i64,
    /// Write-ahead log.
    pub wal_bytes: i64,
    /// Images of whole pages in it.
    pub wal_full_pages: i64,
    /// How often it was made durable.
    pub wal_syncs: i64,
    /// Statements as `pg_stat_statements` counts them; `None`: it is not loaded.
    pub statements: Option<i64>,
    /// Those that took longest, in all.
    ranked: Vec<Ranked>,
    cpu: Cpu,
    memory: Vec<Memory>,
}

impl Meter {
    /// Begins. `postgres` is any connection to the server; `kafka` the address of a broker that is
    /// a process of its own.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    #[expect(
        clippy::disallowed_methods,
        reason = "asks for a process, not for rows"
    )]
    pub async fn start(postgres: &mut PgConnection, kafka: Option<&str>) -> anyhow::Result<Self> {
        let row = sqlx::query("SELECT pg_backend_pid()")
            .fetch_one(&mut *postgres)
            .await?;
        let processes = Processes::find(u32::try_from(row.try_get::<i32, _>(0)?)?, kafka);
        if is_ranking(postgres).await? {
            sqlx::query("SELECT pg_stat_statements_reset()")
                .execute(&mut *postgres)
                .await?;
        }
        let counts = Counts::read(postgres).await?;
        let (stop, stopped) = mpsc::channel::<()>();
        let memory = thread::Builder::new()
            .name("bench-meter".to_owned())
            .spawn(move || {
                let mut seen = vec![processes.memory()];
                while stopped.recv_timeout(MEMORY_EVERY) == Err(RecvTimeoutError::Timeout) {
                    seen.push(processes.memory());
                }
                seen
            })?;
        Ok(Self {
            processes,
            counts,
            memory,
            stop,
            cpu: processes.cpu(),
            began: Instant::now(),
        })
    }

    /// Ends.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn stop(self, postgres: &mut PgConnection) -> anyhow::Result<Usage> {
        let took = self.began.elapsed();
        let cpu = self.processes.cpu();
        let counts = Counts::read(postgres).await?;
        drop(self.stop);
        let memory = self.memory.join().ok().context("the meter panicked")?;
        let commits_by_database: BTreeMap<String, i64> = counts
            .commits
            .iter()
            .map(|(name, commits)| {
                let before = self.counts.commits.get(name).copied().unwrap_or_default();
                (name.clone(), commits - before)
            })
            .collect();
        let (statements, ranked) = match is_ranking(postgres).await? {
            true => rank(postgres)
                .await
                .map(|(all, ranked)| (Some(all), ranked))?,
            false => (None, Vec::new()),
        };
        Ok(Usage {
            took,
            commits: commits_by_database.values().sum(),
            commits_by_database,
            rollbacks: counts.rollbacks - self.counts.rollbacks,
            wal_bytes: counts.wal_bytes - self.counts.wal_bytes,
            wal_full_pages: counts.wal_full_pages - self.counts.wal_full_pages,
            wal_syncs: counts.wal_syncs - self.counts.wal_syncs,
            statements,
            ranked,
            cpu: cpu.since(&self.cpu),
            memory,
        })
    }
}

impl Counts {
    #[expect(
        clippy::disallowed_methods,
        reason = "statistics of the server: they are in no schema of ours"
    )]
    async fn read(postgres: &mut PgConnection) -> anyhow::Result<Self> {
        let mut counts = Self::default();
        let rows = sqlx::query(
            "SELECT datname::text, xact_commit, xact_rollback FROM pg_stat_database
              WHERE datname LIKE 'palinode\\_%'",
        )
        .fetch_all(&mut *postgres)
        .await?;
        for row in rows {
            counts.commits.insert(row.try_get(0)?, row.try_get(1)?);
            counts.rollbacks += row.try_get::<i64, _>(2)?;
        }
        let wal = sqlx::query(
            "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint, wal_fpi FROM pg_stat_wal",
        )
        .fetch_one(&mut *postgres)
        .await?;
        counts.wal_bytes = wal.try_get(0)?;
        counts.wal_full_pages = wal.try_get(1)?;
        counts.wal_syncs = syncs(postgres).await?;
        Ok(counts)
    }
}

#[expect(clippy::disallowed_methods, reason = "as above")]
async fn is_ranking(postgres: &mut PgConnection) -> anyhow::Result<bool> {
    let row = sqlx::query("SELECT to_regclass('pg_stat_statements') IS NOT NULL")
        .fetch_one(postgres)
        .await?;
    Ok(row.try_get(0)?)
}

/// How many statements there were in databases of ours, and those that took longest.
#[expect(clippy::disallowed_methods, reason = "as above")]
async fn rank(postgres: &mut PgConnection) -> anyhow::Result<(i64, Vec<Ranked>)> {
    let rows = sqlx::query(
        "SELECT d.datname::text, s.calls, s.rows, s.total_exec_time + s.total_plan_time,
                left(regexp_replace(regexp_replace(s.query, '--[^\n]*', '', 'g'), '\\s+', ' ', 'g'), 100),
                (sum(s.calls) OVER ())::bigint
           FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
          WHERE d.datname LIKE 'palinode\\_%'
          ORDER BY s.total_exec_time DESC LIMIT $1",
    )
    .bind(RANKED_MAX)
    .fetch_all(postgres)
    .await?;
    let mut all = 0;
    let mut ranked = Vec::new();
    for row in rows {
        all = row.try_get(5)?;
        ranked.push(Ranked {
            database: row.try_get(0)?,
            calls: row.try_get(1)?,
            rows: row.try_get(2)?,
            total_ms: row.try_get(3)?,
            text: row.try_get(4)?,
        });
    }
    Ok((all, ranked))
}

/// From version 18 on, the count has moved.
#[expect(clippy::disallowed_methods, reason = "as above")]
async fn syncs(postgres: &mut PgConnection) -> anyhow::Result<i64> {
    let row = sqlx::query("SELECT current_setting('server_version_num')::int")
        .fetch_one(&mut *postgres)
        .await?;
    let sql = if row.try_get::<i32, _>(0)? < 180_000 {
        "SELECT wal_sync FROM pg_stat_wal"
    } else {
        "SELECT coalesce(sum(fsyncs), 0)::bigint FROM pg_stat_io WHERE object = 'wal'"
    };
    Ok(sqlx::query(sql)
        .fetch_one(&mut *postgres)
        .await?
        .try_get(0)?)
}

impl Cpu {
    fn since(mut self, before: &Self) -> Self {
        self.palinode -= before.palinode;
        self.postgres -= before.postgres;
        self.kafka -= before.kafka;
        self.machine.0 -= before.machine.0;
        self.machine.1 -= before.machine.1;
        let maps = [
            (&mut self.by_thread, &before.by_thread),
            (&mut self.by_database, &before.by_database),
        ];
        for (after, before) in maps {
            for (name, seconds) in after.iter_mut() {
                *seconds -= before.get(name).copied().unwrap_or_default();
            }
            after.retain(|_, seconds| *seconds > 0.0);
        }
        self
    }
}

impl Usage {
    /// CPU seconds of the machine that were used by none of the three.
    #[must_use]
    pub fn elsewhere_s(&self) -> f64 {
        let Cpu {
            palinode,
            postgres,
            kafka,
            ..
        } = self.cpu;
        (self.cpu.machine.0 - palinode - postgres - kafka).max(0.0)
    }

    /// CPU seconds of this process, PostgreSQL and Kafka.
    #[must_use]
    pub fn cpu_s(&self) -> [f64; 3] {
        [self.cpu.palinode, self.cpu.postgres, self.cpu.kafka]
    }

    /// CPU seconds of the threads of that name in this process.
    #[must_use]
    pub fn thread_s(&self, name: &str) -> f64 {
        self.cpu.by_thread.get(name).copied().unwrap_or_default()
    }

    /// Puts all of it in, for each of `count` things such as `saga`.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub fn put(&self, figures: &mut Figures, count: u64, thing: &str) {
        let count = count.max(1) as f64;
        let per = |all: i64| all as f64 / count;
        let micros = |seconds: f64| seconds * 1e6 / count;
        figures.put(&format!("commits_per_{thing}"), per(self.commits));
        figures.put(&format!("rollbacks_per_{thing}"), per(self.rollbacks));
        let statements = self.statements.map_or(Json::Null, |all| per(all).into());
        figures.put(&format!("statements_per_{thing}"), statements);
        figures.put(&format!("wal_bytes_per_{thing}"), per(self.wal_bytes));
        figures.put(
            &format!("wal_full_pages_per_{thing}"),
            per(self.wal_full_pages),
        );
        figures.put(&format!("wal_syncs_per_{thing}"), per(self.wal_syncs));
        if !self.ranked.is_empty() {
            let rows = self.ranked.iter().map(|ranked| {
                json!({"database": ranked.database.trim_start_matches("palinode_"),
                    "calls": per(ranked.calls), "rows": per(ranked.rows),
                    "us": micros(ranked.total_ms / 1e3), "text": ranked.text})
            });
            figures.put(&format!("statements_of_a_{thing}"), Json::from_iter(rows));
        }
        let commits: BTreeMap<&str, f64> = self
            .commits_by_database
            .iter()
            .map(|(name, commits)| (name.trim_start_matches("palinode_"), per(*commits)))
            .filter(|(_, commits)| *commits > 0.0)
            .collect();
        figures.put(&format!("commits_per_{thing}_by_database"), json!(commits));
        let [palinode, postgres, kafka] = self.cpu_s();
        let elsewhere = self.elsewhere_s();
        let cpu = json!({"palinode": micros(palinode), "postgres": micros(postgres),
            "kafka": micros(kafka), "elsewhere": micros(elsewhere)});
        figures.put(&format!("cpu_us_per_{thing}"), cpu);
        let shares = |map: &BTreeMap<String, f64>| {
            let all: BTreeMap<&str, f64> = map
                .iter()
                .map(|(name, seconds)| (name.trim_start_matches("palinode_"), micros(*seconds)))
                .collect();
            json!(all)
        };
        figures.put(
            &format!("cpu_us_per_{thing}_by_thread"),
            shares(&self.cpu.by_thread),
        );
        figures.put(
            &format!("cpu_us_per_{thing}_by_database"),
            shares(&self.cpu.by_database),
        );
        let cpu = json!({"palinode": palinode, "postgres": postgres, "kafka": kafka,
            "elsewhere": elsewhere});
        figures.put("cpu_s", cpu);
        let (busy, all) = self.cpu.machine;
        figures.put("machine_busy", if all > 0.0 { busy / all } else { 0.0 });
        figures.put("memory_mib", self.memory());
    }

    /// Resident memory in MiB of each process: at the start, at the end, and at most.
    #[must_use]
    pub fn memory(&self) -> Json {
        let of = |one: fn(&Memory) -> f64| {
            let all = || self.memory.iter().map(one);
            json!({"first": all().next(), "last": all().next_back(), "max": all().fold(0.0, f64::max)})
        };
        json!({"palinode": of(|m| m.palinode), "postgres": of(|m| m.postgres),
            "kafka": of(|m| m.kafka)})
    }
}
