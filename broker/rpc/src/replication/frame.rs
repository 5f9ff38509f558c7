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
use ottla_core::replica::Message;
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
    state: State,
}

#[derive(Debug)]
enum State {
    /// In front of or within prefix and header; what has come of them, if they are cut.
    Head(BytesMut),
    /// Behind the header.
    Records { item: Item, length: usize, come: BytesMut },
    /// There is no next frame.
    Failed(FrameError),
}

/// What prefix and header come to.
struct Lengths {
    header: usize,
    records: usize,
}

impl Decoder {
    /// Refuses frames that say that they have more than `frame_bytes_max` bytes behind gRPC's prefix.
    pub fn new(frame_bytes_max: usize) -> Self {
        Self { frame_bytes_max, pieces: VecDeque::new(), state: State::Head(BytesMut::new()) }
    }

    /// Takes the next piece of the body. [`Self::next`] is to be called until it has none before the next one is fed:
    /// only then is what is kept bounded.
    pub fn feed(&mut self, data: Bytes) {
        if !data.is_empty() && !matches!(self.state, State::Failed(_)) {
            self.pieces.push_back(data);
        }
    }

    /// The next frame and its records; `None` until more is fed.
    ///
    /// # Errors
    /// [`FrameError`] when what was fed are no frames; the same again however often it is called.
    // It cannot be an Iterator: None is not the end.
    #[expect(clippy::should_implement_trait, reason = "after None more may come, and an error is not an item")]
    pub fn next(&mut self) -> Result<Option<(Item, Bytes)>, FrameError> {
        self.advance().inspect_err(|error| {
            self.pieces = VecDeque::new();
            self.state = State::Failed(error.clone());
        })
    }

    fn advance(&mut self) -> Result<Option<(Item, Bytes)>, FrameError> {
        loop {
            match &mut self.state {
                State::Failed(error) => return Err(error.clone()),
                State::Head(_) => {
                    let Some((item, length)) = self.head()? else { return Ok(None) };
                    self.state = State::Records { item, length, come: BytesMut::new() };
                }
                State::Records { length, come, .. } => {
                    let Some(records) = records(&mut self.pieces, *length, come) else { return Ok(None) };
                    let done = std::mem::replace(&mut self.state, State::Head(BytesMut::new()));
                    let State::Records { item, .. } = done else { unreachable!("it was matched above") };
                    return Ok(Some((item, records)));
                }
            }
        }
    }

    /// The header of the next frame and the length of its records.
    fn head(&mut self) -> Result<Option<(Item, usize)>, FrameError> {
        let State::Head(cut) = &mut self.state else { return Ok(None) };
        while let Some(piece) = self.pieces.front_mut() {
            if cut.is_empty()
                && let Some(lengths) = lengths(piece, self.frame_bytes_max)?
                && let Some(header) = piece.get(PREFIX_BYTES..PREFIX_BYTES + lengths.header)
            {
                let item = item(header, lengths.records)?;
                piece.advance(PREFIX_BYTES + lengths.header);
                return Ok(Some((item, lengths.records)));
            }
            // First as much as says how much there is, then that much.
            let wanted = match lengths(cut, self.frame_bytes_max)? {
                None => PREFIX_BYTES,
                Some(lengths) => PREFIX_BYTES + lengths.header,
            };
            cut.extend_from_slice(&piece.split_to((wanted - cut.len()).min(piece.len())));
            if piece.is_empty() {
                self.pieces.pop_front();
            }
            if let Some(lengths) = lengths(cut, self.frame_bytes_max)?
                && let Some(header) = cut.get(PREFIX_BYTES..PREFIX_BYTES + lengths.header)
            {
                let item = item(header, lengths.records)?;
                return Ok(Some((item, lengths.records)));
            }
        }
        Ok(None)
    }
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
    let push = matches!(item, Item::Message { message: Message::Push(_), .. });
    if records > 0 && !push {
        return Err(FrameError::StrayRecords(records));
    }
    Ok(item)
}

/// The next `length` bytes: a slice if they lie in one piece, else put together in `come`; `None` while some are missing.
fn records(pieces: &mut VecDeque<Bytes>, length: usize, come: &mut BytesMut) -> Option<Bytes> {
    if length == 0 {
        return Some(Bytes::new());
    }
    while let Some(piece) = pieces.front_mut() {
        let missing = length - come.len();
        if come.is_empty() && piece.len() > missing {
            return Some(piece.split_to(missing));
        }
        if come.is_empty() && piece.len() == missing {
            return pieces.pop_front();
        }
        come.reserve(missing);
        come.extend_from_slice(&piece.split_to(missing.min(piece.len())));
        if piece.is_empty() {
            pieces.pop_front();
        }
        if come.len() == length {
            return Some(std::mem::take(come).freeze());
        }
    }
    None
}
