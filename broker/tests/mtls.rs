//! Three brokers in one process that show certificates to each other: who is let in, and what happens when certificates
//! and authorities change under load.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that does not work")]

#[path = "support/authority.rs"]
mod authority;
#[path = "support/orders.rs"]
mod orders;
#[expect(dead_code, reason = "this file needs a part of it")]
#[path = "support/peer.rs"]
mod peer;
#[expect(dead_code, reason = "this file needs a part of it")]
#[path = "support/trio.rs"]
mod trio;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use ottla_broker::clock::Clock;
use ottla_broker::controller::GRPC;
use ottla_broker::node::Running;
use ottla_core::replica::Lane;
use ottla_core::types::{BrokerId, ClusterId, Incarnation};
use ottla_rpc::operations::{Certificates, Client, DescribeRequest};
use ottla_rpc::replication::{self, Decoder, Item};
use ottla_rpc::trust::{Credentials, Files, Material, Name};
use tokio::sync::watch;
use tonic::transport::Channel;
use tonic::{Code, Status};

use authority::{Authority, LONG, Leaf, mount};
use orders::TOPIC;
use peer::{DEADLINE, address, configured, soon};
use trio::{Trio, batch, broker, fetch};

fn cluster() -> ClusterId {
    let (_, text) = trio::KEYS.iter().find(|(key, _)| *key == "cluster.id").unwrap();
    ClusterId::parse_kafka(text).unwrap()
}

fn now() -> i64 {
    Clock.wall().get() / 1000
}

/// Where three brokers find their certificates.
struct Folders {
    root: tempfile::TempDir,
}

impl Folders {
    fn new(authority: &Authority) -> Self {
        let folders = Self { root: tempfile::tempdir().unwrap() };
        (0..3).for_each(|index| folders.put(index, &authority.leaf(named(index), cluster()), &[authority]));
        folders
    }

    fn pattern(&self) -> String {
        format!("{}/{{id}}", self.root.path().display())
    }

    fn of(&self, index: usize) -> PathBuf {
        self.root.path().join(index.to_string())
    }

    fn put(&self, index: usize, leaf: &Leaf, believed: &[&Authority]) {
        mount(&self.of(index), &leaf.files(believed));
    }
}

fn named(index: usize) -> Name {
    Name::Broker(broker(index))
}

/// What somebody of that name shows who believes those.
fn shows(name: Name, leaf: &Leaf, believed: &[&Authority]) -> Credentials {
    let material = Material::read(&leaf.files(believed), name, cluster(), now()).unwrap();
    Credentials::new(watch::channel(Some(Arc::new(material))).1)
}

fn operator(authority: &Authority) -> Credentials {
    shows(Name::Operator, &authority.leaf(Name::Operator, cluster()), &[authority])
}

impl Trio {
    async fn dial(&self, index: usize, credentials: &Credentials) -> Result<Channel, String> {
        let image = self.any().node.metadata.image();
        let at = image.broker(broker(index)).unwrap().endpoints[GRPC].clone();
        let dialled = ottla_rpc::trust::connect(credentials, named(index), (&at.host, at.port), |endpoint| endpoint);
        soon("dial", dialled).await.map_err(|error| error.to_string())
    }

    /// What a broker says that it shows; a sentence when it says nothing.
    async fn certificates(&self, index: usize, credentials: &Credentials) -> Result<Option<Certificates>, String> {
        let channel = self.dial(index, credentials).await?;
        let said = soon("describe", Client::new(channel).describe(DescribeRequest {})).await;
        said.map(|said| said.into_inner().certificates).map_err(|status| status.to_string())
    }

    /// Until every broker says that it shows and believes what lies in its folder.
    async fn until_loaded(&self, folders: &Folders, credentials: &Credentials) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        for index in 0..3 {
            let read = |name: &str| std::fs::read(folders.of(index).join(name)).unwrap();
            let mode = read("mode");
            let files = Files { leaf: read("tls.crt"), key: read("tls.key"), cas: read("ca.crt"), mode };
            let material = Material::read(&files, named(index), cluster(), now()).unwrap();
            let wanted = ottla_rpc::operations::certificates(&material);
            loop {
                let said = self.certificates(index, credentials).await;
                if said == Ok(Some(wanted.clone())) {
                    break;
                }
                assert!(tokio::time::Instant::now() < deadline, "broker {index} says {said:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    async fn whole(&self) {
        self.until(TOPIC, "in sync", |partition| partition.isr.len() == 3).await;
    }

    /// Produces one record after the other for as long as `work` takes; how many were acknowledged.
    async fn produce_during(&self, work: Pin<Box<dyn Future<Output = ()> + '_>>) -> i64 {
        let done = AtomicBool::new(false);
        let produce = async {
            let mut count = 0;
            while !done.load(Ordering::Relaxed) {
                self.produced(&batch("under load")).await;
                count += 1;
            }
            count
        };
        let work = async {
            work.await;
            done.store(true, Ordering::Relaxed);
        };
        tokio::join!(Box::pin(produce), Box::pin(work)).0
    }

    /// How many records consumers see.
    async fn watermark(&self) -> i64 {
        let answer = self.ask(self.leader(TOPIC).unwrap(), &fetch(TOPIC, 0), 12).await;
        answer.responses[0].partitions[0].high_watermark
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_replicate_and_say_what_they_show_and_strangers_are_refused() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let folders = Folders::new(&ours);
    let trio = Trio::start_with(&[("ottla.grpc.tls.directory", &folders.pattern())]).await;
    trio.create().await;
    for number in 0..10 {
        trio.produced(&batch(&number.to_string())).await;
    }
    assert_eq!(trio.watermark().await, 10);
    trio.until_loaded(&folders, &operator(&ours)).await;
    let metrics = trio.any().node.metrics.encode().unwrap();
    assert!(metrics.contains("\nottla_certificate_expiry_seconds "), "{metrics}");

    let plaintext = trio.certificates(0, &Credentials::plaintext()).await;
    assert!(plaintext.is_err(), "{plaintext:?}");
    // It believes the brokers, and they do not believe it.
    let foreign = shows(Name::Operator, &theirs.leaf(Name::Operator, cluster()), &[&ours, &theirs]);
    let refused = trio.certificates(0, &foreign).await;
    assert!(refused.is_err(), "{refused:?}");
    // It does not believe them.
    let deceived = shows(Name::Operator, &theirs.leaf(Name::Operator, cluster()), &[&theirs]);
    let refused = trio.certificates(0, &deceived).await.unwrap_err();
    assert!(refused.contains("does not show that it is broker 0"), "{refused}");
    // Whoever answers there is not who was meant.
    let image = trio.any().node.metadata.image();
    let at = image.broker(broker(0)).unwrap().endpoints[GRPC].clone();
    let other = ottla_rpc::trust::connect(&operator(&ours), named(1), (&at.host, at.port), |endpoint| endpoint).await;
    assert!(other.unwrap_err().to_string().contains("does not show that it is broker 1"));
    trio.stop().await;
}

/// What is answered to somebody who shows that, and says that it is broker `from`.
async fn greeted(trio: &Trio, credentials: &Credentials, from: i32) -> Result<Item, Status> {
    let mut hello = BytesMut::new();
    let hello_item = Item::Hello {
        version: replication::VERSION,
        cluster: cluster(),
        from: BrokerId::new(from),
        to: broker(0),
        incarnation: Incarnation::new(1),
        lane: Lane::CatchUp,
    };
    replication::put(&hello_item, 0, &mut hello);
    let channel = trio.dial(0, credentials).await.unwrap();
    let pieces = futures::stream::iter([hello.freeze()]).chain(futures::stream::pending::<Bytes>());
    let mut incoming = soon("exchange", replication::dial(channel, pieces)).await?;
    let mut decoder = Decoder::new(1024 * 1024);
    loop {
        if let Some((item, _)) = decoder.next().unwrap() {
            return Ok(item);
        }
        decoder.feed(soon("an answer", incoming.next()).await.unwrap()?);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_speaks_for_somebody_else() {
    let ours = Authority::new("ours");
    let folders = Folders::new(&ours);
    let trio = Trio::start_with(&[("ottla.grpc.tls.directory", &folders.pattern())]).await;
    let seven = shows(Name::Broker(BrokerId::new(7)), &ours.leaf(Name::Broker(BrokerId::new(7)), cluster()), &[&ours]);
    let Item::Refused { reason } = greeted(&trio, &seven, 1).await.unwrap() else { panic!("it is welcome") };
    assert_eq!(reason, "it says that it is broker 1, and its certificate is that of broker 7");
    assert!(matches!(greeted(&trio, &seven, 7).await, Ok(Item::Welcome { .. })));
    let refused = greeted(&trio, &operator(&ours), 1).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(refused.message(), "the operator may not call ottla.replication.v1.Replication");
    let refused = trio.certificates(0, &seven).await.unwrap_err();
    assert!(refused.contains("broker 7 may not call ottla.operations.v1.Operations"), "{refused}");
    trio.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_authorities_change_under_load_and_nothing_is_lost() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let folders = Folders::new(&old);
    let trio = Trio::start_with(&[("ottla.grpc.tls.directory", &folders.pattern())]).await;
    trio.create().await;
    let acknowledged = trio
        .produce_during(Box::pin(async {
            let leaves: Vec<_> = (0..3).map(|index| old.leaf(named(index), cluster())).collect();
            (0..3).for_each(|index| folders.put(index, &leaves[index], &[&old, &new]));
            trio.until_loaded(&folders, &operator(&old)).await;
            let leaves: Vec<_> = (0..3).map(|index| new.leaf(named(index), cluster())).collect();
            let both = shows(Name::Operator, &new.leaf(Name::Operator, cluster()), &[&old, &new]);
            (0..3).for_each(|index| folders.put(index, &leaves[index], &[&old, &new]));
            trio.until_loaded(&folders, &both).await;
            (0..3).for_each(|index| folders.put(index, &leaves[index], &[&new]));
            trio.until_loaded(&folders, &operator(&new)).await;
        }))
        .await;
    trio.whole().await;
    trio.produced(&batch("after")).await;
    // A record whose acknowledgement was lost is there twice.
    assert!(trio.watermark().await > acknowledged, "{acknowledged} were acknowledged");
    assert!(trio.certificates(0, &operator(&old)).await.is_err(), "the old authority is believed still");
    trio.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_whose_certificates_have_expired_go_on_once_they_are_renewed() {
    let ours = Authority::new("ours");
    let folders = Folders::new(&ours);
    let mut trio = Trio::start_with(&[("ottla.grpc.tls.directory", &folders.pattern())]).await;
    trio.create().await;
    let long = Duration::from_secs(6);
    (0..3).for_each(|index| folders.put(index, &ours.sign(vec![named(index).dns(cluster())], long), &[&ours]));
    trio.until_loaded(&folders, &operator(&ours)).await;
    let over = now() + 7;
    while now() <= over {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    trio.produced(&batch("over connections that were made before")).await;
    trio.stop_one(2).await;
    let config = configured(
        &trio.folder.path().join("2"),
        &[
            ("node.id", "2"),
            ("ottla.grpc.listener", "127.0.0.1:0"),
            ("ottla.grpc.tls.directory", &folders.of(2).display().to_string()),
        ],
    );
    let refused = Running::start(config).await.err().unwrap().to_string();
    assert!(refused.contains("the certificate in tls.crt has expired on"), "{refused}");
    for index in 0..3 {
        folders.put(index, &ours.leaf(named(index), cluster()), &[&ours]);
    }
    trio.start_one(2).await;
    trio.whole().await;
    trio.produced(&batch("after")).await;
    trio.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_changes_over_from_plaintext_one_broker_at_a_time() {
    let ours = Authority::new("ours");
    let folders = Folders::new(&ours);
    let put = |index: usize, mode: &[u8]| {
        let mut files = ours.leaf(named(index), cluster()).files(&[&ours]);
        files.mode = mode.to_vec();
        mount(&folders.of(index), &files);
    };
    let mut trio = Trio::start().await;
    trio.create().await;
    trio.extra.push(("ottla.grpc.tls.directory", folders.pattern()));
    for index in 0..3 {
        put(index, b"preferred\n");
        trio.stop_one(index).await;
        trio.start_one(index).await;
        trio.whole().await;
        trio.produced(&batch(&index.to_string())).await;
    }
    assert!(trio.certificates(0, &Credentials::plaintext()).await.unwrap().unwrap().plaintext);
    let acknowledged = trio
        .produce_during(Box::pin(async {
            (0..3).for_each(|index| put(index, b"required"));
            trio.until_loaded(&folders, &operator(&ours)).await;
        }))
        .await;
    trio.whole().await;
    assert!(trio.watermark().await >= acknowledged + 3);
    assert!(trio.certificates(0, &Credentials::plaintext()).await.is_err());
    trio.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_cannot_show_who_it_is_says_what_is_wrong() {
    let ours = Authority::new("ours");
    let folders = Folders::new(&ours);
    let good = ours.leaf(named(0), cluster());
    let check = async |files: Option<Files>, sentence: &str| {
        let data = tempfile::tempdir().unwrap();
        match files {
            Some(files) => mount(&folders.of(0), &files),
            None => std::fs::remove_file(folders.of(0).join("..data")).unwrap(),
        }
        let folder = folders.of(0).display().to_string();
        let keys = [("node.id", "0"), ("cluster.id", "MkU3OEVBNTcwNTJENDM2Qg"), ("ottla.grpc.tls.directory", &*folder)];
        let refused = Running::start(configured(data.path(), &keys)).await.err().unwrap().to_string();
        assert!(refused.contains(sentence) && refused.contains(&folder), "{refused}");
    };
    let other = Leaf { key: ours.leaf(named(0), cluster()).key, ..good.clone() };
    check(Some(other.files(&[&ours])), "tls.key is not the key of the certificate in tls.crt").await;
    let nameless = ours.sign(vec!["example.org".to_owned()], LONG);
    check(Some(nameless.files(&[&ours])), "is for [\"example.org\"], not for broker-0.").await;
    check(Some(good.files(&[&Authority::new("theirs")])), "is signed by none of ca.crt").await;
    check(Some(Files { cas: b"nothing".to_vec(), ..good.files(&[]) }), "ca.crt holds no certificate").await;
    check(Some(Files { mode: b"maybe".to_vec(), ..good.files(&[&ours]) }), "it must be required or preferred").await;
    check(None, "tls.crt: No such file").await;
    mount(&folders.of(0), &good.files(&[&ours]));
    let data = tempfile::tempdir().unwrap();
    let folder = folders.of(0).display().to_string();
    let keys = [("node.id", "0"), ("cluster.id", "MkU3OEVBNTcwNTJENDM2Qg"), ("ottla.grpc.tls.directory", &*folder)];
    let running = Running::start(configured(data.path(), &keys)).await.unwrap();
    assert_ne!(address(&running).port(), 0);
    running.stop().await;
}
