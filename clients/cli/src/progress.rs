//! Progress of long work, on stderr and only when a person watches.
//!
//! Owns whether anything is shown at all: never when stderr is no terminal, never with `--quiet`.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a line that counts is drawn.
const TICK: Duration = Duration::from_millis(120);

/// A line that counts records, or bytes of a known total.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Counts bytes of `total`, or records if nobody knows how many come.
    pub(crate) fn new(quiet: bool, total: Option<u64>, what: &str) -> Self {
        let shown = !quiet && std::io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let (bar, template) = match total {
            Some(total) => (ProgressBar::with_draw_target(Some(total), target), "{msg} {wide_bar} {percent}% {eta}"),
            None => (ProgressBar::with_draw_target(None, target), "{spinner} {msg} {human_pos} records, {per_sec}"),
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        bar.set_message(what.to_owned());
        if shown {
            bar.enable_steady_tick(TICK);
        }
        Self(bar)
    }

    pub(crate) fn advance(&self, by: u64) {
        self.0.inc(by);
    }

    pub(crate) fn set(&self, to: u64) {
        self.0.set_position(to);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
