//! Why bytes could not be read, and why a value could not be written.
//!
//! Each variant is one fact with its numbers. `at` counts bytes from the start of the reader's buffer.

/// Bytes that are no message of the version they claim to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The message ends in the middle of a value.
    #[error("needs {wanted} bytes at byte {at}, has {left}")]
    Truncated {
        /// Where the value starts.
        at: usize,
        /// How long it says it is.
        wanted: usize,
        /// How much is there.
        left: usize,
    },
    /// A length or count is negative where null is not allowed, or below −1.
    #[error("length {length} at byte {at}")]
    BadLength {
        /// Where the length stands.
        at: usize,
        /// What it says.
        length: i64,
    },
    /// Null where the version does not allow it.
    #[error("null at byte {at}")]
    UnexpectedNull {
        /// Where the null stands.
        at: usize,
    },
    /// More elements than the bytes that follow can hold.
    #[error("{count} elements at byte {at} cannot fit into the {left} bytes that follow")]
    CountTooLarge {
        /// Where the elements start.
        at: usize,
        /// How many are claimed.
        count: usize,
        /// How many bytes follow.
        left: usize,
    },
    /// Decoding this message would take more memory than its reader may use.
    #[error("{wanted} more bytes of memory at byte {at}, {left} are allowed")]
    MemoryExceeded {
        /// Where the value starts.
        at: usize,
        /// How many bytes it takes in memory.
        wanted: usize,
        /// How many are left.
        left: usize,
    },
    /// A variable-length number is longer than its type allows.
    #[error("a variable-length number at byte {at} does not end")]
    VarintTooLong {
        /// Where it starts.
        at: usize,
    },
    /// A string is not UTF-8.
    #[error("the string at byte {at} is not UTF-8")]
    NotUtf8 {
        /// Where its bytes start.
        at: usize,
    },
    /// A tagged field does not end where its size says.
    #[error("tagged field {tag} ends {left} bytes before its size says")]
    TagSize {
        /// The field.
        tag: u32,
        /// The bytes left over.
        left: usize,
    },
    /// Bytes follow the end of the message.
    #[error("{left} bytes follow the message")]
    TrailingBytes {
        /// How many.
        left: usize,
    },
    /// The message has no such version.
    #[error("{message} has no version {version}")]
    UnknownVersion {
        /// The name of the message.
        message: &'static str,
        /// The version that was asked for.
        version: i16,
    },
    /// No API that a client can call has this key.
    #[error("unknown API key {key}")]
    UnknownApi {
        /// The key.
        key: i16,
    },
}

/// A value that cannot be written in the version that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The version has no place for the field, and dropping it would change the meaning.
    #[error("{field} cannot be sent in version {version}")]
    FieldAbsent {
        /// Structure and field.
        field: &'static str,
        /// The version that was asked for.
        version: i16,
    },
    /// The version does not allow null in the field.
    #[error("{field} cannot be null in this version")]
    FieldNull {
        /// Structure and field.
        field: &'static str,
    },
    /// A string, byte string or array is longer than its length field can say.
    #[error("a length of {length} does not fit; {max} is the most")]
    TooLong {
        /// The length.
        length: usize,
        /// The largest that can be written.
        max: usize,
    },
    /// The message has no such version.
    #[error("{message} has no version {version}")]
    UnknownVersion {
        /// The name of the message.
        message: &'static str,
        /// The version that was asked for.
        version: i16,
    },
}

impl EncodeError {
    /// The version has no place for `field`.
    pub(crate) fn absent(field: &'static str, version: i16) -> Self {
        Self::FieldAbsent { field, version }
    }
}
