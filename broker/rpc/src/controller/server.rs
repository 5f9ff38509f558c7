//! The other end: every broker serves this, since every broker may be the controller.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::StreamExt;
use futures::stream::BoxStream;
use tonic::body::Body;
use tonic::codec::Streaming;
use tonic::codegen::BoxFuture;
use tonic::server::{Grpc, NamedService, StreamingService, UnaryService};
use tonic::{Code, Request, Response, Status};

use super::client::{FOLLOW, SILENT};
use super::codec::{Arrived, Codec, Messages};
use super::{DOWN_BYTES_MAX, DecodeError, Down, Silent, StreamError, UP_BYTES_MAX, Up};
use crate::trust::Caller;

/// What a broker sends, in its order, until its stream ends. After an error nothing more comes.
pub type UpStream = BoxStream<'static, Result<Up, StreamError>>;

/// What it is sent; a status ends the stream, with its sentence.
pub type DownStream = BoxStream<'static, Result<Down, Status>>;

/// Who answers.
pub trait Service: Send + Sync + 'static {
    /// A broker opened a stream. Called on the connection's task and must not wait; the stream stays open until what is
    /// returned ends or the broker goes away, at which it is dropped. What it says of itself is to be compared with who
    /// `caller` is.
    fn follow(&self, caller: Caller, ups: UpStream) -> DownStream;

    /// A broker, which is who it says, does not hear the controller, or hears it again. Must not wait.
    fn silent(&self, silent: Silent);
}

/// The service for tonic's router.
pub fn service<S: Service>(answers: Arc<S>) -> Controller<S> {
    Controller { answers }
}

/// The service as tonic's router takes it.
#[derive(Debug)]
pub struct Controller<S> {
    answers: Arc<S>,
}

impl<S> Clone for Controller<S> {
    fn clone(&self) -> Self {
        Self { answers: self.answers.clone() }
    }
}

impl<S> NamedService for Controller<S> {
    const NAME: &'static str = "ottla.controller.v1.Controller";
}

impl<S: Service> tonic::codegen::Service<http::Request<Body>> for Controller<S> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answers = self.answers.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                FOLLOW => grpc(Codec::<Down, Up>::new()).streaming(Follow(answers), request).await,
                SILENT => grpc(Codec::<Arrived, Silent>::new()).unary(Hear(answers), request).await,
                _ => Status::new(Code::Unimplemented, "there is no such method").into_http(),
            })
        })
    }
}

fn grpc<T: tonic::codec::Codec>(codec: T) -> Grpc<T> {
    Grpc::new(codec).max_decoding_message_size(UP_BYTES_MAX).max_encoding_message_size(DOWN_BYTES_MAX)
}

struct Follow<S>(Arc<S>);

impl<S: Service> StreamingService<Result<Up, DecodeError>> for Follow<S> {
    type Response = Down;
    type ResponseStream = DownStream;
    type Future = Ready<Result<Response<DownStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<Result<Up, DecodeError>>>) -> Self::Future {
        let caller = caller(&request);
        let ups = Messages::of(request.into_inner(), None).boxed();
        ready(Ok(Response::new(self.0.follow(caller, ups))))
    }
}

struct Hear<S>(Arc<S>);

impl<S: Service> UnaryService<Result<Silent, DecodeError>> for Hear<S> {
    type Response = Arrived;
    type Future = Ready<Result<Response<Arrived>, Status>>;

    fn call(&mut self, request: Request<Result<Silent, DecodeError>>) -> Self::Future {
        let caller = caller(&request);
        ready(match request.into_inner() {
            Ok(silent) => {
                if let Err(sentence) = caller.check_broker(silent.broker) {
                    return ready(Err(Status::permission_denied(sentence)));
                }
                self.0.silent(silent);
                Ok(Response::new(Arrived))
            }
            Err(unreadable) => Err(Status::invalid_argument(unreadable.to_string())),
        })
    }
}

fn caller<T>(request: &Request<T>) -> Caller {
    request.extensions().get::<Caller>().cloned().unwrap_or_else(Caller::unknown)
}
