//! Reading of the protocol's primitive types from a frame.
//!
//! Owns the bounds: nothing is read beyond the end, no count is believed that the remaining bytes cannot hold, and all
//! that is allocated is charged against a budget first. Byte strings share the frame's memory.

use bytes::Bytes;

use crate::DecodeError;

/// What a decoded message may take in memory, per byte of its frame. Many short strings come to about ten.
const MEMORY_PER_BYTE: usize = 16;
/// What any message may take in memory, however short its frame.
const MEMORY_MIN: usize = 64 * 1024;
/// What a string costs beyond its bytes: the least that an allocator hands out.
const STRING_COST: usize = 16;

/// A position in a frame.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Bytes,
    at: usize,
    end: usize,
    memory: usize,
}

impl Reader {
    /// Starts at the first byte, with a memory budget in proportion to the length.
    pub fn new(bytes: Bytes) -> Self {
        let memory = bytes.len().saturating_mul(MEMORY_PER_BYTE).saturating_add(MEMORY_MIN);
        Self::with_memory_max(bytes, memory)
    }

    /// Starts at the first byte; decoding fails before arrays and strings take more than `memory_max` bytes.
    pub fn with_memory_max(bytes: Bytes, memory_max: usize) -> Self {
        let end = bytes.len();
        Self { bytes, at: 0, end, memory: memory_max }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.end - self.at
    }

    /// How many bytes were read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The rest of the frame, read.
    pub fn rest(&mut self) -> Bytes {
        let rest = self.bytes.slice(self.at..self.end);
        self.at = self.end;
        rest
    }

    /// Checks that nothing is left.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(DecodeError::TrailingBytes { left }),
        }
    }

    /// Moves over `wanted` bytes and returns where they start.
    #[inline]
    fn advance(&mut self, wanted: usize) -> Result<usize, DecodeError> {
        let at = self.at;
        let left = self.end - at;
        if wanted > left {
            return Err(DecodeError::Truncated { at, wanted, left });
        }
        self.at = at + wanted;
        Ok(at)
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (at, left) = (self.at, self.end - self.at);
        match self.bytes[at..self.end].first_chunk::<N>() {
            Some(chunk) => {
                self.at = at + N;
                Ok(*chunk)
            }
            None => Err(DecodeError::Truncated { at, wanted: N, left }),
        }
    }

    fn charge(&mut self, wanted: usize) -> Result<(), DecodeError> {
        match self.memory.checked_sub(wanted) {
            Some(left) => {
                self.memory = left;
                Ok(())
            }
            None => Err(DecodeError::MemoryExceeded { at: self.at, wanted, left: self.memory }),
        }
    }

    /// A byte that is not zero is true.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.fixed::<1>()? != [0])
    }

    /// int8.
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.fixed().map(i8::from_be_bytes)
    }

    /// int16.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.fixed().map(i16::from_be_bytes)
    }

    /// uint16.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.fixed().map(u16::from_be_bytes)
    }

    /// int32.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.fixed().map(i32::from_be_bytes)
    }

    /// uint32.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.fixed().map(u32::from_be_bytes)
    }

    /// int64.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.fixed().map(i64::from_be_bytes)
    }

    /// float64.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        self.fixed().map(f64::from_be_bytes)
    }

    /// uuid: sixteen bytes, most significant first.
    pub fn uuid(&mut self) -> Result<[u8; 16], DecodeError> {
        self.fixed()
    }

    /// An unsigned variable-length number of up to 32 bits.
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let at = self.at;
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = u32::from(self.fixed::<1>()?[0]);
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::VarintTooLong { at })
    }

    /// A signed (zigzag) variable-length number of up to 32 bits.
    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        let raw = self.uvarint()?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    /// A signed (zigzag) variable-length number of up to 64 bits.
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        let at = self.at;
        let mut raw = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = u64::from(self.fixed::<1>()?[0]);
            if shift == 63 && byte > 1 {
                break;
            }
            raw |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed());
            }
        }
        Err(DecodeError::VarintTooLong { at })
    }

    /// The length of a string, byte string or array; `None` is null. `wide` lengths are int32, others int16.
    fn length(&mut self, flexible: bool, wide: bool) -> Result<Option<usize>, DecodeError> {
        let at = self.at;
        let length = match (flexible, wide) {
            (true, _) => i64::from(self.uvarint()?) - 1,
            (false, true) => i64::from(self.i32()?),
            (false, false) => i64::from(self.i16()?),
        };
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(DecodeError::BadLength { at, length }),
        }
    }

    /// A string.
    pub fn string(&mut self, flexible: bool) -> Result<String, DecodeError> {
        let at = self.at;
        self.string_or_null(flexible)?.ok_or(DecodeError::UnexpectedNull { at })
    }

    /// A string or null.
    pub fn string_or_null(&mut self, flexible: bool) -> Result<Option<String>, DecodeError> {
        let Some(length) = self.length(flexible, false)? else { return Ok(None) };
        let at = self.advance(length)?;
        if length > 0 {
            self.charge(length + STRING_COST)?;
        }
        match std::str::from_utf8(&self.bytes[at..at + length]) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(DecodeError::NotUtf8 { at }),
        }
    }

    /// A byte string that shares the frame's memory.
    pub fn bytes(&mut self, flexible: bool) -> Result<Bytes, DecodeError> {
        let at = self.at;
        self.bytes_or_null(flexible)?.ok_or(DecodeError::UnexpectedNull { at })
    }

    /// A byte string that shares the frame's memory, or null.
    pub fn bytes_or_null(&mut self, flexible: bool) -> Result<Option<Bytes>, DecodeError> {
        match self.length(flexible, true)? {
            Some(length) => self.take(length).map(Some),
            None => Ok(None),
        }
    }

    /// The next `length` bytes; they share the frame's memory.
    pub fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        let at = self.advance(length)?;
        Ok(self.bytes.slice(at..at + length))
    }

    /// An array whose elements take at least `min` bytes each.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        min: usize,
        read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let at = self.at;
        self.array_or_null(flexible, min, read)?.ok_or(DecodeError::UnexpectedNull { at })
    }

    /// An array whose elements take at least `min` bytes each, or null.
    pub fn array_or_null<T>(
        &mut self,
        flexible: bool,
        min: usize,
        read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        match self.length(flexible, true)? {
            Some(count) => self.elements(count, min, read).map(Some),
            None => Ok(None),
        }
    }

    /// `count` elements that take at least `min` bytes each.
    pub(crate) fn elements<T>(
        &mut self,
        count: usize,
        min: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let left = self.remaining();
        if count > left / min.max(1) {
            return Err(DecodeError::CountTooLarge { at: self.at, count, left });
        }
        self.charge(count.saturating_mul(size_of::<T>()))?;
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(read(self)?);
        }
        Ok(elements)
    }

    /// A structure behind a byte that says whether it is there: negative is null.
    pub fn struct_or_null<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.i8()? < 0 { Ok(None) } else { read(self).map(Some) }
    }

    /// The tagged fields at the end of a structure. `read` returns false for a tag that it does not know.
    pub fn tags(
        &mut self,
        mut read: impl FnMut(&mut Self, u32) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let size = self.uvarint()? as usize;
            let start = self.advance(size)?;
            let outer_end = std::mem::replace(&mut self.end, start + size);
            self.at = start;
            let known = read(self, tag)?;
            let left = self.remaining();
            self.at = self.end;
            self.end = outer_end;
            if known && left > 0 {
                return Err(DecodeError::TagSize { tag, left });
            }
        }
        Ok(())
    }

    /// The tagged fields of a structure that knows none.
    pub fn skip_tags(&mut self) -> Result<(), DecodeError> {
        if self.bytes[self.at..self.end].first() == Some(&0) {
            self.at += 1;
            return Ok(());
        }
        self.tags(|_, _| Ok(false))
    }
}
