//! Which topics a consumer group reads, as far as its members' subscriptions say.
//!
//! Subscriptions are the clients' own bytes: what does not parse makes the answer unknown, never an error.

use std::collections::BTreeSet;

use bytes::Bytes;
use ottla_wire::Message;
use ottla_wire::records::ConsumerProtocolSubscription;

use super::state::Group;
use super::words::TopicName;

/// The topics of all members; `None` if the group is no consumer group or a subscription cannot be read.
pub(super) fn subscribed_topics(group: &Group) -> Option<BTreeSet<TopicName>> {
    if !group.is_consumer() {
        return None;
    }
    if group.members.is_empty() {
        return Some(BTreeSet::new());
    }
    let protocol = group.protocol.as_deref()?;
    let mut topics = BTreeSet::new();
    for member in group.members.values() {
        topics.extend(parse(member.metadata(Some(protocol)))?);
    }
    Some(topics)
}

/// Version 0 is the prefix of every later version, so it is read whatever version the member states.
fn parse(mut metadata: Bytes) -> Option<Vec<TopicName>> {
    if metadata.len() < 2 {
        return None;
    }
    let version = metadata.split_to(2);
    if i16::from_be_bytes([version[0], version[1]]) < 0 {
        return None;
    }
    let mut reader = ottla_wire::Reader::new(metadata);
    let subscription = ConsumerProtocolSubscription::decode(&mut reader, 0).ok()?;
    Some(subscription.topics.iter().map(|topic| TopicName::from(topic.as_str())).collect())
}
