//! A row of bytes as an HTTP/2 body, and a body as a row of bytes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{HeaderMap, HeaderValue};
use http_body::{Body as _, Frame};
use tonic::body::Body;
use tonic::{Code, Status};

use crate::transport::Held;
use crate::trust::Caller;

/// The pieces of the other side's body, as they came. After an error, or the end, nothing more comes.
#[derive(Debug)]
pub struct Incoming {
    body: Option<Body>,
    caller: Caller,
    /// The request that this answers ends with it.
    held: Option<Held>,
}

impl Incoming {
    pub(super) fn of_request(body: Body, caller: Caller) -> Self {
        Self { body: Some(body), caller, held: None }
    }

    pub(super) fn of_answer(body: Body, held: Held) -> Self {
        Self { body: Some(body), caller: Caller::unknown(), held: Some(held) }
    }

    /// Whoever dialled; nothing is told of whom one has dialled oneself, by name.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }
}

impl Stream for Incoming {
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let last = loop {
            let Some(body) = &mut self.body else { return Poll::Ready(None) };
            let frame = match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(status)) => break Some(Err(status)),
                None => break None,
            };
            match frame.into_data() {
                Ok(data) => return Poll::Ready(Some(Ok(data))),
                // Trailers say how it ended.
                Err(frame) => {
                    let status = frame.trailers_ref().and_then(Status::from_header_map);
                    if let Some(status) = status.filter(|status| status.code() != Code::Ok) {
                        break Some(Err(status));
                    }
                }
            }
        };
        (self.body, self.held) = (None, None);
        Poll::Ready(last)
    }
}

/// Bytes that go out as they are, one piece after the other, and at the end `trailers`.
pub(super) struct Pieces<S> {
    stream: S,
    trailers: Option<HeaderMap>,
}

impl<S: Stream<Item = Bytes> + Unpin> http_body::Body for Pieces<S> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(match ready!(self.stream.poll_next_unpin(cx)) {
            Some(piece) => Some(Ok(Frame::data(piece))),
            None => self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))),
        })
    }
}

/// The body of a request, which has no trailers.
pub(super) fn request(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    Body::new(Pieces { stream: pieces.boxed().fuse(), trailers: None })
}

/// The body of an answer, which ends with gRPC's status.
pub(super) fn answer(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    let mut trailers = HeaderMap::new();
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    Body::new(Pieces { stream: pieces.boxed().fuse(), trailers: Some(trailers) })
}
