//! Why a cluster could not be had. Each message names the way out.

use std::io;
use std::path::PathBuf;

use super::{MAJOR_MIN, PINNED};

/// Why a cluster could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `PALINODE_PG_BIN` names a folder without the binaries.
    #[error(
        "no working `postgres` and `initdb` in {}; \
         point PALINODE_PG_BIN at the folder that holds both, or unset it",
        .0.display()
    )]
    NoBinaries(PathBuf),
    /// The chosen binaries are older than what Palinode's SQL needs.
    #[error(
        "{version} in {} is too old: Palinode needs PostgreSQL {MAJOR_MIN} or newer; \
         install one, or set PALINODE_PG_BIN=fetch to use a downloaded PostgreSQL {PINNED}",
        path.display()
    )]
    TooOld {
        /// The folder of the binaries.
        path: PathBuf,
        /// What they say they are.
        version: String,
    },
    /// No usable binaries on this machine, and the pinned build could not be downloaded.
    #[error(
        "PostgreSQL {PINNED} could not be downloaded from Maven Central ({reason}); install \
         PostgreSQL {MAJOR_MIN} or newer (Debian, Ubuntu: apt-get install postgresql; Fedora: dnf \
         install postgresql-server; macOS: brew install postgresql@18), or point PALINODE_PG_BIN \
         at the folder of its binaries"
    )]
    Fetch {
        /// What the download said.
        reason: String,
    },
    /// The cache folder cannot hold the download.
    #[error(
        "the cache folder {} cannot be used; make it writable, or name another one \
         in PALINODE_CACHE_DIR",
        path.display()
    )]
    Cache {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Root may not run PostgreSQL, and there is no other user to run it as.
    #[error(
        "PostgreSQL refuses to run as root and /etc/passwd has neither `postgres` nor `nobody`; \
         run this as an ordinary user"
    )]
    NoUnprivilegedUser,
    /// The user the server runs as cannot get into a folder it needs.
    #[error(
        "the server runs as `{user}`, who may not enter {}; choose a folder that others may \
         search (not below /root)",
        path.display()
    )]
    NotSearchable {
        /// The folder that is closed.
        path: PathBuf,
        /// The user that is shut out.
        user: String,
    },
    /// The data folder cannot be created, read or written.
    #[error(
        "the data folder {} cannot be used; give yourself the right to write there, \
         or choose another folder",
        path.display()
    )]
    DataDir {
        /// The folder or the file in it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The data folder holds files that are not ours.
    #[error(
        "{} is not empty and is no data folder of Palinode's; choose an empty or a new folder",
        .0.display()
    )]
    NotOurs(PathBuf),
    /// The data folder is ours, but what is in it is damaged.
    #[error(
        "the data folder {} is damaged: {what}; move it away and start with a new one",
        path.display()
    )]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// What is missing or wrong.
        what: String,
    },
    /// Another process has this data folder open.
    #[error(
        "the data folder {} is in use by another Palinode; stop that one, or choose \
         another folder",
        .0.display()
    )]
    InUse(PathBuf),
    /// The data folder was written by another major version, which is never upgraded silently.
    #[error(
        "the data folder {} was written by PostgreSQL {found}, and the binaries are {wanted}; \
         set PALINODE_PG_BIN to PostgreSQL {found}, or choose a new folder",
        path.display()
    )]
    WrongMajor {
        /// The folder.
        path: PathBuf,
        /// The major version in it.
        found: u32,
        /// The major version of the binaries.
        wanted: u32,
    },
    /// The wanted port is taken.
    #[error("port {0} on 127.0.0.1 is taken; stop what listens there, or choose another port")]
    PortTaken(u16),
    /// A program could not be run at all.
    #[error("{} cannot be run", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `initdb` failed.
    #[error("initdb failed; it said:\n{0}")]
    Initdb(String),
    /// The server ended, or never answered.
    #[error("PostgreSQL did not start: {what}; the end of {}:\n{tail}", log.display())]
    Start {
        /// What happened.
        what: String,
        /// The server's log.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
}
