//! The framing: gRPC's prefix, a length, a protobuf header, and records.
//!
//! ```text
//! 0 u8 | length of what follows u32 | length of the header u32 | header | records
//! ```
//! Invariants: a length is compared with the limit before a byte is kept for it; an incomplete frame keeps at most as many
//! bytes as it says that it has; a byte is copied at most once, and records that came in one piece not at all. After an
//! error there is no next frame: nothing tells where one would begin.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message as _;

use super::Item;
use crate::proto::ottla::replication::v1 as pb;

/// gRPC's five bytes and the header's length.
const PREFIX_BYTES: usize = 9;
/// The length of the header counts among what follows gRPC's prefix.
const LENGTH_BYTES: usize = 4;
/// No header is nearly as long; the longest has a sentence of 4 KiB.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Why received bytes are no frames.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// gRPC's first byte is not 0.
    #[error("a frame begins with {0} instead of 0: frames are never compressed")]
    Compressed(u8),
    /// Longer than whoever receives it allows.
    #[error("a frame of {got} bytes is longer than the {max} that are allowed")]
    TooLong {
        /// What it says that it has.
        got: usize,
        /// What is allowed.
        max: usize,
    },
    /// Its header does not fit into it, or is longer than any is.
    #[error("a header of {got} bytes cannot be in a frame of {frame}")]
    HeaderLength {
        /// What it says that the header has.
        got: usize,
        /// What it says that it has itself.
        frame: usize,
    },
    /// Its header is not protobuf.
    #[error("a header cannot be read: {0}")]
    Header(#[from] prost::DecodeError),
    /// From a newer broker, which should not have sent it.
    #[error("a {0} of a kind that this Ottla does not know")]
    UnknownKind(&'static str),
    /// Not the sixteen bytes of an id.
    #[error("a cluster id has {0} bytes instead of 16")]
    ClusterId(usize),
    /// Bytes behind something that has none.
    #[error("{0} bytes of records follow what is no push")]
    StrayRecords(usize),
}

/// Appends one frame, all but its records; those go out next, as they are.
///
/// # Panics
/// When header and records have four gigabytes: no push is nearly as large.
pub fn put(item: &Item, records: usize, out: &mut BytesMut) {
    let header = pb::Header::from(item);
    let length = header.encoded_len();
    let all = LENGTH_BYTES.saturating_add(length).saturating_add(records);
    let narrow = |bytes: usize| u32::try_from(bytes).expect("a frame has less than four gigabytes");
    out.reserve(PREFIX_BYTES + length);
    out.put_u8(0);
    out.put_u32(narrow(all));
    out.put_u32(narrow(length));
    header.encode(out).expect("room was reserved");
}

/// Frames out of the pieces of a body, however they were cut.
///
/// Records that lie in one piece are a slice of it and keep the whole piece in memory, up to an HTTP/2 frame; whoever
/// keeps them for long copies them.
#[derive(Debug)]
pub struct Decoder {
    frame_bytes_max: usize,
    /// What was fed and not yet looked at.
    pieces: VecDeque<Bytes>,
    /// What has come of prefix and header, if they are cut.
    head: BytesMut,
    /// An item whose records are under way, and how many bytes they have.
    pending: Option<(Item, usize)>,
    /// What has come of them, if they are cut.
    come: BytesMut,
    /// There is no next frame.
    failed: Option<FrameError>,
}

/// What prefix and header come to.
struct Lengths {
    header: usize,
    records: usize,
}

impl Decoder {
    /// Refuses frames that say that they have more than `frame_bytes_max` bytes behind gRPC's prefix.
    pub fn new(frame_bytes_max: usize) -> Self {
        Self {
            frame_bytes_max,
            pieces: VecDeque::new(),
            head: BytesMut::new(),
            pending: None,
            come: BytesMut::new(),
            failed: None,
        }
    }

    /// Takes the next piece of the body. [`Self::next`] is to be called until it has none before the next one is fed:
    /// only then is what is kept bounded.
    pub fn feed(&mut self, data: Bytes) {
        if !data.is_empty() && self.failed.is_none() {
            self.pieces.push_back(data);
        }
    }

    /// The next frame and its records; `None` until more is fed.
    ///
    /// # Errors
    /// [`FrameError`] when what was fed are no frames; the same again however often it is called.
    #[expect(clippy::should_implement_trait, reason = "after None more may come: it is no Iterator")]
    pub fn next(&mut self) -> Result<Option<(Item, Bytes)>, FrameError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.advance().inspect_err(|error| {
            *self = Self { failed: Some(error.clone()), ..Self::new(self.frame_bytes_max) };
        })
    }

    /// Whether the body may end here; if not, a frame is cut off.
    pub fn is_between_frames(&self) -> bool {
        self.pieces.is_empty() && self.head.is_empty() && self.pending.is_none() && self.failed.is_none()
    }

    /// How many bytes it holds or has set aside.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum::<usize>() + self.head.capacity() + self.come.capacity()
    }

    fn advance(&mut self) -> Result<Option<(Item, Bytes)>, FrameError> {
        let pending = match self.pending.take() {
            Some(pending) => Some(pending),
            None => self.header()?,
        };
        let Some((item, length)) = pending else { return Ok(None) };
        let records = self.records(length);
        if records.is_none() {
            self.pending = Some((item, length));
            return Ok(None);
        }
        Ok(records.map(|records| (item, records)))
    }

    /// The header of the next frame and the length of its records.
    fn header(&mut self) -> Result<Option<(Item, usize)>, FrameError> {
        while let Some(mut piece) = self.pieces.pop_front() {
            if self.head.is_empty()
                && let Some((lengths, header)) = whole(&piece, self.frame_bytes_max)?
            {
                let item = item(header, lengths.records)?;
                piece.advance(PREFIX_BYTES + lengths.header);
                self.put_back(piece);
                return Ok(Some((item, lengths.records)));
            }
            // First as much as says how much there is, then that much.
            let wanted = match lengths(&self.head, self.frame_bytes_max)? {
                None => PREFIX_BYTES,
                Some(lengths) => PREFIX_BYTES + lengths.header,
            };
            self.head.extend_from_slice(&piece.split_to((wanted - self.head.len()).min(piece.len())));
            self.put_back(piece);
            if let Some((lengths, header)) = whole(&self.head, self.frame_bytes_max)? {
                let item = item(header, lengths.records)?;
                self.head.clear();
                return Ok(Some((item, lengths.records)));
            }
        }
        Ok(None)
    }

    /// The next `length` bytes: a slice if they lie in one piece, else put together; `None` while some are missing.
    fn records(&mut self, length: usize) -> Option<Bytes> {
        if length == 0 {
            return Some(Bytes::new());
        }
        while let Some(mut piece) = self.pieces.pop_front() {
            let missing = length - self.come.len();
            if self.come.is_empty() && piece.len() >= missing {
                let records = piece.split_to(missing);
                self.put_back(piece);
                return Some(records);
            }
            self.come.reserve(missing);
            self.come.extend_from_slice(&piece.split_to(missing.min(piece.len())));
            self.put_back(piece);
            if self.come.len() == length {
                return Some(std::mem::take(&mut self.come).freeze());
            }
        }
        None
    }

    fn put_back(&mut self, rest: Bytes) {
        if !rest.is_empty() {
            self.pieces.push_front(rest);
        }
    }
}

/// Prefix and header, if all of them is there.
fn whole(bytes: &[u8], frame_bytes_max: usize) -> Result<Option<(Lengths, &[u8])>, FrameError> {
    let Some(lengths) = lengths(bytes, frame_bytes_max)? else { return Ok(None) };
    let header = bytes.get(PREFIX_BYTES..PREFIX_BYTES + lengths.header);
    Ok(header.map(|header| (lengths, header)))
}

/// What the first bytes of a frame say, checked as soon as they are there; `None` while they are not.
fn lengths(bytes: &[u8], frame_bytes_max: usize) -> Result<Option<Lengths>, FrameError> {
    let wide = |bytes: [u8; 4]| usize::try_from(u32::from_be_bytes(bytes)).unwrap_or(usize::MAX);
    let Some((&[compressed], rest)) = bytes.split_first_chunk() else { return Ok(None) };
    if compressed != 0 {
        return Err(FrameError::Compressed(compressed));
    }
    let Some((&frame, rest)) = rest.split_first_chunk() else { return Ok(None) };
    let frame = wide(frame);
    if frame > frame_bytes_max {
        return Err(FrameError::TooLong { got: frame, max: frame_bytes_max });
    }
    if frame < LENGTH_BYTES {
        return Err(FrameError::HeaderLength { got: 0, frame });
    }
    let Some((&header, _)) = rest.split_first_chunk() else { return Ok(None) };
    let header = wide(header);
    if header > HEADER_BYTES_MAX || header > frame - LENGTH_BYTES {
        return Err(FrameError::HeaderLength { got: header, frame });
    }
    Ok(Some(Lengths { header, records: frame - LENGTH_BYTES - header }))
}

fn item(header: &[u8], records: usize) -> Result<Item, FrameError> {
    let item = Item::try_from(pb::Header::decode(header)?)?;
    if records > 0 && !item.may_have_bytes() {
        return Err(FrameError::StrayRecords(records));
    }
    Ok(item)
}
