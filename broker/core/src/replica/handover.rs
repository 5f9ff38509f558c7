//! A leader with a slow disk leaves: everybody else waits for it.
//!
//! Owns the judgement of the leader's own disk. If every in-sync follower has a record durable for longer than the limit
//! before the leader itself has, several times within a window, it asks for another leader. It goes on until that comes.

use std::time::Instant;

use super::host::Host;
use super::message::{Ask, Complaint};
use super::{Context, Effect, Effects, Note, Replica};
use crate::types::Offset;

/// How often the leader's own disk was the last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gray {
    /// Every follower stood there at that moment, and the leader did not.
    behind: Option<(Offset, Instant)>,
    /// How often that lasted too long, and when first in this window.
    times: u8,
    since: Option<Instant>,
}

impl Gray {
    pub(super) fn deadline(&self, host: &Host) -> Option<Instant> {
        self.behind.map(|(_, since)| since + host.settings.behind_max)
    }

    /// Once more it lasted too long; whether that was once too often.
    fn on_too_long(&mut self, host: &Host, now: Instant) -> bool {
        let within = |since: &Instant| now.saturating_duration_since(*since) <= host.settings.behind_window;
        if self.since.filter(within).is_none() {
            self.since = Some(now);
            self.times = 0;
        }
        self.times = self.times.saturating_add(1);
        self.times >= host.settings.behind_times
    }
}

impl Replica {
    pub(super) fn judge_own_disk(&mut self, cx: &Context<'_>, out: &mut Effects) {
        let (flushed, me) = (self.flushed, cx.host.me);
        let isr = std::mem::take(&mut self.assignment.isr);
        let handed = self
            .handed_over_at
            .is_some_and(|at| cx.now.saturating_duration_since(at) < cx.host.settings.handover_interval);
        let mut too_slow = false;
        if let Some(leader) = self.leader_mut() {
            let ends = isr.iter().filter(|&&id| id != me);
            let ends = ends.map(|&id| leader.get(id).and_then(|follower| follower.proven_end()));
            let followers = ends.min().flatten().filter(|&end| end > flushed);
            let behind = leader.gray.behind.filter(|&(end, _)| flushed < end);
            leader.gray.behind = behind.or(followers.map(|end| (end, cx.now)));
            if leader.gray.deadline(cx.host).is_some_and(|at| at <= cx.now) {
                too_slow = leader.gray.on_too_long(cx.host, cx.now);
                leader.gray.behind = followers.map(|end| (end, cx.now));
            }
        }
        self.assignment.isr = isr;
        if too_slow && !handed {
            self.handed_over_at = Some(cx.now);
            if let Some(leader) = self.leader_mut() {
                leader.leaves_until = Some(cx.now + cx.host.settings.handover_max);
            }
            out.push(Effect::Noted(Note::HandedOver));
            let leader_epoch = self.assignment.leader_epoch;
            out.push(Effect::Ask(Ask::NewEpoch { leader_epoch, complaint: Complaint::SlowDisk }));
        }
    }
}
