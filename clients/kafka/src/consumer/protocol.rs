//! What members of a classic group say to each other, byte for byte as Java's consumers do.
//!
//! Owns the version in front of subscriptions and assignments. Bytes of other clients are not trusted: what cannot be
//! read is an error for whoever asked, never a panic.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};
use ottla_wire::records::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_wire::records::{consumer_protocol_assignment, consumer_protocol_subscription};
use ottla_wire::{DecodeError, EncodeError, Message, Reader};

use crate::config::NamedPartition;

/// The protocol type of consumers.
pub(crate) const TYPE: &str = "consumer";
/// The subscription version that we write; older readers skip what they do not know.
const SUBSCRIPTION_VERSION: i16 = 2;
/// The assignment version that we write.
const ASSIGNMENT_VERSION: i16 = 1;

/// What a member wants, and has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) topics: BTreeSet<String>,
    pub(crate) owned: BTreeSet<NamedPartition>,
    /// The generation in which it got what it has; −1 if it does not say.
    pub(crate) generation: i32,
}

pub(crate) fn encode_subscription(subscription: &Subscription) -> Result<Bytes, EncodeError> {
    let owned = by_topic(&subscription.owned)
        .into_iter()
        .map(|(topic, partitions)| consumer_protocol_subscription::TopicPartition { topic, partitions });
    let message = ConsumerProtocolSubscription {
        topics: subscription.topics.iter().cloned().collect(),
        user_data: None,
        owned_partitions: owned.collect(),
        generation_id: subscription.generation,
        ..ConsumerProtocolSubscription::default()
    };
    versioned(&message, SUBSCRIPTION_VERSION)
}

pub(crate) fn decode_subscription(bytes: &Bytes) -> Result<Subscription, DecodeError> {
    let message: ConsumerProtocolSubscription = unversioned(bytes)?;
    let owned = message.owned_partitions.into_iter().flat_map(|topic| named(topic.topic, topic.partitions));
    Ok(Subscription {
        topics: message.topics.into_iter().collect(),
        owned: owned.collect(),
        generation: message.generation_id,
    })
}

pub(crate) fn encode_assignment(partitions: &BTreeSet<NamedPartition>) -> Result<Bytes, EncodeError> {
    let assigned = by_topic(partitions)
        .into_iter()
        .map(|(topic, partitions)| consumer_protocol_assignment::TopicPartition { topic, partitions });
    let message = ConsumerProtocolAssignment { assigned_partitions: assigned.collect(), user_data: None };
    versioned(&message, ASSIGNMENT_VERSION)
}

/// The partitions of an assignment; none if there are no bytes, as coordinators send it to members without any.
pub(crate) fn decode_assignment(bytes: &Bytes) -> Result<BTreeSet<NamedPartition>, DecodeError> {
    if bytes.is_empty() {
        return Ok(BTreeSet::new());
    }
    let message: ConsumerProtocolAssignment = unversioned(bytes)?;
    Ok(message.assigned_partitions.into_iter().flat_map(|topic| named(topic.topic, topic.partitions)).collect())
}

fn versioned<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let body = message.to_bytes(version)?;
    let mut bytes = BytesMut::with_capacity(body.len() + 2);
    bytes.put_i16(version);
    bytes.put(body);
    Ok(bytes.freeze())
}

/// Reads the highest version that we know of a message that is at least that new; what follows it is skipped.
fn unversioned<M: Message>(bytes: &Bytes) -> Result<M, DecodeError> {
    let mut reader = Reader::new(bytes.clone());
    let version = reader.i16()?.min(*M::VERSIONS.end());
    M::decode(&mut reader, version)
}

fn by_topic(partitions: &BTreeSet<NamedPartition>) -> BTreeMap<String, Vec<i32>> {
    let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(partition.topic.clone()).or_default().push(partition.partition.get());
    }
    topics
}

fn named(topic: String, partitions: Vec<i32>) -> impl Iterator<Item = NamedPartition> {
    partitions.into_iter().map(move |partition| NamedPartition::new(topic.clone(), partition.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partitions(list: &[(&str, i32)]) -> BTreeSet<NamedPartition> {
        list.iter().map(|&(topic, partition)| NamedPartition::new(topic, partition.into())).collect()
    }

    #[test]
    fn assignments_have_javas_bytes() {
        let bytes = encode_assignment(&partitions(&[("a", 0), ("a", 2)])).unwrap();
        let expected = b"\0\x01\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x02\xff\xff\xff\xff";
        assert_eq!(&bytes[..], expected);
        assert_eq!(decode_assignment(&bytes).unwrap(), partitions(&[("a", 0), ("a", 2)]));
        assert!(decode_assignment(&Bytes::new()).unwrap().is_empty());
    }

    #[test]
    fn subscriptions_read_back() {
        let subscription = Subscription {
            topics: ["b".to_owned(), "a".to_owned()].into(),
            owned: partitions(&[("a", 1), ("b", 0)]),
            generation: 7,
        };
        let bytes = encode_subscription(&subscription).unwrap();
        assert_eq!(decode_subscription(&bytes).unwrap(), subscription);
    }

    #[test]
    fn old_and_newer_members_are_understood() {
        let old = Bytes::from_static(b"\0\0\0\0\0\x01\0\x01a\xff\xff\xff\xff");
        let subscription = decode_subscription(&old).unwrap();
        assert_eq!(subscription.topics, ["a".to_owned()].into());
        assert_eq!(subscription.generation, -1);
        let newer = Bytes::from_static(b"\0\x63\0\0\0\x01\0\x01a\xff\xff\xff\xff\0\0\0\0\0\0\0\x05\xff\xffMORE");
        assert_eq!(decode_subscription(&newer).unwrap().generation, 5);
        for garbage in [&b""[..], b"\0", b"\0\0\x7f\xff\xff\xff", b"\xff\xff"] {
            assert!(decode_subscription(&Bytes::copy_from_slice(garbage)).is_err(), "{garbage:?}");
        }
    }
}
