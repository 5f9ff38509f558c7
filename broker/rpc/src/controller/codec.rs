//! Messages to and from the bytes of one gRPC message.
//!
//! What cannot be decoded is handed on as a typed error instead of being made a status of: the receiver decides what it
//! says to the sender.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut};
use futures::Stream;
use prost::Message as _;
use tonic::codec::{DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::{Code, Status};

use super::{DecodeError, Down, EncodeError, Silent, StreamError, Up, pb};

/// Something that is one gRPC message.
pub(super) trait Message: Sized + Send + Sync + 'static {
    fn put(&self, out: &mut impl BufMut) -> Result<(), EncodeError>;

    fn take(bytes: impl Buf) -> Result<Self, DecodeError>;
}

/// Every buffer here grows.
fn put(message: &impl prost::Message, out: &mut impl BufMut) {
    message.encode(out).expect("a buffer that grows has room");
}

impl Message for Up {
    fn put(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        put(&pb::Up::try_from(self)?, out);
        Ok(())
    }

    fn take(bytes: impl Buf) -> Result<Self, DecodeError> {
        pb::Up::decode(bytes)?.try_into()
    }
}

impl Message for Down {
    fn put(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        put(&pb::Down::try_from(self)?, out);
        Ok(())
    }

    fn take(bytes: impl Buf) -> Result<Self, DecodeError> {
        pb::Down::decode(bytes)?.try_into()
    }
}

impl Message for Silent {
    fn put(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        put(&pb::SilentRequest::from(self), out);
        Ok(())
    }

    fn take(bytes: impl Buf) -> Result<Self, DecodeError> {
        Ok(pb::SilentRequest::decode(bytes)?.into())
    }
}

/// The answer to [`Silent`]: it arrived.
pub(super) struct Arrived;

impl Message for Arrived {
    fn put(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        put(&pb::SilentAnswer {}, out);
        Ok(())
    }

    fn take(bytes: impl Buf) -> Result<Self, DecodeError> {
        let pb::SilentAnswer {} = pb::SilentAnswer::decode(bytes)?;
        Ok(Self)
    }
}

/// Sends `E` and receives `D`.
pub(super) struct Codec<E, D>(PhantomData<fn() -> (E, D)>);

impl<E, D> Codec<E, D> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<E: Message, D: Message> tonic::codec::Codec for Codec<E, D> {
    type Encode = E;
    type Decode = Result<D, DecodeError>;
    type Encoder = Codec<E, D>;
    type Decoder = Codec<E, D>;

    fn encoder(&mut self) -> Self::Encoder {
        Codec::new()
    }

    fn decoder(&mut self) -> Self::Decoder {
        Codec::new()
    }
}

impl<E: Message, D> Encoder for Codec<E, D> {
    type Item = E;
    type Error = Status;

    fn encode(&mut self, item: E, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        Ok(item.put(out)?)
    }
}

impl<E, D: Message> Decoder for Codec<E, D> {
    type Item = Result<D, DecodeError>;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        Ok(Some(D::take(bytes)))
    }
}

/// The messages of a stream. After the first error nothing more comes, and the stream is reset.
pub(super) struct Messages<D>(Option<Streaming<Result<D, DecodeError>>>);

impl<D> Messages<D> {
    pub(super) fn of(stream: Streaming<Result<D, DecodeError>>) -> Self {
        Self(Some(stream))
    }
}

impl<D> Stream for Messages<D> {
    type Item = Result<D, StreamError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(stream) = &mut self.0 else { return Poll::Ready(None) };
        let item = match ready!(Pin::new(stream).poll_next(cx)) {
            Some(Ok(Ok(message))) => return Poll::Ready(Some(Ok(message))),
            Some(Ok(Err(unreadable))) => Some(Err(unreadable.into())),
            Some(Err(status)) if status.code() == Code::Ok => None,
            Some(Err(status)) => Some(Err(status.into())),
            None => None,
        };
        self.0 = None;
        Poll::Ready(item)
    }
}
