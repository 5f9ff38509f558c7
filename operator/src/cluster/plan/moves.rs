//! Replicas that move, and brokers that are forgotten: what a change of `replicas` means for what brokers hold.
//!
//! Owns the order: a roll first; then brokers that leave are emptied, then new ones are filled; who holds nothing and runs no
//! more is unregistered, and only then its volume may go (L2). So many partitions move at a time, throttled as `spec` says.
//! What is half done is seen in the metadata. Must never act against a move that somebody else began, nor begin
//! one that cannot be brought to its end.

use std::collections::BTreeSet;

use ottla_crds::cluster::RebalanceMode;

use super::super::balance::{self, Move};
use super::super::child::{Seen, merge};
use super::super::desired::{Desired, filled};
use super::super::documents::Summary;
use super::super::kind::Kind;
use super::super::names;
use super::super::observed::Observed;
use super::super::reason::Reason;
use super::{Operation, Plan, Step, Why, is_ready};

/// How many partitions may be on their way at a time.
const MOVING_MAX: usize = 50;
/// How many things of a kind a sentence names.
const NAMED_MAX: usize = 5;

/// What a move may use, and how that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Throttle {
    /// Bytes per second.
    pub rate: String,
    /// Brokers that have another rate.
    pub brokers: Vec<i32>,
    /// Topics that are not throttled.
    pub topics: Vec<String>,
}

/// Everything that moves are decided on.
struct Ground<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    summary: &'a Summary,
    /// Brokers that are to leave.
    leaving: BTreeSet<i32>,
    /// Brokers that are lost.
    lost: BTreeSet<i32>,
    /// Brokers that are to stay.
    staying: BTreeSet<i32>,
    rate: String,
}

pub(super) fn plan(plan: &mut Plan, desired: &Desired, observed: &Observed) {
    let Some(summary) = observed.documents.summary() else { return };
    let seats = desired.brokers.values();
    let (leaving, staying): (Vec<_>, Vec<_>) = seats.partition(|seat| seat.leaves);
    let rate = desired.rebalance.throttle.bytes().unwrap_or(u64::MAX >> 1);
    let ground = Ground {
        desired,
        observed,
        summary,
        leaving: leaving.iter().map(|seat| seat.id).chain(desired.kept.iter().copied()).collect(),
        lost: desired.lost.brokers.keys().chain(&desired.lost.bare).copied().collect(),
        staying: staying.iter().map(|seat| seat.id).collect(),
        rate: rate.to_string(),
    };
    plan.refusals.extend(desired.lost.refusals.iter().cloned());
    let before = plan.steps.len();
    ground.fill(plan);
    ground.empty(plan);
    ground.forget(plan);
    let moves = plan.steps[before..].iter().any(|step| matches!(step, Step::Move { .. }));
    ground.release(plan, moves);
}

impl Ground<'_> {
    fn held(&self, id: i32) -> u64 {
        self.summary.held.get(&id).copied().unwrap_or_default()
    }

    /// Brokers that have joined and not had their share yet, or all that lack some of it: it moves to them. Not before
    /// everything else is as it should be.
    fn fill(&self, plan: &mut Plan) {
        let (layout, desired) = (&self.summary.layout, self.desired);
        let others = !self.leaving.is_empty()
            || !self.lost.is_empty()
            || !desired.dismissed.is_empty()
            || plan.waits
            || plan.operation.is_some();
        let serves = |id: &i32| layout.brokers.get(id).is_some_and(|node| node.live);
        if desired.rebalance.mode == RebalanceMode::Off || others || !self.staying.iter().all(serves) {
            return;
        }
        let new: BTreeSet<i32> = self.staying.iter().copied().filter(|id| !self.has_had_its_share(*id)).collect();
        let takers = if desired.rebalance.mode == RebalanceMode::Continuous { &self.staying } else { &new };
        let room = MOVING_MAX.saturating_sub(layout.moving());
        let moves = balance::level(layout, takers, &self.staying, room);
        let comes = |id: &i32| layout.spots().any(|(.., spot)| spot.moving && spot.replicas.contains(id));
        if moves.is_empty() && !takers.iter().any(comes) {
            if layout.moving() == 0 {
                new.iter().for_each(|id| self.note_share(plan, *id));
            }
            return;
        }
        plan.waits = true;
        let share = balance::share(layout, &self.staying);
        let arrived = |id: &i32| {
            let there = layout.spots().filter(|(.., spot)| !spot.moving && spot.replicas.contains(id));
            there.count().min(share)
        };
        let has: usize = takers.iter().map(arrived).sum();
        let ids: Vec<String> = takers.iter().filter(|id| arrived(id) < share).map(i32::to_string).collect();
        let reason = format!("broker(s) {} get their share of {share} replica(s)", ids.join(", "));
        self.say(plan, "Rebalance", format!("{has}/{}", share * takers.len()), reason);
        self.send(plan, moves);
    }

    fn has_had_its_share(&self, id: i32) -> bool {
        let seat = self.desired.brokers.get(&id);
        let claim = seat.and_then(|seat| self.observed.get(Kind::PersistentVolumeClaim, &seat.claim));
        claim.is_some_and(|claim| claim.annotation(names::FILLED).is_some())
    }

    /// Notes on a broker's volume that it has had its share.
    fn note_share(&self, plan: &mut Plan, id: i32) {
        let Some(seat) = self.desired.brokers.get(&id) else { return };
        if self.observed.get(Kind::PersistentVolumeClaim, &seat.claim).is_none_or(Seen::is_going) {
            return;
        }
        let children = &self.desired.children;
        let claim = children.iter().find(|one| one.kind == Kind::PersistentVolumeClaim && one.name == seat.claim);
        if let Some(mut child) = claim.cloned() {
            merge(&mut child.manifest, filled());
            plan.steps.push(Step::Apply { child, why: Why::Changed });
        }
    }

    /// Brokers that are to hold nothing: what they have moves to those that stay.
    fn empty(&self, plan: &mut Plan) {
        self.say_who_goes(plan);
        let off = self.desired.rebalance.mode == RebalanceMode::Off;
        for id in self.leaving.iter().filter(|_| off) {
            let count = self.held(*id);
            plan.refuse(
                Reason::BrokerNotEmpty,
                format!(
                    "broker {id} is to leave and has {count} partition replica(s), and spec.rebalance.mode is Off: move them \
                     to other brokers, raise replicas again, or set mode: OnScale"
                ),
            );
        }
        let leaving = self.leaving.iter().filter(|_| !off);
        let emptied: BTreeSet<i32> = self.lost.iter().chain(leaving).copied().collect();
        if emptied.is_empty() {
            return;
        }
        if let Some(message) = self.corner(&emptied) {
            return plan.refuse(Reason::TooFewBrokers, message);
        }
        plan.waits = true;
        if self.may_move(plan) {
            let room = MOVING_MAX.saturating_sub(self.summary.layout.moving());
            self.send(plan, balance::drain(&self.summary.layout, &emptied, &self.staying, room));
        }
    }

    fn say_who_goes(&self, plan: &mut Plan) {
        let to_move = |ids: &BTreeSet<i32>| ids.iter().map(|id| self.held(*id)).sum::<u64>();
        if let Some(first) = self.lost.first() {
            let why = self.desired.lost.brokers.get(first).map_or("it has neither Pod nor volume", String::as_str);
            let reason = format!("broker {first} is lost ({why}), {} replica(s) to move", to_move(&self.lost));
            return self.say(plan, "Replace", format!("{} to go", self.lost.len()), reason);
        }
        // What is left of a forgotten one goes by itself once it is deleted.
        let has_volume = |id: i32| {
            let mut claims = self.observed.of(Kind::PersistentVolumeClaim);
            claims.any(|(_, claim)| claim.broker() == Some(id) && !claim.is_going())
        };
        let here = |id: &i32| self.summary.registered.contains(id) || has_volume(*id);
        let dismissed: Vec<i32> = self.desired.dismissed.iter().copied().filter(here).collect();
        let step = format!("{} to go", self.leaving.len() + dismissed.len());
        if let Some(first) = self.leaving.first() {
            let reason = format!("broker {first} leaves, {} replica(s) to move", to_move(&self.leaving));
            self.say(plan, "ScaleIn", step, reason);
        } else if let Some(first) = dismissed.first() {
            self.say(plan, "ScaleIn", step, format!("broker {first} leaves"));
        }
    }

    /// Why what `emptied` hold has nowhere to go, if it has not.
    fn corner(&self, emptied: &BTreeSet<i32>) -> Option<String> {
        let wide = balance::too_wide(&self.summary.layout, emptied, &self.staying);
        if wide.is_empty() {
            return None;
        }
        let names: Vec<String> =
            wide.iter().take(NAMED_MAX).map(|one| format!("{} ({} replicas)", one.topic, one.replicas)).collect();
        let more = match wide.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let ids: Vec<String> = emptied.iter().map(i32::to_string).collect();
        Some(format!(
            "broker(s) {} cannot leave: {} broker(s) would stay, fewer than there are replicas of topic(s) {}{more}; nothing is \
             moved: give them fewer replicas, delete them, or raise replicas again",
            ids.join(", "),
            self.staying.len(),
            names.join(", ")
        ))
    }

    /// Whether something may be moved now: a roll goes first, and whoever has just been declared gets its part.
    fn may_move(&self, plan: &Plan) -> bool {
        let rolls = plan.operation.as_ref().is_some_and(|operation| operation.kind == "Roll");
        let joined = |id: &i32| self.summary.layout.brokers.contains_key(id);
        !rolls && self.staying.iter().all(joined)
    }

    /// Says what is being done, unless brokers are being restarted.
    fn say(&self, plan: &mut Plan, kind: &'static str, step: String, reason: String) {
        if plan.operation.as_ref().is_none_or(|operation| operation.kind != "Roll") {
            plan.operation = Some(Operation { kind, step, reason });
        }
    }

    /// Has `moves` begun, throttled.
    fn send(&self, plan: &mut Plan, moves: Vec<Move>) {
        if moves.is_empty() {
            return;
        }
        let layout = &self.summary.layout;
        let nodes = layout.brokers.iter().filter(|(_, node)| node.live);
        let brokers = nodes.filter(|(_, node)| node.rate.as_ref() != Some(&self.rate)).map(|(id, _)| *id).collect();
        let topics: BTreeSet<&String> = moves.iter().map(|one| &one.topic).collect();
        let bare = |topic: &&&String| layout.topics.get(**topic).is_none_or(|held| !held.throttled);
        let topics = topics.iter().filter(bare).map(|topic| (*topic).clone()).collect();
        plan.steps.push(Step::Move { moves, throttle: Throttle { rate: self.rate.clone(), brokers, topics } });
    }

    /// Takes throttles off again: a topic's when nothing of it moves, the brokers' when nothing does. Until then brokers have
    /// the rate that is declared, whoever began the move and whatever was declared then.
    fn release(&self, plan: &mut Plan, moves: bool) {
        let layout = &self.summary.layout;
        if moves {
            return;
        }
        let still = |held: &super::super::layout::Held| held.partitions.iter().any(|spot| spot.moving);
        let topics: Vec<String> = layout
            .topics
            .iter()
            .filter(|(_, held)| held.throttled && !still(held))
            .map(|(name, _)| name.clone())
            .collect();
        let slow = layout.topics.values().any(|held| held.throttled && still(held));
        let other = layout.brokers.iter().filter(|(_, node)| node.live && node.rate.as_ref() != Some(&self.rate));
        let other: Vec<i32> = other.map(|(id, _)| *id).collect();
        if slow && !other.is_empty() {
            plan.steps.push(Step::Pace { rate: self.rate.clone(), brokers: other });
        }
        let mut brokers = Vec::new();
        if layout.moving() == 0 {
            // Another rate is ours as well if topics are throttled as only this operator does it.
            let ours = |rate: &String| *rate == self.rate || !topics.is_empty();
            let nodes = layout.brokers.iter().filter(|(_, node)| node.rate.as_ref().is_some_and(ours));
            brokers = nodes.map(|(id, _)| *id).collect();
        }
        let episode = layout.brokers.values().any(|node| node.rate.is_some());
        if episode && !(topics.is_empty() && brokers.is_empty()) {
            plan.steps.push(Step::Release { topics, brokers });
        }
    }

    /// Registered brokers that are no broker of this Cluster any more.
    fn forget(&self, plan: &mut Plan) {
        let desired = self.desired;
        let of_cluster = |id: &&i32| desired.brokers.contains_key(id) || desired.kept.contains(id);
        let with_pod: BTreeSet<i32> = self.observed.of(Kind::Pod).filter_map(|(_, pod)| pod.broker()).collect();
        for id in self.summary.registered.iter().filter(|id| !of_cluster(id)) {
            let (held, lost) = (self.held(*id), self.lost.contains(id));
            if held > 0 {
                if !lost && !self.desired.lost.refusals.iter().any(|one| one.reason == Reason::DataAtRisk) {
                    let message = format!(
                        "broker {id} is registered with {held} replica(s), and has neither Pod nor volume, and yet the cluster hears \
                         it: give its Pod its labels back, or stop it"
                    );
                    plan.refuse(Reason::BrokerRegistered, message);
                }
                continue;
            }
            if self.desired.brokers.is_empty() {
                let message =
                    format!("broker {id} is registered, and no broker is left that could forget it: raise replicas");
                plan.refuse(Reason::BrokerRegistered, message);
                continue;
            }
            // The cluster's controller refuses one that lives, or that was given something meanwhile.
            plan.waits = true;
            let live = self.summary.layout.brokers.get(id).is_some_and(|node| node.live);
            // Of one that is lost the Pod is left that its node does not let go.
            if !live && (lost || !with_pod.contains(id)) && self.somebody_serves() {
                plan.steps.push(Step::Unregister { broker: *id });
            }
        }
    }

    fn somebody_serves(&self) -> bool {
        let pod = |id: &i32| self.observed.get(Kind::Pod, &self.desired.brokers.get(id)?.pod);
        self.staying.iter().any(|id| pod(id).is_some_and(is_ready))
    }
}
