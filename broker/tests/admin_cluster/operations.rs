//! What an operator asks over gRPC: how whole the cluster is, and who may stop.

use ottla_broker::controller::GRPC;
use ottla_rpc::operations::{Client, DescribeRequest, MayStopRequest, Partition};
use ottla_rpc::transport::endpoint;
use tonic::Code;
use tonic::transport::Channel;

use super::{create, create_with};
use crate::peer;
use crate::trio::{Trio, id_of};

async fn client(trio: &Trio, index: usize) -> Client<Channel> {
    let image = trio.any().node.metadata.image();
    let at = &image.broker(ottla_core::types::BrokerId::new(id_of(index))).unwrap().endpoints[GRPC];
    let uri = format!("http://{}:{}", at.host, at.port).parse().unwrap();
    Client::new(peer::soon("connect", endpoint(uri).connect()).await.unwrap())
}

fn controller(trio: &Trio) -> usize {
    let decides =
        |one: &Option<ottla_broker::node::Running>| one.as_ref().is_some_and(|one| one.node.controller.is_controller());
    trio.brokers.iter().position(decides).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_broker_says_how_whole_the_cluster_is() {
    let mut trio = Trio::start().await;
    create(&trio, "orders", &[0, 1, 2]).await;
    create(&trio, "alone", &[1]).await;
    let away = (0..3).find(|index| *index != controller(&trio) && *index != 1).unwrap_or(2);
    for index in 0..3 {
        let said = client(&trio, index).await.describe(DescribeRequest {}).await.unwrap().into_inner();
        assert_eq!((said.broker, said.brokers.len()), (id_of(index), 3));
        assert_eq!(said.decides, said.controller == Some(said.broker));
        assert_eq!(said.version, env!("CARGO_PKG_VERSION"));
        let partitions = said.partitions.unwrap();
        assert_eq!((partitions.total, partitions.under_replicated, partitions.offline), (2, 0, 0));
        assert_eq!(said.brokers.iter().map(|broker| broker.replicas).collect::<Vec<_>>(), [1, 2, 1]);
    }
    trio.stop_one(away).await;
    trio.until("orders", "smaller", |partition| partition.isr.len() == 2).await;
    let said = client(&trio, 1).await.describe(DescribeRequest {}).await.unwrap().into_inner();
    assert_eq!(said.partitions.unwrap().under_replicated, 1);
    let gone = said.brokers.iter().find(|broker| broker.id == id_of(away)).unwrap();
    assert_eq!((gone.replicas, gone.leads, gone.out_of_sync), (1, 0, 1));
    trio.start_one(away).await;
    trio.until("orders", "whole again", |partition| partition.isr.len() == 3).await;
    trio.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_controller_says_who_may_stop() {
    let trio = Trio::start().await;
    create(&trio, "orders", &[0, 1, 2]).await;
    create(&trio, "alone", &[1]).await;
    create_with(&trio, "strict", &[0, 1, 2], &[("min.insync.replicas", "3")]).await;
    let decides = controller(&trio);
    let ask = |brokers: &[usize]| MayStopRequest { brokers: brokers.iter().map(|index| id_of(*index)).collect() };
    for index in (0..3).filter(|index| *index != decides) {
        let refused = client(&trio, index).await.may_stop(ask(&[0])).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().ends_with(&format!("broker {} is", id_of(decides))), "{}", refused.message());
    }
    let mut client = client(&trio, decides).await;
    let one = client.may_stop(ask(&[1])).await.unwrap().into_inner();
    assert_eq!((one.may, one.short, one.unavoidable), (true, 0, 2), "alone and strict have none to spare");
    let two = client.may_stop(ask(&[0, 2])).await.unwrap().into_inner();
    assert_eq!((two.may, two.short), (false, 2));
    let named = |topic: &str| Partition { topic: topic.to_owned(), index: 0 };
    assert_eq!(two.examples, [named("orders"), named("strict")]);
    let many = client.may_stop(MayStopRequest { brokers: vec![0; 1001] }).await.unwrap_err();
    assert_eq!(many.code(), Code::InvalidArgument);
    trio.stop().await;
}
