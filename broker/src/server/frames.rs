//! Length-prefixed frames off a socket, with bounded memory.
//!
//! Owns the bytes between the socket and a whole request. An idle connection holds no buffer: what is there is read
//! into a buffer of the thread and copied into an allocation of exactly the frame's size, and the rest of a large
//! frame is read in place. Must never allocate for bytes that were announced and not sent.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::net::TcpStream;

use super::admission::Charge;

/// What one read takes at the most while the frame's size is unknown.
const SCRATCH_BYTES: usize = 16 * 1024;
/// What one read takes at the most inside a large frame.
const READ_BYTES: usize = 256 * 1024;
/// What is allocated at once for a frame; a larger one grows as its bytes arrive.
const ALLOCATE_BYTES: usize = 1024 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
}

/// A whole frame without its length, and the memory it is charged for.
#[derive(Debug)]
pub struct Frame {
    /// The request: header and body.
    pub bytes: Bytes,
    /// Holds the frame's place in the request budget until the request is answered.
    pub charge: Charge,
}

/// Why no further frame can come.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length is negative or above `socket.request.max.bytes`.
    #[error("frame of {announced} bytes announced, 0 to {max} are allowed (socket.request.max.bytes)")]
    Length {
        /// What the peer said.
        announced: i32,
        /// The limit in force.
        max: usize,
    },
    /// The peer closed the connection inside a frame.
    #[error("connection closed after {received} of {announced} bytes of a frame")]
    Truncated {
        /// Bytes of the frame that came.
        received: usize,
        /// Bytes that were announced.
        announced: usize,
    },
    /// The socket failed.
    #[error("read: {0}")]
    Io(#[from] io::Error),
}

#[derive(Debug)]
enum State {
    Length { bytes: [u8; 4], filled: usize },
    Body { buffer: BytesMut, announced: usize },
}

/// Cuts what arrives on a socket into frames.
#[derive(Debug)]
pub struct FrameReader {
    state: State,
    ready: VecDeque<Frame>,
    charge: Charge,
    max: usize,
}

impl FrameReader {
    /// Reads frames of up to `max` bytes, paid for by `charge`'s budget.
    pub fn new(charge: Charge, max: usize) -> Self {
        Self { state: State::Length { bytes: [0; 4], filled: 0 }, ready: VecDeque::new(), charge, max }
    }

    /// How much of an unfinished frame is here: (received, announced) bytes. `None` between frames.
    pub fn unfinished(&self) -> Option<(usize, usize)> {
        match &self.state {
            State::Length { filled: 0, .. } => None,
            State::Length { filled, .. } => Some((*filled, 4)),
            State::Body { buffer, announced } => Some((buffer.len(), *announced)),
        }
    }

    /// Whether this connection has the overflow place of the request budget.
    pub fn is_oversized(&self) -> bool {
        self.charge.is_oversized()
    }

    /// The next whole frame; `None` once the peer has closed between two frames. Cancel-safe.
    ///
    /// # Errors
    /// [`FrameError`]; the connection is of no further use then.
    pub async fn next(&mut self, stream: &TcpStream) -> Result<Option<Frame>, FrameError> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Ok(Some(frame));
            }
            stream.readable().await?;
            let room = match &self.state {
                State::Length { .. } => SCRATCH_BYTES,
                State::Body { buffer, announced } => (announced - buffer.len()).clamp(SCRATCH_BYTES, READ_BYTES),
            };
            let counted = self.charge.grow(room).await;
            let outcome = self.read(stream);
            let kept = outcome.as_ref().map_or(0, |read| *read);
            self.charge.release(counted.saturating_sub(kept));
            match outcome {
                Ok(0) => {
                    let Some((received, announced)) = self.unfinished() else { return Ok(None) };
                    return Err(FrameError::Truncated { received, announced });
                }
                Ok(_) => self.hand_over(),
                Err(FrameError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// One read from the socket. Takes no more than `next` has paid for.
    fn read(&mut self, stream: &TcpStream) -> Result<usize, FrameError> {
        if let State::Body { buffer, announced } = &mut self.state {
            let missing = *announced - buffer.len();
            if missing >= SCRATCH_BYTES {
                if buffer.len() == buffer.capacity() {
                    buffer.reserve(missing.min(buffer.len().max(ALLOCATE_BYTES)));
                }
                let read = stream.try_read_buf(&mut buffer.limit(missing.min(READ_BYTES)))?;
                return Ok(read);
            }
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let read = stream.try_read(scratch)?;
            self.take(&scratch[..read])?;
            Ok(read)
        })
    }

    fn take(&mut self, mut data: &[u8]) -> Result<(), FrameError> {
        while !data.is_empty() {
            match &mut self.state {
                State::Length { bytes, filled } => {
                    let take = data.len().min(4 - *filled);
                    bytes[*filled..*filled + take].copy_from_slice(&data[..take]);
                    *filled += take;
                    data = &data[take..];
                    if *filled == 4 {
                        let length = i32::from_be_bytes(*bytes);
                        let announced = usize::try_from(length).ok().filter(|length| *length <= self.max);
                        let Some(announced) = announced else {
                            return Err(FrameError::Length { announced: length, max: self.max });
                        };
                        let buffer = BytesMut::with_capacity(announced.min(ALLOCATE_BYTES));
                        self.state = State::Body { buffer, announced };
                    }
                }
                State::Body { buffer, announced } => {
                    let take = data.len().min(*announced - buffer.len());
                    buffer.put_slice(&data[..take]);
                    data = &data[take..];
                }
            }
            self.hand_over();
        }
        Ok(())
    }

    /// Moves a finished frame, with its share of the charge, to where `next` takes it.
    fn hand_over(&mut self) {
        if let State::Body { buffer, announced } = &mut self.state
            && buffer.len() == *announced
        {
            let bytes = std::mem::take(buffer).freeze();
            let charge = self.charge.split(bytes.len() + 4);
            self.ready.push_back(Frame { bytes, charge });
            self.state = State::Length { bytes: [0; 4], filled: 0 };
        }
    }
}
