//! What all messages have in common.
//!
//! Owns the check that a version exists before anything is read or written, and the catalogue's entries. Must never know
//! a single message by name.

use std::fmt::Debug;
use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::{ApiKey, DecodeError, EncodeError, Reader, Writer};

/// What a message is to its users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A client's question.
    Request(ApiKey),
    /// A broker's answer.
    Response(ApiKey),
    /// A payload inside something else.
    Data,
    /// The key of a coordinator's record; the number precedes it on disk as an int16.
    Key(i16),
    /// The value of a coordinator's record; the number is its key's, its version precedes it on disk as an int16.
    Value(i16),
}

/// A value that has one form on the wire per version.
///
/// `decode` reads exactly the message and leaves what follows in the reader; a caller that knows the end of the message
/// asks `Reader::finish`. A field that the version has no place for is dropped where Kafka calls it ignorable, and is an
/// error otherwise unless it has its default.
pub trait Message: Sized + Default + Clone + Debug + PartialEq {
    /// Kafka's name of the message.
    const NAME: &'static str;
    /// What the message is for.
    const KIND: Kind;
    /// The versions that can be read and written.
    const VERSIONS: RangeInclusive<i16>;

    /// Reads the fields of a version that exists; `decode` is the way in.
    #[doc(hidden)]
    fn read_fields(r: &mut Reader, version: i16) -> Result<Self, DecodeError>;

    /// Writes the fields of a version that exists; `encode` is the way in.
    #[doc(hidden)]
    fn write_fields(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError>;

    /// Reads the message in this version.
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        if !Self::VERSIONS.contains(&version) {
            return Err(DecodeError::UnknownVersion { message: Self::NAME, version });
        }
        Self::read_fields(r, version)
    }

    /// Writes the message in this version.
    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        if !Self::VERSIONS.contains(&version) {
            return Err(EncodeError::UnknownVersion { message: Self::NAME, version });
        }
        self.write_fields(w, version)
    }

    /// Reads a message that is all of `bytes`.
    fn from_bytes(bytes: Bytes, version: i16) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let message = Self::decode(&mut reader, version)?;
        reader.finish()?;
        Ok(message)
    }

    /// Writes the message alone.
    fn to_bytes(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut writer = Writer::new();
        self.encode(&mut writer, version)?;
        Ok(writer.into_bytes())
    }
}

/// A message that a client sends and a broker answers.
pub trait Request: Message {
    /// What it is answered with, in the same version.
    type Response: Message;
    /// The API that it calls.
    const KEY: ApiKey;
}

/// Why a message could not be read and written again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecodeError {
    /// The bytes are no such message.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// What was read cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// One message of a catalogue, without its type: for tests, fuzzers and tools that walk all messages.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Kafka's name of the message.
    pub name: &'static str,
    /// What the message is for.
    pub kind: Kind,
    /// The versions that can be read and written.
    pub versions: RangeInclusive<i16>,
    /// Reads the message from all of the bytes and writes it again.
    pub recode: fn(Bytes, i16) -> Result<Bytes, RecodeError>,
    /// Writes the message that has all defaults.
    pub default: fn(i16) -> Result<Bytes, EncodeError>,
}

impl Entry {
    /// The entry of a message.
    pub const fn of<M: Message>() -> Self {
        Self { name: M::NAME, kind: M::KIND, versions: M::VERSIONS, recode: recode::<M>, default: default::<M> }
    }
}

fn recode<M: Message>(bytes: Bytes, version: i16) -> Result<Bytes, RecodeError> {
    let message = M::from_bytes(bytes, version)?;
    Ok(message.to_bytes(version)?)
}

fn default<M: Message>(version: i16) -> Result<Bytes, EncodeError> {
    M::default().to_bytes(version)
}
