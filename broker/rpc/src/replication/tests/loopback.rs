//! Frames both ways through tonic's client and server over TCP.

use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::{self, UnboundedReceiver, UnboundedSender};
use futures::{StreamExt, stream};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::server::Router;
use tonic::transport::{Channel, Server, Uri};

use super::*;
use crate::trust::{Credentials, accept};

const RECORDS: usize = 3 * 1024 * 1024;
const PUSHES: i64 = 12;
/// A test that waits longer has failed.
const LONG: Duration = Duration::from_secs(30);

/// Welcomes, then gives back the credits of every push and acknowledges it. Cuts its answers into single bytes.
struct Follower;

impl Handler for Follower {
    fn exchange(&self, incoming: Incoming) -> Outgoing {
        assert!(incoming.caller().remote.is_some());
        let (out, answers) = mpsc::unbounded();
        tokio::spawn(follow(incoming, out));
        answers.boxed()
    }
}

async fn follow(mut incoming: Incoming, out: UnboundedSender<Bytes>) {
    let send = |item: &Item| {
        let mut bytes = BytesMut::new();
        put(item, 0, &mut bytes);
        for byte in bytes {
            let _ = out.unbounded_send(Bytes::from(vec![byte]));
        }
    };
    let mut decoder = Decoder::new(RECORDS + 1024);
    while let Some(piece) = incoming.next().await {
        decoder.feed(piece.expect("a piece"));
        while let Some((item, records)) = decoder.next().expect("frames") {
            match item {
                Item::Hello { to, incarnation, .. } => {
                    send(&Item::Welcome { version: VERSION, from: to, incarnation, credit_bytes: 8 << 20 });
                }
                Item::Message { partition, message: Message::Push(push) } => {
                    let byte = u8::try_from(push.end.get()).expect("small");
                    assert!(records.len() == RECORDS && records.iter().all(|each| *each == byte), "push {byte}");
                    send(&Item::Returned { bytes: records.len() as u64 });
                    let ack = Ack {
                        epoch: push.epoch,
                        incarnation: Incarnation::new(1),
                        session: push.session,
                        end: push.end,
                        log_start: push.log_start,
                        stamp: push.stamp,
                    };
                    send(&Item::Message { partition, message: Message::Ack(ack) });
                }
                Item::Welcome { .. } | Item::Refused { .. } | Item::Message { .. } | Item::Returned { .. } => {
                    send(&Item::Refused { reason: "that is not for a follower".to_owned() });
                }
            }
        }
    }
    assert!(decoder.is_between_frames());
}

async fn listen(router: Router) -> Uri {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let uri = format!("http://{}", listener.local_addr().expect("bound")).parse().expect("a uri");
    tokio::spawn(router.serve_with_incoming(accept(listener, Credentials::plaintext())));
    uri
}

async fn serve(router: Router) -> Channel {
    endpoint(listen(router).await).connect().await.expect("connected")
}

fn hello() -> Item {
    Item::Hello {
        version: VERSION,
        cluster: ClusterId::from_bytes([3; 16]),
        from: BrokerId::new(1),
        to: BrokerId::new(2),
        incarnation: Incarnation::new(9),
        lane: Lane::Live,
    }
}

fn frame_of(item: &Item, records: usize) -> Bytes {
    let mut out = BytesMut::new();
    put(item, records, &mut out);
    out.freeze()
}

/// Everything that is sent, cut at places that have nothing to do with frames.
fn pushes() -> Vec<Bytes> {
    let mut pieces = vec![frame_of(&hello(), 0)];
    for end in 1..=PUSHES {
        let records = Bytes::from(vec![u8::try_from(end).expect("small"); RECORDS]);
        let Item::Message { partition, message: Message::Push(push) } = a_push(end) else { panic!("a push") };
        let push = Message::Push(Push { end: Offset::new(end), ..push });
        pieces.push(frame_of(&Item::Message { partition, message: push }, RECORDS));
        // The first goes out whole, then pieces of all sizes, some of a single byte.
        let mut rest = records;
        for cut in (0..end).map(|n| 1 << (2 * n).min(20)) {
            pieces.push(rest.split_to(usize::min(cut, rest.len())));
        }
        pieces.push(rest);
    }
    pieces
}

async fn exchange(channel: Channel) {
    // The end of what is sent must not be the end of what is answered.
    let mut incoming = dial(channel, stream::iter(pushes())).await.expect("dialled");
    let (mut decoder, mut acked, mut returned) = (Decoder::new(1024), Vec::new(), 0);
    while let Some(piece) = incoming.next().await {
        decoder.feed(piece.expect("a piece"));
        while let Some((item, _)) = decoder.next().expect("frames") {
            match item {
                Item::Welcome { from, .. } => assert_eq!(from, BrokerId::new(2)),
                Item::Returned { bytes } => returned += bytes,
                Item::Message { message: Message::Ack(ack), .. } => acked.push(ack.end.get()),
                Item::Hello { .. } | Item::Refused { .. } | Item::Message { .. } => panic!("{item:?}"),
            }
        }
    }
    assert_eq!(acked, (1..=PUSHES).collect::<Vec<_>>());
    assert_eq!(returned, PUSHES as u64 * RECORDS as u64);
}

#[tokio::test]
async fn frames_cross_a_connection_both_ways() {
    let channel = serve(server().add_service(Replication::new(Arc::new(Follower)))).await;
    let two = async { tokio::join!(exchange(channel.clone()), exchange(channel)) };
    timeout(LONG, two).await.expect("in time");
}

#[tokio::test]
async fn an_answer_comes_while_the_request_is_open() {
    let channel = serve(server().add_service(Replication::new(Arc::new(Follower)))).await;
    let (out, pieces) = mpsc::unbounded();
    let mut incoming = timeout(LONG, dial(channel, pieces)).await.expect("in time").expect("dialled");
    let mut decoder = Decoder::new(1024);
    for _ in 0..3 {
        out.unbounded_send(frame_of(&hello(), 0)).expect("open");
        loop {
            if let Some((item, _)) = decoder.next().expect("frames") {
                assert!(matches!(item, Item::Welcome { .. }));
                break;
            }
            let piece = timeout(LONG, incoming.next()).await.expect("in time");
            decoder.feed(piece.expect("open").expect("a piece"));
        }
    }
}

/// Tells how what came ended, and when its answer is dropped. Answers nothing, and ends that at once or never.
struct Watcher {
    told: UnboundedSender<Result<(), Code>>,
    dropped: UnboundedSender<()>,
    stop: bool,
}

impl Watcher {
    async fn serve(stop: bool) -> (Uri, UnboundedReceiver<Result<(), Code>>, UnboundedReceiver<()>) {
        let ((told, ends), (dropped, drops)) = (mpsc::unbounded(), mpsc::unbounded());
        let watcher = Replication::new(Arc::new(Self { told, dropped, stop }));
        (listen(server().add_service(watcher)).await, ends, drops)
    }
}

struct Guard(UnboundedSender<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.unbounded_send(());
    }
}

impl Handler for Watcher {
    fn exchange(&self, mut incoming: Incoming) -> Outgoing {
        let told = self.told.clone();
        tokio::spawn(async move {
            let mut end = Ok(());
            while let Some(piece) = incoming.next().await {
                end = piece.map(drop).map_err(|status| status.code());
            }
            let _ = told.unbounded_send(end);
        });
        let guard = Guard(self.dropped.clone());
        let answer = if self.stop { stream::empty().boxed() } else { stream::pending().boxed() };
        answer.inspect(move |_| drop(guard.0.clone())).boxed()
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(LONG, future).await.expect("in time")
}

#[tokio::test]
async fn whoever_drops_the_answer_ends_the_request() {
    let (uri, mut ends, mut drops) = Watcher::serve(false).await;
    let channel = endpoint(uri).connect().await.expect("connected");
    let pieces = stream::iter([frame_of(&hello(), 0)]).chain(stream::pending());
    drop(soon(dial(channel, pieces)).await.expect("dialled"));
    soon(ends.next()).await.expect("told").unwrap_or_default();
    soon(drops.next()).await.expect("told");
}

#[tokio::test]
async fn whoever_ends_the_answer_ends_the_request() {
    let (uri, mut ends, mut drops) = Watcher::serve(true).await;
    let channel = endpoint(uri).connect().await.expect("connected");
    let (dropped, mut drop_of_pieces) = mpsc::unbounded();
    let guard = Guard(dropped);
    let pieces = stream::pending().inspect(move |_: &Bytes| drop(guard.0.clone()));
    let mut incoming = soon(dial(channel, pieces)).await.expect("dialled");
    assert!(soon(incoming.next()).await.is_none(), "ended in good order");
    soon(drop_of_pieces.next()).await.expect("told");
    soon(drops.next()).await.expect("told");
    soon(ends.next()).await.expect("told").unwrap_or_default();
}

#[tokio::test]
async fn a_connection_that_breaks_is_an_error() {
    let (uri, mut ends, mut drops) = Watcher::serve(false).await;
    // A runtime of its own, which is gone with everything that runs on it.
    let far = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let dialled = far.spawn(async move {
        let channel = endpoint(uri).connect().await.expect("connected");
        dial(channel, stream::iter([frame_of(&hello(), 0)]).chain(stream::pending())).await.expect("dialled")
    });
    let _incoming = soon(dialled).await.expect("dialled");
    far.shutdown_background();
    let end = soon(ends.next()).await.expect("told");
    assert!(end.is_err(), "{end:?}");
    soon(drops.next()).await.expect("told");
}

#[tokio::test]
async fn nobody_there_and_nobody_who_knows_it_are_told_apart() {
    struct Other;
    impl crate::controller::Service for Other {
        fn follow(&self, _: crate::trust::Caller, _: crate::controller::UpStream) -> crate::controller::DownStream {
            stream::empty().boxed()
        }
        fn silent(&self, _: crate::controller::Silent) {}
    }
    let channel = serve(Server::builder().add_service(crate::controller::service(Arc::new(Other)))).await;
    let refused = dial(channel, stream::empty()).await.expect_err("no such service");
    assert_eq!(refused.code(), Code::Unimplemented);

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let uri = format!("http://{}", listener.local_addr().expect("bound")).parse().expect("a uri");
    drop(listener);
    let nobody = dial(endpoint(uri).connect_lazy(), stream::empty()).await.expect_err("nobody listens");
    assert_eq!(nobody.code(), Code::Unavailable);
}
