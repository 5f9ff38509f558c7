//! Taking connections: hands are shaken beside each other, and nobody is waited for.
//!
//! Owns the bound on how many are at it, and the refusal of whoever shows nothing. Must never keep one connection waiting
//! for another's handshake, nor complain of those who only knock.

use std::io;
use std::time::Duration;

use futures::stream::{self, FuturesUnordered};
use futures::{FutureExt, Stream, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::material::{Material, Mode};
use super::name::{Name, names_of};
use super::socket::{Caller, Identity, Socket};
use super::warden::{Made, watch};
use super::{Credentials, Fingerprint};

/// How many shake hands at the same time; whoever comes then waits in the system's queue.
const HANDSHAKES: usize = 64;
/// How long that may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// How long to wait when the system gives no socket.
const AGAIN: Duration = Duration::from_millis(100);
/// A connection with TLS begins with this byte, and HTTP/2 with another one.
const HANDSHAKE: u8 = 0x16;

type Shaking = std::pin::Pin<Box<dyn Future<Output = Option<Socket>> + Send>>;

struct Door {
    listener: TcpListener,
    credentials: Credentials,
    shaking: FuturesUnordered<Shaking>,
}

/// Connections to `listener`, each with who made it. Dropping the stream closes the listener.
pub fn accept(listener: TcpListener, credentials: Credentials) -> impl Stream<Item = io::Result<Socket>> {
    let door = Door { listener, credentials, shaking: FuturesUnordered::new() };
    stream::unfold(door, |mut door| async move {
        let socket = door.next().await;
        Some((Ok(socket), door))
    })
}

impl Door {
    async fn next(&mut self) -> Socket {
        loop {
            tokio::select! {
                Some(shaken) = self.shaking.next() => if let Some(socket) = shaken { return socket },
                accepted = self.listener.accept(), if self.shaking.len() < HANDSHAKES => match accepted {
                    Ok((stream, _)) => self.shaking.push(greet(stream, self.credentials.clone()).boxed()),
                    Err(error) => {
                        tracing::warn!(%error, "take a connection of another broker");
                        tokio::time::sleep(AGAIN).await;
                    }
                },
            }
        }
    }
}

async fn greet(stream: TcpStream, credentials: Credentials) -> Option<Socket> {
    // It is only slower without.
    let _slower = stream.set_nodelay(true);
    let remote = stream.peer_addr().ok();
    let unknown = Caller { remote, identity: Identity::Unknown };
    let Some(material) = credentials.newest() else { return Some(Socket::plain(stream, unknown, None)) };
    let shaken = tokio::time::timeout(HANDSHAKE_MAX, async {
        let mut first = [0];
        match stream.peek(&mut first).await {
            // Somebody has knocked.
            Ok(0) | Err(_) => None,
            Ok(_) if first == [HANDSHAKE] => shake(stream, &credentials, &material, unknown).await,
            Ok(_) if material.mode == Mode::Preferred => {
                let watched = watch(&credentials, &stream, made(&unknown, Vec::new(), None));
                Some(Socket::plain(stream, unknown, watched))
            }
            Ok(_) => {
                let mode = super::MODE_FILE;
                tracing::warn!(?remote, "a peer without a certificate is refused: {mode} says that one is required");
                None
            }
        }
    });
    shaken.await.unwrap_or_else(|_| {
        tracing::warn!(?remote, "a peer is refused that did not say who it is within {HANDSHAKE_MAX:?}");
        None
    })
}

fn made(
    caller: &Caller,
    peer: Vec<tokio_rustls::rustls::pki_types::CertificateDer<'static>>,
    own: Option<Fingerprint>,
) -> Made {
    Made { peer, dialled: None, own, at: UnixTime::now(), remote: caller.remote }
}

async fn shake(stream: TcpStream, credentials: &Credentials, material: &Material, caller: Caller) -> Option<Socket> {
    let stream = match TlsAcceptor::from(std::sync::Arc::clone(&material.server)).accept(stream).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(remote = ?caller.remote, %error, "a peer is refused that cannot show who it is");
            return None;
        }
    };
    let peer: Vec<_> = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
    let names = peer.first().map_or_else(Vec::new, |leaf| names_of(leaf));
    let identity = match Name::only(&names, material.cluster) {
        Ok(name) => Identity::Known(name),
        Err(sentence) => Identity::Stranger(sentence),
    };
    let caller = Caller { identity, ..caller };
    let watched = watch(credentials, stream.get_ref().0, made(&caller, peer, Some(material.leaf)));
    Some(Socket::tls(TlsStream::from(stream), caller, watched))
}
