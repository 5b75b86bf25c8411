use std::fs;

use anyhow::ensure;
use sqlx::{PgConnection, Row};

use super::report::Figures;

/// Settings of PostgreSQL that figures depend on.
const ASKED: [&str; 10] = [
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "wal_compression",
    "shared_buffers",
    "max_wal_size",
    "checkpoint_timeout",
    "shared_preload_libraries",
];
/// Those without which a commit may be lost.
const DURABLE: [&str; 3] = ["fsync", "synchronous_commit", "full_page_writes"];

/// Where and with what a bench ran.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    cores: usize,
    cpu: String,
    memory_mib: u64,
    kernel: String,
    kafka: String,
    postgres: Vec<(&'static str, String)>,
    pub(super) is_debug_build: bool,
}

impl Machine {
    /// Looks at the machine, and asks PostgreSQL.
    ///
    /// # Errors
    /// PostgreSQL does not answer, or a commit of it may be lost: no figure comes from that.
    #[expect(clippy::disallowed_methods, reason = "asks for settings, not for rows")]
    pub async fn look(postgres: &mut PgConnection, kafka: &str) -> anyhow::Result<Self> {
        let mut settings = Vec::new();
        for name in ASKED {
            let row = sqlx::query("SELECT current_setting($1)")
                .bind(name)
                .fetch_one(&mut *postgres)
                .await?;
            let value: String = row.try_get(0)?;
            ensure!(
                !DURABLE.contains(&name) || value == "on",
                "PostgreSQL has {name}={value}: figures are taken with durable commits only; \
                 set it to on"
            );
            settings.push((name, value));
        }
        let first = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split_once(':'));
            value.map_or_else(
                || "unknown".to_owned(),
                |(_, value)| value.trim().to_owned(),
            )
        };
        let memory = first("/proc/meminfo", "MemTotal");
        let memory_kib: u64 = memory
            .split_once(' ')
            .and_then(|(kib, _)| kib.parse().ok())
            .unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            cpu: first("/proc/cpuinfo", "model name"),
            memory_mib: memory_kib / 1024,
            kernel: kernel.trim().to_owned(),
            kafka: kafka.to_owned(),
            postgres: settings,
            is_debug_build: cfg!(debug_assertions),
        })
    }

    pub(super) fn figures(&self) -> Figures {
        let mut figures = Figures::default();
        figures.put("cores", self.cores);
        figures.put("cpu", self.cpu.as_str());
        figures.put("memory_mib", self.memory_mib);
        figures.put("kernel", self.kernel.as_str());
        figures.put("palinode", env!("CARGO_PKG_VERSION"));
        let build = if self.is_debug_build {
            "debug"
        } else {
            "release"
        };
        figures.put("build", build);
        figures.put("kafka", self.kafka.as_str());
        let postgres: serde_json::Map<_, _> = self
            .postgres
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_str().into()))
            .collect();
        figures.put("postgres", postgres);
        figures
    }
}
