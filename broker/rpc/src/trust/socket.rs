//! One connection, with TLS or without, and who is at its other end.
//!
//! Owns the choice between the two for reading and writing, which copies nothing, and what services are told of a caller.
//! Must never say that somebody is a broker who has not shown it.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use ottla_core::types::BrokerId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsStream;
use tonic::transport::server::Connected;

use super::name::Name;

/// What is known of who calls a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// It connected in plaintext, which is let in only where nobody has certificates, or not everybody yet.
    Unknown,
    /// It has shown who it is.
    Known(Name),
    /// It has shown something that this cluster's authority has signed, for nobody of this cluster; a sentence.
    Stranger(String),
}

/// Who calls, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its address, if it is known.
    pub remote: Option<SocketAddr>,
    /// Who it is.
    pub identity: Identity,
}

impl Caller {
    /// Nothing is known.
    pub fn unknown() -> Self {
        Self { remote: None, identity: Identity::Unknown }
    }

    /// Whether it may speak for that broker.
    ///
    /// # Errors
    /// A sentence that says who it is instead.
    pub fn check_broker(&self, claimed: BrokerId) -> Result<(), String> {
        match &self.identity {
            Identity::Unknown => Ok(()),
            Identity::Known(Name::Broker(id)) if *id == claimed => Ok(()),
            Identity::Known(name) => {
                Err(format!("it says that it is broker {claimed}, and its certificate is that of {name}"))
            }
            Identity::Stranger(sentence) => Err(sentence.clone()),
        }
    }
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection to or from another process of the cluster.
#[derive(Debug)]
pub struct Socket {
    stream: Stream,
    caller: Caller,
    /// Whoever watches over it ends with it.
    _watched: Option<oneshot::Sender<()>>,
}

impl Socket {
    pub(super) fn plain(stream: TcpStream, caller: Caller, watched: Option<oneshot::Sender<()>>) -> Self {
        Self { stream: Stream::Plain(stream), caller, _watched: watched }
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>, caller: Caller, watched: Option<oneshot::Sender<()>>) -> Self {
        Self { stream: Stream::Tls(Box::new(stream)), caller, _watched: watched }
    }
}

impl Connected for Socket {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
