//! What a handler gives back: an answer, now or later, or the wish to close the connection.
//!
//! Owns the shape between handlers and connections. Must never copy record bytes.

use std::io::IoSlice;
use std::pin::Pin;

use bytes::{Buf, Bytes};
use smallvec::SmallVec;

use super::admission::Charge;

/// A whole response frame, its length included, in the pieces that it was made of.
#[derive(Debug, Default)]
pub struct Answer {
    chunks: SmallVec<[Bytes; 4]>,
    /// Memory that the answer holds until the socket has taken it.
    pub charge: Option<Charge>,
}

impl Answer {
    /// An answer of several pieces.
    pub fn chunks(chunks: impl IntoIterator<Item = Bytes>) -> Self {
        Self { chunks: chunks.into_iter().filter(|chunk| !chunk.is_empty()).collect(), charge: None }
    }

    /// The same answer, holding `charge` until it is sent.
    #[must_use]
    pub fn holding(mut self, charge: Charge) -> Self {
        self.charge = Some(charge);
        self
    }

    /// Bytes in the frame.
    pub fn len(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    /// Whether nothing is left to send.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The next pieces as slices for one vectored write.
    pub fn slices(&self) -> SmallVec<[IoSlice<'_>; 16]> {
        self.chunks.iter().take(16).map(|chunk| IoSlice::new(chunk)).collect()
    }

    /// Drops the first `sent` bytes.
    pub fn advance(&mut self, mut sent: usize) {
        let mut done = 0;
        for chunk in &mut self.chunks {
            if sent < chunk.len() {
                chunk.advance(sent);
                break;
            }
            sent -= chunk.len();
            done += 1;
        }
        self.chunks.drain(..done);
    }
}

/// Why a connection is closed instead of answered.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Close {
    /// A phrase for the one log line.
    pub reason: String,
}

impl Close {
    /// Close because of `reason`.
    pub fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// An answer to come; `None` where the request asks for none (Produce with acks=0).
pub type Pending = Pin<Box<dyn Future<Output = Result<Option<Answer>, Close>> + Send>>;

/// A request after its ordered stage.
pub struct Reply {
    /// The rest of the work.
    pub pending: Pending,
    /// Whether the connection may begin its next request before this one is answered. Only for work whose order was
    /// settled before the reply was made.
    pub pipelined: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_sent_across_its_pieces() {
        let mut answer = Answer::chunks([Bytes::from_static(b"ab"), Bytes::new(), Bytes::from_static(b"cdef")]);
        assert_eq!((answer.len(), answer.slices().len()), (6, 2));
        answer.advance(1);
        answer.advance(3);
        assert_eq!(answer.slices()[0].as_ref(), b"ef");
        answer.advance(2);
        assert!(answer.is_empty());
    }
}
