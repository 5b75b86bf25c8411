//! Why a broker could not be had. Each message names the way out.

use std::io;
use std::path::PathBuf;

use super::{JAVA_MIN, VERSION};

/// Why a broker could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no `java`.
    #[error(
        "Kafka {VERSION} needs Java {JAVA_MIN} and there is none; install it (Debian, Ubuntu: \
         apt-get install openjdk-17-jre-headless; macOS: brew install openjdk@17), or set JAVA_HOME"
    )]
    NoJava,
    /// The `java` found is too old.
    #[error(
        "Kafka {VERSION} needs Java {JAVA_MIN} or newer, and {} is Java {found}; install a newer \
         one, or set JAVA_HOME",
        program.display()
    )]
    OldJava {
        /// The program.
        program: PathBuf,
        /// Its major version.
        found: u32,
    },
    /// The broker's jars are not here yet, and there is no `mvn` to fetch them.
    #[error(
        "the jars of Kafka {VERSION} are fetched by Maven and there is none; install it (Debian, \
         Ubuntu: apt-get install maven; macOS: brew install maven)"
    )]
    NoMaven,
    /// Maven could not fetch the jars.
    #[error(
        "the jars of Kafka {VERSION} could not be fetched from Maven Central; \
         check the network and try again. Maven said:\n{0}"
    )]
    Fetch(String),
    /// The cache folder cannot hold the jars.
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
    /// The data folder cannot be created, read or written.
    #[error(
        "the data folder {} cannot be used; give yourself the right to write there, \
         or choose another folder",
        path.display()
    )]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has this data folder open.
    #[error(
        "the data folder {} is in use by another Palinode; stop that one, or choose \
         another folder",
        .0.display()
    )]
    InUse(PathBuf),
    /// The wanted port is taken.
    #[error("port {0} on 127.0.0.1 is taken; stop what listens there, or choose another port")]
    PortTaken(u16),
    /// The broker ended, or never answered.
    #[error("Kafka did not start: {what}; the end of {}:\n{tail}", log.display())]
    Start {
        /// What happened.
        what: String,
        /// The broker's log.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
}
