//! What a process shows and whom it believes: a certificate, its key, and the authorities of the cluster.
//!
//! Owns reading and checking the three files, and what TLS is set up with from them. The time is an argument. Only
//! TLS 1.3, and no session is resumed: whoever connects shows its certificate. Must never accept a key that is not the
//! certificate's, a certificate without this process's name, or one that its own authorities do not vouch for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use ottla_core::types::ClusterId;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::client::{Resumption, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, Error, InconsistentKeys, RootCertStore, ServerConfig};
use x509_parser::certificate::X509Certificate;

use super::name::{Name, hex, names_of};

/// The certificate, and whatever lies between it and its authority.
pub const LEAF_FILE: &str = "tls.crt";
/// Its key.
pub const KEY_FILE: &str = "tls.key";
/// Every authority that is believed.
pub const CA_FILE: &str = "ca.crt";
/// Optional: `required` or `preferred`; see [`Mode`].
pub const MODE_FILE: &str = "mode";

/// What the files hold.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Files {
    /// [`LEAF_FILE`]
    pub leaf: Vec<u8>,
    /// [`KEY_FILE`]
    pub key: Vec<u8>,
    /// [`CA_FILE`]
    pub cas: Vec<u8>,
    /// [`MODE_FILE`], empty if there is none.
    pub mode: Vec<u8>,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Files")
    }
}

/// What is done with those who show no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// They are refused.
    #[default]
    Required,
    /// They are let in, and are dialled in plaintext if they speak nothing else: while a cluster changes over.
    Preferred,
}

/// SHA-256 of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
        Self(bytes)
    }

    /// All of it.
    pub fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Why files are of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaterialError {
    /// Nothing of that kind in it.
    #[error("{file} holds no {what} in PEM: {reason}")]
    Empty {
        /// Which file.
        file: &'static str,
        /// What it should hold.
        what: &'static str,
        /// What was found instead.
        reason: String,
    },
    /// Not a certificate.
    #[error("{file} holds a certificate that cannot be read: {reason}")]
    Unreadable {
        /// Which file.
        file: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Of another certificate.
    #[error("{KEY_FILE} is not the key of the certificate in {LEAF_FILE}")]
    OtherKey,
    /// A key that cannot be used.
    #[error("{KEY_FILE} cannot be used: {0}")]
    Key(String),
    /// Its time is over.
    #[error("the certificate in {LEAF_FILE} has expired on {0}; it has to be renewed")]
    Expired(String),
    /// Its time has not come.
    #[error("the certificate in {LEAF_FILE} is valid only from {0}; look at the machine's clock")]
    NotYet(String),
    /// Somebody else's.
    #[error("the certificate in {LEAF_FILE} is for {found:?}, not for {wanted}")]
    OtherName {
        /// Who this is.
        wanted: String,
        /// Every name in it.
        found: Vec<String>,
    },
    /// Nobody would believe it.
    #[error("the certificate in {LEAF_FILE} is signed by none of {CA_FILE}, or not for both ends: {0}")]
    Untrusted(String),
    /// Neither of the two words.
    #[error("{MODE_FILE} is {0:?}; it must be required or preferred")]
    Mode(String),
    /// TLS refuses to be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// All that a connection is made with; it never changes.
pub struct Material {
    /// Who this process is.
    pub name: Name,
    /// In which cluster.
    pub cluster: ClusterId,
    /// What is done with those who show nothing.
    pub mode: Mode,
    /// The certificate that is shown.
    pub leaf: Fingerprint,
    /// When it expires, in seconds since the Unix epoch.
    pub leaf_expires: i64,
    /// The authorities that are believed, in the order of the file.
    pub cas: Vec<Fingerprint>,
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
    clients: Arc<dyn ClientCertVerifier>,
    servers: Arc<WebPkiServerVerifier>,
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Material({} with {})", self.name, self.leaf)
    }
}

impl Material {
    /// Reads the files of who is called `name` in `cluster`, at `now` (seconds since the Unix epoch).
    ///
    /// # Errors
    /// [`MaterialError`], with the file and what is wrong.
    pub fn read(files: &Files, name: Name, cluster: ClusterId, now: i64) -> Result<Self, MaterialError> {
        let chain = certificates(LEAF_FILE, &files.leaf)?;
        let cas = certificates(CA_FILE, &files.cas)?;
        let mode = mode(&files.mode)?;
        let key = PrivateKeyDer::from_pem_slice(&files.key).map_err(|error| MaterialError::Empty {
            file: KEY_FILE,
            what: "key",
            reason: error.to_string(),
        })?;
        let leaf = chain.first().expect("certificates() gives at least one");
        let leaf_expires = check(&parse(LEAF_FILE, leaf)?, now)?;
        let (wanted, found) = (name.dns(cluster), names_of(leaf));
        if Name::only(&found, cluster) != Ok(name) {
            return Err(MaterialError::OtherName { wanted, found });
        }
        let provider = Arc::new(provider::default_provider());
        let roots = roots(&cas)?;
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider)).build();
        let clients = clients.map_err(|error| MaterialError::Tls(error.to_string()))?;
        let servers = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
        let servers = servers.map_err(|error| MaterialError::Tls(error.to_string()))?;
        let (server, client) = configs(&provider, &clients, &servers, &chain, key)?;
        let material = Self {
            name,
            cluster,
            mode,
            leaf: Fingerprint::of(leaf),
            leaf_expires,
            cas: cas.iter().map(|ca| Fingerprint::of(ca)).collect(),
            server: Arc::new(server),
            client: Arc::new(client),
            clients,
            servers,
        };
        let at = unix(now);
        let believed = material.believes(Shown::Client(&chain), at).and_then(|()| {
            let as_server = Shown::Server(&chain, &wanted);
            material.believes(as_server, at)
        });
        believed.map_err(MaterialError::Untrusted)?;
        Ok(material)
    }

    /// Whether somebody who showed that, at that time, is believed.
    pub(super) fn believes(&self, shown: Shown<'_>, at: UnixTime) -> Result<(), String> {
        let chain = match shown {
            Shown::Client(chain) | Shown::Server(chain, _) => chain,
        };
        let (leaf, between) = chain.split_first().ok_or("nothing was shown")?;
        let verified = match shown {
            Shown::Client(_) => self.clients.verify_client_cert(leaf, between, at).map(drop),
            Shown::Server(_, name) => {
                let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
                self.servers.verify_server_cert(leaf, between, &name, &[], at).map(drop)
            }
        };
        verified.map_err(|error| error.to_string())
    }
}

/// What the other end of a connection has shown.
#[derive(Clone, Copy)]
pub(super) enum Shown<'a> {
    /// It has dialled.
    Client(&'a [CertificateDer<'static>]),
    /// It was dialled, by that name.
    Server(&'a [CertificateDer<'static>], &'a str),
}

/// What the first certificate in a text is known by, and when it expires, in seconds since the Unix epoch.
///
/// # Errors
/// [`MaterialError`]
pub fn describe(pem: &[u8]) -> Result<(Fingerprint, i64), MaterialError> {
    let found = certificates(CA_FILE, pem)?;
    let first = found.first().expect("certificates() gives at least one");
    Ok((Fingerprint::of(first), parse(CA_FILE, first)?.validity().not_after.timestamp()))
}

fn unix(seconds: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn certificates(file: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let empty = |reason: String| MaterialError::Empty { file, what: "certificate", reason };
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|error| empty(error.to_string()))?;
    if read.is_empty() { Err(empty(format!("{} bytes of something else", pem.len()))) } else { Ok(read) }
}

fn parse<'a>(file: &'static str, der: &'a [u8]) -> Result<X509Certificate<'a>, MaterialError> {
    let read = x509_parser::parse_x509_certificate(der);
    read.map(|(_, read)| read).map_err(|error| MaterialError::Unreadable { file, reason: error.to_string() })
}

/// When it expires, if it is valid now.
fn check(leaf: &X509Certificate<'_>, now: i64) -> Result<i64, MaterialError> {
    let (from, until) = (leaf.validity().not_before, leaf.validity().not_after);
    if now > until.timestamp() {
        return Err(MaterialError::Expired(until.to_string()));
    }
    if now < from.timestamp() {
        return Err(MaterialError::NotYet(from.to_string()));
    }
    Ok(until.timestamp())
}

fn mode(text: &[u8]) -> Result<Mode, MaterialError> {
    match text.trim_ascii() {
        b"" | b"required" => Ok(Mode::Required),
        b"preferred" => Ok(Mode::Preferred),
        other => Err(MaterialError::Mode(String::from_utf8_lossy(other).into_owned())),
    }
}

fn roots(cas: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, MaterialError> {
    let mut roots = RootCertStore::empty();
    for ca in cas {
        let unreadable = |error: Error| MaterialError::Unreadable { file: CA_FILE, reason: error.to_string() };
        roots.add(ca.clone()).map_err(unreadable)?;
    }
    Ok(Arc::new(roots))
}

fn configs(
    provider: &Arc<CryptoProvider>,
    clients: &Arc<dyn ClientCertVerifier>,
    servers: &Arc<WebPkiServerVerifier>,
    chain: &[CertificateDer<'static>],
    key: PrivateKeyDer<'static>,
) -> Result<(ServerConfig, ClientConfig), MaterialError> {
    let tls = |error: Error| {
        let other = matches!(error, Error::InconsistentKeys(InconsistentKeys::KeyMismatch));
        if other { MaterialError::OtherKey } else { MaterialError::Key(error.to_string()) }
    };
    let mut server = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| MaterialError::Tls(error.to_string()))?
        .with_client_cert_verifier(Arc::clone(clients))
        .with_single_cert(chain.to_vec(), key.clone_key())
        .map_err(tls)?;
    let mut client = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| MaterialError::Tls(error.to_string()))?
        .with_webpki_verifier(Arc::clone(servers))
        .with_client_auth_cert(chain.to_vec(), key)
        .map_err(tls)?;
    server.send_tls13_tickets = 0;
    client.resumption = Resumption::disabled();
    let h2 = || vec![b"h2".to_vec()];
    (server.alpn_protocols, client.alpn_protocols) = (h2(), h2());
    Ok((server, client))
}
