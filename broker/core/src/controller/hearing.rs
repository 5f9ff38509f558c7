//! Who hears whom: how far a broker hears the controller that it follows, and a controller the brokers that follow it.
//!
//! Owns the judgement of silence on the follower's side, and the moment as of which a controller confirms leaders (R13).
//! Pure: times are arguments. Nothing here is needed for safety but R13; epochs fence.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::liveness::{REFUSED_MAX, SILENCE_MAX};
use crate::types::{BrokerId, ControllerEpoch};

/// How often it is said again that the controller is silent.
const SAY_AGAIN: Duration = Duration::from_millis(500);

/// As of when more than half of `registered` followed, `me` being one that always does: nobody else decided then, for
/// whoever claims has to hear from half of them. `None` if so many never did.
///
/// `proven` says of each other broker as of when it is known to have followed: when a beat left that it has echoed, not
/// when its echo arrived, for that may have been under way for long. `asks` is who is told: what it is told is about a
/// moment when it asked, and it knows itself that it followed then.
pub fn most_heard(
    proven: &BTreeMap<BrokerId, Instant>,
    registered: &BTreeSet<BrokerId>,
    me: BrokerId,
    asks: Option<BrokerId>,
    now: Instant,
) -> Option<Instant> {
    let others = registered.iter().filter(|id| **id != me);
    let when = |id: &BrokerId| if asks == Some(*id) { Some(now) } else { proven.get(id).copied() };
    let mut newest: Vec<Instant> = others.filter_map(when).collect();
    newest.sort_unstable_by(|a, b| b.cmp(a));
    match registered.len() / 2 {
        0 => Some(now),
        others => newest.get(others - 1).map(|at| (*at).min(now)),
    }
}

/// What a broker knows of the controller that it follows.
#[derive(Clone, Debug)]
pub struct Following {
    /// Whose process that is, as the Lease says.
    broker: Option<BrokerId>,
    /// Who holds the Lease, in the words of the Lease.
    holder: String,
    /// The latest term of a controller that is known of.
    newest: ControllerEpoch,
    heard_at: Instant,
    /// Since when nobody listens at its address: its process does not run.
    refused_since: Option<Instant>,
    /// When it was last said that it is silent, unless it was heard since.
    told_at: Option<Instant>,
    /// How long ago it had heard each broker, at `ages_at`.
    ages: BTreeMap<BrokerId, Duration>,
    ages_at: Instant,
}

impl Following {
    /// Nobody yet; silence counts from now.
    pub fn new(now: Instant) -> Self {
        let (holder, ages, newest) = (String::new(), BTreeMap::new(), ControllerEpoch::default());
        Self { broker: None, holder, newest, heard_at: now, refused_since: None, told_at: None, ages, ages_at: now }
    }

    /// Who holds the Lease, in the words of the Lease, as far as was found.
    pub fn holder(&self) -> &str {
        &self.holder
    }

    /// The Lease names this process of that broker.
    pub fn found(&mut self, broker: BrokerId, holder: String) {
        (self.broker, self.holder) = (Some(broker), holder);
    }

    /// Takes note of a controller's term. Whether that is none that is known to be over: one that a later controller has
    /// succeeded confirms nothing, and is not shown that this broker follows it, wherever the Lease is (R13).
    pub fn learn(&mut self, epoch: ControllerEpoch) -> bool {
        self.newest = self.newest.max(epoch);
        self.newest == epoch
    }

    /// Nobody listens at its address.
    pub fn refused(&mut self, now: Instant) {
        self.refused_since.get_or_insert(now);
    }

    /// Somebody may: it was not refused.
    pub fn not_refused(&mut self) {
        self.refused_since = None;
    }

    /// It lives.
    pub fn heard(&mut self, now: Instant) {
        self.heard_at = now;
    }

    /// It decides, and heard each broker so long ago. Whether it had been called silent before.
    pub fn decides(&mut self, now: Instant, ages: BTreeMap<BrokerId, Duration>) -> bool {
        (self.ages, self.ages_at) = (ages, now);
        self.told_at.take().is_some()
    }

    /// Whether it is to be said, now, that it has not been heard for as long as makes a broker dead.
    pub fn is_to_be_called_silent(&mut self, now: Instant) -> bool {
        let silent = now.saturating_duration_since(self.heard_at) >= SILENCE_MAX || self.is_gone(now);
        let told = self.told_at.is_some_and(|at| now.saturating_duration_since(at) < SAY_AGAIN);
        if silent && !told {
            self.told_at = Some(now);
        }
        silent && !told
    }

    /// How long ago each broker was heard, the controller's own included: a successor need not wait for it anew.
    pub fn ages(&self, now: Instant) -> BTreeMap<BrokerId, Duration> {
        let since = now.saturating_duration_since(self.ages_at);
        let mut ages: BTreeMap<_, _> = self.ages.iter().map(|(id, age)| (*id, *age + since)).collect();
        if let Some(broker) = self.broker {
            // A process that is not there was heard for the last time as long ago as makes a broker dead.
            let silent = now.saturating_duration_since(self.heard_at);
            ages.insert(broker, if self.is_gone(now) { silent.max(SILENCE_MAX) } else { silent });
        }
        ages
    }

    /// Whether its address has been refusing for as long as makes a broker dead.
    fn is_gone(&self, now: Instant) -> bool {
        self.refused_since.is_some_and(|at| now.saturating_duration_since(at) >= REFUSED_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::tests::epoch as start;

    #[test]
    fn a_controller_that_has_a_successor_is_not_believed_again() {
        let mut following = Following::new(start());
        let epoch = ControllerEpoch::new;
        assert!(following.learn(epoch(3)) && following.learn(epoch(4)) && following.learn(epoch(4)));
        assert!(!following.learn(epoch(3)));
        assert!(following.learn(epoch(5)));
    }

    #[test]
    fn most_followed_as_of_the_moment_that_the_last_needed_one_proves() {
        let now = start();
        let id = BrokerId::new;
        let ago = |millis| now.checked_sub(Duration::from_millis(millis)).expect("this machine runs for longer");
        let five: BTreeSet<_> = (1..=5).map(id).collect();
        let mut proven = BTreeMap::from([(id(1), ago(9_000)), (id(3), ago(400))]);
        assert_eq!(most_heard(&proven, &five, id(1), None, now), None, "1 and 3 are no majority");
        assert_eq!(most_heard(&proven, &five, id(1), Some(id(3)), now), None, "3 counts once");
        assert_eq!(most_heard(&proven, &five, id(1), Some(id(2)), now), Some(ago(400)));
        proven.insert(id(4), ago(700));
        assert_eq!(most_heard(&proven, &five, id(1), None, now), Some(ago(700)));
        assert_eq!(most_heard(&proven, &five, id(1), Some(id(4)), now), Some(ago(400)));
        let stranger = most_heard(&proven, &five, id(1), Some(id(9)), now);
        assert_eq!(stranger, Some(ago(700)), "who is not registered proves nothing");
        assert_eq!(most_heard(&proven, &BTreeSet::from([id(1)]), id(1), None, now), Some(now), "it is alone");
    }
}
