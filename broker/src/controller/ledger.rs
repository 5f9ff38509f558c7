//! What this broker has taken in of the cluster's metadata: a durable copy first, then the image in force.
//!
//! Owns the order: checked, copied, fsynced, then acted on (A2, A4, A7). The controller's thread and the one that follows
//! another controller both come through here. Images are held back until this broker is admitted, so that its partitions
//! begin in their new terms, once. It must never act on a document whose copy is not durable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_core::config::BrokerConfig;
use ottla_core::controller::{Document, FollowError, Follower, Vector};
use ottla_core::metadata::Image;
use ottla_core::replica::View;
use ottla_core::types::{BrokerId, ClusterId, ControllerEpoch, Incarnation, PartitionEpoch, TopicId, TopicPartition};
use tokio::sync::Notify;

use super::copies::{Copies, CopiesError};
use crate::advertised::Endpoints;

/// What the rest of the broker does with images.
pub trait Site: Send {
    /// Has this broker serve what `image` says, and puts the image in force.
    ///
    /// # Errors
    /// Why it cannot; the image is not in force then, and is offered again.
    fn apply(&mut self, image: Arc<Image>) -> Result<(), String>;

    /// Another file of this broker counts, for what is in force and for all that comes.
    fn configure(&mut self, _file: BrokerConfig) {}

    /// Everything up to `view` is in force.
    fn viewed(&mut self, _view: View) {}

    /// The data directory cannot be written any more (S2).
    fn fail(&mut self, _reason: &str) {}
}

/// Why documents were not taken in.
#[derive(Debug, thiserror::Error)]
pub(super) enum TakeError {
    /// They must not be acted on.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// They cannot be copied, so that nothing may be done for them.
    #[error("the metadata cannot be copied into the data directory")]
    NotKept,
    /// There is no room for the copies at the moment, so that nothing may be done for them now.
    #[error(transparent)]
    Full(CopiesError),
}

/// Who is registered, as the newest root says.
pub(super) type Registered = (ControllerEpoch, BTreeSet<BrokerId>);

/// Replicas that are gone from here, as the controller is told: what it waits for need not wait for this broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Gone {
    /// Deleted topics.
    pub(super) topics: BTreeSet<TopicId>,
    /// Partitions that moved away, each with the version that said so.
    pub(super) partitions: BTreeSet<(TopicPartition, PartitionEpoch)>,
}

impl Gone {
    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.partitions.is_empty()
    }

    /// Of broker `me`, once it has put `image` in force.
    fn of(me: BrokerId, image: &Image) -> Self {
        let stones = image.tombstones().iter().filter(|(_, stone)| stone.holders.contains(&me));
        let mut gone = Self { topics: stones.map(|(id, _)| *id).collect(), partitions: BTreeSet::new() };
        // Whoever is alone has nowhere to move anything to.
        let topics = image.topics().values().filter(|_| image.brokers().len() > 1);
        for topic in topics {
            let left = topic.indexed().filter(|(_, partition)| partition.leaving.contains(&me));
            let left = left.map(|(index, it)| (TopicPartition::new(topic.id, index), it.partition_epoch));
            gone.partitions.extend(left);
        }
        gone
    }
}

/// The metadata of one broker.
pub(super) struct Ledger {
    me: BrokerId,
    copies: Copies,
    follower: Follower,
    site: Box<dyn Site>,
    admitted: bool,
    view: View,
    /// The newest image is not in force yet.
    unapplied: bool,
    /// Of which it has been said that nothing is left here.
    reported: Gone,
    /// Told whenever an image came into force.
    pub(super) changed: Arc<Notify>,
}

impl Ledger {
    /// Of broker `me`, on what its data directory holds.
    pub(super) fn new(me: BrokerId, cluster: ClusterId, copies: Copies, site: Box<dyn Site>) -> Self {
        let follower = Follower::new(cluster, copies.floor());
        let (view, reported) = (View::default(), Gone::default());
        let changed = Arc::new(Notify::new());
        Self { me, copies, follower, site, admitted: false, view, unapplied: false, reported, changed }
    }

    /// Per document, the highest epoch and version that the data directory holds.
    pub(super) fn vector(&self) -> Vector {
        self.copies.floor()
    }

    /// The brokers that the newest root registers, and in whose term.
    pub(super) fn registered(&self) -> Registered {
        let image = self.follower.image();
        (image.epoch(), image.brokers().keys().copied().collect())
    }

    /// Where another broker can be reached, as the newest image says.
    pub(super) fn endpoints(&self, listener: &str) -> BTreeMap<BrokerId, (String, u16)> {
        let brokers = self.follower.image().brokers().values();
        let reachable = brokers.filter_map(|broker| {
            let endpoint = broker.endpoints.get(listener)?;
            Some((broker.id, (endpoint.host.clone(), endpoint.port)))
        });
        reachable.collect()
    }

    /// Makes durable copies; nothing is acted on yet.
    ///
    /// # Errors
    /// [`TakeError::NotKept`], or [`TakeError::Full`]: another try may succeed.
    pub(super) fn keep(&mut self, documents: Vec<(&Document, Bytes)>) -> Result<(), TakeError> {
        match self.copies.keep(documents.into_iter()) {
            Ok(()) => Ok(()),
            Err(CopiesError::Stopped(_)) => Err(TakeError::NotKept),
            Err(full @ CopiesError::Full(_)) => {
                tracing::error!(error = %full, "the newest metadata is not acted on yet");
                Err(TakeError::Full(full))
            }
            Err(error) => {
                tracing::error!(%error, "metadata is not acted on any more");
                self.site.fail(&error.to_string());
                Err(TakeError::NotKept)
            }
        }
    }

    /// Takes in what the controller of `epoch` has committed, and acts on it.
    ///
    /// # Errors
    /// [`TakeError`]; nothing is taken in then.
    pub(super) fn take(
        &mut self,
        (epoch, view): (ControllerEpoch, View),
        complete: bool,
        documents: Vec<(Document, Bytes)>,
    ) -> Result<(), TakeError> {
        self.follower.check(epoch, complete, documents.iter().map(|(document, _)| document))?;
        self.keep(documents.iter().map(|(document, bytes)| (document, bytes.clone())).collect())?;
        let documents = documents.into_iter().map(|(document, _)| document).collect();
        self.unapplied |= self.follower.take(epoch, complete, documents)?;
        self.view = self.view.max(view);
        self.apply();
        Ok(())
    }

    /// This broker's run is admitted: images come into force.
    pub(super) fn admit(&mut self) {
        self.admitted = true;
        self.apply();
    }

    /// Another file of this broker counts from now on.
    pub(super) fn configure(&mut self, file: BrokerConfig) {
        self.site.configure(file);
    }

    /// Whether an image could not be put in force, and is to be tried again.
    pub(super) fn is_behind(&self) -> bool {
        self.admitted && self.unapplied
    }

    /// Tries to put the newest image in force.
    pub(super) fn apply(&mut self) {
        if !self.admitted {
            return;
        }
        if self.unapplied {
            if let Err(reason) = self.site.apply(Arc::new(self.follower.image().clone())) {
                tracing::error!(reason, "serve the newest metadata");
                return;
            }
            self.unapplied = false;
            self.changed.notify_one();
        }
        self.site.viewed(self.view);
    }

    /// What is gone from here and of which nobody was told.
    pub(super) fn gone(&mut self) -> Gone {
        if !self.admitted || self.unapplied {
            return Gone::default();
        }
        let now = Gone::of(self.me, self.follower.image());
        let fresh = Gone {
            topics: now.topics.difference(&self.reported.topics).copied().collect(),
            partitions: now.partitions.difference(&self.reported.partitions).copied().collect(),
        };
        self.reported = now;
        fresh
    }

    /// Whether that run of this broker is registered and not admitted.
    pub(super) fn is_fenced(&self, run: Incarnation) -> bool {
        let known = self.follower.image().broker(self.me);
        self.admitted && known.is_some_and(|broker| broker.fenced && broker.incarnation == run)
    }

    /// Whether everybody is told another way to that run of this broker than `wanted`.
    pub(super) fn is_elsewhere(&self, run: Incarnation, wanted: &Endpoints) -> bool {
        let known = self.follower.image().broker(self.me);
        self.admitted && known.is_some_and(|broker| broker.endpoints != *wanted && broker.incarnation == run)
    }

    /// It could not be said; it will be tried again.
    pub(super) fn not_reported(&mut self, gone: &Gone) {
        self.reported.topics.retain(|topic| !gone.topics.contains(topic));
        self.reported.partitions.retain(|partition| !gone.partitions.contains(partition));
    }
}
