//! Who may try to be the controller: following the Lease.
//!
//! Owns the judgement of a Lease's age, by our own monotonic clock and only over times in which reads succeeded. It
//! only advises: whatever it says, epochs fence.

use std::time::{Duration, Instant};

use super::document::Revision;
use super::{Effect, Effects};

/// What the shell has to do with the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseCall {
    /// Look who holds it.
    Observe,
    /// Take it, if it still is as it was seen (`None`: if nobody has it).
    Acquire {
        /// The state that was seen.
        seen: Option<Revision>,
        /// For how long it is asked for.
        duration: Duration,
    },
    /// Say that we still are here.
    Renew {
        /// Our hold on it.
        held: Revision,
        /// For how long it is asked for.
        duration: Duration,
    },
}

/// How the Lease was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseSeen {
    /// Nobody holds it.
    Free,
    /// We hold it.
    Ours(Revision),
    /// Somebody else holds it.
    Theirs {
        /// Who: a name that no other process ever has.
        holder: String,
        /// The state of it.
        revision: Revision,
        /// For how long it holds after its last change.
        duration: Duration,
    },
    /// It could not be looked at.
    Failed,
}

/// What a step of the Lease means for the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// Nothing new.
    Same,
    /// We may try.
    Gained,
    /// We may not any more.
    Lost,
    /// Our hold has run out without our being able to renew it, or to see whether anybody else has taken it.
    Lapsed,
}

/// How long whoever has just taken the Lease is given to become the controller before others may take it early: to hear
/// from brokers and claim every document.
const CLAIMS_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Theirs {
    holder: String,
    /// When it was seen to have become theirs; `None` if it already was when this process first looked.
    taken_at: Option<Instant>,
    revision: Revision,
    /// For how long it did not change while we could see it.
    unchanged: Duration,
    seen_at: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Lease {
    duration: Duration,
    held: Option<Revision>,
    /// When our hold was last confirmed.
    confirmed_at: Option<Instant>,
    theirs: Option<Theirs>,
    next_at: Option<Instant>,
    /// Whether it has ever been looked at.
    looked: bool,
}

impl Lease {
    pub(super) fn new(duration: Duration) -> Self {
        Self { duration, held: None, confirmed_at: None, theirs: None, next_at: None, looked: false }
    }

    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Whether our own hold may have run out without our knowing: others count from our last renewal.
    pub(super) fn has_lapsed(&self, now: Instant) -> bool {
        let confirmed = |at: Instant| now.saturating_duration_since(at) < self.duration;
        self.is_held() && !self.confirmed_at.is_some_and(confirmed)
    }

    /// We do not take ourselves for the holder any more.
    pub(super) fn give_up(&mut self) {
        self.held = None;
    }

    pub(super) fn on_start(out: &mut Effects) {
        out.push(Effect::Lease(LeaseCall::Observe));
    }

    pub(super) fn on_tick(&mut self, now: Instant, out: &mut Effects) {
        if self.next_at.is_some_and(|at| at <= now) {
            self.next_at = None;
            let renew = |held: &Revision| LeaseCall::Renew { held: held.clone(), duration: self.duration };
            out.push(Effect::Lease(self.held.as_ref().map_or(LeaseCall::Observe, renew)));
        }
    }

    pub(super) fn on_seen(&mut self, now: Instant, seen: LeaseSeen, out: &mut Effects) -> Advice {
        let before = self.is_held();
        let seen_anything = seen != LeaseSeen::Failed;
        match seen {
            LeaseSeen::Ours(revision) => {
                self.held = Some(revision);
                self.confirmed_at = Some(now);
                self.theirs = None;
                self.again_in(self.duration / 3, now, out);
            }
            LeaseSeen::Free => {
                self.held = None;
                self.theirs = None;
                out.push(Effect::Lease(LeaseCall::Acquire { seen: None, duration: self.duration }));
            }
            LeaseSeen::Theirs { holder, revision, duration } => self.on_theirs(now, holder, (revision, duration), out),
            LeaseSeen::Failed => self.on_failed(now, out),
        }
        self.looked |= seen_anything;
        match (before, self.is_held()) {
            (false, true) => Advice::Gained,
            (true, false) => Advice::Lost,
            (true, true) if self.has_lapsed(now) => Advice::Lapsed,
            (true, true) | (false, false) => Advice::Same,
        }
    }

    fn on_theirs(&mut self, now: Instant, holder: String, state: (Revision, Duration), out: &mut Effects) {
        let (revision, duration) = state;
        self.held = None;
        let taken_at = match &self.theirs {
            Some(known) if known.holder == holder => known.taken_at,
            Some(_) | None => self.looked.then_some(now),
        };
        let unchanged = match &self.theirs {
            Some(known) if known.revision == revision => {
                let since = known.seen_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
                known.unchanged + since
            }
            Some(_) | None => Duration::ZERO,
        };
        if unchanged >= duration {
            let seen = Some(revision.clone());
            out.push(Effect::Lease(LeaseCall::Acquire { seen, duration: self.duration }));
        } else {
            self.again_in(self.duration / 5, now, out);
        }
        self.theirs = Some(Theirs { holder, taken_at, revision, unchanged, seen_at: Some(now) });
    }

    /// Takes the Lease from whoever holds it, before it has run out: others agree that the controller is silent. Whoever
    /// has taken it a moment ago is not the one that fell silent: two that take it from each other are no controller.
    pub(super) fn preempt(&self, now: Instant, out: &mut Effects) {
        let young = |at: Instant| now.saturating_duration_since(at) < CLAIMS_WITHIN;
        let call = match &self.theirs {
            _ if self.is_held() => return,
            Some(theirs) if theirs.taken_at.is_some_and(young) => return,
            Some(theirs) => LeaseCall::Acquire { seen: Some(theirs.revision.clone()), duration: self.duration },
            None => LeaseCall::Observe,
        };
        out.push(Effect::Lease(call));
    }

    fn on_failed(&mut self, now: Instant, out: &mut Effects) {
        // A time in which we saw nothing says nothing about the holder.
        if let Some(theirs) = &mut self.theirs {
            theirs.seen_at = None;
        }
        self.again_in(self.duration / 5, now, out);
    }

    fn again_in(&mut self, delay: Duration, now: Instant, out: &mut Effects) {
        let at = now + delay;
        self.next_at = Some(at);
        out.push(Effect::WakeAt(at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Duration = Duration::from_secs(10);

    fn theirs(revision: &str) -> LeaseSeen {
        LeaseSeen::Theirs { holder: "them".into(), revision: Revision(revision.into()), duration: TERM }
    }

    fn acquires(out: &Effects) -> bool {
        out.iter().any(|effect| matches!(effect, Effect::Lease(LeaseCall::Acquire { .. })))
    }

    /// Feeds what is seen at which second; says at which of them the Lease was reached for.
    fn reaches(seen: &[(u64, LeaseSeen)]) -> Vec<u64> {
        let start = crate::controller::tests::epoch();
        let mut lease = Lease::new(TERM);
        let mut reached = Vec::new();
        for (second, seen) in seen {
            let mut out = Effects::default();
            lease.on_seen(start + Duration::from_secs(*second), seen.clone(), &mut out);
            if acquires(&out) {
                reached.push(*second);
            }
        }
        reached
    }

    #[test]
    fn a_lease_is_reached_for_after_it_stood_still_for_its_duration() {
        assert_eq!(reaches(&[(0, theirs("a")), (5, theirs("a")), (9, theirs("a")), (10, theirs("a"))]), [10]);
        assert_eq!(reaches(&[(0, theirs("a")), (9, theirs("b")), (18, theirs("b")), (19, theirs("b"))]), [19]);
        assert_eq!(reaches(&[(0, LeaseSeen::Free)]), [0]);
    }

    #[test]
    fn time_in_which_nothing_could_be_read_does_not_age_a_lease() {
        let seen = [(0, theirs("a")), (5, LeaseSeen::Failed), (11, theirs("a")), (15, theirs("a")), (21, theirs("a"))];
        assert_eq!(reaches(&seen), [21]);
    }

    #[test]
    fn a_hold_that_cannot_be_renewed_lapses_after_its_term_and_may_be_renewed_later() {
        let start = crate::controller::tests::epoch();
        let mut lease = Lease::new(TERM);
        let mut out = Effects::default();
        let mut see = |second, seen| lease.on_seen(start + Duration::from_secs(second), seen, &mut out);
        assert_eq!(see(0, LeaseSeen::Ours(Revision("1".into()))), Advice::Gained);
        assert_eq!(see(5, LeaseSeen::Failed), Advice::Same);
        assert_eq!(see(10, LeaseSeen::Failed), Advice::Lapsed);
        assert_eq!(see(11, LeaseSeen::Ours(Revision("2".into()))), Advice::Same);
        assert_eq!(see(12, theirs("3")), Advice::Lost);
    }
}
