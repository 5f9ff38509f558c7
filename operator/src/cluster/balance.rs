//! Where replicas should be, given where they are: what moves off brokers that leave, and onto brokers that hold too little.
//!
//! Owns the choice. Pure and deterministic: the same layout gives the same moves. A partition keeps its number of
//! replicas, and never stands in fewer racks than before. Each move takes one replica to a broker that holds less, so that it comes
//! to an end. Must never touch a partition that moves already, nor one whose place is as good as another.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::layout::{Layout, Spot};

#[cfg(test)]
mod tests;

/// Which brokers shall hold a partition, the preferred leader first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Its topic.
    pub topic: String,
    /// Its index.
    pub partition: i32,
    /// Its replicas.
    pub replicas: Vec<i32>,
}

/// A topic that has more replicas than there would be brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooWide {
    /// Which.
    pub topic: String,
    /// How many replicas.
    pub replicas: usize,
}

/// What moves so that nobody of `leaving` holds anything any more, at most `limit` partitions. Only brokers of `staying`
/// get something, and of them only those that serve.
pub fn drain(layout: &Layout, leaving: &BTreeSet<i32>, staying: &BTreeSet<i32>, limit: usize) -> Vec<Move> {
    let mut scales = Scales::of(layout, staying);
    for (topic, index, spot) in layout.spots() {
        if scales.changed.len() >= limit {
            break;
        }
        if !spot.moving && spot.replicas.iter().any(|id| leaving.contains(id)) {
            scales.relieve(topic, index, spot, leaving);
        }
    }
    scales.spread_leaders();
    scales.moves()
}

/// The topics of which `leaving` hold something and which have more replicas than there are brokers in `staying`.
pub fn too_wide(layout: &Layout, leaving: &BTreeSet<i32>, staying: &BTreeSet<i32>) -> Vec<TooWide> {
    let mut found: Vec<TooWide> = Vec::new();
    for (topic, _, spot) in layout.spots() {
        let concerned = spot.replicas.len() > staying.len() && spot.replicas.iter().any(|id| leaving.contains(id));
        if concerned && found.last().is_none_or(|last| last.topic != topic) {
            found.push(TooWide { topic: topic.to_owned(), replicas: spot.replicas.len() });
        }
    }
    found
}

/// The brokers with everything that is weighed. What changes is noted, and weighed as if it had arrived.
struct Scales<'a> {
    layout: &'a Layout,
    staying: &'a BTreeSet<i32>,
    load: BTreeMap<i32, usize>,
    leads: BTreeMap<i32, usize>,
    of_topic: BTreeMap<(&'a str, i32), usize>,
    changed: BTreeMap<(&'a str, i32), Vec<i32>>,
}

impl<'a> Scales<'a> {
    fn of(layout: &'a Layout, staying: &'a BTreeSet<i32>) -> Self {
        let none: BTreeMap<i32, usize> = staying.iter().map(|id| (*id, 0)).collect();
        let (load, leads) = (none.clone(), none);
        let mut scales = Self { layout, staying, load, leads, of_topic: BTreeMap::new(), changed: BTreeMap::new() };
        for (topic, _, spot) in layout.spots() {
            for id in &spot.replicas {
                scales.weigh(topic, *id, 1);
            }
            scales.crown(spot.replicas.first(), 1);
        }
        scales
    }

    fn weigh(&mut self, topic: &'a str, id: i32, more: isize) {
        for count in [self.load.entry(id).or_default(), self.of_topic.entry((topic, id)).or_default()] {
            *count = count.saturating_add_signed(more);
        }
    }

    fn crown(&mut self, id: Option<&i32>, more: isize) {
        if let Some(id) = id {
            let count = self.leads.entry(*id).or_default();
            *count = count.saturating_add_signed(more);
        }
    }

    fn load(&self, id: i32) -> usize {
        self.load.get(&id).copied().unwrap_or_default()
    }

    fn leads(&self, id: i32) -> usize {
        self.leads.get(&id).copied().unwrap_or_default()
    }

    fn of_topic(&self, topic: &str, id: i32) -> usize {
        self.of_topic.get(&(topic, id)).copied().unwrap_or_default()
    }

    fn rack(&self, id: i32) -> Option<&str> {
        self.layout.brokers.get(&id)?.rack.as_deref()
    }

    /// How many of `others` stand in the rack of `id`. Brokers without a rack have none in common.
    fn neighbours(&self, id: i32, others: &[i32]) -> usize {
        let own = self.rack(id);
        others.iter().filter(|other| **other != id && own.is_some() && self.rack(**other) == own).count()
    }

    fn takes(&self, id: i32) -> bool {
        self.staying.contains(&id) && self.layout.brokers.get(&id).is_some_and(|node| node.live)
    }

    /// Puts others in the places of those that leave: of a rack without a replica, with few of that topic, with few at all.
    fn relieve(&mut self, topic: &'a str, index: i32, spot: &Spot, leaving: &BTreeSet<i32>) {
        let mut replicas = spot.replicas.clone();
        for at in 0..replicas.len() {
            let old = replicas[at];
            if !leaving.contains(&old) {
                continue;
            }
            let others: Vec<i32> = replicas.iter().copied().filter(|id| !leaving.contains(id)).collect();
            let free = self.staying.iter().copied().filter(|id| self.takes(*id) && !others.contains(id));
            let cost = |id: &i32| (self.neighbours(*id, &others), self.of_topic(topic, *id), self.load(*id), *id);
            // Nobody can take it now: what is not whole stays as it is.
            let Some(new) = free.min_by_key(cost) else { return };
            replicas[at] = new;
        }
        self.change(topic, index, replicas);
    }

    /// Notes that a partition is to be held by `replicas`.
    fn change(&mut self, topic: &'a str, index: i32, replicas: Vec<i32>) {
        let before = self.replicas(topic, index).to_vec();
        for id in before.iter().filter(|id| !replicas.contains(id)) {
            self.weigh(topic, *id, -1);
        }
        for id in replicas.iter().filter(|id| !before.contains(id)) {
            self.weigh(topic, *id, 1);
        }
        self.crown(before.first(), -1);
        self.crown(replicas.first(), 1);
        self.changed.insert((topic, index), replicas);
    }

    /// Who holds a partition, what was noted included.
    fn replicas(&self, topic: &'a str, index: i32) -> &[i32] {
        if let Some(replicas) = self.changed.get(&(topic, index)) {
            return replicas;
        }
        let held = self.layout.topics.get(topic);
        let spot = held.and_then(|held| held.partitions.get(usize::try_from(index).ok()?));
        spot.map_or(&[], |spot| &spot.replicas)
    }

    /// Of what moves anyway, the preferred leader is the one of its replicas that is it for the fewest.
    fn spread_leaders(&mut self) {
        let keys: Vec<(&'a str, i32)> = self.changed.keys().copied().collect();
        for (topic, index) in keys {
            self.spread_leader(topic, index);
        }
    }

    fn spread_leader(&mut self, topic: &'a str, index: i32) {
        let mut replicas = self.replicas(topic, index).to_vec();
        let better =
            (1..replicas.len()).filter(|at| self.takes(replicas[*at])).min_by_key(|at| self.leads(replicas[*at]));
        let Some(at) = better else { return };
        if self.leads(replicas[0]) >= self.leads(replicas[at]) + 2 {
            replicas.swap(0, at);
            self.change(topic, index, replicas);
        }
    }

    fn moves(self) -> Vec<Move> {
        let moved = |((topic, partition), replicas): ((&str, i32), Vec<i32>)| Move {
            topic: topic.to_owned(),
            partition,
            replicas,
        };
        self.changed.into_iter().map(moved).collect()
    }
}

/// What moves so that nobody of `takers` holds less than its share, at most `limit` partitions. Whoever holds its share
/// up to a tenth, or to one, is let be. Who gives is whoever of `staying` holds the most.
pub fn level(layout: &Layout, takers: &BTreeSet<i32>, staying: &BTreeSet<i32>, limit: usize) -> Vec<Move> {
    let mut scales = Scales::of(layout, staying);
    let share = share(layout, staying);
    if !takers.iter().any(|id| lacks(scales.load(*id), share)) {
        return Vec::new();
    }
    let mut full: BTreeSet<i32> = takers.iter().copied().filter(|id| !scales.takes(*id)).collect();
    while scales.changed.len() < limit {
        let open = takers.iter().copied().filter(|id| !full.contains(id) && scales.load(*id) < share);
        let Some(taker) = open.min_by_key(|id| (scales.load(*id), *id)) else { break };
        match scales.gift(taker) {
            Some((topic, index, replicas)) => scales.change(topic, index, replicas),
            // Its rack, or what the others have, lets it have no more.
            None => drop(full.insert(taker)),
        }
    }
    scales.spread_leaders();
    scales.moves()
}

/// A broker that holds less than its share although it could hold more, with how many it holds.
pub fn uneven(layout: &Layout, staying: &BTreeSet<i32>) -> Option<(i32, usize)> {
    let share = share(layout, staying);
    let least = staying.iter().map(|id| (layout.load(*id), *id)).min().filter(|(load, _)| lacks(*load, share));
    let movable = least.is_some() && !level(layout, staying, staying, 1).is_empty();
    least.filter(|_| movable).map(|(load, id)| (id, load))
}

/// How many replicas each of `staying` would hold if all held the same.
pub fn share(layout: &Layout, staying: &BTreeSet<i32>) -> usize {
    let total: usize = layout.spots().map(|(.., spot)| spot.replicas.len()).sum();
    total.checked_div(staying.len()).unwrap_or_default()
}

/// Whether `load` is less than the share by more than a tenth of it, and more than one; nothing is always less.
fn lacks(load: usize, share: usize) -> bool {
    load + share.div_ceil(10) < share || load == 0 && share > 0
}

impl<'a> Scales<'a> {
    /// A partition that `taker` gets a replica of, and its replicas then: from whoever has the most, where it is missed least.
    fn gift(&self, taker: i32) -> Option<(&'a str, i32, Vec<i32>)> {
        let least = self.load(taker) + 2;
        let mut givers: Vec<i32> =
            self.staying.iter().copied().filter(|id| *id != taker && self.load(*id) >= least).collect();
        givers.sort_by_key(|id| (Reverse(self.load(*id)), *id));
        givers.into_iter().find_map(|giver| self.gift_of(giver, taker))
    }

    fn gift_of(&self, giver: i32, taker: i32) -> Option<(&'a str, i32, Vec<i32>)> {
        let leader_wanted = self.leads(giver) >= self.leads(taker) + 2;
        let worth = |(topic, index, spot): (&'a str, i32, &'a Spot)| {
            let replicas = self.replicas(topic, index);
            let at = replicas.iter().position(|id| *id == giver)?;
            let (before, after) = (self.neighbours(giver, replicas), self.neighbours(taker, replicas));
            // Whoever goes is no neighbour any more.
            let after = after - usize::from(self.rack(taker).is_some() && self.rack(taker) == self.rack(giver));
            let whole = replicas.iter().all(|id| self.layout.brokers.contains_key(id));
            if spot.moving || replicas.contains(&taker) || after > before || !whole {
                return None;
            }
            let spread = self.of_topic(topic, giver).saturating_sub(self.of_topic(topic, taker));
            Some(((before - after, (at == 0) == leader_wanted, spread), (topic, index, at)))
        };
        // The first of those that are worth the most.
        let best = self.layout.spots().filter_map(worth).reduce(|best, next| if next.0 > best.0 { next } else { best });
        let (_, (topic, index, at)) = best?;
        let mut replicas = self.replicas(topic, index).to_vec();
        replicas[at] = taker;
        Some((topic, index, replicas))
    }
}
