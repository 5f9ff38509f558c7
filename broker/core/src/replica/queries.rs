//! What a shell asks of a replica between steps. Nothing here changes anything.

use super::push::Lane;
use super::{Context, Host, Replica, Role};
use crate::types::{BrokerId, LeaderEpoch, Offset};

impl Replica {
    /// The epoch in which it leads, if it does.
    pub fn leads_in(&self) -> Option<LeaderEpoch> {
        self.leader().map(|leader| leader.epoch)
    }

    /// On which connection to that follower the last push went: what is said without records has to stay behind it.
    pub fn lane_of(&self, to: BrokerId) -> Option<Lane> {
        Some(self.leader()?.get(to)?.session.as_ref()?.lane)
    }

    /// On which connection the next push to that follower goes.
    pub fn next_lane_of(&self, to: BrokerId) -> Option<Lane> {
        Some(self.leader()?.get(to)?.session.as_ref()?.lane_next)
    }

    /// The epoch in which it stands in its leader's log, if it follows and the leader has said so.
    pub fn follows_in(&self) -> Option<LeaderEpoch> {
        match &self.role {
            Role::Follower(follower) if follower.is_following() => Some(self.assignment.leader_epoch),
            Role::Follower(_) | Role::Leader(_) | Role::Idle => None,
        }
    }

    /// The lowest offset that any replica keeps, this leader's included; those of fenced brokers do not count, as in Kafka.
    /// `None` if it does not lead, or if somebody has not said yet where its log begins.
    pub fn low_watermark(&self, cx: &Context<'_>) -> Option<Offset> {
        let mut low = cx.log.log_start();
        for follower in &self.leader()?.followers {
            if cx.host.peer(follower.id).is_some_and(|peer| !peer.fenced) {
                low = low.min(follower.session.as_ref()?.start);
            }
        }
        Some(low)
    }

    /// Whether nobody else holds a replica: then there is nobody to wait for and nobody who could depose it unseen.
    pub fn is_alone(&self, host: &Host) -> bool {
        self.assignment.replicas == [host.me]
    }
}

impl Host {
    /// The registered run of a broker, as far as it is known.
    pub fn run_of(&self, id: BrokerId) -> Option<crate::types::Incarnation> {
        self.peer(id).map(|peer| peer.incarnation)
    }
}
