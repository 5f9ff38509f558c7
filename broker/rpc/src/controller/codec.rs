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
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tonic::Status;
use tonic::codec::{DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};

use crate::transport::Held;

use super::{DOWN_BYTES_MAX, DecodeError, Down, EncodeError, Silent, StreamError, UP_BYTES_MAX, Up, pb};

/// Fields of a message with documents: the most that there can be, and what goes with them.
const FIELDS_MAX: usize = (1 << 16) + 16;

/// Something that is one gRPC message.
pub(super) trait Message: Sized + Send + Sync + 'static {
    fn put(&self, out: &mut impl BufMut) -> Result<(), EncodeError>;

    fn take(bytes: impl Buf) -> Result<Self, DecodeError>;
}

fn put(message: &impl prost::Message, max: usize, out: &mut impl BufMut) -> Result<(), EncodeError> {
    let got = message.encoded_len();
    if got > max {
        return Err(EncodeError::TooLong { got, max });
    }
    message.encode(out).expect("a buffer that grows has room");
    Ok(())
}

impl Message for Up {
    fn put(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        put(&pb::Up::from(self), UP_BYTES_MAX, out)
    }

    fn take(bytes: impl Buf) -> Result<Self, DecodeError> {
        pb::Up::decode(bytes)?.try_into()
    }
}

impl Message for Down {
    fn put(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        let max = if matches!(self, Self::Documents { .. }) { DOWN_BYTES_MAX } else { UP_BYTES_MAX };
        put(&pb::Down::from(self), max, out)
    }

    fn take(bytes: impl Buf) -> Result<Self, DecodeError> {
        if bytes.remaining() > UP_BYTES_MAX {
            check_documents(bytes.chunk())?;
        }
        pb::Down::decode(bytes)?.try_into()
    }
}

impl Message for Silent {
    fn put(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        put(&pb::SilentRequest::from(self), UP_BYTES_MAX, out)
    }

    fn take(bytes: impl Buf) -> Result<Self, DecodeError> {
        Ok(pb::SilentRequest::decode(bytes)?.into())
    }
}

/// Two bytes of protobuf can become some hundred in memory. So only documents may be long, and there are not many of them.
fn check_documents(mut bytes: &[u8]) -> Result<(), DecodeError> {
    const DOCUMENTS: u32 = 2;
    let all = bytes.len();
    let (tag, kind) = decode_key(&mut bytes)?;
    let length = decode_varint(&mut bytes)?;
    if tag != DOCUMENTS || kind != WireType::LengthDelimited || u64::try_from(bytes.len()) != Ok(length) {
        return Err(DecodeError::TooLong { got: all, max: UP_BYTES_MAX });
    }
    let mut fields = 0_usize;
    while !bytes.is_empty() {
        let (tag, kind) = decode_key(&mut bytes)?;
        skip_field(kind, tag, &mut bytes, DecodeContext::default())?;
        fields += 1;
        if fields > FIELDS_MAX {
            return Err(DecodeError::TooLong { got: fields, max: FIELDS_MAX });
        }
    }
    Ok(())
}

/// The answer to [`Silent`]: it arrived.
pub(super) struct Arrived;

impl Message for Arrived {
    fn put(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        put(&pb::SilentAnswer {}, UP_BYTES_MAX, out)
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

/// The messages of a stream. After the first error nothing more comes.
pub(super) struct Messages<D> {
    stream: Option<Streaming<Result<D, DecodeError>>>,
    /// What is sent the other way ends with this.
    held: Option<Held>,
}

impl<D> Messages<D> {
    pub(super) fn of(stream: Streaming<Result<D, DecodeError>>, held: Option<Held>) -> Self {
        Self { stream: Some(stream), held }
    }
}

impl<D> Stream for Messages<D> {
    type Item = Result<D, StreamError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        let item = match ready!(Pin::new(stream).poll_next(cx)) {
            Some(Ok(Ok(message))) => return Poll::Ready(Some(Ok(message))),
            Some(Ok(Err(unreadable))) => Some(Err(unreadable.into())),
            Some(Err(status)) => Some(Err(status.into())),
            None => None,
        };
        (self.stream, self.held) = (None, None);
        Poll::Ready(item)
    }
}
