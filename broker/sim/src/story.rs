//! What happened, as a person reads it, and as one number for comparing two runs.
//!
//! Owns the trace. Only the newest lines are kept; every line goes into the digest, so that two runs of a seed are equal
//! if and only if they did the same things at the same times.

use std::collections::VecDeque;
use std::fmt;

const LINES_KEPT: usize = 400;

/// The trace of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    lines: VecDeque<String>,
    digest: u64,
    count: u64,
}

impl Story {
    /// Something happened at `now`, in microseconds.
    pub(crate) fn tell(&mut self, now: u64, what: fmt::Arguments<'_>) {
        let line = format!("{:>9.3} ms  {what}", now as f64 / 1000.0);
        for byte in line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.count += 1;
        if self.lines.len() == LINES_KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Equal for equal runs.
    pub(crate) fn digest(&self) -> (u64, u64) {
        (self.count, self.digest)
    }

    /// The newest lines.
    pub(crate) fn tail(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}
