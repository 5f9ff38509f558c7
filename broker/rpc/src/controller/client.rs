//! The broker's end: it opens the stream towards the controller, and tells others when it no longer hears it.

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::codec::{Arrived, Codec, Messages};
use super::{DOWN_BYTES_MAX, Down, Silent, StreamError, UP_BYTES_MAX, Up};
use crate::transport::held;

pub(super) const FOLLOW: &str = "/ottla.controller.v1.Controller/Follow";
pub(super) const SILENT: &str = "/ottla.controller.v1.Controller/Silent";

/// One other broker. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
}

impl Client {
    /// Speaks over `channel`; nothing is sent yet.
    pub fn connect(channel: Channel) -> Self {
        Self { channel }
    }

    /// Opens a stream. Returns when the other side has answered that it takes it; that may be before it has read anything.
    /// When the answer is dropped or has ended, so do `ups`. An [`super::EncodeError`] of `ups` breaks the stream.
    ///
    /// # Errors
    /// Nobody is there, or there is no such service.
    pub async fn follow(
        &self,
        ups: impl Stream<Item = Up> + Send + 'static,
    ) -> Result<BoxStream<'static, Result<Down, StreamError>>, Status> {
        let mut grpc = self.ready().await?;
        let (held, dropped) = held();
        let ups = Request::new(ups.take_until(dropped));
        let answer = grpc.streaming(ups, PathAndQuery::from_static(FOLLOW), Codec::<Up, Down>::new()).await?;
        Ok(Messages::of(answer.into_inner(), Some(held)).boxed())
    }

    /// Says that the controller fell silent, or is heard again. There is no deadline but the caller's.
    ///
    /// # Errors
    /// It is not known to have arrived.
    pub async fn silent(&self, silent: Silent) -> Result<(), StreamError> {
        let mut grpc = self.ready().await?;
        let codec = Codec::<Silent, Arrived>::new();
        let answer = grpc.unary(Request::new(silent), PathAndQuery::from_static(SILENT), codec).await?;
        let Arrived = answer.into_inner()?;
        Ok(())
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(self.channel.clone())
            .max_decoding_message_size(DOWN_BYTES_MAX)
            .max_encoding_message_size(UP_BYTES_MAX);
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        Ok(grpc)
    }
}
