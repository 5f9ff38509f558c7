//! How a command fails: an exit code that scripts can trust, a sentence that names the thing, and the way out.
//!
//! Owns the exit codes and the words for the cluster's refusals. Every error of the client ends here, in one place.

use std::io::{self, Write};
use std::process::ExitCode;

use ottla_client::{Error, ErrorCode, PropertiesError, Refused, Terminal};

/// Exit codes. They are an interface: a number keeps its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything that was asked for was done.
    Done = 0,
    /// Something failed that has no code of its own.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// A topic, partition, group or file that was named does not exist.
    NotFound = 3,
    /// What should be created is there already.
    Exists = 4,
    /// The cluster, or the part of it that mattered, did not answer in time.
    Unreachable = 5,
    /// The cluster understood and said no.
    Refused = 6,
    /// `log verify` found damage.
    Damaged = 7,
}

/// What `--help` says about them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  everything that was asked for was done
  1  something failed that has no code of its own
  2  the command line makes no sense
  3  a topic, partition, group or file that was named does not exist
  4  what should be created is there already
  5  the cluster did not answer in time: trying again may help
  6  the cluster understood and said no: trying again does not help
  7  log verify found damage";

impl Exit {
    pub(crate) fn code(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    sentence: String,
    way_out: Option<String>,
}

/// What every command returns.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub(crate) fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        Self { exit, sentence: sentence.into(), way_out: None }
    }

    pub(crate) fn usage(sentence: impl Into<String>) -> Self {
        Self::new(Exit::Usage, sentence)
    }

    /// Adds what to do about it.
    #[must_use]
    pub(crate) fn way_out(mut self, words: impl Into<String>) -> Self {
        self.way_out = Some(words.into());
        self
    }

    /// Whoever read our output has gone: nothing failed, and nobody needs to hear of it.
    pub(crate) fn closed_pipe() -> Self {
        Self::new(Exit::Done, "")
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.sentence.is_empty()
    }

    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "ottla: {}", self.sentence)?;
        match &self.way_out {
            Some(way_out) => writeln!(out, "  {way_out}"),
            None => Ok(()),
        }
    }

    /// One failure for several: the first decides the code unless they differ.
    pub(crate) fn several(mut failures: Vec<Self>) -> Option<Self> {
        let first = failures.first()?;
        let exit = if failures.iter().all(|one| one.exit == first.exit) { first.exit } else { Exit::Failed };
        if failures.len() == 1 {
            return failures.pop();
        }
        let sentences: Vec<&str> = failures.iter().map(|one| one.sentence.as_str()).collect();
        let mut joined = Self::new(exit, sentences.join("\nottla: "));
        joined.way_out = failures.iter().find_map(|one| one.way_out.clone());
        Some(joined)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::closed_pipe();
        }
        let exit = if error.kind() == io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failed };
        Self::new(exit, error.to_string())
    }
}

impl From<PropertiesError> for Failure {
    fn from(error: PropertiesError) -> Self {
        Self::usage(format!("the file given by --command-config: {error}"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let terminal = match error {
            Error::Retriable(retriable) => return Self::new(Exit::Unreachable, retriable.to_string()),
            Error::Terminal(terminal) => terminal,
        };
        let sentence = terminal.to_string();
        match terminal {
            Terminal::Refused(refused) => refused.into(),
            Terminal::Unreachable { addresses, .. } => Self::new(Exit::Unreachable, sentence)
                .way_out(format!("Is a broker running there? Give others with -b HOST:PORT,… instead of {addresses}.")),
            Terminal::DeadlinePassed { .. } => Self::new(Exit::Unreachable, sentence)
                .way_out("Give it longer with --timeout, for example --timeout 5m."),
            Terminal::NoPartition(_) => Self::new(Exit::NotFound, sentence),
            Terminal::TooLarge { .. } => Self::new(Exit::Refused, sentence)
                .way_out("Raise max.request.size in the --command-config file, and max.message.bytes of the topic."),
            Terminal::Unsupported { .. }
            | Terminal::Garbled { .. }
            | Terminal::Unwritable { .. }
            | Terminal::Damaged { .. }
            | Terminal::Config(_)
            | Terminal::Closed(_) => Self::new(Exit::Failed, sentence),
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let subject = &refused.subject;
        let word = |words: &str| format!("{subject} {words}");
        let code = refused.code;
        let topics = "`ottla topic list` shows the topics that exist.";
        let groups = "`ottla group list` shows the groups that exist.";
        match code {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID => {
                Self::new(Exit::NotFound, word("does not exist")).way_out(topics)
            }
            ErrorCode::GROUP_ID_NOT_FOUND => Self::new(Exit::NotFound, word("does not exist")).way_out(groups),
            ErrorCode::TOPIC_ALREADY_EXISTS => {
                Self::new(Exit::Exists, word("exists already")).way_out("With --if-not-exists that is no error.")
            }
            ErrorCode::NON_EMPTY_GROUP => Self::new(Exit::Refused, word("still has members"))
                .way_out("Stop its consumers first; `ottla group describe` names them."),
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION | ErrorCode::REBALANCE_IN_PROGRESS => {
                // The subject may be one partition of the group; the members are the whole group's.
                let group = subject.rsplit(" of ").next().unwrap_or(subject);
                Self::new(Exit::Refused, format!("{group} has active members"))
                    .way_out("Offsets can be set only while all consumers of the group are stopped.")
            }
            ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC => {
                Self::new(Exit::Refused, word("is being read by members of the group"))
                    .way_out("Stop the consumers that read the topic first.")
            }
            ErrorCode::OFFSET_OUT_OF_RANGE => Self::new(Exit::NotFound, word("does not exist"))
                .way_out("`ottla topic describe` shows first and last offsets."),
            _ if code.retriable() => Self::new(Exit::Unreachable, refused.to_string()),
            _ => Self::new(Exit::Refused, refused.to_string()),
        }
    }
}

/// The values of `settled`; what was refused becomes one failure after `partial` has seen the rest.
pub(crate) fn split<T>(settled: Vec<ottla_client::Settled<T>>) -> (Vec<T>, Option<Failure>) {
    let mut values = Vec::new();
    let mut failures = Vec::new();
    for one in settled {
        match one {
            Ok(value) => values.push(value),
            Err(refused) => failures.push(Failure::from(refused)),
        }
    }
    (values, Failure::several(failures))
}

/// `Ok` without a failure.
pub(crate) fn done(failure: Option<Failure>) -> Result<()> {
    failure.map_or(Ok(()), Err)
}
