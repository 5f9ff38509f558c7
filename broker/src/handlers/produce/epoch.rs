//! Who may append, in which leader epoch, and what happens to requests that an epoch's end overtakes.
//!
//! Owns the waiting: a request that comes while an epoch ends waits for the next one, and whoever is told to go elsewhere
//! is told where (KIP-951), for which the metadata has to be in force. Neither lasts longer than the request's timeout.
//! The decisions are the replica machine's.

use std::time::Instant;

use ottla_core::replica::{Acks, Outcome as Safety, Refusal};
use ottla_core::types::LeaderEpoch;
use ottla_wire::ErrorCode;
use ottla_wire::record::BatchView;
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use super::{Outcome, Refused};
use crate::lookup::Found;
use crate::server::dispatch::Cx;

/// When a request may append.
pub(super) enum Admitted {
    /// At once, in the epoch that is found.
    Now(Found),
    /// Not in this epoch, which is over or about to end.
    Later(Found),
}

/// Whether replication lets a request in that asks for the first time.
pub(super) fn admit(found: Found, acks: i16) -> Result<Admitted, Refused> {
    match ask(&found, acks) {
        Ok(leader_epoch) => Ok(Admitted::Now(Found { leader_epoch, ..found })),
        // The metadata in force still names this broker, so that nobody else can be named yet.
        Err(Refusal::EpochEnds { .. } | Refusal::NotLeader { .. }) => Ok(Admitted::Later(found)),
        Err(refusal) => Err(refused(&refusal)),
    }
}

fn ask(found: &Found, acks: i16) -> Result<LeaderEpoch, Refusal> {
    if found.replica.is_alone() {
        // As in Kafka, a partition never needs more in-sync replicas than it has replicas.
        return Ok(found.leader_epoch);
    }
    found.replica.admit_produce(if acks == -1 { Acks::All } else { Acks::Leader })
}

fn refused(refusal: &Refusal) -> Refused {
    let code = match refusal {
        Refusal::NotEnoughReplicas { .. } => ErrorCode::NOT_ENOUGH_REPLICAS,
        Refusal::NotLeader { .. } | Refusal::Unconfirmed { .. } | Refusal::EpochEnds { .. } => {
            ErrorCode::NOT_LEADER_OR_FOLLOWER
        }
    };
    Refused::new(code, refusal.to_string())
}

/// A request of which nothing is appended, until the epoch is over in which it came.
pub(super) struct Held {
    found: Found,
    batch: BatchView,
    until: Instant,
    next: oneshot::Receiver<Safety>,
}

impl Held {
    /// Waits at most until then.
    pub(super) fn new(cx: &Cx, found: Found, batch: BatchView, until: Instant) -> Self {
        let patience = until.saturating_duration_since(cx.node.clock.monotonic());
        let next = found.replica.hold(patience);
        Self { found, batch, until, next }
    }

    /// Waits; then it may append here, or is refused with the next leader's name in force.
    pub(super) async fn resume(&mut self, cx: &Cx, acks: i16) -> Outcome {
        loop {
            let said = (&mut self.next).await.ok();
            successor_known(cx, &self.found, self.until).await;
            if said != Some(Safety::LookAgain) {
                return Outcome::Refused(ErrorCode::NOT_LEADER_OR_FOLLOWER.into());
            }
            match ask(&self.found, acks) {
                Ok(leader_epoch) => {
                    return Outcome::Waiting(Found { leader_epoch, ..self.found.clone() }, self.batch.clone());
                }
                Err(Refusal::EpochEnds { .. }) => {
                    let patience = self.until.saturating_duration_since(cx.node.clock.monotonic());
                    self.next = self.found.replica.hold(patience);
                }
                Err(refusal) => return Outcome::Refused(refused(&refusal)),
            }
        }
    }
}

/// Until the metadata in force says who leads after the epoch that `found` names, if that is over: an answer before would
/// send the client back here.
pub(super) async fn successor_known(cx: &Cx, found: &Found, until: Instant) {
    let index = found.replica.log.id().partition;
    let (topic, epoch) = (found.topic.id, found.leader_epoch);
    let is_known = || {
        let image = cx.node.metadata.image();
        let partition = image.topic_by_id(topic).and_then(|topic| topic.partition(index));
        partition.is_none_or(|partition| partition.leader_epoch > epoch || partition.leader != Some(found.leader))
    };
    let mut changes = cx.node.metadata.changes();
    while found.replica.leads_in() != Some(epoch) && !is_known() {
        if !matches!(timeout_at(until.into(), changes.changed()).await, Ok(Ok(()))) {
            return;
        }
    }
}
