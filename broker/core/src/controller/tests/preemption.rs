//! A majority takes over from a controller that fell silent.

use super::cluster::{Cluster, id};
use super::*;

/// Broker `me` of 1 to 5, which sees that broker 1 holds the Lease in epoch 4.
struct Follower {
    now: Instant,
    machine: Machine,
    reached_at: Vec<Duration>,
    start: Instant,
}

impl Follower {
    fn new(me: i32) -> Self {
        let start = epoch();
        let mut follower = Self { now: start, machine: Machine::new(config(me, 5)), reached_at: Vec::new(), start };
        follower.sees_holder("first", "a");
        let registered = (1..=5).map(id).collect();
        follower.feed(Event::Followed { epoch: ControllerEpoch::new(4), registered, seen: Vector::new() });
        follower
    }

    fn feed(&mut self, event: Event) {
        let mut out = Effects::new();
        self.machine.step(self.now, event, &mut out);
        let reached = |effect: &Effect| matches!(effect, Effect::Lease(LeaseCall::Acquire { seen: Some(_), .. }));
        if out.iter().any(reached) {
            self.reached_at.push(self.now.duration_since(self.start));
        }
    }

    fn sees_holder(&mut self, holder: &str, revision: &str) {
        let (holder, revision, duration) = (holder.into(), Revision(revision.into()), Duration::from_secs(10));
        self.feed(Event::Lease(LeaseSeen::Theirs { holder, revision, duration }));
    }

    fn silent(&mut self, broker: i32, epoch: i64) {
        let ages = [(id(1), Duration::from_secs(2))].into();
        self.feed(Event::ControllerSilent { broker: id(broker), epoch: ControllerEpoch::new(epoch), ages });
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            self.now += Duration::from_millis(100);
            self.feed(Event::Tick);
        }
    }
}

#[test]
fn a_majority_takes_the_lease_before_it_runs_out_one_after_the_other() {
    for (me, expected) in [(2, 0), (3, 200), (5, 400)] {
        let mut follower = Follower::new(me);
        for broker in [2, 3, 5] {
            follower.silent(broker, 4);
        }
        follower.pass(500);
        let first = follower.reached_at.first().copied();
        // A broker whose turn comes with the last vote need not wait for the next tick.
        let first = first.expect("reaches for it").as_millis() as u64;
        assert_eq!(first, expected, "broker {me}");
    }
}

#[test]
fn a_minority_an_outsider_or_an_old_story_takes_nothing() {
    let mut follower = Follower::new(2);
    follower.silent(2, 4);
    follower.silent(3, 4);
    follower.silent(3, 4);
    follower.silent(9, 4);
    follower.silent(4, 3);
    follower.pass(500);
    assert_eq!(follower.reached_at, []);
    // A third one says so, too late: the first two have said it too long ago.
    follower.pass(2000);
    follower.silent(4, 4);
    follower.pass(500);
    assert_eq!(follower.reached_at, []);
    // Somebody heard it after all.
    follower.feed(Event::ControllerHeard { broker: id(4) });
    follower.silent(2, 4);
    follower.silent(3, 4);
    follower.pass(500);
    assert_eq!(follower.reached_at, []);
}

#[test]
fn whoever_hears_the_controller_itself_does_not_take_over() {
    let mut follower = Follower::new(2);
    for broker in [3, 4, 5] {
        follower.silent(broker, 4);
    }
    follower.pass(500);
    assert_eq!(follower.reached_at, []);
}

/// Two survivors of a dead controller: the second finds the Lease taken by the first, which is given time to claim. Once
/// deposed each other for seconds, on a busy machine.
#[test]
fn whoever_has_just_taken_over_is_left_the_time_to_claim() {
    let mut follower = Follower::new(3);
    let everybody_says_so = |follower: &mut Follower| [2, 3, 5].map(|broker| follower.silent(broker, 4));
    everybody_says_so(&mut follower);
    follower.sees_holder("second", "b");
    for _ in 0..3 {
        follower.pass(500);
        everybody_says_so(&mut follower);
    }
    assert_eq!(follower.reached_at, [], "it has had 1.5 s");
    follower.sees_holder("second", "c");
    follower.pass(500);
    assert_ne!(follower.reached_at, [], "it has not claimed in 2 s, however often it renews");
}

/// Nobody else can act: whoever claims has to hear from half of the brokers first, and most of them follow this one.
#[test]
fn a_controller_that_cannot_reach_its_lease_decides_while_most_brokers_follow_it() {
    let mut cluster = Cluster::of(3);
    cluster.topic_on("a", &[2, 1, 3], "1");
    cluster.bench.lease_away = true;
    cluster.pass(30_000);
    assert_eq!(cluster.bench.machine.phase(), &Phase::Acting);
    cluster.dies(2);
    assert_eq!(cluster.partition("a").leader, Some(id(1)), "two of three are most");
    cluster.alive.remove(&3);
    cluster.pass(1400);
    assert_eq!(cluster.bench.machine.phase(), &Phase::Acting);
    cluster.pass(200);
    assert_eq!(cluster.bench.machine.phase(), &Phase::Waiting, "one of three is not");
}

/// Half of the brokers are not most of them: the other half could follow somebody else, who may act.
#[test]
fn half_of_the_brokers_keep_no_controller_without_its_lease() {
    let mut cluster = Cluster::of(4);
    cluster.bench.lease_away = true;
    cluster.pass(9_000);
    cluster.alive.retain(|id, _| *id < 3);
    cluster.pass(3_000);
    assert_eq!(cluster.bench.machine.phase(), &Phase::Waiting);
    cluster.bench.lease_away = false;
    cluster.pass(4_000);
    assert_eq!(cluster.bench.machine.phase(), &Phase::GatheringVectors, "it begins at the root");
}
