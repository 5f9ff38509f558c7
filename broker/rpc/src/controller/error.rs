//! What can go wrong between an enum and its bytes, and on a stream of them.

use tonic::Status;

/// Something that this service does not carry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// More than the other side takes: to be sent in parts.
    #[error("a message has {got} bytes; at most {max} are taken")]
    TooLong {
        /// How many it has.
        got: usize,
        /// How many are taken.
        max: usize,
    },
}

impl From<EncodeError> for Status {
    fn from(error: EncodeError) -> Self {
        Self::internal(error.to_string())
    }
}

/// Why received bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not even protobuf.
    #[error("it is no protobuf message: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// Something without which it means nothing.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// An id of another length.
    #[error("{what} has {got} bytes instead of 16")]
    Id {
        /// Whose.
        what: &'static str,
        /// How many it has.
        got: usize,
    },
    /// A number that cannot be.
    #[error("{what} cannot be {got}")]
    Range {
        /// Which.
        what: &'static str,
        /// What it is.
        got: i64,
    },
    /// Longer, or of more parts, than anybody sends.
    #[error("it has {got} bytes or parts; at most {max} are taken")]
    TooLong {
        /// How many it has.
        got: usize,
        /// How many are taken.
        max: usize,
    },
    /// From a newer broker, which should not have sent it.
    #[error("it is {0} of a kind that this Ottla does not know")]
    UnknownKind(&'static str),
    /// A topic or an endpoint that cannot be.
    #[error(transparent)]
    Metadata(#[from] crate::DecodeError),
}

/// Why nothing more comes on a stream.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The connection broke, or the other side ended the stream with a reason.
    #[error("the stream ended: {0}")]
    Broken(#[from] Status),
    /// What came cannot be read.
    #[error("a message of the other broker cannot be read: {0}")]
    Unreadable(#[from] DecodeError),
}
