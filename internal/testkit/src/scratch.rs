//! Folders of servers: held by one process at a time, and cleared away after one that was killed.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// A folder is younger than this only while its owner is still taking its lock.
const SETTLED: Duration = Duration::from_secs(10);

/// Creates the file `marker` and locks it against other processes, for as long as it is open.
/// `None` when another process has it.
pub(crate) fn lock(marker: &Path) -> io::Result<Option<File>> {
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(marker)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Deletes the folders below `place` whose names begin with `prefix` and whose owner is dead, which
/// the lock on their `marker` tells. `stop` ends what still runs in one; a folder where that fails
/// stays. Best effort.
pub(crate) fn sweep(
    place: &Path,
    prefix: &str,
    marker: &str,
    stop: impl Fn(&Path) -> io::Result<()>,
) {
    let Ok(entries) = fs::read_dir(place) else {
        return;
    };
    for entry in entries.flatten() {
        // Without following links: in a place for temporary files, others write too.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let named = entry.file_name().to_string_lossy().starts_with(prefix);
        let mine = metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw();
        let age = metadata
            .modified()
            .ok()
            .and_then(|time| time.elapsed().ok());
        if !(named && mine && age.is_some_and(|age| age > SETTLED)) {
            continue;
        }
        let folder = entry.path();
        if let Ok(Some(_lock)) = lock(&folder.join(marker))
            && stop(&folder).is_ok()
        {
            tracing::debug!(folder = %folder.display(), "removing what a killed process left");
            fs::remove_dir_all(&folder).ok();
        }
    }
}
