//! Child processes that end with us.
//!
//! A server started for a test or for `palinode dev` must not outlive the process that wanted it,
//! not even when that process is killed. Linux offers the parent-death signal for this, with two
//! traps that this module hides: the signal follows the *thread* that spawned the child, so each
//! child has a thread of its own that waits for it; and a pid may be used again once its child
//! was reaped, so signals are sent under the lock that reaping takes.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

/// A running or ended child process.
#[derive(Debug, Clone)]
pub struct Child {
    pid: Pid,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    ended: Mutex<Option<ExitStatus>>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<ExitStatus>> {
        // The value is a plain option: a panic elsewhere cannot leave it half written.
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Child {
    /// Starts `command` in a process group of its own, so that Ctrl-C reaches us alone and the
    /// child is stopped in its turn. It gets `on_parent_death` if this process dies (Linux).
    ///
    /// # Errors
    /// What `Command::spawn` says: no such program, no permission, no thread.
    pub fn spawn(name: &str, mut command: Command, on_parent_death: Signal) -> io::Result<Child> {
        let shared = Arc::new(Shared::default());
        let (started, start) = mpsc::channel();
        let keeper = Arc::clone(&shared);
        thread::Builder::new()
            .name(format!("{name}-keeper"))
            .spawn(move || {
                isolate(&mut command, on_parent_death);
                let mut child = match command.spawn() {
                    Ok(child) => child,
                    Err(error) => {
                        started
                            .send(Err(error))
                            .expect("spawn waits for the answer");
                        return;
                    }
                };
                let pid = Pid::from_child(&child);
                started.send(Ok(pid)).expect("spawn waits for the answer");
                // Waits without reaping: the pid stays ours until the lock is held.
                let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
                while let Err(rustix::io::Errno::INTR) =
                    rustix::process::waitid(WaitId::Pid(pid), ended)
                {}
                let mut state = keeper.lock();
                *state = Some(child.wait().unwrap_or_default());
                keeper.changed.notify_all();
            })?;
        let pid = start.recv().expect("the keeper answers before it ends")?;
        Ok(Child { pid, shared })
    }

    /// The process id. It may belong to somebody else once the child has ended.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// How the child ended; `None` while it runs.
    pub fn ended(&self) -> Option<ExitStatus> {
        *self.shared.lock()
    }

    /// Sends `signal`; nothing happens when the child has ended.
    pub fn signal(&self, signal: Signal) {
        let state = self.shared.lock();
        if state.is_none() {
            // The only failure left is a child that is a zombie by now: then it has ended too.
            rustix::process::kill_process(self.pid, signal).ok();
        }
    }

    /// Blocks until the child has ended, at most for `limit`; `None` when it still runs.
    pub fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + limit;
        let mut state = self.shared.lock();
        while state.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let (next, _) = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
        }
        *state
    }

    /// Stops the child: sends each signal in turn and gives it its limit, then kills. Blocks.
    pub fn stop(&self, ladder: &[(Signal, Duration)]) {
        for &(signal, limit) in ladder {
            self.signal(signal);
            if self.wait(limit).is_some() {
                return;
            }
        }
        self.signal(Signal::KILL);
        // Nothing survives this signal but a process stuck in the kernel; do not hang with it.
        self.wait(Duration::from_secs(5));
    }
}

#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "the parent-death signal can only be set between fork and exec"
)]
fn isolate(command: &mut Command, on_parent_death: Signal) {
    use std::os::unix::process::CommandExt;

    command.process_group(0);
    let parent = rustix::process::getpid();
    let set = move || {
        rustix::process::set_parent_process_death_signal(Some(on_parent_death))?;
        // The parent may have died between fork and the line above.
        if rustix::process::getppid() == Some(parent) {
            Ok(())
        } else {
            Err(io::Error::from(rustix::io::Errno::SRCH))
        }
    };
    // SAFETY: the closure makes two system calls and allocates nothing, as it must after fork.
    // It runs after uid and gid are set, which would clear the signal again.
    unsafe { command.pre_exec(set) };
}

#[cfg(not(target_os = "linux"))]
fn isolate(command: &mut Command, _: Signal) {
    use std::os::unix::process::CommandExt;

    command.process_group(0);
}

/// The last lines of a log, for an error message; empty when it cannot be read.
pub fn tail(log: &Path) -> String {
    const LINES: usize = 12;
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
