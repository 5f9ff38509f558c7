//! What a client must not be able to do, whatever it sends.

#[path = "support/peer.rs"]
mod peer;

use ottla_wire::messages::{ApiVersionsRequest, MetadataRequest};
use ottla_wire::{ApiKey, ErrorCode};
use peer::{Peer, address, soon, start, with};

/// A frame of `body` behind its length.
fn framed(body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len()).expect("a test frame is short");
    [&length.to_be_bytes(), body].concat()
}

fn header(api: i16, version: i16) -> Vec<u8> {
    [api.to_be_bytes().as_slice(), &version.to_be_bytes(), &7i32.to_be_bytes(), &(-1i16).to_be_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_closes_the_connection_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path(), &[]).await;
    let mut bystander = Peer::connect(address(&broker)).await;
    let garbage: Vec<(&str, Vec<u8>)> = vec![
        ("negative length", (-5i32).to_be_bytes().to_vec()),
        ("huge length", i32::MAX.to_be_bytes().to_vec()),
        ("empty frame", framed(&[])),
        ("three bytes", framed(&[0, 18, 0])),
        ("no correlation id", framed(&[0, 18, 0, 0])),
        ("unknown API", framed(&header(999, 0))),
        ("negative API", framed(&header(-1, 0))),
        ("unknown version", framed(&header(ApiKey::Metadata.code(), 99))),
        ("negative version", framed(&header(ApiKey::Metadata.code(), -1))),
        ("no body", framed(&header(ApiKey::Metadata.code(), 5))),
        ("client id that ends early", framed(&[0, 3, 0, 5, 0, 0, 0, 1, 0, 50, b'x'])),
        ("array that lies", framed(&[header(ApiKey::Metadata.code(), 5), i32::MAX.to_be_bytes().to_vec()].concat())),
        ("name that is no UTF-8", framed(&[header(3, 5), vec![0, 0, 0, 1, 0, 2, 0xff, 0xfe, 1]].concat())),
    ];
    for (what, bytes) in garbage {
        let mut peer = Peer::connect(address(&broker)).await;
        peer.raw(&bytes).await;
        assert!(peer.is_closed().await, "{what}");
        let answer = bystander.ask(&MetadataRequest::default(), 9).await;
        assert_eq!(answer.brokers.len(), 1, "{what}");
    }
    soon("stop", broker.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path(), &[]).await;
    let mut peer = Peer::connect(address(&broker)).await;
    peer.raw(&framed(&header(ApiKey::ApiVersions.code(), 77))).await;
    let answer = peer.answer::<ApiVersionsRequest>(0).await;
    assert_eq!(ErrorCode::new(answer.error_code), ErrorCode::UNSUPPORTED_VERSION);
    let ranges: Vec<_> = answer.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
    assert_eq!(ranges, [(18, 0, 5)]);
    let nameless = peer.ask(&ApiVersionsRequest::default(), 3).await;
    assert_eq!(ErrorCode::new(nameless.error_code), ErrorCode::INVALID_REQUEST);
    let named = with(|request: &mut ApiVersionsRequest| {
        request.client_software_name = "test".to_owned();
        request.client_software_version = "1.0".to_owned();
    });
    let answer = peer.ask(&named, 4).await;
    assert_eq!(ErrorCode::new(answer.error_code), ErrorCode::NONE, "the connection stays usable");
    assert!(answer.api_keys.iter().any(|api| (api.api_key, api.min_version) == (0, 0)), "librdkafka needs Produce 0");
    soon("stop", broker.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn announced_frames_that_never_come_hold_no_memory() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path(), &[]).await;
    let mut idlers = Vec::new();
    for _ in 0..40 {
        let mut peer = Peer::connect(address(&broker)).await;
        peer.raw(&(95i32 * 1024 * 1024).to_be_bytes()).await;
        peer.raw(&header(ApiKey::Produce.code(), 9)).await;
        idlers.push(peer);
    }
    let mut peer = Peer::connect(address(&broker)).await;
    let answer = peer.ask(&MetadataRequest::default(), 9).await;
    assert_eq!(answer.brokers.len(), 1);
    let used = broker.node.request_budget.used();
    assert!(used < 64 * 1024, "{used} bytes are held for frames that did not come");
    drop(idlers);
    soon("stop", broker.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_connections_are_served() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path(), &[]).await;
    let mut peers = Vec::new();
    for _ in 0..2000 {
        peers.push(Peer::connect(address(&broker)).await);
    }
    for peer in &mut peers {
        peer.send(&MetadataRequest::default(), 9).await;
    }
    for peer in &mut peers {
        assert_eq!(peer.answer::<MetadataRequest>(9).await.brokers.len(), 1);
    }
    drop(peers);
    soon("stop", broker.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_above_the_limit_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path(), &[("max.connections.per.ip", "3")]).await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        let mut peer = Peer::connect(address(&broker)).await;
        assert_eq!(peer.ask(&MetadataRequest::default(), 9).await.brokers.len(), 1);
        peers.push(peer);
    }
    let mut refused = Peer::connect(address(&broker)).await;
    assert!(refused.is_closed().await);
    soon("stop", broker.stop()).await;
}
