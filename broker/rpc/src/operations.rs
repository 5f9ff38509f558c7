//! What whoever runs a cluster asks of its brokers: how whole it is, and whether brokers may stop.
//!
//! Owns the service's generated types and how what `ottla-core` counts becomes an answer. It decides nothing.

use ottla_core::metadata::Image;
use ottla_core::metadata::health::{Health, Without};
use ottla_core::types::BrokerId;

use crate::trust::{Material, Mode};

pub use crate::served::ottla::operations::v1::operations_client::OperationsClient as Client;
pub use crate::served::ottla::operations::v1::operations_server::{Operations, OperationsServer as Server};
pub use crate::served::ottla::operations::v1::{
    Broker, Certificates, DescribeRequest, Description, MayStopAnswer, MayStopRequest, Partition, Partitions,
};

/// The cluster as `me`, of that version, sees it.
pub fn describe(image: &Image, health: &Health, me: BrokerId, version: &str, decides: bool) -> Description {
    let broker = |known: &ottla_core::metadata::Broker| {
        let share = health.brokers.get(&known.id).copied().unwrap_or_default();
        Broker {
            id: known.id.get(),
            incarnation: known.incarnation.get(),
            fenced: known.fenced,
            rack: known.rack.clone(),
            replicas: share.replicas,
            leads: share.leads,
            out_of_sync: share.out_of_sync,
        }
    };
    Description {
        cluster_id: image.cluster_id().to_bytes().to_vec(),
        broker: me.get(),
        version: version.to_owned(),
        controller: image.controller().map(BrokerId::get),
        controller_epoch: image.epoch().get(),
        decides,
        partitions: Some(Partitions {
            total: health.partitions,
            under_replicated: health.under_replicated,
            under_min_isr: health.under_min_isr,
            offline: health.offline,
        }),
        brokers: image.brokers().values().map(broker).collect(),
        certificates: None,
    }
}

/// What a broker shows and believes.
pub fn certificates(material: &Material) -> Certificates {
    Certificates {
        leaf: material.leaf.to_bytes().to_vec(),
        leaf_expires: material.leaf_expires,
        authorities: material.cas.iter().map(|ca| ca.to_bytes().to_vec()).collect(),
        plaintext: material.mode == Mode::Preferred,
    }
}

/// What stopping would mean.
pub fn answer(without: &Without) -> MayStopAnswer {
    let example = |(topic, index): &(String, ottla_core::types::PartitionIndex)| Partition {
        topic: topic.clone(),
        index: index.get(),
    };
    MayStopAnswer {
        may: without.short == 0,
        short: without.short,
        examples: without.examples.iter().map(example).collect(),
        unavoidable: without.unavoidable,
    }
}
