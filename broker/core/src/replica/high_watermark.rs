//! The high watermark: below it every record is in every replica that may be elected.
//!
//! Owns R4: it advances only to the least proven durable end of the ISR and of those that may have joined it, and only
//! while the committed ISR has min.insync.replicas members. It never goes back.

use super::rules::Rule;
use super::{Context, Effect, Effects, Replica};
use crate::types::Offset;

impl Replica {
    pub(super) fn advance_watermark(&mut self, cx: &Context<'_>, out: &mut Effects) {
        let Some(end) = self.committed_end(cx) else { return };
        if end <= self.high_watermark {
            return;
        }
        self.high_watermark = end;
        out.push(Effect::HighWatermark(end));
        if let Some(leader) = self.leader_mut().filter(|leader| !leader.followers.is_empty()) {
            let at = cx.now + cx.host.settings.watermark_delay_max;
            leader.watermark_at = Some(leader.watermark_at.map_or(at, |earlier| earlier.min(at)));
        }
    }

    /// Up to where every member has proven to have the log; `None` while one has not, or they are too few.
    fn committed_end(&self, cx: &Context<'_>) -> Option<Offset> {
        let leader = self.leader()?;
        let enough = self.assignment.isr.len() >= usize::from(self.assignment.min_insync);
        if !enough && cx.host.hold(Rule::MinInSync) {
            return None;
        }
        if !cx.host.hold(Rule::EveryInSyncReplicaCounts) {
            return Some(self.flushed);
        }
        let pending = leader.pending.as_ref().filter(|_| cx.host.hold(Rule::PendingMembersCount));
        let members = self.assignment.isr.iter().chain(pending.iter().flat_map(|pending| &pending.counts));
        let mut end = self.flushed;
        for &member in members.filter(|&&member| member != cx.host.me) {
            end = end.min(leader.get(member)?.proven_end()?);
        }
        Some(end)
    }
}
