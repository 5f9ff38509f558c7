//! What a replica lets in: may this be appended, may that be read?
//!
//! Owns every reason of replication to refuse a request before anything happens. It changes nothing; size, space and
//! sequence are the log's to judge, afterwards and before an offset is assigned.

use thiserror::Error;

use super::produce::Acks;
use super::rules::Rule;
use super::{Context, Replica};
use crate::types::{BrokerId, LeaderEpoch, Offset};

/// Why a request is not let in. All of them are retryable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// It does not lead (NOT_LEADER_OR_FOLLOWER, with KIP-951's hint).
    #[error("not the leader; in epoch {epoch} that is {leader:?}")]
    NotLeader {
        /// Who leads, as far as is known.
        leader: Option<BrokerId>,
        /// In which epoch.
        epoch: LeaderEpoch,
    },
    /// Nobody has confirmed lately that it still leads (NOT_LEADER_OR_FOLLOWER).
    #[error("leadership in epoch {epoch} is not confirmed")]
    Unconfirmed {
        /// The epoch in which it believes to lead.
        epoch: LeaderEpoch,
    },
    /// Too few replicas are in sync for acks=all (NOT_ENOUGH_REPLICAS).
    #[error("{isr} in-sync replicas are fewer than min.insync.replicas, {min}")]
    NotEnoughReplicas {
        /// How many are in sync.
        isr: usize,
        /// How many have to be.
        min: u16,
    },
    /// This epoch is about to end: the request waits for the next one, by [`super::Event::Held`].
    #[error("epoch {epoch} is about to end")]
    EpochEnds {
        /// The epoch.
        epoch: LeaderEpoch,
    },
}

impl Replica {
    /// Whether a batch may be appended, and in which epoch.
    ///
    /// # Errors
    /// [`Refusal`]; nothing may be appended then.
    pub fn admit_produce(&self, cx: &Context<'_>, acks: Acks) -> Result<LeaderEpoch, Refusal> {
        let epoch = self.lead(cx, acks == Acks::Leader)?;
        if self.is_leaving(cx) {
            return Err(Refusal::EpochEnds { epoch });
        }
        let (isr, min) = (self.assignment.isr.len(), self.assignment.min_insync);
        if acks == Acks::All && isr < usize::from(min) {
            return Err(Refusal::NotEnoughReplicas { isr, min });
        }
        Ok(epoch)
    }

    /// Whether records may be read from this leader, and below which offset.
    ///
    /// # Errors
    /// [`Refusal`]; nothing may be answered then.
    pub fn admit_fetch(&self, cx: &Context<'_>) -> Result<Offset, Refusal> {
        self.lead(cx, true)?;
        Ok(self.high_watermark)
    }

    /// The high watermark as it may be shown. A new leader's may lag behind what the one before has shown, until it has
    /// reached where the log ended at the election (R10): OFFSET_NOT_AVAILABLE (KIP-207), and −1 in an answer to Fetch.
    pub fn shown_watermark(&self, cx: &Context<'_>) -> Option<Offset> {
        let leader = self.leader()?;
        let recovered = self.high_watermark >= leader.epoch_start || !cx.host.hold(Rule::WatermarkAfterElection);
        recovered.then_some(self.high_watermark)
    }

    fn lead(&self, cx: &Context<'_>, confirmed: bool) -> Result<LeaderEpoch, Refusal> {
        let epoch = self.assignment.leader_epoch;
        if !self.is_leader() {
            return Err(Refusal::NotLeader { leader: self.assignment.leader_id(), epoch });
        }
        if confirmed && !self.is_confirmed(cx) {
            return Err(Refusal::Unconfirmed { epoch });
        }
        Ok(epoch)
    }
}
