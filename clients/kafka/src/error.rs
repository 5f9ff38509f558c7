//! What can go wrong between us and a cluster. Whether it may pass by itself is part of the type.
//!
//! Owns the sentences. Retriable errors are retried by the client until the call's deadline; a caller sees one only as
//! the last cause of [`Terminal::DeadlinePassed`], or when it asked for a single attempt.

use std::time::Duration;

use ottla_wire::{ApiKey, ErrorCode};

/// The result of every call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed, split by what to do next.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// May pass by itself: try again.
    #[error(transparent)]
    Retriable(#[from] Retriable),
    /// Will not pass by itself: something must change first.
    #[error(transparent)]
    Terminal(#[from] Terminal),
}

/// Errors that may pass by themselves.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Retriable {
    /// No connection could be made.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// Host and port.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// Brokers that answered before do not answer now.
    #[error("cannot reach any of {addresses}: {last}")]
    Away {
        /// The bootstrap list.
        addresses: String,
        /// What the last of them answered.
        last: String,
    },
    /// The connection ended while an answer was outstanding.
    #[error("{address} closed the connection before it answered {api}{}", hint(.reason))]
    Disconnected {
        /// Host and port.
        address: String,
        /// The request that was not answered.
        api: &'static str,
        /// What the system said, if it said anything.
        reason: String,
    },
    /// One attempt took too long.
    #[error("{address} did not answer {api} within {} ms", .after.as_millis())]
    Silent {
        /// Host and port.
        address: String,
        /// The request that was not answered.
        api: &'static str,
        /// How long we waited.
        after: Duration,
    },
    /// The broker answered with an error that Kafka calls retriable.
    #[error(transparent)]
    Refused(Refused),
    /// The metadata names no leader right now.
    #[error("partition {partition} of topic {topic} has no leader")]
    NoLeader {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
}

/// Errors that stay until something changes.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Terminal {
    /// None of the bootstrap addresses could be reached.
    #[error("cannot reach any of {addresses}: {last}")]
    Unreachable {
        /// The list as it was given.
        addresses: String,
        /// What the last of them answered.
        last: String,
    },
    /// Retried until the deadline.
    #[error("{what} did not succeed within {} s; the last answer was: {last}", .after.as_secs_f32())]
    DeadlinePassed {
        /// What was tried.
        what: String,
        /// The deadline.
        after: Duration,
        /// The last error that was worth a retry.
        last: Box<Retriable>,
    },
    /// The broker answered with an error that will not pass.
    #[error(transparent)]
    Refused(Refused),
    /// Broker and client share no version of a request.
    #[error("{address} speaks {api} {theirs}, this client {ours}: use a broker of Kafka 3.1 or newer")]
    Unsupported {
        /// Host and port.
        address: String,
        /// The request.
        api: &'static str,
        /// The broker's versions, in words.
        theirs: String,
        /// Ours.
        ours: String,
    },
    /// An answer that does not follow the protocol.
    #[error("{address} answered {api} with bytes that are no such answer: {reason}")]
    Garbled {
        /// Host and port.
        address: String,
        /// The request.
        api: &'static str,
        /// What did not fit.
        reason: String,
    },
    /// A request that cannot be written in the version that both sides know.
    #[error("{api} cannot be asked of {address}: {reason}")]
    Unwritable {
        /// Host and port.
        address: String,
        /// The request.
        api: &'static str,
        /// What did not fit.
        reason: String,
    },
    /// Records in an answer that fail their checks.
    #[error("{topic}-{partition} has records at offset {offset} that cannot be read: {reason}")]
    Damaged {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// First offset of the batch.
        offset: i64,
        /// What did not fit.
        reason: String,
    },
    /// A setting that makes no sense or is not there yet.
    #[error("{0}")]
    Config(String),
    /// The record is larger than a request may be.
    #[error("a record of {bytes} bytes for topic {topic} is larger than max.request.size ({limit})")]
    TooLarge {
        /// The topic.
        topic: String,
        /// Its size with key and headers.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// A partition that its topic does not have.
    #[error("{0}")]
    NoPartition(String),
    /// Whatever this was part of is gone.
    #[error("the {0} was closed")]
    Closed(&'static str),
}

/// An error code that a broker answered, and what it was about.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{subject}: {}", sentence(*.code, .message))]
pub struct Refused {
    /// The request.
    pub api: &'static str,
    /// What was asked for: `topic orders`, `partition 3 of topic orders`, `group billing`.
    pub subject: String,
    /// Kafka's code.
    pub code: ErrorCode,
    /// The broker's own words, if it sent any.
    pub message: Option<String>,
}

impl Refused {
    /// An answer to `api` about `subject`.
    pub fn new(api: ApiKey, subject: impl Into<String>, code: ErrorCode, message: Option<String>) -> Self {
        Self { api: api.name(), subject: subject.into(), code, message: message.filter(|text| !text.is_empty()) }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        if refused.code.retriable() {
            Self::Retriable(Retriable::Refused(refused))
        } else {
            Self::Terminal(Terminal::Refused(refused))
        }
    }
}

impl Error {
    /// The code that a broker answered, wherever it stands in this error.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Retriable(Retriable::Refused(refused)) | Self::Terminal(Terminal::Refused(refused)) => {
                Some(refused.code)
            }
            Self::Terminal(Terminal::DeadlinePassed { last, .. }) => match &**last {
                Retriable::Refused(refused) => Some(refused.code),
                Retriable::Connect { .. }
                | Retriable::Away { .. }
                | Retriable::Disconnected { .. }
                | Retriable::Silent { .. }
                | Retriable::NoLeader { .. } => None,
            },
            Self::Retriable(_) | Self::Terminal(_) => None,
        }
    }

    /// Whether the cluster, or the part of it that mattered, could not be reached in time.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Retriable(_) => true,
            Self::Terminal(terminal) => {
                matches!(terminal, Terminal::Unreachable { .. } | Terminal::DeadlinePassed { .. })
            }
        }
    }
}

/// `Ok` when `code` is none, else the error about `subject`.
pub(crate) fn check(api: ApiKey, subject: impl FnOnce() -> String, code: i16, message: Option<&str>) -> Result<()> {
    let code = ErrorCode::new(code);
    if code == ErrorCode::NONE {
        return Ok(());
    }
    Err(Refused::new(api, subject(), code, message.map(str::to_owned)).into())
}

fn sentence(code: ErrorCode, message: &Option<String>) -> String {
    match message {
        Some(message) => format!("{message} [{}]", code.name()),
        None => format!("{} [{}]", code.name().to_lowercase().replace('_', " "), code.name()),
    }
}

fn hint(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}
