//! Dialling another process of the cluster by its name.
//!
//! Owns what is said when that does not succeed. A connection is one: whoever wants another one dials again, with the
//! newest material. Must never speak plaintext to somebody who could not show who it is, except while a cluster changes
//! over ([`Mode::Preferred`]), and to those who speak nothing else.

use std::io;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::rustls::Error as TlsError;
use tokio_rustls::rustls::pki_types::{ServerName, UnixTime};
use tokio_rustls::{TlsConnector, TlsStream};
use tonic::transport::{Channel, Endpoint};

use super::Credentials;
use super::material::{Material, Mode};
use super::name::Name;
use super::socket::{Caller, Identity, Socket};
use super::warden::{Made, watch};
use crate::transport;

/// Why nobody was reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No connection.
    #[error("connect to {0}: {1}")]
    Unreached(String, io::Error),
    /// Somebody is there, and is not who was meant, or cannot be believed.
    #[error("{address} does not show that it is {name}: {reason}")]
    NotShown {
        /// Where.
        address: String,
        /// Who was meant.
        name: Name,
        /// What is wrong.
        reason: io::Error,
    },
    /// No HTTP/2.
    #[error("speak with {0}: {1}")]
    Transport(String, tonic::transport::Error),
}

impl DialError {
    /// Whether somebody was there, and it is about who that is.
    pub fn is_about_trust(&self) -> bool {
        match self {
            Self::Unreached(..) => false,
            Self::NotShown { .. } | Self::Transport(..) => true,
        }
    }
}

/// Connects to who is called `name` and listens there. `tune` says what else the connection should be like.
///
/// # Errors
/// [`DialError`]
pub async fn connect(
    credentials: &Credentials,
    name: Name,
    (host, port): (&str, u16),
    tune: impl FnOnce(Endpoint) -> Endpoint,
) -> Result<Channel, DialError> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let address = format!("{host}:{port}");
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let socket = socket(credentials, name, (bare, port), &address).await?;
    let uri = format!("http://{address}").parse().map_err(|_| {
        DialError::Unreached(address.clone(), io::Error::new(io::ErrorKind::InvalidInput, "it is no address"))
    })?;
    let mut once = Some(TokioIo::new(socket));
    let connector = tower::service_fn(move |_| {
        let socket = once.take().ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "the connection is over"));
        std::future::ready(socket)
    });
    let channel = tune(transport::endpoint(uri)).connect_with_connector(connector).await;
    channel.map_err(|error| DialError::Transport(address, error))
}

pub(super) async fn socket(
    credentials: &Credentials,
    name: Name,
    to: (&str, u16),
    address: &str,
) -> Result<Socket, DialError> {
    let unreached = |error| DialError::Unreached(address.to_owned(), error);
    let stream = transport::dial(to).await.map_err(unreached)?;
    let remote = stream.peer_addr().ok();
    let caller = Caller { remote, identity: Identity::Unknown };
    let Some(material) = credentials.newest() else { return Ok(Socket::plain(stream, caller, None)) };
    let made = |peer, own| Made { peer, dialled: Some(name.dns(material.cluster)), own, at: UnixTime::now(), remote };
    match shake(stream, &material, name).await {
        Ok(stream) => {
            let peer = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
            let watched = watch(credentials, stream.get_ref().0, made(peer, Some(material.leaf)));
            Ok(Socket::tls(stream, Caller { identity: Identity::Known(name), ..caller }, watched))
        }
        Err(error) if material.mode == Mode::Preferred && speaks_no_tls(&error) => {
            let stream = transport::dial(to).await.map_err(unreached)?;
            let watched = watch(credentials, &stream, made(Vec::new(), None));
            Ok(Socket::plain(stream, caller, watched))
        }
        Err(reason) => Err(DialError::NotShown { address: address.to_owned(), name, reason }),
    }
}

async fn shake(stream: TcpStream, material: &Material, name: Name) -> io::Result<TlsStream<TcpStream>> {
    let name = name.dns(material.cluster);
    let name = ServerName::try_from(name).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let shaking = TlsConnector::from(Arc::clone(&material.client)).connect(name, stream);
    let late = || io::Error::new(io::ErrorKind::TimedOut, "it did not answer in time");
    let shaken = tokio::time::timeout(transport::CONNECT_TIMEOUT, shaking).await;
    shaken.map_err(|_| late())?.map(TlsStream::from)
}

/// Whoever waits for HTTP/2 closes a connection that begins with something else, or answers in HTTP/2.
fn speaks_no_tls(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    let closed = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
    matches!(tls, Some(TlsError::InvalidMessage(_))) || (tls.is_none() && closed.contains(&error.kind()))
}
