//! Telling the person who waits that something takes long.

use std::fmt::Display;
use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Who hears about what takes long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Progress {
    /// The log alone.
    #[default]
    Silent,
    /// Standard error too: one line for each thing, and a moving sign while it lasts when that is
    /// a terminal.
    Stderr,
}

impl Progress {
    /// Says a line.
    pub fn say(self, line: &str) {
        tracing::info!("{line}");
        if self == Progress::Stderr {
            // Standard error may be closed; the work goes on without the line.
            writeln!(io::stderr(), "{line}").ok();
        }
    }

    /// A sign of life until it is cleared.
    pub(crate) fn bar(self, what: &str) -> ProgressBar {
        let Progress::Stderr = self else {
            return ProgressBar::hidden();
        };
        // Hides itself when standard error is no terminal. The library that downloads does not
        // tell how far it is, so this shows life and time, not a share.
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}")
            .expect("the template is valid");
        let bar = ProgressBar::new_spinner()
            .with_style(style)
            .with_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }
}

/// Says that a test did not run, and why, past the test harness, which would keep it to itself.
pub fn skipped(test: &str, reason: impl Display) {
    // On a line of its own, after the harness's dots, so that a script finds it.
    writeln!(io::stderr(), "\nskipped: {test}: {reason}").ok();
}
