//! What is not known when a directory is missing, older than it should be, or damaged.
//!
//! Owns the argument which partitions a later state, that nobody here has a copy of, can concern. A later state counts
//! only once a leader has acted on it, and a leader copies it first: it leads on a directory that is not here. It was a
//! replica before, and whoever made it one of the in-sync set was a leader too. So a partition all of whose replicas'
//! directories are here is as its newest copy says, and every other may not be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::super::document::{Root, Shard};
use super::{Directory, PartitionName};
use crate::metadata::Topic;
use crate::types::{BrokerId, ControllerEpoch, Incarnation, Lsn};

/// Why the newest copies may not be the newest that there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The directory of a registered broker was not given.
    Absent {
        /// The broker.
        broker: BrokerId,
    },
    /// The broker's directory was given as an earlier run left it: it was restored, or is a copy.
    Outdated {
        /// The broker.
        broker: BrokerId,
        /// Which directory.
        directory: String,
        /// The last run that it records, and how far its journal goes.
        recorded: (Incarnation, Lsn),
        /// The run that the newest root knows, and how far the journal is known to have been on disk.
        registered: (Incarnation, Lsn),
    },
    /// The broker has run on the directory, and its copies are gone or partly unreadable.
    Damaged {
        /// The broker, if the newest root registers one on it.
        broker: Option<BrokerId>,
        /// Which directory.
        directory: String,
    },
    /// A directory records a later run than the newest root registers: there was a newer root.
    LaterRun {
        /// The broker.
        broker: BrokerId,
        /// Which directory.
        directory: String,
        /// The last run that it records.
        recorded: Incarnation,
        /// The run that the newest root knows.
        registered: Incarnation,
    },
    /// A shard is of a later term than the newest root: there was a newer root.
    LaterTerm {
        /// The root's epoch.
        root: ControllerEpoch,
        /// The shard's epoch.
        shard: ControllerEpoch,
    },
}

impl Doubt {
    /// The broker whose directory is not here as it was left.
    pub(super) fn broker(&self) -> Option<BrokerId> {
        match self {
            Self::Absent { broker } | Self::Outdated { broker, .. } | Self::LaterRun { broker, .. } => Some(*broker),
            Self::Damaged { broker, .. } => *broker,
            Self::LaterTerm { .. } => None,
        }
    }

    /// A broker that cannot vouch for the metadata: it is not here, or not on the disk that the root knows.
    pub(super) fn silent(&self) -> Option<BrokerId> {
        match self {
            Self::Absent { .. } | Self::Outdated { .. } | Self::LaterRun { .. } => self.broker(),
            Self::Damaged { .. } | Self::LaterTerm { .. } => None,
        }
    }

    /// Whether somebody unknown has decided: then nothing is certain.
    fn is_everywhere(&self) -> bool {
        match self {
            Self::LaterRun { .. } | Self::LaterTerm { .. } | Self::Damaged { broker: None, .. } => true,
            Self::Absent { .. } | Self::Outdated { .. } | Self::Damaged { broker: Some(_), .. } => false,
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent { broker } => write!(f, "the data directory of broker {broker} is not given"),
            Self::Outdated { broker, directory, recorded, registered } => write!(
                f,
                "{directory} is not as broker {broker} left it: it records run {} and ends at {}, and run {} is registered \
                 and known to have reached {}; it was restored or is a copy, and its broker catches up from the others",
                recorded.0, recorded.1, registered.0, registered.1
            ),
            Self::Damaged { broker: Some(broker), directory } => {
                write!(f, "the copies of the metadata in {directory}, of broker {broker}, are damaged or gone")
            }
            Self::Damaged { broker: None, directory } => {
                write!(f, "the copies of the metadata in {directory} are damaged or gone")
            }
            Self::LaterRun { broker, directory, recorded, registered } => write!(
                f,
                "{directory} records run {recorded} of broker {broker}, and the newest root registers run {registered}: a \
                 newer root was acted on"
            ),
            Self::LaterTerm { root, shard } => {
                write!(f, "the newest root is of epoch {root}, and a shard of epoch {shard}: a newer root was acted on")
            }
        }
    }
}

/// A partition whose newest copy may be out of date: its leader may lack what was acknowledged later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtRisk {
    /// Which one.
    pub name: PartitionName,
    /// Replicas whose directories are not here as they were left: one of them may have led last.
    pub unknown: Vec<BrokerId>,
    /// Those of the others that may be elected now, in sync or eligible.
    pub may_lead: Vec<BrokerId>,
}

/// What is in doubt, given the newest root and shards.
pub(super) fn of(directories: &[Directory], root: &Root, shards: &[Arc<Shard>]) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    let given: BTreeMap<_, _> = directories.iter().map(|one| (one.standing.directory, one)).collect();
    for (broker, member) in &root.members {
        let Some(one) = given.get(&member.broker.directory) else {
            doubts.push(Doubt::Absent { broker: *broker });
            continue;
        };
        let (recorded, registered) = (one.standing.incarnation, member.broker.incarnation);
        let (broker, directory) = (*broker, one.name.clone());
        if one.damaged || (one.copies.is_empty() && recorded > Incarnation::default()) {
            doubts.push(Doubt::Damaged { broker: Some(broker), directory });
        } else if recorded > registered {
            doubts.push(Doubt::LaterRun { broker, directory, recorded, registered });
        } else if !member.reaches(one.standing) {
            let (recorded, registered) = ((recorded, one.standing.synced), (registered, member.synced));
            doubts.push(Doubt::Outdated { broker, directory, recorded, registered });
        }
    }
    let registered: BTreeSet<_> = root.members.values().map(|member| member.broker.directory).collect();
    // One that nobody is registered on any more may still hold the newest copy: a broker that only decided.
    let others = directories.iter().filter(|one| !registered.contains(&one.standing.directory) && one.damaged);
    doubts.extend(others.map(|one| Doubt::Damaged { broker: None, directory: one.name.clone() }));
    let latest = shards.iter().map(|shard| shard.header.epoch).max().unwrap_or_default();
    if latest > root.header.epoch {
        doubts.push(Doubt::LaterTerm { root: root.header.epoch, shard: latest });
    }
    doubts
}

/// The partitions that a later state can concern.
pub(super) fn at_risk<'a>(doubts: &[Doubt], topics: impl Iterator<Item = &'a Arc<Topic>>) -> Vec<AtRisk> {
    let unknown: BTreeSet<BrokerId> = doubts.iter().filter_map(Doubt::broker).collect();
    let everywhere = doubts.iter().any(Doubt::is_everywhere);
    let mut found = Vec::new();
    for (topic, (index, partition)) in topics.flat_map(|topic| topic.indexed().map(move |one| (topic, one))) {
        let (absent, here): (Vec<_>, Vec<_>) = partition.replicas.iter().partition(|id| unknown.contains(id));
        if absent.is_empty() && !everywhere {
            continue;
        }
        let member = |id: &BrokerId| partition.isr.contains(id) || partition.elr.contains(id);
        found.push(AtRisk {
            name: PartitionName { topic: topic.name.clone(), partition: index },
            unknown: absent,
            may_lead: here.into_iter().filter(member).collect(),
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}
