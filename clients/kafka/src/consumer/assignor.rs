//! Sharing out partitions among the members of a group: pure functions, run by the member that leads it.
//!
//! Owns `range` and `cooperative-sticky`. Every partition of a topic that somebody wants goes to exactly one member that
//! wants it, except those that `cooperative-sticky` holds back for one round until their old owner has let go.

use std::collections::{BTreeMap, BTreeSet};

use ottla_core::types::PartitionIndex;

use super::protocol::Subscription;
use crate::config::{NamedPartition, Strategy};

mod range;
mod sticky;

/// A member as its leader sees it.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) instance: Option<String>,
    pub(crate) subscription: Subscription,
}

/// Who gets what, by member id.
pub(crate) type Assignment = BTreeMap<String, BTreeSet<NamedPartition>>;

/// Partitions of each topic that exists.
pub(crate) type Partitions = BTreeMap<String, Vec<PartitionIndex>>;

/// Shares out `partitions` among `members`.
pub(crate) fn assign(strategy: Strategy, members: &[Member], partitions: &Partitions) -> Assignment {
    let assignment = match strategy {
        Strategy::Range => range::assign(members, partitions),
        Strategy::CooperativeSticky => sticky::assign(members, partitions),
    };
    debug_assert!(once(&assignment), "a partition was assigned twice");
    assignment
}

fn once(assignment: &Assignment) -> bool {
    let mut seen = BTreeSet::new();
    assignment.values().flatten().all(|partition| seen.insert(partition))
}

#[cfg(test)]
mod tests;
