//! Whether a leader may believe that it still leads (R13).
//!
//! Owns the one decision that depends on a clock; no other invariant does. The controller's word is enough: its answer to
//! something that left within the confirmation time says that nobody had deposed us. Without it, the word of *every* other
//! member of ISR ∪ ELR is needed: one of them alone may be cut off from the controller together with us, while a third
//! leads already. A leader that is the only one who may be elected needs nobody's word.

use std::time::Instant;

use super::rules::Rule;
use super::{Context, Replica};
use crate::types::BrokerId;

impl Replica {
    /// Whether nobody can have been leading in a later epoch for longer than the confirmation time.
    pub(super) fn is_confirmed(&self, cx: &Context<'_>) -> bool {
        self.confirmed_since(cx).is_some() || !cx.host.hold(Rule::Confirmation)
    }

    /// Up to which moment it is certain that it led; `None` if it is not confirmed. A request that must not be answered
    /// from the past waits until this is not before its arrival.
    pub fn confirmed_since(&self, cx: &Context<'_>) -> Option<Instant> {
        let leader = self.leader()?;
        let pending = leader.pending.iter().flat_map(|pending| &pending.counts);
        let electable = self.assignment.isr.iter().chain(&self.assignment.elr).chain(pending);
        let others = electable.copied().filter(|&id| id != cx.host.me);
        let echoed = |id: BrokerId| {
            let sent = leader.get(id).and_then(|follower| follower.echoed);
            sent.filter(|&sent| cx.host.is_fresh(sent, cx.now))
        };
        let mut moments = others.map(echoed).peekable();
        if moments.peek().is_none() {
            return Some(cx.now);
        }
        let followers = if cx.host.hold(Rule::EveryMemberConfirms) {
            moments.collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().min())
        } else {
            moments.flatten().max()
        };
        let controller = cx.host.controller_acked().filter(|&sent| cx.host.is_fresh(sent, cx.now));
        controller.max(followers)
    }
}
