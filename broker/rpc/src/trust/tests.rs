//! Two ends over TCP, with certificates that were made here: who is who, and what is closed when.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use ottla_core::types::{BrokerId, ClusterId};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{ServerName, UnixTime};
use tonic::transport::server::Connected;

use super::*;

const OURS: ClusterId = ClusterId::from_bytes([0xab; 16]);
const THEIRS: ClusterId = ClusterId::from_bytes([7; 16]);
const ONE: Name = Name::Broker(BrokerId::new(1));
const TWO: Name = Name::Broker(BrokerId::new(2));
/// A test that waits longer has failed.
const LONG: Duration = Duration::from_secs(30);

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn files(&self, name: Name, cluster: ClusterId, mode: &str) -> Files {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![name.dns(cluster)]).unwrap().signed_by(&key, &self.issuer).unwrap();
        Files {
            leaf: leaf.pem().into_bytes(),
            key: key.serialize_pem().into_bytes(),
            cas: self.pem.clone().into_bytes(),
            mode: mode.as_bytes().to_vec(),
        }
    }

    fn material(&self, name: Name, mode: &str) -> Arc<Material> {
        let now = i64::try_from(UnixTime::now().as_secs()).unwrap();
        Arc::new(Material::read(&self.files(name, OURS, mode), name, OURS, now).unwrap())
    }
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.unwrap_or_else(|_| panic!("{what} took too long"))
}

type News = watch::Sender<Option<Arc<Material>>>;

/// Somebody who listens.
struct Listening {
    port: u16,
    sockets: BoxStream<'static, std::io::Result<Socket>>,
}

impl Listening {
    async fn new(material: Option<Arc<Material>>) -> (Self, News) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (news, newest) = watch::channel(material);
        (Self { port, sockets: accept(listener, Credentials::new(newest)).boxed() }, news)
    }

    /// Both ends of a connection to it.
    async fn joined(&mut self, credentials: &Credentials) -> (Socket, Socket) {
        let address = format!("127.0.0.1:{}", self.port);
        let dialled = dial::socket(credentials, ONE, ("127.0.0.1", self.port), &address);
        let (dialled, accepted) = soon("connect", futures::future::join(dialled, self.sockets.next())).await;
        (dialled.unwrap(), accepted.unwrap().unwrap())
    }
}

fn holding(material: Arc<Material>) -> (Credentials, News) {
    let (news, newest) = watch::channel(Some(material));
    (Credentials::new(newest), news)
}

async fn is_closed(socket: &mut Socket) {
    let read = soon("close", socket.read(&mut [0])).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

#[tokio::test]
async fn both_ends_know_who_the_other_is() {
    let ca = Authority::new();
    let (mut listening, _kept) = Listening::new(Some(ca.material(ONE, ""))).await;
    let (credentials, _kept) = holding(ca.material(TWO, ""));
    let (_dialled, accepted) = listening.joined(&credentials).await;
    let caller = accepted.connect_info();
    assert_eq!(caller.identity, Identity::Known(TWO));
    assert!(caller.remote.is_some() && caller.check_broker(BrokerId::new(2)).is_ok());
    let refused = caller.check_broker(BrokerId::new(1)).unwrap_err();
    assert_eq!(refused, "it says that it is broker 1, and its certificate is that of broker 2");
}

#[tokio::test]
async fn a_name_of_another_cluster_is_a_strangers_whoever_has_signed_it() {
    let ca = Authority::new();
    let (mut listening, _kept) = Listening::new(Some(ca.material(ONE, ""))).await;
    let now = i64::try_from(UnixTime::now().as_secs()).unwrap();
    let theirs = Material::read(&ca.files(TWO, THEIRS, ""), TWO, THEIRS, now).unwrap();
    let stream = crate::transport::dial(("127.0.0.1", listening.port)).await.unwrap();
    let name = ServerName::try_from(ONE.dns(OURS)).unwrap();
    let connector = TlsConnector::from(Arc::clone(&theirs.client));
    let shaking = futures::future::join(connector.connect(name, stream), listening.sockets.next());
    let (dialled, accepted) = soon("connect", shaking).await;
    assert!(dialled.is_ok(), "{dialled:?}");
    let caller = accepted.unwrap().unwrap().connect_info();
    let sentence = caller.check_broker(BrokerId::new(2)).unwrap_err();
    let expected = format!("its certificate has no name of cluster {OURS}, but [\"{}\"]", TWO.dns(THEIRS));
    assert_eq!(sentence, expected);
}

#[tokio::test]
async fn connections_made_with_an_older_certificate_are_closed_by_either_end() {
    let ca = Authority::new();
    for listener_changes in [true, false] {
        let (mut listening, accepts) = Listening::new(Some(ca.material(ONE, ""))).await;
        let (credentials, dials) = holding(ca.material(TWO, ""));
        let (mut dialled, mut accepted) = listening.joined(&credentials).await;
        let (news, name) = if listener_changes { (&accepts, ONE) } else { (&dials, TWO) };
        news.send_replace(Some(ca.material(name, "")));
        is_closed(&mut dialled).await;
        is_closed(&mut accepted).await;
        // The next one is made with what is newest, and stays.
        let (mut dialled, _accepted) = listening.joined(&credentials).await;
        let read = tokio::time::timeout(SPREAD / 4, dialled.read(&mut [0])).await;
        assert!(read.is_err(), "{read:?}");
    }
}

#[tokio::test]
async fn whoever_is_not_believed_any_more_is_closed() {
    let (ca, next) = (Authority::new(), Authority::new());
    let (mut listening, accepts) = Listening::new(Some(ca.material(ONE, ""))).await;
    let (credentials, _kept) = holding(ca.material(TWO, ""));
    let (mut dialled, _accepted) = listening.joined(&credentials).await;
    accepts.send_replace(Some(next.material(ONE, "")));
    is_closed(&mut dialled).await;
}

#[tokio::test]
async fn plaintext_is_let_in_while_a_cluster_changes_over_and_closed_then() {
    let ca = Authority::new();
    let (mut listening, accepts) = Listening::new(Some(ca.material(ONE, "preferred"))).await;
    let mut dialled = crate::transport::dial(("127.0.0.1", listening.port)).await.unwrap();
    dialled.write_all(b"PRI").await.unwrap();
    let accepted = soon("connect", listening.sockets.next()).await.unwrap().unwrap();
    assert_eq!(accepted.connect_info().identity, Identity::Unknown);
    let (credentials, _kept) = holding(ca.material(TWO, ""));
    let (_dialled, shown) = listening.joined(&credentials).await;
    assert_eq!(shown.connect_info().identity, Identity::Known(TWO), "who can show something does");
    accepts.send_replace(Some(ca.material(ONE, "required")));
    let read = soon("close", dialled.read(&mut [0])).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    let mut refused = crate::transport::dial(("127.0.0.1", listening.port)).await.unwrap();
    refused.write_all(b"PRI").await.unwrap();
    let mut byte = [0];
    tokio::select! {
        read = soon("close", refused.read(&mut byte)) => assert!(matches!(read, Ok(0) | Err(_)), "{read:?}"),
        _ = listening.sockets.next() => panic!("it is let in"),
    }
}

#[test]
fn a_certificate_has_one_name_in_its_cluster() {
    let check = |names: &[String], expected: Result<Name, &str>| {
        let read = Name::only(names, OURS);
        match expected {
            Ok(name) => assert_eq!(read, Ok(name)),
            Err(sentence) => assert!(read.unwrap_err().contains(sentence), "{names:?}"),
        }
    };
    let dns = |name: Name| name.dns(OURS);
    assert_eq!(dns(ONE), format!("broker-1.{}.ottla", "ab".repeat(16)));
    check(&[dns(ONE)], Ok(ONE));
    check(&[dns(Name::Operator), TWO.dns(THEIRS)], Ok(Name::Operator));
    check(&[dns(ONE), dns(TWO)], Err("several names"));
    check(&[], Err("no name"));
    check(&[TWO.dns(THEIRS)], Err("no name"));
    check(&[dns(ONE).replace("-1", "-01")], Err("no name"));
    check(&[dns(ONE).replace("broker", "Broker")], Err("no name"));
}
