//! The end of a follower: it is dialled.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::stream::BoxStream;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::{Code, Status};

use super::body::{self, Incoming};
use crate::trust::Caller;

pub(super) const EXCHANGE: &str = "/ottla.replication.v1.Replication/Exchange";

/// What a request is answered with, piece by piece; see [`super::dial`] for what a piece is.
pub type Outgoing = BoxStream<'static, Bytes>;

/// Who answers.
pub trait Handler: Send + Sync + 'static {
    /// Another broker dialled. Called on the connection's task and must not wait. The exchange lasts until what is
    /// returned ends or the other side goes away, at which it is dropped.
    fn exchange(&self, incoming: Incoming) -> Outgoing;
}

/// The service for tonic's router.
#[derive(Debug)]
pub struct Replication<H> {
    handler: Arc<H>,
}

impl<H: Handler> Replication<H> {
    /// Whoever dials is answered by `handler`.
    pub fn new(handler: Arc<H>) -> Self {
        Self { handler }
    }
}

impl<H> Clone for Replication<H> {
    fn clone(&self) -> Self {
        Self { handler: self.handler.clone() }
    }
}

impl<H> NamedService for Replication<H> {
    const NAME: &'static str = "ottla.replication.v1.Replication";
}

impl<H: Handler> Service<http::Request<Body>> for Replication<H> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != EXCHANGE {
            return ready(Ok(Status::new(Code::Unimplemented, "there is no such method").into_http()));
        }
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or_else(Caller::unknown);
        let outgoing = self.handler.exchange(Incoming::of_request(request.into_body(), caller));
        let mut answer = http::Response::new(body::answer(outgoing));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        ready(Ok(answer))
    }
}
