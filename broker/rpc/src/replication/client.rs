//! The end of the leader of partitions: it dials.

use std::future::poll_fn;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderValue, StatusCode};
use tonic::codegen::Service;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::body::{self, Incoming};
use super::server::EXCHANGE;
use crate::transport::held;

/// Sends `pieces` as the body of a request and gives what is answered. Returns when the other side has answered that it
/// takes the request, usually before the first piece has arrived. What [`super::put`] made and records are pieces of their
/// own, so that nothing is copied; an empty piece costs a frame and says nothing. When the answer is dropped or has ended,
/// so do `pieces`; when they end, the answer need not.
///
/// # Errors
/// Nobody is there, or nobody who knows this service.
pub async fn dial(
    mut channel: Channel,
    pieces: impl Stream<Item = Bytes> + Send + 'static,
) -> Result<Incoming, Status> {
    let unavailable = |error: tonic::transport::Error| Status::from_error(error.into());
    poll_fn(|cx| channel.poll_ready(cx)).await.map_err(unavailable)?;
    let (held, dropped) = held();
    let mut request = http::Request::new(body::request(pieces.take_until(dropped)));
    *request.method_mut() = http::Method::POST;
    // The channel puts its own scheme and authority in front.
    *request.uri_mut() = http::Uri::from_static(EXCHANGE);
    *request.version_mut() = http::Version::HTTP_2;
    request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let answer = channel.call(request).await.map_err(unavailable)?;
    if let Some(status) = Status::from_header_map(answer.headers()).filter(|status| status.code() != Code::Ok) {
        return Err(status);
    }
    if answer.status() != StatusCode::OK {
        return Err(Status::unavailable(format!("answered with HTTP status {}", answer.status())));
    }
    Ok(Incoming::of_answer(answer.into_body(), held))
}
