//! Streams through tonic's client and server over TCP.

use std::sync::Arc;

use futures::channel::mpsc::{self, UnboundedReceiver, UnboundedSender};
use futures::channel::oneshot;
use futures::future::FusedFuture;
use futures::{SinkExt, StreamExt};
use ottla_core::controller::TopicRef;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Status};

use super::*;
use crate::transport;
use crate::trust::Caller;

/// A test that waits longer has failed.
const LONG: Duration = Duration::from_secs(30);

/// Answers beats, gives documents for a hello, ends with a status when somebody leaves, and tells what it hears.
struct Controller {
    heard: UnboundedSender<Silent>,
    ended: UnboundedSender<Option<StreamError>>,
}

impl Service for Controller {
    fn follow(&self, _: Caller, mut ups: UpStream) -> DownStream {
        let (mut out, downs) = mpsc::unbounded();
        let ended = self.ended.clone();
        tokio::spawn(async move {
            while let Some(up) = ups.next().await {
                let down = match up {
                    Ok(Up::Hello { .. }) => Ok(documents()),
                    Ok(Up::Beat { sequence, .. }) => Ok(beat(sequence)),
                    Ok(Up::Echo { .. }) => continue,
                    Ok(Up::Ask { id, .. }) => Ok(Down::Answer { id, answer: Answer::Admit(Err(NotController.into())) }),
                    Ok(Up::Leaving { .. }) => Err(Status::aborted("good-bye")),
                    Err(error) => {
                        let _ = ended.unbounded_send(Some(error));
                        return;
                    }
                };
                let _ = out.send(down).await;
            }
            let _ = ended.unbounded_send(None);
        });
        downs.boxed()
    }

    fn silent(&self, silent: Silent) {
        let _ = self.heard.unbounded_send(silent);
    }
}

fn documents() -> Down {
    // More than the window of a stream.
    let documents = vec![Bytes::from(vec![7; 5 << 20]), Bytes::from(vec![8; 5 << 20]), Bytes::new()];
    Down::Documents { epoch: ControllerEpoch::new(3), view: 4, complete: true, documents }
}

fn beat(sequence: u64) -> Down {
    let ages = BTreeMap::from([(BrokerId::new(2), Duration::from_micros(1500))]);
    Down::Beat { sequence, epoch: ControllerEpoch::new(3), view: 4, ages, most_heard: None }
}

type Ended = UnboundedReceiver<Option<StreamError>>;

async fn serve() -> (Channel, UnboundedReceiver<Silent>, Ended) {
    let ((heard, hears), (ended, ends)) = (mpsc::unbounded(), mpsc::unbounded());
    let router = transport::server().add_service(service(Arc::new(Controller { heard, ended })));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let uri = format!("http://{}", listener.local_addr().expect("bound")).parse().expect("a uri");
    tokio::spawn(router.serve_with_incoming(TcpIncoming::from(listener)));
    (transport::endpoint(uri).connect().await.expect("connected"), hears, ends)
}

fn hello() -> Up {
    let standing = ottla_core::controller::error::Standing {
        directory: DirectoryId::from_bytes([1; 16]),
        incarnation: Incarnation::new(1),
        synced: Lsn::new(3),
    };
    let presentation =
        Presentation { broker: BrokerId::new(1), cluster: ClusterId::ZERO, standing, vector: BTreeMap::new() };
    Up::Hello { version: VERSION, presentation, run: None }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(LONG, future).await.expect("in time")
}

#[tokio::test]
async fn a_stream_carries_both_ways_until_one_side_ends_it() {
    let (channel, _hears, _ends) = serve().await;
    let (up, ups) = mpsc::unbounded();
    let mut downs = soon(Client::connect(channel).follow(ups)).await.expect("taken");
    up.unbounded_send(hello()).expect("open");
    assert_eq!(soon(downs.next()).await.expect("open").expect("a message"), documents());
    for sequence in 1..100 {
        let sent = Up::Beat { sequence, run: Incarnation::new(1), view: 4, draining: false, synced: Lsn::new(3) };
        up.unbounded_send(sent).expect("open");
        assert_eq!(soon(downs.next()).await.expect("open").expect("a message"), beat(sequence));
    }
    let request = Request::Admit { broker: BrokerId::new(1), incarnation: Incarnation::new(1), endpoints: None };
    up.unbounded_send(Up::Ask { id: 77, request }).expect("open");
    let answer = soon(downs.next()).await.expect("open").expect("a message");
    assert!(matches!(answer, Down::Answer { id: 77, .. }), "{answer:?}");
    up.unbounded_send(Up::Leaving { run: Incarnation::new(1) }).expect("open");
    match soon(downs.next()).await {
        Some(Err(StreamError::Broken(status))) => {
            assert_eq!((status.code(), status.message()), (Code::Aborted, "good-bye"));
        }
        other => panic!("{other:?}"),
    }
    assert!(soon(downs.next()).await.is_none(), "after an error nothing comes");
}

#[tokio::test]
async fn a_broker_that_ends_its_stream_or_drops_it_is_noticed() {
    let (channel, _hears, mut ends) = serve().await;
    let client = Client::connect(channel);
    let _downs = soon(client.follow(futures::stream::iter([hello()]))).await.expect("taken");
    assert!(matches!(soon(ends.next()).await, Some(None)), "ended in good order");
    let downs = soon(client.follow(futures::stream::pending())).await.expect("taken");
    drop(downs);
    assert!(soon(ends.next()).await.is_some(), "although what it sends had not ended");
}

#[tokio::test]
async fn what_is_sent_ends_with_the_stream() {
    let (channel, _hears, _ends) = serve().await;
    let (mut dropped, guard) = oneshot::channel::<()>();
    let ups = futures::stream::iter([Up::Leaving { run: Incarnation::new(1) }]).chain(futures::stream::pending());
    let ups = ups.inspect(move |_| assert!(!guard.is_terminated()));
    let mut downs = soon(Client::connect(channel).follow(ups)).await.expect("taken");
    assert!(matches!(soon(downs.next()).await, Some(Err(_))));
    soon(dropped.cancellation()).await;
}

#[tokio::test]
async fn what_is_too_long_breaks_the_stream() {
    let (channel, _hears, mut ends) = serve().await;
    let topics = vec![TopicRef::Id(TopicId::ZERO); 300_000];
    let long = Up::Ask { id: 1, request: Request::DeleteTopics { topics } };
    let ups = futures::stream::iter([hello(), long]).chain(futures::stream::pending());
    let taken = soon(Client::connect(channel).follow(ups)).await;
    assert!(matches!(soon(ends.next()).await, Some(Some(StreamError::Broken(_)))));
    // It may break before the other side has said that it takes it.
    let Ok(downs) = taken else { return };
    let downs = soon(downs.collect::<Vec<_>>()).await;
    assert!(matches!(downs.last(), Some(Err(StreamError::Broken(_)))), "{downs:?}");
}

#[tokio::test]
async fn what_cannot_be_read_is_a_typed_error() {
    let (mut channel, _hears, mut ends) = serve().await;
    let body = http_body_util::Full::new(Bytes::from_static(&[0, 0, 0, 0, 3, 0x7a, 1, 0]));
    let request = http::Request::post(super::client::FOLLOW).header("content-type", "application/grpc");
    let request = request.body(tonic::body::Body::new(http_body_util::BodyExt::map_err(body, |never| match never {})));
    std::future::poll_fn(|cx| tonic::codegen::Service::poll_ready(&mut channel, cx)).await.expect("ready");
    let answer = tonic::codegen::Service::call(&mut channel, request.expect("a request")).await;
    let unreadable = soon(ends.next()).await;
    assert!(matches!(unreadable, Some(Some(StreamError::Unreadable(DecodeError::UnknownKind(_))))), "{unreadable:?}");
    drop(answer);
}

#[tokio::test]
async fn a_message_that_says_it_is_huge_is_refused() {
    let (mut channel, _hears, mut ends) = serve().await;
    let body = http_body_util::Full::new(Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]));
    let request = http::Request::post(super::client::FOLLOW).header("content-type", "application/grpc");
    let request = request.body(tonic::body::Body::new(http_body_util::BodyExt::map_err(body, |never| match never {})));
    std::future::poll_fn(|cx| tonic::codegen::Service::poll_ready(&mut channel, cx)).await.expect("ready");
    let answer = tonic::codegen::Service::call(&mut channel, request.expect("a request")).await;
    match soon(ends.next()).await {
        Some(Some(StreamError::Broken(status))) => assert_eq!(status.code(), Code::OutOfRange),
        other => panic!("{other:?}"),
    }
    drop(answer);
}

#[tokio::test]
async fn silence_is_told() {
    let (channel, mut hears, _ends) = serve().await;
    let ages = BTreeMap::from([(BrokerId::new(2), Duration::from_millis(1600))]);
    let silent = Silent { broker: BrokerId::new(3), epoch: ControllerEpoch::new(3), ages, heard_again: false };
    soon(Client::connect(channel).silent(silent.clone())).await.expect("arrived");
    assert_eq!(soon(hears.next()).await, Some(silent));
}
