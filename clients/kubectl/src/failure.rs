//! How a verb fails: an exit code that scripts can trust, a sentence that names the thing, and the way out.
//!
//! Owns the exit codes. What the API server refuses is put into words in `place.rs`, which knows who asked where.

use std::io::{self, Write};

/// Exit codes. They are an interface, and those of the command `ottla`: a number keeps its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything that was asked for was done.
    Done = 0,
    /// `status`: not Ready. Elsewhere: something failed that has no code of its own.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// What was named does not exist.
    NotFound = 3,
    /// Nobody answered, or what was waited for did not happen in time.
    Late = 5,
    /// The API server understood and said no, or the Cluster is in a state in which this cannot be done.
    Refused = 6,
}

/// What `--help` says about them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes (exec has those of the command that it runs):
  0  everything that was asked for was done
  1  status: not Ready; else something failed that has no code of its own
  2  the command line makes no sense
  3  what was named does not exist
  5  nobody answered, or what was waited for did not happen in time
  6  refused: a right is missing, or the Cluster is in no state for it";

/// Why a verb failed.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    sentence: String,
    way_out: Option<String>,
}

/// What every verb returns.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub(crate) fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        Self { exit, sentence: sentence.into(), way_out: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub(crate) fn way_out(mut self, words: impl Into<String>) -> Self {
        self.way_out = Some(words.into());
        self
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Whoever read our output has gone: nothing failed, and nobody needs to hear of it.
    pub(crate) fn is_silent(&self) -> bool {
        self.sentence.is_empty()
    }

    /// The sentence and the way out, in one line.
    pub(crate) fn words(&self) -> String {
        match &self.way_out {
            Some(way_out) => format!("{}. {way_out}", self.sentence),
            None => self.sentence.clone(),
        }
    }

    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "kubectl ottla: {}", self.sentence)?;
        match &self.way_out {
            Some(way_out) => writeln!(out, "  {way_out}"),
            None => Ok(()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Done, "");
        }
        Self::new(Exit::Failed, error.to_string())
    }
}
