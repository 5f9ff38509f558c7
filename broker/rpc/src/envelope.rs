//! The outermost bytes of a metadata document: a magic, a version, what it is, its size, and zstd.
//!
//! ```text
//! "OTMD" | version u8 | CRC-32C of what follows u32 | kind u8 | size before compression u32 | zstd frame
//! ```

use std::sync::Arc;

use bytes::Bytes;
use ottla_core::controller::Document;
use prost::Message;

use crate::metadata;

const MAGIC: [u8; 4] = *b"OTMD";
/// The version that is written. Version N reads N and N−1.
const VERSION: u8 = 1;
const KIND_ROOT: u8 = 1;
const KIND_SHARD: u8 = 2;
const HEAD_BYTES: usize = 14;
/// The checksum covers everything from the kind on.
const SUMMED_FROM: usize = 9;
/// The largest document before compression; a larger size is a lie or a mistake.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Level 3: documents are small, and written rarely.
const ZSTD_LEVEL: i32 = 3;

/// Why stored bytes are no document that this binary can read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not a document at all.
    #[error("it is not an Ottla metadata document")]
    NotADocument,
    /// Written by a newer Ottla.
    #[error(
        "it has format version {found}, which is newer than {VERSION}, the newest that this Ottla reads; run the newer \
         Ottla"
    )]
    Newer {
        /// Its version.
        found: u8,
    },
    /// Changed since it was written.
    #[error("its checksum is {found:08x} instead of {expected:08x}: it is damaged")]
    Checksum {
        /// What the bytes come to.
        found: u32,
        /// What they should come to.
        expected: u32,
    },
    /// Not what a document of its kind holds.
    #[error("its content cannot be read: {0}")]
    Content(String),
}

/// The bytes to store.
pub fn encode(document: &Document) -> Bytes {
    let (kind, plain) = match document {
        Document::Root(root) => (KIND_ROOT, metadata::Root::from(&**root).encode_to_vec()),
        Document::Shard(shard) => (KIND_SHARD, metadata::TopicShard::from(&**shard).encode_to_vec()),
    };
    let size = u32::try_from(plain.len()).expect("metadata of four gigabytes cannot come to be");
    let packed = zstd::bulk::compress(&plain, ZSTD_LEVEL).expect("zstd compresses whatever fits into memory");
    let mut body = Vec::with_capacity(5 + packed.len());
    body.push(kind);
    body.extend_from_slice(&size.to_be_bytes());
    body.extend_from_slice(&packed);
    let mut bytes = Vec::with_capacity(HEAD_BYTES + packed.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.push(VERSION);
    bytes.extend_from_slice(&checksum(&body).to_be_bytes());
    bytes.extend_from_slice(&body);
    Bytes::from(bytes)
}

/// The document in stored bytes.
///
/// # Errors
/// [`DecodeError`] when they hold none, or one of a newer version.
pub fn decode(bytes: &[u8]) -> Result<Document, DecodeError> {
    let (head, packed) = bytes.split_at_checked(HEAD_BYTES).ok_or(DecodeError::NotADocument)?;
    let [m0, m1, m2, m3, version, c0, c1, c2, c3, kind, s0, s1, s2, s3] = *head else {
        return Err(DecodeError::NotADocument);
    };
    if [m0, m1, m2, m3] != MAGIC || version == 0 {
        return Err(DecodeError::NotADocument);
    }
    if version > VERSION {
        return Err(DecodeError::Newer { found: version });
    }
    let expected = u32::from_be_bytes([c0, c1, c2, c3]);
    let found = checksum(bytes.get(SUMMED_FROM..).unwrap_or_default());
    if found != expected {
        return Err(DecodeError::Checksum { found, expected });
    }
    let size = usize::try_from(u32::from_be_bytes([s0, s1, s2, s3])).unwrap_or(usize::MAX);
    if size > BYTES_MAX {
        return Err(DecodeError::Content(format!("{size} bytes are more than the {BYTES_MAX} of a document")));
    }
    let plain = zstd::bulk::decompress(packed, size).map_err(|error| DecodeError::Content(error.to_string()))?;
    if plain.len() != size {
        return Err(DecodeError::Content(format!("{} bytes came out instead of {size}", plain.len())));
    }
    let content = |error: prost::DecodeError| DecodeError::Content(error.to_string());
    match kind {
        KIND_ROOT => {
            let root = metadata::Root::decode(&plain[..]).map_err(content)?;
            Ok(Document::Root(Arc::new(root.try_into()?)))
        }
        KIND_SHARD => {
            let shard = metadata::TopicShard::decode(&plain[..]).map_err(content)?;
            Ok(Document::Shard(Arc::new(shard.try_into()?)))
        }
        other => Err(DecodeError::Content(format!("there is no kind {other}"))),
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes);
    u32::try_from(sum & 0xffff_ffff).expect("masked to 32 bits")
}

#[cfg(test)]
mod tests;
