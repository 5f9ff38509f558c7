//! Addresses that change under brokers that run: clients of every broker are told the new ones.

use ottla_core::metadata::Endpoint;
use ottla_wire::messages::metadata_request::MetadataRequestTopic;
use ottla_wire::messages::{MetadataRequest, MetadataResponse};

use super::*;

/// What a client of that broker's second listener is told.
async fn told(trio: &Trio, index: usize) -> MetadataResponse {
    let request = with(|request: &mut MetadataRequest| {
        let topic = with(|topic: &mut MetadataRequestTopic| topic.name = Some(TOPIC.to_owned()));
        request.topics = Some(vec![topic]);
    });
    let at = trio.brokers[index].as_ref().unwrap().listeners[1].1;
    Peer::connect(at).await.ask(&request, 12).await
}

fn addresses(answer: &MetadataResponse) -> Vec<(i32, String)> {
    answer.brokers.iter().map(|broker| (broker.node_id, format!("{}:{}", broker.host, broker.port))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_changes_is_told_by_every_broker_without_a_restart() {
    let files = tempfile::tempdir().unwrap();
    let file = |id: usize| files.path().join(format!("{id}.listeners"));
    std::fs::write(file(0), "OUT://zero.example.org:31000").unwrap();
    std::fs::write(file(2), "out://two.example.org:31002\n").unwrap();
    let path = files.path().join("{id}.listeners").display().to_string();
    let mut trio = Trio::start_with(&[
        ("listeners", "PLAINTEXT://127.0.0.1:0,OUT://127.0.0.1:0"),
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,OUT:PLAINTEXT"),
        ("advertised.listeners", "PLAINTEXT://127.0.0.1:0"),
        ("ottla.advertised.listeners.file", &path),
    ])
    .await;
    trio.create().await;
    let leads = trio.leader(TOPIC).unwrap();
    let runs = |trio: &Trio| -> Vec<_> {
        trio.any().node.metadata.image().brokers().values().map(|broker| broker.incarnation).collect()
    };
    let before = runs(&trio);
    let expected = [(0, "zero.example.org:31000".to_owned()), (2, "two.example.org:31002".to_owned())];
    for index in 0..3 {
        let answer = told(&trio, index).await;
        assert_eq!(addresses(&answer), expected, "one whose address is not known is told to nobody");
        let partition = &answer.topics[0].partitions[0];
        let known = if leads == 1 { (-1, ErrorCode::LISTENER_NOT_FOUND) } else { (id_of(leads), ErrorCode::NONE) };
        assert_eq!((partition.leader_id, partition.error_code), (known.0, known.1.code()));
    }
    std::fs::write(file(0), "neither a name nor an address").unwrap();
    std::fs::write(file(1), "OUT://[2001:db8::1]:31001").unwrap();
    std::fs::write(file(2), "OUT://moved.example.org:31002").unwrap();
    let at = |host: &str, port| Some(Endpoint { host: host.to_owned(), port });
    let wanted = [at("zero.example.org", 31000), at("2001:db8::1", 31001), at("moved.example.org", 31002)];
    trio.until_seen("the new addresses", |image| {
        image.brokers().values().map(|broker| broker.endpoints.get("OUT").cloned()).eq(wanted.clone())
    })
    .await;
    for index in 0..3 {
        let answer = told(&trio, index).await;
        let hosts: Vec<&str> = answer.brokers.iter().map(|broker| broker.host.as_str()).collect();
        assert_eq!(hosts, ["zero.example.org", "2001:db8::1", "moved.example.org"]);
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    }
    assert_eq!(runs(&trio), before, "nobody was restarted");
    // One that starts again says at once what its file says by then.
    trio.stop_one(2).await;
    std::fs::write(file(2), "OUT://again.example.org:31002").unwrap();
    trio.start_one(2).await;
    trio.until_seen("the address after a restart", |image| {
        let known = image.broker(trio::broker(2)).and_then(|broker| broker.endpoints.get("OUT"));
        known.is_some_and(|endpoint| endpoint.host == "again.example.org")
    })
    .await;
    trio.stop().await;
}
