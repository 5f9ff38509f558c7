//! Writing of the protocol's primitive types.
//!
//! Owns the forms that lengths take. Long byte strings need not be copied: a writer that keeps chunks
//! passes them on as they are.

use bytes::{BufMut, Bytes, BytesMut};

use crate::EncodeError;

/// From this size on a byte string becomes a chunk of its own instead of being copied.
const SHARED_BYTES_MIN: usize = 1024;

/// A message under construction.
#[derive(Debug, Default)]
pub struct Writer {
    /// The finished pieces; the first one stays in `head`, where its length can still be filled in.
    done: Vec<Bytes>,
    head: BytesMut,
    done_bytes: usize,
    shares: bool,
    bytes: BytesMut,
}

impl Writer {
    /// A writer that copies everything into one buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// A writer that copies everything into one buffer of at least this capacity.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: BytesMut::with_capacity(capacity), ..Self::default() }
    }

    /// A writer that passes long byte strings on as chunks that share their memory.
    pub fn sharing(capacity: usize) -> Self {
        Self { shares: true, ..Self::with_capacity(capacity) }
    }

    /// How many bytes were written.
    pub fn len(&self) -> usize {
        self.done_bytes + self.bytes.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Starts again; keeps the memory. Only for a writer that does not share.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// All that was written since the last shared piece.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// All that was written, in one piece.
    pub fn into_bytes(self) -> Bytes {
        if self.done.is_empty() {
            return self.bytes.freeze();
        }
        let mut whole = BytesMut::with_capacity(self.len());
        self.into_chunks().iter().for_each(|chunk| whole.extend_from_slice(chunk));
        whole.freeze()
    }

    /// All that was written, in order, in as many pieces as were shared.
    pub fn into_chunks(mut self) -> Vec<Bytes> {
        if !self.head.is_empty() {
            self.done[0] = self.head.freeze();
        }
        if !self.bytes.is_empty() {
            self.done.push(self.bytes.freeze());
        }
        self.done
    }

    /// Bytes as they are, shared if they are long and this writer shares, else copied.
    pub fn append(&mut self, bytes: &Bytes) {
        if self.shares && bytes.len() >= SHARED_BYTES_MIN {
            if !self.bytes.is_empty() {
                let written = self.bytes.split();
                self.done_bytes += written.len();
                if self.done.is_empty() {
                    self.head = written;
                    self.done.push(Bytes::new());
                } else {
                    self.done.push(written.freeze());
                }
            }
            self.done_bytes += bytes.len();
            self.done.push(bytes.clone());
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Leaves room for an int32 length; returns where it starts. Nothing before it may be shared.
    pub(crate) fn reserve_length(&mut self) -> usize {
        let start = self.len();
        self.i32(0);
        start
    }

    /// Writes the number of bytes since the room that `reserve_length` left, into that room.
    pub(crate) fn fill_length(&mut self, start: usize) -> Result<(), EncodeError> {
        let max = i32::MAX as usize;
        let length = self.len() - start - size_of::<i32>();
        if length > max {
            return Err(EncodeError::TooLong { length, max });
        }
        let prefix = (length as u32).to_be_bytes();
        let piece = if self.done.is_empty() { &mut self.bytes } else { &mut self.head };
        piece[start..start + prefix.len()].copy_from_slice(&prefix);
        Ok(())
    }

    /// Bytes as they are, copied.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// bool.
    pub fn bool(&mut self, value: bool) {
        self.bytes.put_u8(u8::from(value));
    }

    /// int8.
    pub fn i8(&mut self, value: i8) {
        self.bytes.put_i8(value);
    }

    /// int16.
    pub fn i16(&mut self, value: i16) {
        self.bytes.put_i16(value);
    }

    /// uint16.
    pub fn u16(&mut self, value: u16) {
        self.bytes.put_u16(value);
    }

    /// int32.
    pub fn i32(&mut self, value: i32) {
        self.bytes.put_i32(value);
    }

    /// uint32.
    pub fn u32(&mut self, value: u32) {
        self.bytes.put_u32(value);
    }

    /// int64.
    pub fn i64(&mut self, value: i64) {
        self.bytes.put_i64(value);
    }

    /// float64.
    pub fn f64(&mut self, value: f64) {
        self.bytes.put_f64(value);
    }

    /// uuid: sixteen bytes, most significant first.
    pub fn uuid(&mut self, value: &[u8; 16]) {
        self.bytes.extend_from_slice(value);
    }

    /// An unsigned variable-length number.
    pub fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.put_u8(value as u8);
    }

    /// A signed (zigzag) variable-length number of 32 bits.
    pub fn varint(&mut self, value: i32) {
        self.uvarint(((value << 1) ^ (value >> 31)).cast_unsigned());
    }

    /// A signed (zigzag) variable-length number of 64 bits.
    pub fn varlong(&mut self, value: i64) {
        let mut raw = ((value << 1) ^ (value >> 63)).cast_unsigned();
        while raw >= 0x80 {
            self.bytes.put_u8((raw & 0x7f) as u8 | 0x80);
            raw >>= 7;
        }
        self.bytes.put_u8(raw as u8);
    }

    /// The length of a string, byte string or array. `wide` lengths are int32, others int16.
    pub(crate) fn length(&mut self, flexible: bool, wide: bool, length: usize) -> Result<(), EncodeError> {
        let max = if flexible || wide { i32::MAX as usize - 1 } else { i16::MAX as usize };
        if length > max {
            return Err(EncodeError::TooLong { length, max });
        }
        match (flexible, wide) {
            (true, _) => self.uvarint(length as u32 + 1),
            (false, true) => self.i32(length as i32),
            (false, false) => self.i16(length as i16),
        }
        Ok(())
    }

    fn null(&mut self, flexible: bool, wide: bool, allowed: bool, field: &'static str) -> Result<(), EncodeError> {
        if !allowed {
            return Err(EncodeError::FieldNull { field });
        }
        match (flexible, wide) {
            (true, _) => self.uvarint(0),
            (false, true) => self.i32(-1),
            (false, false) => self.i16(-1),
        }
        Ok(())
    }

    /// A string.
    pub fn string(&mut self, flexible: bool, value: &str) -> Result<(), EncodeError> {
        self.length(flexible, false, value.len())?;
        self.bytes.extend_from_slice(value.as_bytes());
        Ok(())
    }

    /// A string or, where `allowed`, null.
    pub fn string_or_null(
        &mut self,
        flexible: bool,
        allowed: bool,
        field: &'static str,
        value: Option<&str>,
    ) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.string(flexible, value),
            None => self.null(flexible, false, allowed, field),
        }
    }

    /// A byte string.
    pub fn bytes(&mut self, flexible: bool, value: &Bytes) -> Result<(), EncodeError> {
        self.length(flexible, true, value.len())?;
        self.append(value);
        Ok(())
    }

    /// A byte string or, where `allowed`, null.
    pub fn bytes_or_null(
        &mut self,
        flexible: bool,
        allowed: bool,
        field: &'static str,
        value: Option<&Bytes>,
    ) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.bytes(flexible, value),
            None => self.null(flexible, true, allowed, field),
        }
    }

    /// An array.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        value: &[T],
        mut write: impl FnMut(&mut Self, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.length(flexible, true, value.len())?;
        value.iter().try_for_each(|element| write(self, element))
    }

    /// An array or, where `allowed`, null.
    pub fn array_or_null<T>(
        &mut self,
        flexible: bool,
        allowed: bool,
        field: &'static str,
        value: Option<&[T]>,
        write: impl FnMut(&mut Self, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.array(flexible, value, write),
            None => self.null(flexible, true, allowed, field),
        }
    }

    /// A structure behind a byte that says that it is there, or null.
    pub fn struct_or_null<T>(
        &mut self,
        allowed: bool,
        field: &'static str,
        value: Option<&T>,
        write: impl FnOnce(&mut Self, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        match value {
            Some(value) => {
                self.i8(1);
                write(self, value)
            }
            None if allowed => {
                self.i8(-1);
                Ok(())
            }
            None => Err(EncodeError::FieldNull { field }),
        }
    }

    /// The end of a structure without tagged fields: a zero in a flexible version, nothing in others.
    pub fn no_tags(&mut self, flexible: bool) {
        if flexible {
            self.uvarint(0);
        }
    }

    /// A tagged field: its tag, its size, its value.
    pub fn tag(
        &mut self,
        tag: u32,
        write: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.uvarint(tag);
        let mut value = Self { shares: self.shares, ..Self::default() };
        write(&mut value)?;
        let max = i32::MAX as usize;
        let size = value.len();
        if size > max {
            return Err(EncodeError::TooLong { length: size, max });
        }
        self.uvarint(size as u32);
        value.into_chunks().iter().for_each(|chunk| self.append(chunk));
        Ok(())
    }
}
