//! Who was heard, when, and who has to be taken for dead.
//!
//! Owns the clocks of the registered brokers. A broker is dead after 1.5 s of silence, or 300 ms after its connection
//! was reset and another one refused. A loop that was late extends every deadline by the delay before it judges anyone,
//! and a controller that hears fewer than half of the registered brokers judges nobody for 10 s, so that a healthy
//! majority can take over. Nothing here is needed for safety: epochs fence.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::types::{BrokerId, Incarnation, Lsn};

/// After what silence a broker is dead.
pub const SILENCE_MAX: Duration = Duration::from_millis(1500);
/// After what time a broker that refuses connections is dead.
pub const REFUSED_MAX: Duration = Duration::from_millis(300);
/// For how long a controller that hears fewer than half of the brokers judges nobody.
pub const ALONE: Duration = Duration::from_secs(10);
/// How often the clocks are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A look that comes later than this is late, and extends deadlines.
const LATE: Duration = Duration::from_millis(50);
/// How long a broker has at least to be heard by a new controller, whatever it was told of it.
const GRACE: Duration = REFUSED_MAX;
/// After what time a replica of a broker that left comes back into ISRs; doubles whenever it leaves again.
const REJOIN_MIN: Duration = Duration::from_secs(1);
/// What that doubles up to.
const REJOIN_MAX: Duration = Duration::from_secs(60);

/// What is known of one broker.
#[derive(Clone, Copy, Debug)]
struct Heard {
    run: Incarnation,
    last: Instant,
    /// Since when connections are refused.
    refused: Option<Instant>,
    /// Whether there is a stream that nobody saw closing.
    stream: bool,
    draining: bool,
    /// Its death has been dealt with.
    buried: bool,
    /// How far it said its journal is on disk.
    synced: Lsn,
}

impl Heard {
    fn anew(run: Incarnation, now: Instant, synced: Lsn) -> Self {
        Self { run, last: now, refused: None, stream: false, draining: false, buried: false, synced }
    }
}

/// What a broker says of itself with every sign of life.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sign {
    /// It is about to stop.
    pub(super) draining: bool,
    /// How far its journal is on disk.
    pub(super) synced: Lsn,
}

/// How long a broker has to wait before it joins in-sync sets again.
#[derive(Clone, Copy, Debug)]
struct Flapping {
    wait: Duration,
    left_at: Instant,
}

/// What a look at the clocks found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It was not time.
    NotYet,
    /// It was so late that nothing may be concluded. By the next look everything that had arrived has been taken in.
    Late,
    /// These are dead.
    Dead(BTreeSet<BrokerId>),
}

#[derive(Debug, Default)]
pub(super) struct Liveness {
    heard: BTreeMap<BrokerId, Heard>,
    flapping: BTreeMap<BrokerId, Flapping>,
    /// What a predecessor knew: when each broker was last heard by anybody.
    handed: BTreeMap<BrokerId, Instant>,
    look_at: Option<Instant>,
    alone_since: Option<Instant>,
    /// The run of this process' own broker, as far as it was admitted or speaks.
    own: Option<(BrokerId, Incarnation)>,
}

impl Liveness {
    /// This process begins to decide over these brokers. Whoever was heard, by it or by a predecessor, keeps its clock.
    pub(super) fn begin(&mut self, now: Instant, members: impl IntoIterator<Item = (BrokerId, Incarnation)>) {
        let before = std::mem::take(&mut self.heard);
        let earliest = now.checked_sub(SILENCE_MAX).unwrap_or(now) + GRACE;
        for (id, run) in members {
            let mut heard = Heard::anew(run, now, Lsn::default());
            if let Some(known) = before.get(&id).filter(|known| known.run == run) {
                heard = Heard { buried: false, ..*known };
            } else if let Some(at) = self.handed.get(&id) {
                heard.last = (*at).max(earliest).min(now);
            }
            self.heard.insert(id, heard);
        }
        self.handed.clear();
        self.alone_since = None;
        self.look_at = None;
    }

    /// Somebody else last heard the broker at that time.
    pub(super) fn handed_over(&mut self, id: BrokerId, at: Instant) {
        let known = self.handed.entry(id).or_insert(at);
        *known = (*known).max(at);
    }

    /// A sign of life. `registered` is the run that the root knows, if this process has read it.
    pub(super) fn on_heartbeat(
        &mut self,
        now: Instant,
        id: BrokerId,
        run: Incarnation,
        sign: Sign,
        registered: Option<Incarnation>,
    ) {
        if registered.is_some_and(|registered| registered != run) {
            return;
        }
        let known = self.heard.get(&id);
        // A later run that the root does not know was never allotted, after all.
        if registered.is_some() || known.is_none_or(|known| known.run <= run) {
            let before = known.filter(|known| known.run == run).map_or(Lsn::default(), |known| known.synced);
            let heard = Heard::anew(run, now, before.max(sign.synced));
            self.heard.insert(id, Heard { stream: true, draining: sign.draining, ..heard });
        }
    }

    /// How far the journal of that very run is known to be on disk.
    pub(super) fn synced(&self, id: BrokerId, run: Incarnation) -> Option<Lsn> {
        self.heard.get(&id).filter(|heard| heard.run == run).map(|heard| heard.synced)
    }

    /// This process' own broker speaks.
    pub(super) fn own_run(&mut self, id: BrokerId, run: Incarnation) {
        self.own = Some((id, run));
    }

    /// The broker's stream is closed; perhaps another connection is refused.
    pub(super) fn on_closed(&mut self, now: Instant, id: BrokerId, run: Incarnation, refused: bool) {
        if let Some(heard) = self.heard.get_mut(&id).filter(|heard| heard.run == run) {
            heard.stream = false;
            if refused {
                heard.refused.get_or_insert(now);
            }
        }
    }

    /// The broker said that it stops: nothing has to be waited for.
    pub(super) fn on_left(&mut self, now: Instant, id: BrokerId, run: Incarnation) -> bool {
        let known = self.heard.get_mut(&id).filter(|heard| heard.run == run);
        known.is_some_and(|heard| {
            heard.stream = false;
            heard.refused = Some(now.checked_sub(REFUSED_MAX).unwrap_or(now));
            !std::mem::replace(&mut heard.buried, true)
        })
    }

    /// A run of the broker was registered: its clock begins, and its journal is so far on disk.
    pub(super) fn registered(&mut self, now: Instant, id: BrokerId, run: Incarnation, synced: Lsn) {
        self.heard.insert(id, Heard::anew(run, now, synced));
    }

    /// The run was admitted: its clock begins anew. It asked on a stream, and is alive before its first sign of life.
    pub(super) fn admitted(&mut self, now: Instant, id: BrokerId, run: Incarnation) {
        let known = self.heard.get(&id).filter(|heard| heard.run == run);
        let known = known.copied().unwrap_or(Heard::anew(run, now, Lsn::default()));
        self.heard.insert(id, Heard { last: now, refused: None, stream: true, buried: false, ..known });
    }

    /// This process decides no more. Runs that it allotted and that were not written are nobody's.
    pub(super) fn end(&mut self, written: impl Fn(BrokerId) -> Option<Incarnation>) {
        self.heard.retain(|id, heard| written(*id) == Some(heard.run));
    }

    pub(super) fn forget(&mut self, id: BrokerId) {
        self.heard.remove(&id);
        self.flapping.remove(&id);
    }

    /// Whether that very run is heard: another process cannot have its id.
    pub(super) fn is_alive(&self, now: Instant, id: BrokerId, run: Incarnation) -> bool {
        let known = self.heard.get(&id).filter(|heard| heard.run == run);
        known.is_some_and(|heard| heard.stream && now < dead_at(heard)) || self.own == Some((id, run))
    }

    /// Whether more than half of the registered brokers are heard, `me` among them.
    pub(super) fn hears_most(&self, now: Instant, me: BrokerId) -> bool {
        let heard = self.heard.iter().filter(|(id, heard)| **id == me || now < dead_at(heard)).count();
        heard * 2 > self.heard.len()
    }

    pub(super) fn draining(&self) -> BTreeSet<BrokerId> {
        self.heard.iter().filter(|(_, heard)| heard.draining).map(|(id, _)| *id).collect()
    }

    pub(super) fn drain(&mut self, id: BrokerId, draining: bool) {
        if let Some(heard) = self.heard.get_mut(&id) {
            heard.draining = draining;
        }
    }

    /// When the clocks are to be looked at next; `None` while there is nobody but `me`.
    pub(super) fn next_look(&mut self, now: Instant, me: BrokerId) -> Option<Instant> {
        let others = self.heard.keys().any(|id| *id != me);
        match self.look_at {
            Some(_) => None,
            None if others => {
                self.look_at = Some(now + LOOK_EVERY);
                self.look_at
            }
            None => None,
        }
    }

    /// Looks at the clocks of all registered brokers but `me`, who is here.
    pub(super) fn look(&mut self, now: Instant, me: BrokerId) -> Look {
        let Some(at) = self.look_at.filter(|at| *at <= now) else { return Look::NotYet };
        self.look_at = None;
        let late = now.saturating_duration_since(at);
        if late > LATE {
            self.extend(now, late);
            return Look::Late;
        }
        let dead = |(id, heard): &(&BrokerId, &Heard)| **id != me && dead_at(heard) <= now;
        let dead: BTreeSet<BrokerId> = self.heard.iter().filter(dead).map(|(id, _)| *id).collect();
        let alive = self.heard.len() - dead.len();
        if alive * 2 < self.heard.len() {
            let since = *self.alone_since.get_or_insert(now);
            if now.saturating_duration_since(since) < ALONE {
                return Look::Dead(BTreeSet::new());
            }
        } else {
            self.alone_since = None;
        }
        let fresh: BTreeSet<_> = dead.into_iter().filter(|id| !self.heard[id].buried).collect();
        for id in &fresh {
            if let Some(heard) = self.heard.get_mut(id) {
                heard.buried = true;
            }
        }
        Look::Dead(fresh)
    }

    /// We were not looking for `late`: nobody could be heard meanwhile.
    fn extend(&mut self, now: Instant, late: Duration) {
        for heard in self.heard.values_mut() {
            heard.last = (heard.last + late).min(now);
            heard.refused = heard.refused.map(|at| (at + late).min(now));
        }
    }

    /// How long ago each broker was heard: what a successor is handed.
    pub(super) fn ages(&self, now: Instant) -> BTreeMap<BrokerId, Duration> {
        self.heard.iter().map(|(id, heard)| (*id, now.saturating_duration_since(heard.last))).collect()
    }

    /// The broker left in-sync sets: it waits before it joins any again, longer every time.
    pub(super) fn left_isr(&mut self, now: Instant, id: BrokerId) {
        // Every leader says so by itself, and the controller once more: that is one departure.
        let same = |known: &Flapping| now.saturating_duration_since(known.left_at) < REJOIN_MIN;
        if self.flapping.get(&id).is_some_and(same) {
            return;
        }
        let again = |known: &Flapping| {
            // Whoever stayed for as long as the longest wait has its past forgiven.
            let calm = now.saturating_duration_since(known.left_at) > known.wait + REJOIN_MAX;
            if calm { REJOIN_MIN } else { (known.wait * 2).min(REJOIN_MAX) }
        };
        let wait = self.flapping.get(&id).map_or(REJOIN_MIN, again);
        self.flapping.insert(id, Flapping { wait, left_at: now });
    }

    /// When the broker may join in-sync sets again, if that is later than now.
    pub(super) fn rejoins_at(&self, now: Instant, id: BrokerId) -> Option<Instant> {
        self.flapping.get(&id).map(|flapping| flapping.left_at + flapping.wait).filter(|at| *at > now)
    }
}

fn dead_at(heard: &Heard) -> Instant {
    let silent = heard.last + SILENCE_MAX;
    heard.refused.map_or(silent, |at| silent.min(at + REFUSED_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(id: i32) -> BrokerId {
        BrokerId::new(id)
    }

    const RUN: Incarnation = Incarnation::new(1);

    /// Brokers 1 to `count`, watched by broker 1; every look comes on time unless somebody sleeps.
    struct Watch {
        now: Instant,
        liveness: Liveness,
        dead: Vec<(u64, i32)>,
        start: Instant,
    }

    impl Watch {
        fn new(count: i32) -> Self {
            let start = crate::controller::tests::epoch() + Duration::from_secs(100);
            let mut liveness = Liveness::default();
            liveness.begin(start, (1..=count).map(|broker| (id(broker), RUN)));
            Self { now: start, liveness, dead: Vec::new(), start }
        }

        /// Looks every 100 ms for `ms`; the brokers of `alive` are heard before each look.
        fn pass(&mut self, ms: u64, alive: &[i32]) {
            for _ in 0..ms / 100 {
                self.liveness.next_look(self.now, id(1));
                self.now += Duration::from_millis(100);
                self.hear(alive);
                self.look();
            }
        }

        fn hear(&mut self, alive: &[i32]) {
            for broker in alive {
                self.liveness.on_heartbeat(self.now, id(*broker), RUN, Sign::default(), Some(RUN));
            }
        }

        fn look(&mut self) {
            if let Look::Dead(dead) = self.liveness.look(self.now, id(1)) {
                let at = self.now.duration_since(self.start).as_millis() as u64;
                self.dead.extend(dead.into_iter().map(|id| (at, id.get())));
            }
        }
    }

    #[test]
    fn a_broker_is_dead_after_a_second_and_a_half_of_silence() {
        let mut watch = Watch::new(3);
        watch.pass(3000, &[2]);
        assert_eq!(watch.dead, [(1500, 3)]);
    }

    #[test]
    fn a_broker_that_refuses_connections_is_dead_soon() {
        let mut watch = Watch::new(3);
        watch.pass(500, &[2, 3]);
        watch.liveness.on_closed(watch.now, id(3), RUN, false);
        watch.liveness.on_closed(watch.now, id(3), RUN, true);
        watch.pass(500, &[2]);
        assert_eq!(watch.dead, [(800, 3)]);
    }

    #[test]
    fn a_late_loop_blames_nobody_for_its_own_sleep() {
        let mut watch = Watch::new(3);
        watch.pass(500, &[2, 3]);
        watch.liveness.next_look(watch.now, id(1));
        watch.now += Duration::from_secs(5);
        watch.look();
        // What had arrived meanwhile is taken in after the late look.
        watch.pass(1300, &[2]);
        assert_eq!(watch.dead, []);
        watch.pass(200, &[2]);
        assert_eq!(watch.dead.iter().map(|(_, id)| *id).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn who_hears_fewer_than_half_judges_nobody_for_ten_seconds() {
        let mut watch = Watch::new(5);
        watch.pass(11_400, &[2]);
        assert_eq!(watch.dead, []);
        watch.pass(200, &[2]);
        assert_eq!(watch.dead, [(11_500, 3), (11_500, 4), (11_500, 5)]);
        // Two of four, the controller among them, are half.
        let mut watch = Watch::new(4);
        watch.pass(2000, &[2]);
        assert_eq!(watch.dead, [(1500, 3), (1500, 4)]);
    }

    #[test]
    fn a_new_controller_goes_on_with_the_clocks_that_it_is_handed() {
        let mut watch = Watch::new(1);
        let ago = |ms| watch.now - Duration::from_millis(ms);
        watch.liveness.handed_over(id(2), ago(1100));
        watch.liveness.handed_over(id(2), ago(4000));
        watch.liveness.handed_over(id(3), ago(9000));
        watch.liveness.begin(watch.now, (1..=4).map(|broker| (id(broker), RUN)));
        watch.pass(2000, &[4]);
        // Nobody is dead before it had the time to answer.
        assert_eq!(watch.dead, [(300, 3), (400, 2)]);
    }

    #[test]
    fn who_was_admitted_is_alive_before_it_beats() {
        let mut watch = Watch::new(3);
        let run = Incarnation::new(7);
        watch.liveness.registered(watch.now, id(2), run, Lsn::default());
        assert!(!watch.liveness.is_alive(watch.now, id(2), run), "nobody knows whether it took the run");
        watch.liveness.admitted(watch.now, id(2), run);
        assert!(watch.liveness.is_alive(watch.now, id(2), run));
        watch.liveness.on_closed(watch.now, id(2), run, false);
        assert!(!watch.liveness.is_alive(watch.now, id(2), run));
    }

    #[test]
    fn an_older_run_is_not_heard() {
        let mut watch = Watch::new(3);
        watch.liveness.registered(watch.now, id(3), Incarnation::new(2), Lsn::default());
        for _ in 0..20 {
            watch.pass(100, &[2]);
            watch.liveness.on_heartbeat(watch.now, id(3), RUN, Sign::default(), Some(Incarnation::new(2)));
        }
        assert_eq!(watch.dead, [(1500, 3)]);
    }

    #[test]
    fn who_leaves_in_sync_sets_again_and_again_waits_longer_and_longer() {
        let mut watch = Watch::new(2);
        let mut waits = Vec::new();
        for _ in 0..8 {
            watch.liveness.left_isr(watch.now, id(2));
            let at = watch.liveness.rejoins_at(watch.now, id(2)).expect("waits");
            waits.push(at.duration_since(watch.now).as_secs());
            watch.now = at;
            assert_eq!(watch.liveness.rejoins_at(watch.now, id(2)), None);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        watch.now += Duration::from_secs(61);
        watch.liveness.left_isr(watch.now, id(2));
        assert_eq!(watch.liveness.rejoins_at(watch.now, id(2)), Some(watch.now + Duration::from_secs(1)));
    }
}
