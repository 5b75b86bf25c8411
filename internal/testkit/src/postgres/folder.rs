//! The folder a cluster lives in: whose it is, who holds it, and what a killed owner left in it.
//!
//! ```text
//! <folder>/
//!   palinode-postgres   marks the folder as ours; its lock is held as long as the cluster lives
//!   password            of the role `postgres`, 0600
//!   pgdata/             what initdb made
//!   postgres.log        what the server printed since its last start
//! ```

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use super::{Binaries, Error};
use crate::{environment, scratch};

const MARKER: &str = "palinode-postgres";
const TEMP_PREFIX: &str = "palinode-postgres-";

/// The unprivileged user that the server runs as when we are root.
#[derive(Debug, Clone)]
pub(super) struct ServerUser {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl ServerUser {
    /// `None` when we are not root: then the server runs as we do.
    pub(super) fn find() -> Result<Option<ServerUser>, Error> {
        if !environment::is_root() {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| ServerUser::in_passwd(&passwd, name))
            .map(Some)
            .ok_or(Error::NoUnprivilegedUser)
    }

    fn in_passwd(passwd: &str, name: &str) -> Option<ServerUser> {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next() != Some(name) {
                return None;
            }
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(ServerUser {
                name: name.to_owned(),
                uid,
                gid,
            })
        })
    }

    /// Refuses a path with a folder on the way that this user may not enter. Access lists are not
    /// looked at: where they forbid more, the server's own message tells.
    pub(super) fn check_can_enter(&self, path: &Path) -> Result<(), Error> {
        let mut above: Vec<&Path> = path.ancestors().collect();
        above.reverse();
        for folder in above {
            let Ok(metadata) = fs::metadata(folder) else {
                break;
            };
            let search = match () {
                () if metadata.uid() == self.uid => 0o100,
                () if metadata.gid() == self.gid => 0o010,
                () => 0o001,
            };
            if metadata.mode() & search == 0 {
                return Err(Error::NotSearchable {
                    path: folder.to_owned(),
                    user: self.name.clone(),
                });
            }
        }
        Ok(())
    }
}

/// A folder that is ours alone until this is dropped. A temporary one is deleted then.
#[derive(Debug)]
pub(super) struct Folder {
    // Fields drop in this order: the lock is given back before a temporary folder goes.
    _lock: File,
    path: PathBuf,
    temp: Option<TempDir>,
}

impl Folder {
    /// Takes the folder `data_dir`, creating it where it is missing, or a temporary one.
    /// Stops a server that a killed owner left running in it. Blocks for up to ten seconds then.
    pub(super) fn open(
        data_dir: Option<&Path>,
        user: Option<&ServerUser>,
    ) -> Result<Folder, Error> {
        match data_dir {
            Some(path) => Folder::kept(path, user),
            None => Folder::temporary(user),
        }
    }

    fn kept(path: &Path, user: Option<&ServerUser>) -> Result<Folder, Error> {
        let unusable = |source| Error::DataDir {
            path: path.to_owned(),
            source,
        };
        fs::create_dir_all(path).map_err(unusable)?;
        let path = fs::canonicalize(path).map_err(unusable)?;
        let ours = path.join(MARKER).exists();
        if !ours && fs::read_dir(&path).map_err(unusable)?.next().is_some() {
            return Err(Error::NotOurs(path));
        }
        let folder = Folder {
            _lock: lock(&path)?,
            path,
            temp: None,
        };
        folder.prepare(user)?;
        Ok(folder)
    }

    fn temporary(user: Option<&ServerUser>) -> Result<Folder, Error> {
        // The first that the server's user may enter; the last one's refusal is the error.
        let places = [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
        let open = |place: &&PathBuf| user.is_none_or(|user| user.check_can_enter(place).is_ok());
        let place = places.iter().find(open).unwrap_or(&places[0]);
        scratch::sweep(place, TEMP_PREFIX, MARKER, |left| {
            stop_orphan(&left.join("pgdata"))
        });
        let unusable = |source| Error::DataDir {
            path: place.clone(),
            source,
        };
        let temp = tempfile::Builder::new()
            .prefix(TEMP_PREFIX)
            .tempdir_in(place);
        let temp = temp.map_err(unusable)?;
        let path = fs::canonicalize(temp.path()).map_err(unusable)?;
        let folder = Folder {
            _lock: lock(&path)?,
            path,
            temp: Some(temp),
        };
        folder.prepare(user)?;
        Ok(folder)
    }

    fn prepare(&self, user: Option<&ServerUser>) -> Result<(), Error> {
        if let Some(user) = user {
            // The folder itself stays root's; what the server writes is below it.
            fs::set_permissions(&self.path, Permissions::from_mode(0o755))
                .map_err(|error| self.unusable(error))?;
            user.check_can_enter(&self.path)?;
        }
        stop_orphan(&self.pgdata()).map_err(|error| self.unusable(error))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_temporary(&self) -> bool {
        self.temp.is_some()
    }

    pub(super) fn pgdata(&self) -> PathBuf {
        self.path.join("pgdata")
    }

    /// Deletes the sockets of servers that were killed: each is named after a port.
    pub(super) fn delete_sockets(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.pgdata())? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(".s.PGSQL.") {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("postgres.log")
    }

    pub(super) fn password_file(&self) -> PathBuf {
        self.path.join("password")
    }

    pub(super) fn unusable(&self, source: io::Error) -> Error {
        Error::DataDir {
            path: self.path.clone(),
            source,
        }
    }

    pub(super) fn damaged(&self, what: impl Into<String>) -> Error {
        Error::Damaged {
            path: self.path.clone(),
            what: what.into(),
        }
    }

    /// True when initdb has yet to run; else the data is of the binaries' major version.
    pub(super) fn is_new(&self, binaries: &Binaries) -> Result<bool, Error> {
        if !self.pgdata().exists() {
            return Ok(true);
        }
        let version = fs::read_to_string(self.pgdata().join("PG_VERSION"))
            .map_err(|error| self.damaged(format!("PG_VERSION cannot be read ({error})")))?;
        let found: u32 = version
            .trim()
            .parse()
            .map_err(|_| self.damaged(format!("PG_VERSION says {version:?}")))?;
        if found != binaries.major {
            let path = self.path.clone();
            return Err(Error::WrongMajor {
                path,
                found,
                wanted: binaries.major,
            });
        }
        Ok(false)
    }

    /// Writes the password, for nobody's eyes but ours and the server's user's.
    pub(super) fn write_password(
        &self,
        password: &str,
        user: Option<&ServerUser>,
    ) -> io::Result<()> {
        let path = self.password_file();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = {
            use std::os::unix::fs::OpenOptionsExt;
            fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?
        };
        io::Write::write_all(&mut &file, password.as_bytes())?;
        user.map_or(Ok(()), |user| give(&path, user))
    }

    pub(super) fn read_password(&self) -> Result<String, Error> {
        fs::read_to_string(self.password_file())
            .map_err(|error| self.damaged(format!("its password file cannot be read ({error})")))
    }

    /// The last lines of the server's log, for an error message.
    pub(super) fn log_tail(&self) -> String {
        crate::process::tail(&self.log())
    }
}

/// Makes `path` the server's user's.
pub(super) fn give(path: &Path, user: &ServerUser) -> io::Result<()> {
    chown(path, Some(user.uid), Some(user.gid))
}

/// Marks the folder as ours and holds it against other processes.
fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join(MARKER);
    match scratch::lock(&path) {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err(Error::InUse(folder.to_owned())),
        Err(source) => Err(Error::DataDir { path, source }),
    }
}

/// Ends the server that still runs in `pgdata` though its owner is gone, and removes its pid file.
/// The caller holds the folder's lock, so no living owner can have started it.
fn stop_orphan(pgdata: &Path) -> io::Result<()> {
    let pid_file = pgdata.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&pid_file) else {
        return Ok(());
    };
    let pid = text
        .lines()
        .next()
        .and_then(|line| line.trim().parse().ok())
        .and_then(Pid::from_raw);
    if let Some(pid) = pid.filter(|&pid| serves(pid, pgdata)) {
        tracing::warn!(
            pid = pid.as_raw_nonzero(),
            "stopping a PostgreSQL without an owner"
        );
        for (signal, limit) in super::STOP {
            // It may end by itself meanwhile, so a failure to signal it is none.
            rustix::process::kill_process(pid, signal).ok();
            let until = Instant::now() + limit;
            while serves(pid, pgdata) && Instant::now() < until {
                thread::sleep(Duration::from_millis(10));
            }
        }
        if serves(pid, pgdata) {
            rustix::process::kill_process(pid, Signal::KILL).ok();
        }
    }
    // What is left was written by a server that is gone, maybe before the machine's last start.
    // PostgreSQL would take a stranger with that pid for the old server, and refuse to start.
    match fs::remove_file(&pid_file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// True when `pid` is a server in this very data folder: a postmaster works inside its folder.
#[cfg(target_os = "linux")]
fn serves(pid: Pid, pgdata: &Path) -> bool {
    fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero()))
        .is_ok_and(|folder| folder == pgdata)
}

/// True when `pid` is a server in this very data folder: it has it among its arguments.
#[cfg(not(target_os = "linux"))]
fn serves(pid: Pid, pgdata: &Path) -> bool {
    let pid = pid.as_raw_nonzero().to_string();
    std::process::Command::new("ps")
        .args(["-o", "command=", "-p", &pid])
        .output()
        .is_ok_and(|ps| String::from_utf8_lossy(&ps.stdout).contains(&pgdata.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_read_from_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65533:nobody:/:/sbin/none\n";
        let nobody = ServerUser::in_passwd(passwd, "nobody").unwrap();
        assert_eq!((nobody.uid, nobody.gid), (65534, 65533));
        assert!(ServerUser::in_passwd(passwd, "postgres").is_none());
        assert!(ServerUser::in_passwd("nobody:x:not-a-number:1", "nobody").is_none());
    }

    #[test]
    fn a_closed_folder_on_the_way_is_named() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let stranger = ServerUser {
            name: "stranger".into(),
            uid: 65_000,
            gid: 65_000,
        };
        fs::set_permissions(outer.path(), Permissions::from_mode(0o700)).unwrap();
        let refused = stranger.check_can_enter(&inner).unwrap_err();
        assert!(matches!(refused, Error::NotSearchable { path, .. } if path == outer.path()));
        fs::set_permissions(outer.path(), Permissions::from_mode(0o711)).unwrap();
        fs::set_permissions(&inner, Permissions::from_mode(0o711)).unwrap();
        stranger.check_can_enter(&inner).unwrap();
    }

    #[test]
    fn strangers_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "…").unwrap();
        let refused = Folder::open(Some(folder.path()), None).unwrap_err();
        assert!(matches!(refused, Error::NotOurs(_)), "{refused}");
    }

    #[test]
    fn a_folder_has_one_owner() {
        let folder = tempfile::tempdir().unwrap();
        let owner = Folder::open(Some(folder.path()), None).unwrap();
        let refused = Folder::open(Some(folder.path()), None).unwrap_err();
        assert!(matches!(refused, Error::InUse(_)), "{refused}");
        drop(owner);
        Folder::open(Some(folder.path()), None).unwrap();
    }

    #[test]
    fn a_stale_pid_file_does_not_hurt_a_stranger_with_that_pid() {
        let folder = tempfile::tempdir().unwrap();
        drop(Folder::open(Some(folder.path()), None).unwrap());
        let pgdata = folder.path().join("pgdata");
        fs::create_dir(&pgdata).unwrap();
        let pid_file = pgdata.join("postmaster.pid");
        let mut stranger = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .unwrap();
        fs::write(
            &pid_file,
            format!("{}\n{}\n", stranger.id(), pgdata.display()),
        )
        .unwrap();

        let taken = Folder::open(Some(folder.path()), None);

        let running = stranger.try_wait().unwrap().is_none();
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        taken.unwrap();
        assert!(running, "the stranger was killed");
        assert!(!pid_file.exists());
    }
}
