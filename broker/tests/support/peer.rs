//! A broker in the test's own process, and a peer that speaks raw frames to it.
//!
//! Owns what several test files need. Every wait has a deadline and fails the test when it passes.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla_broker::config::Config;
use ottla_broker::node::Running;
use ottla_wire::Request;
use ottla_wire::frame::{frame_length, read_response, request_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Nothing in these tests takes this long unless it is broken.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Any free ports, and `extra` keys.
pub(crate) fn configured(directory: &Path, extra: &[(&str, &str)]) -> Config {
    let mut values = std::collections::BTreeMap::from([
        ("listeners".to_owned(), "PLAINTEXT://127.0.0.1:0".to_owned()),
        ("ottla.http.listener".to_owned(), "127.0.0.1:0".to_owned()),
        ("log.dirs".to_owned(), directory.display().to_string()),
        ("group.initial.rebalance.delay.ms".to_owned(), "0".to_owned()),
    ]);
    values.extend(extra.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    let (config, unknown) = Config::new(values).expect("the configuration of a test is valid");
    assert!(unknown.is_empty(), "{unknown:?}");
    config
}

/// Starts a broker on `directory` with any free ports and `extra` keys.
pub(crate) async fn start(directory: &Path, extra: &[(&str, &str)]) -> Running {
    Running::start(configured(directory, extra)).await.expect("the broker starts")
}

/// Where the broker's first listener is bound.
pub(crate) fn address(running: &Running) -> SocketAddr {
    running.listeners[0].1
}

/// Finishes `work` or fails the test.
pub(crate) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(DEADLINE, work).await.unwrap_or_else(|_| panic!("{what} took longer than {DEADLINE:?}"))
}

/// A peer with one connection.
pub(crate) struct Peer {
    stream: TcpStream,
    correlation_id: i32,
}

impl Peer {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = soon("connect", TcpStream::connect(address)).await.expect("the listener accepts");
        Self { stream, correlation_id: 0 }
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.send(request, version).await;
        self.answer::<R>(version).await
    }

    /// Sends a request.
    pub(crate) async fn send<R: Request>(&mut self, request: &R, version: i16) {
        self.correlation_id += 1;
        let frame = request_frame(request, version, self.correlation_id, Some("test")).expect("the request is valid");
        self.raw(&frame).await;
    }

    /// Reads the answer to the oldest unanswered request, which must be the last one sent unless the caller knows.
    pub(crate) async fn answer<R: Request>(&mut self, version: i16) -> R::Response {
        let frame = self.frame().await.expect("an answer instead of a closed connection");
        read_response::<R>(frame, version).expect("the answer reads").1
    }

    /// Sends bytes as they are.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        soon("send", self.stream.write_all(bytes)).await.expect("the peer takes the bytes");
    }

    /// The next frame; `None` if the broker closed the connection.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        soon("answer", self.stream.read_exact(&mut length)).await.ok()?;
        let length = frame_length(length, 64 * 1024 * 1024).expect("the broker frames its answers");
        let mut frame = BytesMut::zeroed(length);
        soon("answer", self.stream.read_exact(&mut frame)).await.ok()?;
        Some(frame.freeze())
    }

    /// Whether the broker closes the connection without another byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut byte = [0; 1];
        matches!(soon("close", self.stream.read(&mut byte)).await, Ok(0) | Err(_))
    }
}

/// The default of a message with some fields set.
pub(crate) fn with<M: Default>(set: impl FnOnce(&mut M)) -> M {
    let mut message = M::default();
    set(&mut message);
    message
}
