//! Closing connections that were made with what is not valid any more.
//!
//! Owns one small task for each connection that has TLS, or could have had it: new material comes, and a connection whose
//! peer is not believed any more is closed at once, one that was made with an older certificate within [`SPREAD`].
//! Whatever runs between brokers bears a connection that breaks, and is dialled again with the newest. Must never close
//! a connection because a certificate has expired meanwhile: that would take a whole cluster down on one day.

use std::net::{Shutdown, SocketAddr, TcpStream as Raw};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};

use super::Credentials;
use super::material::{Fingerprint, Material, Mode, Shown};

/// Within so long connections that were made with an older certificate are made anew: not all of them at one moment.
pub const SPREAD: Duration = Duration::from_secs(4);

/// What is known of a connection from its beginning.
pub(super) struct Made {
    /// What the other side has shown; nothing in plaintext.
    pub(super) peer: Vec<CertificateDer<'static>>,
    /// By which name it was dialled; `None` if it has dialled.
    pub(super) dialled: Option<String>,
    /// What this side has shown.
    pub(super) own: Option<Fingerprint>,
    /// When.
    pub(super) at: UnixTime,
    /// The other side's address.
    pub(super) remote: Option<SocketAddr>,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Stays,
    /// It is fine, and has had its time.
    Soon,
    /// A sentence.
    AtOnce(String),
}

impl Made {
    fn judge(&self, newest: &Material) -> Verdict {
        let Some(own) = self.own else {
            return match newest.mode {
                Mode::Preferred => Verdict::Stays,
                Mode::Required => Verdict::AtOnce("it is in plaintext, which is not let in any more".to_owned()),
            };
        };
        let shown = match &self.dialled {
            Some(name) => Shown::Server(&self.peer, name),
            None => Shown::Client(&self.peer),
        };
        match newest.believes(shown, self.at) {
            Err(sentence) => Verdict::AtOnce(sentence),
            Ok(()) if own != newest.leaf => Verdict::Soon,
            Ok(()) => Verdict::Stays,
        }
    }

    /// Some moment within the spread; another one for each connection.
    fn moment(&self) -> Duration {
        let port = self.remote.map_or(0, |remote| u32::from(remote.port()));
        SPREAD / 256 * (port % 256)
    }
}

/// Watches over a connection until what is returned is dropped. Nothing is watched where the system does not let the
/// socket be held twice.
pub(super) fn watch(credentials: &Credentials, stream: &TcpStream, made: Made) -> Option<oneshot::Sender<()>> {
    let raw = Raw::from(stream.as_fd().try_clone_to_owned().ok()?);
    let (alive, over) = oneshot::channel();
    let mut news = credentials.news();
    // What came while hands were being shaken is news.
    news.mark_changed();
    tokio::spawn(async move {
        tokio::select! {
            _ = over => {}
            () = wait(news, &made) => {
                // It may be closed already, which is as good.
                let _closed = raw.shutdown(Shutdown::Both);
            }
        }
    });
    Some(alive)
}

/// Returns when the connection has to be closed.
async fn wait(mut news: watch::Receiver<Option<Arc<Material>>>, made: &Made) {
    loop {
        if news.changed().await.is_err() {
            return std::future::pending().await;
        }
        let newest = news.borrow_and_update().clone();
        let Some(newest) = newest else { continue };
        match made.judge(&newest) {
            Verdict::Stays => {}
            Verdict::AtOnce(sentence) => {
                tracing::warn!(remote = ?made.remote, sentence, "a connection is closed");
                return;
            }
            Verdict::Soon => match tokio::time::timeout(made.moment(), news.changed()).await {
                // There may be a reason now to close it at once.
                Ok(Ok(())) => news.mark_changed(),
                Ok(Err(_)) | Err(_) => return,
            },
        }
    }
}
