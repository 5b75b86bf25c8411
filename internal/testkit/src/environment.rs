//! The few things testkit takes from its surroundings: environment variables and the cache folder.

use std::env;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A variable that is set and not empty.
///
/// Tests have no command line, so testkit reads its settings here and nowhere else.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// True when we run as root, who may not run PostgreSQL.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where downloads are kept between runs: `PALINODE_CACHE_DIR`, else the user's cache folder.
/// Root's is `/var/cache/palinode`, because the user that the server runs as has to read it.
pub(crate) fn cache_dir() -> PathBuf {
    if let Some(path) = variable("PALINODE_CACHE_DIR") {
        return path.into();
    }
    if is_root() {
        return "/var/cache/palinode".into();
    }
    if let Some(path) = variable("XDG_CACHE_HOME") {
        return PathBuf::from(path).join("palinode");
    }
    let home = PathBuf::from(variable("HOME").unwrap_or_else(|| "/tmp".into()));
    let cache = if cfg!(target_os = "macos") {
        "Library/Caches"
    } else {
        ".cache"
    };
    home.join(cache).join("palinode")
}

/// Creates a folder, and its parents, that other users may search.
pub(crate) fn create_open_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_open_dir(parent)?;
    }
    match fs::create_dir(path) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        // Whatever the umask says: the server's user has to get in.
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(0o755)),
    }
}
