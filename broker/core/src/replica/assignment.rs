//! What the cluster has decided about one partition: who holds it, who leads it, in which terms.
//!
//! Owns the form in which committed metadata reaches a replica. Nothing here decides anything; an assignment is replaced
//! as a whole, by one with a higher partition epoch.

use crate::types::{BrokerId, Incarnation, LeaderEpoch, PartitionEpoch};

/// One committed version of a partition's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Who leads, and in which run: an epoch belongs to one run of one broker (A5).
    pub leader: Option<(BrokerId, Incarnation)>,
    /// Term of this leadership.
    pub leader_epoch: LeaderEpoch,
    /// Version of this entry; the highest one wins.
    pub partition_epoch: PartitionEpoch,
    /// Who holds a replica.
    pub replicas: Vec<BrokerId>,
    /// Which of them are in sync.
    pub isr: Vec<BrokerId>,
    /// Which of them, outside the ISR, may still be elected (KIP-966).
    pub elr: Vec<BrokerId>,
    /// Below so many in-sync replicas the high watermark stands still. Never more than there are replicas.
    pub min_insync: u16,
    /// This leader was elected although it may lack acknowledged records: followers may cut below their high watermark.
    pub unclean: bool,
}

impl Assignment {
    /// What a replica knows before it has heard anything.
    pub(super) fn unknown() -> Self {
        Self {
            leader: None,
            leader_epoch: LeaderEpoch::NONE,
            partition_epoch: PartitionEpoch::new(-1),
            replicas: Vec::new(),
            isr: Vec::new(),
            elr: Vec::new(),
            min_insync: 1,
            unclean: false,
        }
    }

    /// Who leads, whichever run of it.
    pub fn leader_id(&self) -> Option<BrokerId> {
        self.leader.map(|(broker, _)| broker)
    }

    /// Whether `broker` may be elected without losing an acknowledged record.
    pub fn is_member(&self, broker: BrokerId) -> bool {
        self.isr.contains(&broker) || self.elr.contains(&broker)
    }
}
