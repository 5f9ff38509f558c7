//! Whose topic it is when several Topics of a Cluster declare the same one.
//!
//! Owns the order among them. Pure, and told by the resources alone: whoever asks, in whatever order they came to be known,
//! gets the same answer. Must never give a topic to two, nor take one away from whoever has it for somebody of the same
//! second.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use ottla_crds::Topic;

use super::declared::Record;

/// A Topic and who else declares the same topic of the same Cluster.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The Topic.
    pub topic: &'a Topic,
    /// The Topic that comes first, if it is not this one.
    pub older: Option<&'a str>,
    /// Another Topic that stays, while this one is deleted.
    pub heir: Option<&'a str>,
    /// Whether its topic was created a moment ago: a broker that does not show it may not have heard of it yet.
    pub made: bool,
}

/// The claim of each of `topics`, which are all those of one Cluster, in their order. Whoever is being deleted claims
/// nothing any more.
pub fn claims<'a>(topics: &[&'a Topic]) -> Vec<Claim<'a>> {
    let mut first: BTreeMap<&str, &'a Topic> = BTreeMap::new();
    for topic in topics.iter().filter(|topic| stays(topic)) {
        match first.entry(topic.topic_name()) {
            Entry::Vacant(entry) => drop(entry.insert(topic)),
            Entry::Occupied(mut entry) if rank(topic) < rank(entry.get()) => drop(entry.insert(topic)),
            Entry::Occupied(_) => {}
        }
    }
    let claim = |topic: &&'a Topic| {
        let other = first.get(topic.topic_name()).map(|first| name(first)).filter(|other| *other != name(topic));
        let (older, heir) = if stays(topic) { (other, None) } else { (None, other) };
        Claim { topic, older, heir, made: false }
    };
    topics.iter().map(claim).collect()
}

fn stays(topic: &Topic) -> bool {
    topic.metadata.deletion_timestamp.is_none()
}

fn name(topic: &Topic) -> &str {
    topic.metadata.name.as_deref().unwrap_or_default()
}

/// Who comes first. Kubernetes notes when an object was created in whole seconds. Of those of one second the record tells
/// who was there before, for only the first gets one; of those who have none, or all have one, the name decides.
fn rank(topic: &Topic) -> (Option<&Time>, Reverse<bool>, &str) {
    (topic.metadata.creation_timestamp.as_ref(), Reverse(Record::of(topic).is_some()), name(topic))
}

#[cfg(test)]
mod tests;
