//! Follows the cluster's metadata: which shards to take up and to put down, which topics are gone.

use std::sync::Arc;

use ottla_core::group::TopicName;
use tokio_util::sync::CancellationToken;

use super::Handle;
use super::owner::Message;
use super::place::Home;
use crate::metadata::MetadataCell;

/// Runs until the broker stops.
pub(super) async fn run(handle: Handle, metadata: Arc<MetadataCell>, shutdown: CancellationToken) {
    let mut changes = metadata.changes();
    let mut before = metadata.image();
    let mut told = Vec::new();
    loop {
        changes.borrow_and_update();
        let image = metadata.image();
        let homes = handle.places.homes();
        let terms: Vec<_> = homes.iter().map(|home| (home.topic, home.index, home.epoch)).collect();
        // Most changes of the cluster's metadata are about other topics.
        if terms != told {
            told = terms;
            tell(&handle, homes).await;
        }
        let deleted: Vec<_> = (image.delta_since(&before).deleted.iter())
            .filter_map(|id| before.topic_by_id(*id))
            .map(|topic| TopicName::from(topic.name.as_str()))
            .collect();
        if !deleted.is_empty() {
            let deleted = Arc::new(deleted);
            for owner in handle.owners.iter() {
                let _stopped = owner.send(Message::TopicsDeleted(Arc::clone(&deleted))).await;
            }
        }
        before = image;
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = shutdown.cancelled() => return,
        }
    }
}

/// Tells each owner which shards are its, all at once and then one by one: it may take a while to load one.
async fn tell(handle: &Handle, homes: Vec<Home>) {
    for (number, owner) in handle.owners.iter().enumerate() {
        let owned = homes.iter().filter(|home| home.owner(handle.owners.len()) == number).cloned().collect();
        let _stopped = owner.send(Message::Keep(owned)).await;
    }
    for home in homes {
        let _stopped = handle.owners[home.owner(handle.owners.len())].send(Message::TakeUp(home)).await;
    }
}
