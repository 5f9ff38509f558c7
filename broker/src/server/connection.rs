//! One connection: requests in, answers out, in order.
//!
//! Owns the order of a connection's work and its ends. Produce requests are pipelined: each is appended in turn and
//! several wait for the disk together. Any other request is answered before the next one begins, as clients of Kafka
//! have come to rely on. Must never answer out of order, nor hold memory for a peer that neither sends nor reads.

use std::io;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::admission::Charge;
use super::dispatch::Dispatcher;
use super::frames::{FrameError, FrameReader};
use super::reply::{Answer, Close, Pending};

/// Requests of one connection that wait for the disk at once.
const PIPELINED_MAX: usize = 64;
/// How long a peer may stop in the middle of a frame, or not read its answer, before it is closed.
const STALLED: Duration = Duration::from_secs(30);
/// The same for a peer that holds memory for which others wait: the overflow place of the request budget, or an answer.
const STALLED_AND_WANTED: Duration = Duration::from_secs(3);

/// How a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// The peer closed between two requests.
    #[error("closed by the peer")]
    Peer,
    /// The broker stops.
    #[error("the broker stops")]
    Shutdown,
    /// Nothing came for `connections.max.idle.ms`.
    #[error("idle for {0:?} (connections.max.idle.ms)")]
    Idle(Duration),
    /// What came is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The request cannot be answered.
    #[error(transparent)]
    Refused(#[from] Close),
    /// The peer stopped in the middle of a frame.
    #[error("stalled for {after:?} after {received} of {announced} bytes of a frame")]
    Stalled {
        /// Bytes that came.
        received: usize,
        /// Bytes that were announced.
        announced: usize,
        /// How long nothing came.
        after: Duration,
    },
    /// The peer does not read.
    #[error("the peer has read nothing of its answer for {0:?}")]
    Unread(Duration),
    /// The answer could not be written.
    #[error("write: {0}")]
    Write(io::Error),
}

impl End {
    /// Whether the end is worth a line in the log: a peer's or a network's ordinary leaving is not.
    pub fn is_remarkable(&self) -> bool {
        match self {
            Self::Peer | Self::Shutdown | Self::Idle(_) | Self::Write(_) => false,
            Self::Frame(FrameError::Io(_)) => false,
            Self::Frame(_) | Self::Refused(_) | Self::Stalled { .. } | Self::Unread(_) => true,
        }
    }
}

/// Serves `stream` until it ends.
pub async fn serve(
    stream: &TcpStream,
    mut frames: FrameReader,
    dispatcher: &Dispatcher,
    idle: Duration,
    shutdown: &CancellationToken,
) -> End {
    let mut pending: FuturesOrdered<Pending> = FuturesOrdered::new();
    // Set while a request is under way that the next one must not overtake.
    let mut barrier = false;
    loop {
        tokio::select! {
            biased;
            Some(outcome) = pending.next(), if !pending.is_empty() => {
                let written = match outcome {
                    Ok(Some(answer)) => send(stream, answer).await,
                    Ok(None) => Ok(()),
                    Err(close) => Err(close.into()),
                };
                if let Err(end) = written {
                    return end;
                }
                barrier = barrier && !pending.is_empty();
            }
            frame = next_frame(&mut frames, stream, idle), if !barrier && pending.len() < PIPELINED_MAX => {
                match frame.and_then(|frame| dispatcher.dispatch(frame).map_err(End::from)) {
                    Ok(reply) => {
                        barrier = !reply.pipelined;
                        pending.push_back(reply.pending);
                    }
                    Err(end) => return end,
                }
            }
            () = shutdown.cancelled(), if pending.is_empty() => return End::Shutdown,
        }
    }
}

/// The next frame, or the reason why there is none. Cancel-safe as [`FrameReader::next`].
async fn next_frame(frames: &mut FrameReader, stream: &TcpStream, idle: Duration) -> Result<super::frames::Frame, End> {
    loop {
        let unfinished = frames.unfinished();
        let patience = match unfinished {
            None => idle,
            Some(_) if frames.is_oversized() => STALLED_AND_WANTED,
            Some(_) => STALLED,
        };
        let outcome = tokio::select! {
            biased;
            frame = frames.next(stream) => frame,
            () = sleep(patience) => {
                // Progress starts the patience anew.
                match (unfinished, frames.unfinished()) {
                    (None, None) => return Err(End::Idle(patience)),
                    (Some(before), Some(after)) if before == after => {
                        let (received, announced) = after;
                        return Err(End::Stalled { received, announced, after: patience });
                    }
                    _ => continue,
                }
            }
        };
        return outcome?.ok_or(End::Peer);
    }
}

/// Writes an answer whole.
async fn send(stream: &TcpStream, mut answer: Answer) -> Result<(), End> {
    let mut unread = Duration::ZERO;
    while !answer.is_empty() {
        let written = stream.try_write_vectored(&answer.slices());
        match written {
            Ok(sent) => {
                answer.advance(sent);
                unread = Duration::ZERO;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                match timeout(STALLED_AND_WANTED, stream.writable()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Err(End::Write(error)),
                    Err(_) => {
                        unread += STALLED_AND_WANTED;
                        let wanted = answer.charge.as_ref().is_some_and(Charge::keeps_others_waiting);
                        if wanted || unread >= STALLED {
                            return Err(End::Unread(unread));
                        }
                    }
                }
            }
            Err(error) => return Err(End::Write(error)),
        }
    }
    Ok(())
}
