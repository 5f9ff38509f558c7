//! A connection to a port of a Pod, through the API server.
//!
//! Owns how one is opened and ended. Each connection is a WebSocket of its own: one that breaks takes no other with it.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Portforwarder;
use tokio::io::DuplexStream;
use tokio::time::timeout;

use crate::failure::{Exit, Failure, Result};
use crate::place::Place;
use crate::rights;

/// How long what is still under way to the Pod may take when our side has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A connection.
pub(crate) struct Tunnel {
    /// What is written there reaches the Pod, and the reverse.
    pub(crate) stream: DuplexStream,
    /// Why the Pod cannot be reached at that port, as soon as that is known.
    pub(crate) refusal: BoxFuture<'static, Option<String>>,
    forwarder: Portforwarder,
}

impl Tunnel {
    /// Opens one. That nobody listens at the port is known only later, by `refusal`.
    pub(crate) async fn open(place: &Place, pod: &str, port: u16) -> Result<Self> {
        let mut forwarder = place.ask(rights::PORT_FORWARD, place.api::<Pod>().portforward(pod, &[port])).await?;
        let stream = forwarder.take_stream(port);
        let refusal = forwarder.take_error(port);
        let (Some(stream), Some(refusal)) = (stream, refusal) else {
            return Err(Failure::new(Exit::Failed, format!("port {port} of {pod} was not opened")));
        };
        Ok(Self { stream, refusal: refusal.boxed(), forwarder })
    }

    /// Its parts, and what ends it once the stream is dropped.
    pub(crate) fn split(self) -> (DuplexStream, BoxFuture<'static, Option<String>>, End) {
        (self.stream, self.refusal, End(self.forwarder))
    }
}

/// Ends a tunnel.
pub(crate) struct End(Portforwarder);

impl End {
    /// Lets what was written reach the Pod.
    pub(crate) async fn close(self) {
        // An error here is one of a connection that nobody uses any more.
        let _ = timeout(LAST_WORDS, self.0.join()).await;
    }
}
