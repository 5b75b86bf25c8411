use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::Duration;

use palinode_testkit::eventually;
use palinode_testkit::process::Child;
use rustix::process::Signal;
use tempfile::TempDir;

/// The executable under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_palinode");

/// Within this, a start or an end that is on its way is over, also on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// These say where PostgreSQL comes from. Whatever else is set for the tests is not for the tool.
const KEPT: [&str; 2] = ["PALINODE_PG_BIN", "PALINODE_CACHE_DIR"];

/// The tool, running. It is stopped when this is dropped, and ends with the tests in any case.
pub(crate) struct Tool {
    child: Child,
    output: TempDir,
    line: String,
}

/// How the tool ended, and what it said.
pub(crate) struct Ended {
    line: String,
    code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Tool {
    pub(crate) fn start<A: AsRef<OsStr>>(arguments: &[A]) -> Self {
        Self::start_with(arguments, &[])
    }

    pub(crate) fn start_with<A: AsRef<OsStr>>(arguments: &[A], variables: &[(&str, &str)]) -> Self {
        let output = tempfile::tempdir().unwrap();
        let file = |name| File::create(output.path().join(name)).unwrap();
        let mut command = Command::new(PROGRAM);
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("PALINODE_") && !KEPT.contains(&&*text) {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            // they call as fast as they can
            .env("PALINODE_RATE_LIMIT", "0")
            .envs(variables.iter().copied())
            .current_dir(output.path())
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"));
        let line = format!("{command:?}");
        let child = Child::spawn("palinode", command, Signal::TERM).unwrap();
        Self {
            child,
            output,
            line,
        }
    }

    fn said(&self, name: &str) -> String {
        fs::read_to_string(self.output.path().join(name)).unwrap()
    }

    /// Waits for the ready line, and returns the URL in it.
    pub(crate) async fn ready(&self) -> String {
        eventually(SOON, "the tool is ready", async || {
            if self.child.ended().is_some() {
                panic!("{}", self.now());
            }
            let said = self.said("stdout");
            // a line that is still being written has no end
            let line = said.split_inclusive('\n').find_map(|line| {
                let url = line.strip_prefix("ready ")?;
                url.strip_suffix('\n')
            });
            line.map(str::to_owned)
        })
        .await
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.child.signal(signal);
    }

    /// Waits until the tool has ended by itself.
    pub(crate) async fn ended(&self, limit: Duration) -> Ended {
        let child = self.child.clone();
        let ended = tokio::task::spawn_blocking(move || child.wait(limit));
        let status = ended.await.unwrap();
        assert!(
            status.is_some(),
            "still there after {limit:?}: {}",
            self.now()
        );
        self.now()
    }

    fn now(&self) -> Ended {
        Ended {
            line: self.line.clone(),
            code: self.child.ended().and_then(|status| status.code()),
            stdout: self.said("stdout"),
            stderr: self.said("stderr"),
        }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        self.child.stop(&[(Signal::TERM, Duration::from_secs(20))]);
    }
}

impl Ended {
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// It says so on standard error.
    pub(crate) fn complains(&self, words: &[&str]) {
        for words in words {
            assert!(self.stderr.contains(words), "no {words:?} in {self}");
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            code,
            stdout,
            stderr,
        } = self;
        write!(f, "{line}\nends with {code:?} and says\n{stdout}\n{stderr}")
    }
}

/// Runs the tool to its end.
pub(crate) async fn run<A: AsRef<OsStr>>(arguments: &[A]) -> Ended {
    Tool::start(arguments).ended(SOON).await
}
