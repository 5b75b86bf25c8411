//! A PostgreSQL of our own: found on the machine or fetched, started, and stopped with us.
//!
//! The same server as in production, with the same durable settings; only its place differs. It
//! listens on 127.0.0.1 alone, on a free port, and at a socket in its folder, behind a random
//! password.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rand::Rng;
use rand::distr::Alphanumeric;
use rustix::process::Signal;
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use crate::Progress;
use crate::process::Child;

mod binaries;
mod error;
mod folder;

pub use binaries::Source;
pub use error::Error;

use binaries::Binaries;
use folder::{Folder, ServerUser, give};

/// The oldest major version that Palinode's SQL runs on.
const MAJOR_MIN: u32 = 15;

/// The version that is fetched where there is none.
const PINNED: &str = "18.6";

/// A start that takes longer has failed. Generous: after a crash the log is replayed first.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How a server is stopped: fast (sessions are cut, everything is written), then immediately.
const STOP: [(Signal, Duration); 2] = [
    (Signal::INT, Duration::from_secs(10)),
    (Signal::QUIT, Duration::from_secs(5)),
];

/// What to start, and where.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where the binaries come from.
    pub source: Source,
    /// A folder that keeps the data from one start to the next; `None`: a temporary one, deleted
    /// at the end.
    pub data_dir: Option<PathBuf>,
    /// The port on 127.0.0.1; `None`: any free one.
    pub port: Option<u16>,
    /// Who hears that something is downloaded.
    pub progress: Progress,
    /// Settings besides those that every server of ours has, as `name=value`.
    pub settings: Vec<String>,
}

/// A running PostgreSQL. It stops when it is dropped, and when this process dies.
#[derive(Debug)]
pub struct Cluster {
    // Fields drop in this order: the server ends before its folder goes.
    server: Server,
    folder: Folder,
    port: u16,
    password: String,
    /// Where clients are to look for the socket; `None`: they go through TCP.
    socket_folder: Option<String>,
    version: String,
}

impl Cluster {
    /// Starts a cluster and waits until it answers: about a second for a new one, half of that
    /// for one that has its data; longer when the binaries have to be fetched first.
    ///
    /// # Errors
    /// See [`Error`]; each says what to do about it.
    pub async fn start(options: Options) -> Result<Cluster, Error> {
        let binaries = Binaries::get(&options.source, options.progress).await?;
        let user = ServerUser::find()?;
        if let Some(user) = &user {
            user.check_can_enter(&binaries.path)?;
        }
        let launch = Launch {
            binaries,
            user,
            port: options.port,
            settings: options.settings,
        };
        let data_dir = options.data_dir;
        let (launch, folder, password) = tokio::task::spawn_blocking(move || {
            let folder = Folder::open(data_dir.as_deref(), launch.user.as_ref())?;
            let password = launch.initialise(&folder)?;
            Ok::<_, Error>((launch, folder, password))
        })
        .await
        .expect("preparing a folder does not panic")?;

        let (server, port) = launch.start(&folder, &password).await?;
        tracing::debug!(port, folder = %folder.path().display(), "PostgreSQL is ready");
        Ok(Cluster {
            server,
            socket_folder: socket_folder(&folder),
            folder,
            port,
            password,
            version: launch.binaries.version,
        })
    }

    /// The address of a database of this cluster, with its password: a secret. Its parameter `host`
    /// names the folder of the socket, which is faster than TCP.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let Self { password, port, .. } = self;
        let socket = self.socket_folder.as_ref();
        let at = socket.map_or_else(String::new, |folder| format!("?host={folder}"));
        format!("postgres://postgres:{password}@127.0.0.1:{port}/{database}{at}")
    }

    /// The address of the database `postgres`, from which others are created.
    #[must_use]
    pub fn admin_url(&self) -> String {
        self.url("postgres")
    }

    /// The process id of the server.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.server.0.pid()
    }

    /// Whether the server has ended by itself.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.server.0.ended().is_some()
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the binaries say they are, for instance `postgres (PostgreSQL) 18.6`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The folder that holds data, password and log.
    #[must_use]
    pub fn data_dir(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Stops the server: sessions are cut, everything is written. Data that is kept stays.
    pub async fn stop(self) {
        // Dropping blocks for the fraction of a second that this takes.
        tokio::task::spawn_blocking(move || drop(self))
            .await
            .expect("stopping a process does not panic");
    }
}

#[derive(Debug)]
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.stop(&STOP);
    }
}

/// How programs are run: which, and as whom.
struct Launch {
    binaries: Binaries,
    user: Option<ServerUser>,
    port: Option<u16>,
    settings: Vec<String>,
}

impl Launch {
    fn command(&self, program: &str, folder: &Folder) -> Command {
        let mut command = Command::new(self.binaries.program(program));
        // Not the caller's surroundings: neither its settings (PGDATA, PGPORT …) nor its language,
        // which messages are read in, nor its folder, which the server's user may not enter.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command
            .env("LC_ALL", "C")
            .current_dir(folder.path())
            .stdin(Stdio::null());
        if let Some(user) = &self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    /// Makes the data folder where there is none, and returns the password in any case. Blocks.
    fn initialise(&self, folder: &Folder) -> Result<String, Error> {
        if !folder.is_new(&self.binaries)? {
            return folder.read_password();
        }
        let password: String = rand::rng()
            .sample_iter(Alphanumeric)
            .take(32)
            .map(char::from)
            .collect();
        // Made under another name and renamed: what is called `pgdata` is complete.
        let partial = folder.path().join("pgdata.partial");
        let prepare = || {
            if partial.exists() {
                fs::remove_dir_all(&partial)?;
            }
            fs::create_dir(&partial)?;
            let user = self.user.as_ref();
            user.map_or(Ok(()), |user| give(&partial, user))?;
            folder.write_password(&password, user)
        };
        prepare().map_err(|error| folder.unusable(error))?;

        let mut initdb = self.command("initdb", folder);
        initdb.args([
            "--username=postgres",
            "--auth=scram-sha-256",
            "--no-instructions",
        ]);
        // One order of text on every machine, whatever its languages.
        initdb.args(["--encoding=UTF8", "--locale=C"]);
        initdb
            .arg("--pwfile")
            .arg(folder.password_file())
            .arg("--pgdata")
            .arg(&partial);
        if folder.is_temporary() {
            // Only of the files that initdb makes: the server itself is always durable.
            initdb.arg("--no-sync");
        }
        let output = initdb
            .output()
            .map_err(|source| self.spawn_error("initdb", source))?;
        if !output.status.success() {
            return Err(Error::Initdb(
                String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            ));
        }
        fs::rename(&partial, folder.pgdata()).map_err(|error| folder.unusable(error))?;
        Ok(password)
    }

    fn spawn_error(&self, program: &str, source: io::Error) -> Error {
        Error::Spawn {
            program: self.binaries.program(program),
            source,
        }
    }

    /// Starts the server and waits until it answers. A port that somebody else takes between our
    /// look and the server's start is replaced, unless it was asked for.
    async fn start(&self, folder: &Folder, password: &str) -> Result<(Server, u16), Error> {
        let mut tries_left = 3;
        loop {
            let port = free_port(self.port)?;
            let server = self.spawn(folder, port)?;
            match ready(&server, folder, port, password).await {
                Ok(()) => return Ok((server, port)),
                Err(Error::Start { tail, .. }) if tail.contains("Address already in use") => {
                    tries_left -= 1;
                    if self.port.is_some() || tries_left == 0 {
                        return Err(Error::PortTaken(port));
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn spawn(&self, folder: &Folder, port: u16) -> Result<Server, Error> {
        let log = || {
            let file = File::create(folder.log())?;
            Ok((file.try_clone()?, file))
        };
        let cleared = folder.delete_sockets().and_then(|()| log());
        let (stdout, stderr) = cleared.map_err(|error| folder.unusable(error))?;
        let mut command = self.command("postgres", folder);
        command
            .arg("-D")
            .arg(folder.pgdata())
            .stdout(stdout)
            .stderr(stderr);
        command.args(["-c", &format!("port={port}")]);
        let socket = socket_folder(folder).unwrap_or_default();
        command.args(["-c", &format!("unix_socket_directories={socket}")]);
        for setting in SETTINGS
            .into_iter()
            .chain(self.settings.iter().map(String::as_str))
        {
            command.args(["-c", setting]);
        }
        let child = Child::spawn("postgres", command, Signal::INT);
        child
            .map(Server)
            .map_err(|source| self.spawn_error("postgres", source))
    }
}

/// The server's settings. An outbox writes and deletes all the time: a log that is checkpointed
/// seldom and compressed keeps that cheap, and a vacuum that looks often keeps its tables small.
const SETTINGS: [&str; 14] = [
    "listen_addresses=127.0.0.1",
    "cluster_name=palinode",
    "max_connections=200",
    "shared_buffers=128MB",
    "max_wal_size=4GB",
    "checkpoint_timeout=15min",
    "wal_compression=on",
    "autovacuum_naptime=10s",
    "random_page_cost=1.1",
    "TimeZone=UTC",
    "log_timezone=UTC",
    // Durable, always: what is tested here is what production relies on.
    "fsync=on",
    "full_page_writes=on",
    "synchronous_commit=on",
];

/// Where the server's socket lies: with its data, where only its user may go. `None`: the path is
/// longer than a socket's may be, or cannot stand in a URL and in a setting as it is.
fn socket_folder(folder: &Folder) -> Option<String> {
    const BYTES_MAX: usize = 107 - "/.s.PGSQL.65535".len(); // of `sun_path`, its end aside
    let path = folder.pgdata();
    let path = path.to_str()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    (path.len() <= BYTES_MAX && path.bytes().all(is_plain)).then(|| path.to_owned())
}

fn free_port(wanted: Option<u16>) -> Result<u16, Error> {
    let taken = |_| Error::PortTaken(wanted.unwrap_or_default());
    let listener = TcpListener::bind(("127.0.0.1", wanted.unwrap_or(0))).map_err(taken)?;
    Ok(listener.local_addr().map_err(taken)?.port())
}

/// Waits until a connection answers.
async fn ready(server: &Server, folder: &Folder, port: u16, password: &str) -> Result<(), Error> {
    let failed = |what: String| Error::Start {
        what,
        log: folder.log(),
        tail: folder.log_tail(),
    };
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username("postgres")
        .password(password)
        .database("postgres");
    let until = Instant::now() + START_LIMIT;
    loop {
        match PgConnection::connect_with(&options).await {
            Ok(connection) => {
                connection.close().await.ok();
                return Ok(());
            }
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("28P01") => {
                return Err(folder.damaged("the server does not accept the password in it"));
            }
            // Not listening yet, or still replaying its log.
            Err(_) => {}
        }
        if let Some(status) = server.0.ended() {
            return Err(failed(format!("it ended with {status}")));
        }
        if Instant::now() > until {
            return Err(failed(format!(
                "no answer within {} s",
                START_LIMIT.as_secs()
            )));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
