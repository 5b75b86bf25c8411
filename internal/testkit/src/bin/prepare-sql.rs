//! Checks every SQL statement against a real schema and writes what the offline build needs.
//!
//! Usage: `prepare-sql [--check] [crate …]`. Without a crate: all that hold SQL.
//!
//! A throw-away PostgreSQL is started, the area of each crate is migrated into a database of its
//! own, and `cargo check` runs on the crate with that database. The query data that sqlx's macros
//! write replaces the crate's `.sqlx` folder, or is compared with it (`--check`).
//!
//! Only the named crate is compiled against the database, its dependencies are built offline as
//! always: this program is also the rustc wrapper of the `cargo check` it starts, and hands the
//! database on for that one crate. So no folder gets the statements of another crate.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use std::time::SystemTime;
use std::{env, iter};

use anyhow::{Context, bail, ensure};
use palinode_db::Area;
use palinode_testkit::Progress;
use palinode_testkit::database;
use palinode_testkit::postgres::{Cluster, Options, Source};

/// The platform's tables are in each area's database; one with few others will do.
const PLATFORM: [&str; 3] = ["palinode-outbox", "palinode-relay", "palinode-participant"];

/// The crates that hold SQL, in the order in which they depend on each other, and the area whose
/// database has their tables: the service of its name.
fn crates() -> Vec<(String, Area)> {
    let platform = PLATFORM.map(|name| (name.to_owned(), Area::Order));
    let owner = |area: Area| match area {
        Area::Saga => ("palinode-orchestrator".to_owned(), area),
        _ => (format!("palinode-{}", area.name()), area),
    };
    platform.into_iter().chain(Area::ALL.map(owner)).collect()
}

/// Set for the rustc wrapper: the crate that is prepared.
const TARGET: &str = "PALINODE_PREPARE_CRATE";

fn main() -> ExitCode {
    if let Some(target) = env::var_os(TARGET) {
        return run_rustc(&target);
    }
    match prepare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(io::stderr(), "error: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

/// As the rustc wrapper: runs the rustc that the first argument names, online for the target only.
fn run_rustc(target: &OsString) -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let mut rustc = Command::new(arguments.next().unwrap_or_else(|| "rustc".into()));
    rustc.args(arguments);
    if env::var_os("CARGO_PKG_NAME").as_ref() == Some(target) {
        rustc.env("SQLX_OFFLINE", "false");
    } else {
        rustc
            .env("SQLX_OFFLINE", "true")
            .env_remove("DATABASE_URL")
            .env_remove("SQLX_OFFLINE_DIR");
    }
    match rustc.status().map(|status| status.code()) {
        Ok(Some(code)) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Ok(None) | Err(_) => ExitCode::FAILURE,
    }
}

struct Arguments {
    check: bool,
    crates: Vec<(String, Area)>,
}

impl Arguments {
    fn parse(arguments: impl Iterator<Item = String>) -> anyhow::Result<Arguments> {
        let all = crates();
        let mut check = false;
        let mut named = Vec::new();
        for argument in arguments {
            match argument.as_str() {
                "--check" => check = true,
                name => {
                    let known = all.iter().find(|(crate_name, _)| crate_name == name);
                    named.push(known.cloned().with_context(|| {
                        let names: Vec<&str> = all.iter().map(|(name, _)| &**name).collect();
                        let names = names.join(" ");
                        format!(
                            "unknown argument {name}; usage: prepare-sql [--check] [crate …], \
                                 the crates being {names}"
                        )
                    })?);
                }
            }
        }
        let crates = if named.is_empty() { all } else { named };
        Ok(Arguments { check, crates })
    }
}

fn prepare() -> anyhow::Result<()> {
    let arguments = Arguments::parse(env::args().skip(1))?;
    let folders = crate_folders()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // The server runs as long as `cluster` lives, whether the runtime turns or not.
    let (cluster, databases) = runtime.block_on(start())?;

    let mut failed = Vec::new();
    for (name, area) in arguments.crates {
        let folder = folders
            .get(&name)
            .with_context(|| format!("no crate {name} here"))?;
        let (_, url) = databases
            .iter()
            .find(|(of, _)| *of == area)
            .with_context(|| format!("no database for {}", area.name()))?;
        let outcome = runtime
            .block_on(palinode_db::migrate(url, area))
            .map_err(anyhow::Error::from)
            .and_then(|()| prepare_crate(&name, folder, url, arguments.check));
        let line = match outcome {
            Ok(count) => format!("{name}: statements checked: {count}"),
            Err(error) => {
                let line = format!("{name}: {error:#}");
                failed.push(name);
                line
            }
        };
        writeln!(io::stderr(), "{line}")?;
    }
    runtime.block_on(cluster.stop());
    ensure!(failed.is_empty(), "not prepared: {}", failed.join(", "));
    Ok(())
}

async fn start() -> anyhow::Result<(Cluster, Vec<(Area, String)>)> {
    let options = Options {
        source: Source::from_env(),
        progress: Progress::Stderr,
        ..Options::default()
    };
    let cluster = Cluster::start(options).await?;
    let databases = database::create_databases(&cluster.admin_url(), "").await?;
    Ok((cluster, databases))
}

/// Where each crate of the workspace is.
fn crate_folders() -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut metadata = cargo();
    metadata.args([
        "metadata",
        "--format-version=1",
        "--no-deps",
        "--manifest-path",
    ]);
    metadata.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    let output = metadata.output().context("cargo metadata")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?;
    let folder = |package: &serde_json::Value| {
        let manifest = Path::new(package["manifest_path"].as_str()?);
        Some((
            package["name"].as_str()?.to_owned(),
            manifest.parent()?.to_owned(),
        ))
    };
    Ok(packages.iter().filter_map(folder).collect())
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Checks one crate online and puts its query data in place; returns how many statements it has.
fn prepare_crate(name: &str, folder: &Path, url: &str, check: bool) -> anyhow::Result<usize> {
    // Collected elsewhere first: a crate that does not compile keeps the data it has.
    let fresh = tempfile::tempdir()?;
    touch(&folder.join("src/lib.rs"))?;
    let status = check_online(name, folder, url, fresh.path())?;
    ensure!(
        status.success(),
        "does not compile against the schema of its area"
    );

    let committed = folder.join(".sqlx");
    let (new, old) = (read_queries(fresh.path())?, read_queries(&committed)?);
    if check {
        let differing = differences(&new, &old);
        if !differing.is_empty() {
            bail!(
                "{} differs from the sources; run prepare-sql and commit its work:\n  {}",
                committed.display(),
                differing.join("\n  ")
            );
        }
        return Ok(new.len());
    }
    for file in old.keys().filter(|file| !new.contains_key(*file)) {
        fs::remove_file(committed.join(file))?;
    }
    for (file, text) in new
        .iter()
        .filter(|&(file, text)| old.get(file) != Some(text))
    {
        fs::create_dir_all(&committed)?;
        fs::write(committed.join(file), text)?;
    }
    if new.is_empty() && committed.exists() {
        fs::remove_dir(&committed)?;
    }
    Ok(new.len())
}

fn check_online(name: &str, folder: &Path, url: &str, data: &Path) -> anyhow::Result<ExitStatus> {
    let mut check = cargo();
    check
        .args(["check", "--quiet", "--all-targets", "-p", name])
        .current_dir(folder);
    check
        .env("RUSTC_WRAPPER", env::current_exe()?)
        .env(TARGET, name);
    check
        .env("DATABASE_URL", url)
        .env("SQLX_OFFLINE_DIR", data)
        .env("SQLX_OFFLINE", "false");
    check.status().context("cargo check")
}

/// Makes cargo compile the crate again, and with it its tests: macros do their work only then.
fn touch(root: &Path) -> anyhow::Result<()> {
    let file = File::options()
        .append(true)
        .open(root)
        .with_context(|| root.display().to_string());
    Ok(file?.set_modified(now())?)
}

#[expect(
    clippy::disallowed_methods,
    reason = "what cargo compares is the system's own time"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

/// The query data in a folder by file name; none when there is no such folder.
fn read_queries(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    if !folder.exists() {
        return Ok(BTreeMap::new());
    }
    let mut queries = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("query-") {
            queries.insert(name, fs::read_to_string(entry.path())?);
        }
    }
    Ok(queries)
}

/// One line for each statement that only one side has, or that is described otherwise.
fn differences(new: &BTreeMap<String, String>, old: &BTreeMap<String, String>) -> Vec<String> {
    let missing = new.iter().filter(|(file, _)| !old.contains_key(*file));
    let changed = new
        .iter()
        .filter(|(file, text)| old.get(*file).is_some_and(|was| was != *text));
    let stale = old.iter().filter(|(file, _)| !new.contains_key(*file));
    let line = |what, text: &str| format!("{what}: {}", statement(text));
    iter::empty()
        .chain(missing.map(|(_, text)| line("missing", text)))
        .chain(changed.map(|(_, text)| line("changed", text)))
        .chain(stale.map(|(_, text)| line("stale", text)))
        .collect()
}

/// The start of the statement that a file of query data is about.
fn statement(query_data: &str) -> String {
    let data: serde_json::Value = serde_json::from_str(query_data).unwrap_or_default();
    let words: Vec<&str> = data["query"]
        .as_str()
        .unwrap_or("?")
        .split_whitespace()
        .take(8)
        .collect();
    words.join(" ")
}
