//! Where a partition is led, for clients that asked the wrong broker (KIP-951).
//!
//! Owns the hint and the addresses that go with it, as seen through the client's listener. Must never name this broker:
//! whoever is refused here would come back here.

use std::collections::BTreeMap;

use ottla_core::metadata::{Image, Topic};
use ottla_core::types::{BrokerId, PartitionIndex};
use ottla_wire::ErrorCode;

/// The hints of one answer.
#[derive(Debug)]
pub struct Hints<'a> {
    image: &'a Image,
    me: BrokerId,
    listener: &'a str,
    named: BTreeMap<BrokerId, (String, u16)>,
}

impl<'a> Hints<'a> {
    /// For an answer through `listener`.
    pub fn new(image: &'a Image, me: BrokerId, listener: &'a str) -> Self {
        Self { image, me, listener, named: BTreeMap::new() }
    }

    /// Leader and epoch to be told beside `error`, if it is one that a look at another broker mends.
    pub fn of(&mut self, error: ErrorCode, topic: Option<&Topic>, index: i32) -> Option<(i32, i32)> {
        if error != ErrorCode::NOT_LEADER_OR_FOLLOWER && error != ErrorCode::FENCED_LEADER_EPOCH {
            return None;
        }
        let partition = topic?.partition(PartitionIndex::new(index))?;
        let leader = partition.leader.filter(|leader| *leader != self.me)?;
        let endpoint = self.image.broker(leader)?.endpoints.get(self.listener)?;
        self.named.insert(leader, (endpoint.host.clone(), endpoint.port));
        Some((leader.get(), partition.leader_epoch.get()))
    }

    /// Id, host and port of everybody who was named.
    pub fn endpoints(self) -> impl Iterator<Item = (i32, String, i32)> {
        self.named.into_iter().map(|(id, (host, port))| (id.get(), host, i32::from(port)))
    }
}

#[cfg(test)]
mod tests {
    use ottla_core::metadata::{Broker, Endpoint, Partition};
    use ottla_core::types::{ClusterId, DirectoryId, Incarnation, LeaderEpoch, TopicId};

    use super::*;

    fn broker(id: i32, fenced: bool) -> Broker {
        let endpoint = Endpoint { host: format!("b{id}"), port: 9092 };
        Broker {
            id: BrokerId::new(id),
            incarnation: Incarnation::new(1),
            directory: DirectoryId::from_bytes([id as u8; 16]),
            rack: None,
            endpoints: [("PLAINTEXT".to_owned(), endpoint)].into(),
            fenced,
        }
    }

    fn topic(leader: i32) -> Topic {
        let partition = Partition {
            leader: Some(BrokerId::new(leader)),
            leader_epoch: LeaderEpoch::new(7),
            ..Partition::default()
        };
        Topic {
            name: "t".to_owned(),
            id: TopicId::from_bytes([1; 16]),
            partitions: vec![partition],
            config: Default::default(),
            internal: false,
        }
    }

    #[test]
    fn the_other_broker_is_named_with_its_address_and_this_one_never() {
        let image = Image::empty(ClusterId::ZERO).with_broker(broker(1, false)).with_broker(broker(2, false));
        let mut hints = Hints::new(&image, BrokerId::new(1), "PLAINTEXT");
        assert_eq!(hints.of(ErrorCode::NOT_LEADER_OR_FOLLOWER, Some(&topic(2)), 0), Some((2, 7)));
        assert_eq!(hints.of(ErrorCode::NOT_LEADER_OR_FOLLOWER, Some(&topic(1)), 0), None, "that is here");
        assert_eq!(hints.of(ErrorCode::NOT_ENOUGH_REPLICAS, Some(&topic(2)), 0), None, "nobody else can help");
        assert_eq!(hints.of(ErrorCode::NOT_LEADER_OR_FOLLOWER, Some(&topic(2)), 5), None);
        assert_eq!(hints.endpoints().collect::<Vec<_>>(), [(2, "b2".to_owned(), 9092)]);
        let mut elsewhere = Hints::new(&image, BrokerId::new(1), "OTHER");
        assert_eq!(elsewhere.of(ErrorCode::NOT_LEADER_OR_FOLLOWER, Some(&topic(2)), 0), None, "no way there");
    }
}
