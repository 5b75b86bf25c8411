use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Between two lines where nobody sees a bar.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How far a bench is, on standard error: a bar, or a line every ten seconds.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    what: String,
    total: u64,
    said: Instant,
}

impl Bar {
    /// Shows that `what` begins; it is over at `total`.
    ///
    /// # Panics
    /// Never: its template is valid.
    #[must_use]
    pub fn new(what: &str, total: u64) -> Self {
        let bar = if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {msg}")
                .expect("the template is valid");
            ProgressBar::new(total)
                .with_style(style)
                .with_prefix(what.to_owned())
        } else {
            ProgressBar::hidden()
        };
        Self {
            bar,
            what: what.to_owned(),
            total,
            said: Instant::now(),
        }
    }

    /// Shows how far it is; `words` are asked for only when they are shown.
    pub fn at(&mut self, done: u64, words: impl Fn() -> String) {
        if self.bar.is_hidden() {
            if self.said.elapsed() >= LINE_EVERY {
                self.said = Instant::now();
                let (what, total) = (&self.what, self.total);
                // nothing is left to be done when nobody reads it
                writeln!(std::io::stderr(), "{what} {done}/{total} {}", words()).ok();
            }
        } else {
            self.bar.set_position(done);
            self.bar.set_message(words());
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
