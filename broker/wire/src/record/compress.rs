//! The four compressions, in the forms that Kafka's clients write and read.
//!
//! Owns the bound: whatever the input claims, no more than the allowed bytes come out, and no more are allocated for
//! them. Snappy is written in the Java library's framing, which every client reads, and read in that and in its raw form.

use std::io::{self, Read, Write};

use bytes::{BufMut, Bytes, BytesMut};
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Snappy, framed.
    Snappy,
    /// LZ4 frames of independent blocks.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// Why a payload could not be compressed or decompressed.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// More bytes come out than are allowed.
    #[error("more than {max} bytes decompressed")]
    TooLarge {
        /// What is allowed.
        max: usize,
    },
    /// The bytes are not of that compression.
    #[error("{name} data is corrupt: {reason}")]
    Corrupt {
        /// The compression.
        name: &'static str,
        /// What the library says.
        reason: String,
    },
    /// The level is none of this compression's, or memory ran out.
    #[error("cannot compress with {name}: {reason}")]
    Refused {
        /// The compression.
        name: &'static str,
        /// What the library says.
        reason: String,
    },
}

impl Compression {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The number in a batch's attributes.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The compression with this number.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Kafka's name in configs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The compression with this name in configs.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }

    fn corrupt(self, error: impl ToString) -> CompressionError {
        CompressionError::Corrupt { name: self.name(), reason: error.to_string() }
    }

    fn refused(self, error: impl ToString) -> CompressionError {
        CompressionError::Refused { name: self.name(), reason: error.to_string() }
    }
}

/// Compresses `data`. `level` is of the codec's own scale; snappy and lz4 have none.
pub fn compress(codec: Compression, level: Option<i32>, data: &Bytes) -> Result<Bytes, CompressionError> {
    match codec {
        Compression::None => Ok(data.clone()),
        Compression::Gzip => gzip(level, data),
        Compression::Snappy => snappy(data),
        Compression::Lz4 => lz4(data),
        Compression::Zstd => zstd::bulk::compress(data, level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL))
            .map(Bytes::from)
            .map_err(|error| codec.refused(error)),
    }
}

fn gzip(level: Option<i32>, data: &[u8]) -> Result<Bytes, CompressionError> {
    let level = match level {
        None | Some(-1) => flate2::Compression::default(),
        Some(level @ 0..=9) => flate2::Compression::new(level.unsigned_abs()),
        Some(level) => return Err(Compression::Gzip.refused(format!("level {level} is not in 0 to 9"))),
    };
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    let written = encoder.write_all(data).and_then(|()| encoder.finish());
    written.map(Bytes::from).map_err(|error| Compression::Gzip.refused(error))
}

fn lz4(data: &[u8]) -> Result<Bytes, CompressionError> {
    // Java's client reads independent blocks only.
    let info = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(data).map_err(|error| Compression::Lz4.refused(error))?;
    encoder.finish().map(Bytes::from).map_err(|error| Compression::Lz4.refused(error))
}

/// Decompresses `data` into at most `max` bytes.
pub fn decompress(codec: Compression, data: &Bytes, max: usize) -> Result<Bytes, CompressionError> {
    match codec {
        Compression::None if data.len() > max => Err(CompressionError::TooLarge { max }),
        Compression::None => Ok(data.clone()),
        Compression::Gzip => read_all(codec, flate2::bufread::MultiGzDecoder::new(&data[..]), data.len(), max),
        Compression::Snappy => unsnappy(data, max),
        Compression::Lz4 => read_all(codec, FrameDecoder::new(&data[..]), data.len(), max),
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(&data[..]).map_err(|error| codec.corrupt(error))?;
            read_all(codec, decoder, data.len(), max)
        }
    }
}

/// Reads to the end, or to one byte more than allowed. Allocates as bytes come, never by what the input claims.
fn read_all(codec: Compression, input: impl Read, hint: usize, max: usize) -> Result<Bytes, CompressionError> {
    let mut out = Vec::with_capacity(hint.saturating_mul(2).min(max));
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    io::copy(&mut input.take(limit), &mut out).map_err(|error| codec.corrupt(error))?;
    if out.len() > max { Err(CompressionError::TooLarge { max }) } else { Ok(out.into()) }
}

/// The start of the Java library's framing: its name, version 1, readable from version 1 on.
const XERIAL: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
/// How much of that says that the framing follows.
const XERIAL_NAME: usize = 8;
/// The block that the Java library compresses at once.
const XERIAL_BLOCK: usize = 32 * 1024;

fn snappy(data: &[u8]) -> Result<Bytes, CompressionError> {
    let mut out = BytesMut::with_capacity(XERIAL.len() + data.len() / 2);
    out.extend_from_slice(&XERIAL);
    let mut encoder = snap::raw::Encoder::new();
    for block in data.chunks(XERIAL_BLOCK) {
        let block = encoder.compress_vec(block).map_err(|error| Compression::Snappy.refused(error))?;
        out.put_u32(block.len() as u32);
        out.extend_from_slice(&block);
    }
    Ok(out.freeze())
}

fn unsnappy(data: &[u8], max: usize) -> Result<Bytes, CompressionError> {
    let mut out = BytesMut::new();
    if data.get(..XERIAL_NAME) != Some(&XERIAL[..XERIAL_NAME]) {
        unsnappy_block(data, max, &mut out)?;
        return Ok(out.freeze());
    }
    let mut rest = data.get(XERIAL.len()..).ok_or_else(|| Compression::Snappy.corrupt("the header is cut off"))?;
    while !rest.is_empty() {
        let (size, tail) = rest.split_first_chunk().ok_or_else(|| Compression::Snappy.corrupt("cut off"))?;
        let size = u32::from_be_bytes(*size) as usize;
        let block = tail.get(..size).ok_or_else(|| Compression::Snappy.corrupt("a block is cut off"))?;
        unsnappy_block(block, max, &mut out)?;
        rest = &tail[size..];
    }
    Ok(out.freeze())
}

fn unsnappy_block(block: &[u8], max: usize, out: &mut BytesMut) -> Result<(), CompressionError> {
    let length = snap::raw::decompress_len(block).map_err(|error| Compression::Snappy.corrupt(error))?;
    // A block of n bytes cannot hold more than 64 n / 3: a copy of 64 bytes takes 3.
    if length > block.len().saturating_mul(22) {
        return Err(Compression::Snappy.corrupt("a block claims more than it can hold"));
    }
    let start = out.len();
    if length > max.saturating_sub(start) {
        return Err(CompressionError::TooLarge { max });
    }
    out.resize(start + length, 0);
    let written = snap::raw::Decoder::new().decompress(block, &mut out[start..]);
    written.map(|_| ()).map_err(|error| Compression::Snappy.corrupt(error))
}
