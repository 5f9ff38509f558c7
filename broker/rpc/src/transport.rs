//! The HTTP/2 connections between brokers: one set of numbers for whoever dials and whoever listens.
//!
//! The sizes are those that `benches/hop.rs` measured (ADR 0003). Both ends announce them: a receiver says how large
//! frames and windows may be. Nothing here opens a port.

use std::convert::Infallible;
use std::time::Duration;

use futures::channel::oneshot;
use ottla_core::limits::REPLICATION_BYTES;
use tokio::net::TcpStream;
use tonic::transport::{Endpoint, Server, Uri};

/// The largest HTTP/2 frame. The default of 16 KiB halves the throughput.
pub const FRAME_BYTES: u32 = 1024 * 1024;

/// What may be under way on one connection, and on one stream of it, before the receiver has taken it: as much as
/// replication may have in flight.
pub const WINDOW_BYTES: u32 = {
    assert!(REPLICATION_BYTES < (1 << 31), "HTTP/2 has windows of 31 bits");
    REPLICATION_BYTES as u32
};

/// For how long a connection may be under way. Whoever does not accept within it is not there.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// After so long without a frame the other side is asked for one.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// After so long without an answer to that the connection is closed. It is there for connections that a network dropped
/// without a word; who is dead is found by the controller's heartbeats, long before. Not shorter: hyper looks at its timer
/// before it reads what has come, so that a process that was itself held up takes the other side for dead.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Streams of one connection. A pair of brokers has a handful.
pub const STREAMS_MAX: u32 = 64;

/// What is found at another broker's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knock {
    /// It takes connections.
    There,
    /// The machine says that nobody listens: the process does not run.
    Refused,
    /// No answer in time, or none that says anything of the process.
    Unknown,
}

/// Knocks at another broker's address, and goes away again.
pub async fn knock(host: &str, port: u16, patience: Duration) -> Knock {
    match tokio::time::timeout(patience, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Knock::There,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => Knock::Refused,
        Ok(Err(_)) | Err(_) => Knock::Unknown,
    }
}

/// A connection that waits for no more to say before it says something.
pub(crate) async fn dial((host, port): (&str, u16)) -> std::io::Result<TcpStream> {
    let late = || std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time");
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port))).await;
    let stream = connected.map_err(|_| late())??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// For dialling another broker.
pub fn endpoint(uri: Uri) -> Endpoint {
    Endpoint::from(uri)
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
}

/// For listening. What is served on sockets that the caller has bound needs `TCP_NODELAY` from the caller
/// ([`crate::trust::accept`] sets it): tonic does so only where it binds itself.
pub fn server() -> Server {
    Server::builder()
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
}

/// As long as this is held, the other half of [`held`] waits.
pub(crate) type Held = oneshot::Sender<Infallible>;

/// For a request that has to end when nobody wants its answer any more: hyper goes on sending the body of a request whose
/// answer was dropped, and the other side would not notice until the connection ends.
pub(crate) fn held() -> (Held, oneshot::Receiver<Infallible>) {
    oneshot::channel()
}
