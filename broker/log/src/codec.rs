//! The bytes of this crate's own small files: little-endian fields inside a checksummed, versioned envelope.
//!
//! Owns the envelope (magic, version, length, CRC-32C) and the field encoding. Bytes that come from a disk are never
//! trusted: every read is checked, a count never reserves memory beyond the bytes that are there.

use ottla_core::types::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId, TopicPartition};

/// Why the bytes of a small file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Cut, flipped, or another file's.
    #[error("damaged")]
    Damaged,
    /// Written by a newer build.
    #[error("format {found}; this build reads up to {supported}")]
    Newer {
        /// Its version.
        found: u16,
        /// The newest this build knows.
        supported: u16,
    },
}

/// What a sealed file begins with.
pub(crate) const ENVELOPE_BYTES: usize = 20;

/// What kind of file this is, and up to which version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u16,
}

impl Format {
    /// The envelope around `body`: magic, version, 2 spare bytes, length, CRC-32C of all that and the body.
    pub(crate) fn seal(self, body: &[u8]) -> Vec<u8> {
        let mut whole = Vec::with_capacity(ENVELOPE_BYTES + body.len());
        whole.extend_from_slice(&self.envelope(body));
        whole.extend_from_slice(body);
        whole
    }

    /// The envelope alone, of a body that is written behind it.
    pub(crate) fn envelope(self, body: &[u8]) -> [u8; ENVELOPE_BYTES] {
        let mut head = [0; ENVELOPE_BYTES];
        head[..8].copy_from_slice(&self.magic);
        head[8..10].copy_from_slice(&self.version.to_le_bytes());
        let length = u32::try_from(body.len()).expect("no small file reaches 4 GiB");
        head[12..16].copy_from_slice(&length.to_le_bytes());
        let sum = crc_of(&[&head[..16], body]);
        head[16..].copy_from_slice(&sum.to_le_bytes());
        head
    }

    /// The version and the body of a sealed file.
    pub(crate) fn open(self, whole: &[u8]) -> Result<(u16, Fields<'_>), Unusable> {
        let (head, rest) = whole.split_at_checked(ENVELOPE_BYTES).ok_or(Unusable::Damaged)?;
        let mut fields = Fields::new(head);
        if fields.array::<8>()? != self.magic {
            return Err(Unusable::Damaged);
        }
        let version = fields.u16()?;
        fields.u16()?;
        let length = fields.u32()?;
        let sum = fields.u32()?;
        let body = rest.get(..length as usize).ok_or(Unusable::Damaged)?;
        if crc_of(&[&head[..16], body]) != sum {
            return Err(Unusable::Damaged);
        }
        if version > self.version {
            return Err(Unusable::Newer { found: version, supported: self.version });
        }
        Ok((version, Fields::new(body)))
    }
}

/// CRC-32C over several pieces.
pub(crate) fn crc_of(pieces: &[&[u8]]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    for piece in pieces {
        digest.update(piece);
    }
    low32(digest.finalize())
}

/// The 32 bits of a CRC that the library returns in 64.
pub(crate) fn low32(sum: u64) -> u32 {
    (sum & u64::from(u32::MAX)) as u32
}

/// Writes fields behind one another.
#[derive(Debug, Default)]
pub(crate) struct Body(pub(crate) Vec<u8>);

macro_rules! integers {
    ($($name:ident: $int:ty),*) => {
        impl Body {
            $(pub(crate) fn $name(&mut self, value: $int) -> &mut Self {
                self.0.extend_from_slice(&value.to_le_bytes());
                self
            })*
        }

        impl Fields<'_> {
            $(pub(crate) fn $name(&mut self) -> Result<$int, Unusable> {
                self.array().map(<$int>::from_le_bytes)
            })*
        }
    };
}

integers!(u8: u8, u16: u16, u32: u32, u64: u64, i16: i16, i32: i32, i64: i64);

impl Body {
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn offset(&mut self, offset: Offset) -> &mut Self {
        self.i64(offset.get())
    }

    pub(crate) fn timestamp(&mut self, timestamp: Timestamp) -> &mut Self {
        self.i64(timestamp.get())
    }

    pub(crate) fn count(&mut self, count: usize) -> &mut Self {
        self.u32(u32::try_from(count).expect("counts in small files stay below 2^32"))
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.count(text.len()).raw(text.as_bytes())
    }

    pub(crate) fn partition(&mut self, id: TopicPartition) -> &mut Self {
        self.raw(&id.topic.to_bytes()).i32(id.partition.get())
    }
}

/// Reads fields one behind the other; every method fails when they end early.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn raw(&mut self, length: usize) -> Result<&'a [u8], Unusable> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Unusable::Damaged)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Unusable> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(Unusable::Damaged)?;
        self.rest = rest;
        Ok(*bytes)
    }

    pub(crate) fn offset(&mut self) -> Result<Offset, Unusable> {
        self.i64().map(Offset::new)
    }

    pub(crate) fn timestamp(&mut self) -> Result<Timestamp, Unusable> {
        self.i64().map(Timestamp::new)
    }

    pub(crate) fn epoch(&mut self) -> Result<LeaderEpoch, Unusable> {
        self.i32().map(LeaderEpoch::new)
    }

    /// A count of elements that take at least `element_bytes` each: more than fit in the rest is damage.
    pub(crate) fn count(&mut self, element_bytes: usize) -> Result<usize, Unusable> {
        let count = self.u32()? as usize;
        if count > self.rest.len() / element_bytes.max(1) {
            return Err(Unusable::Damaged);
        }
        Ok(count)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Unusable> {
        let length = self.count(1)?;
        std::str::from_utf8(self.raw(length)?).map_err(|_| Unusable::Damaged)
    }

    pub(crate) fn partition(&mut self) -> Result<TopicPartition, Unusable> {
        let topic = TopicId::from_bytes(self.array()?);
        Ok(TopicPartition::new(topic, PartitionIndex::new(self.i32()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: Format = Format { magic: *b"OTTLTEST", version: 2 };

    #[test]
    fn a_sealed_body_reads_back_and_every_flipped_bit_is_noticed() {
        let mut body = Body::default();
        body.text("orders").i64(-5).u8(3);
        let sealed = FORMAT.seal(&body.0);
        let (version, mut fields) = FORMAT.open(&sealed).unwrap();
        assert_eq!((version, fields.text(), fields.i64(), fields.u8()), (2, Ok("orders"), Ok(-5), Ok(3)));
        assert!(fields.is_empty());
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FORMAT.open(&flipped).err(), Some(Unusable::Damaged), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert_eq!(FORMAT.open(&sealed[..length]).err(), Some(Unusable::Damaged));
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        let newer = Format { version: 3, ..FORMAT }.seal(b"");
        assert_eq!(FORMAT.open(&newer).err(), Some(Unusable::Newer { found: 3, supported: 2 }));
    }

    #[test]
    fn a_lying_count_reserves_nothing() {
        let mut body = Body::default();
        body.u32(u32::MAX);
        assert_eq!(Fields::new(&body.0).count(1), Err(Unusable::Damaged));
    }
}
