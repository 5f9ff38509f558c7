//! Which brokers hold a partition when its number of replicas changes.
//!
//! Owns the choice: as many racks as there are, then the brokers with the fewest replicas. Pure. Must never move a replica
//! that may stay, nor take the preferred leader away.

use std::collections::BTreeMap;

use super::world::Broker;

/// `current` with `wanted` replicas. The loads of `brokers` follow the choice, so that the next partition is placed
/// elsewhere. Fewer than wanted if there are no more brokers.
pub(super) fn resize(current: &[i32], wanted: usize, brokers: &mut BTreeMap<i32, Broker>) -> Vec<i32> {
    let mut chosen = current.to_vec();
    while chosen.len() > wanted.max(1) {
        let Some(at) = dispensable(&chosen, brokers) else { break };
        if let Some(broker) = brokers.get_mut(&chosen.remove(at)) {
            broker.load = broker.load.saturating_sub(1);
        }
    }
    while chosen.len() < wanted {
        let Some(id) = next(&chosen, brokers) else { break };
        chosen.push(id);
        brokers.entry(id).or_default().load += 1;
    }
    chosen
}

fn rack<'a>(id: &i32, brokers: &'a BTreeMap<i32, Broker>) -> Option<&'a str> {
    brokers.get(id)?.rack.as_deref()
}

/// How many others of `chosen` stand in the rack of `id`. Brokers without a rack have none in common.
fn neighbours(id: i32, chosen: &[i32], brokers: &BTreeMap<i32, Broker>) -> usize {
    let own = rack(&id, brokers);
    chosen.iter().filter(|other| **other != id && own.is_some() && rack(other, brokers) == own).count()
}

/// Whose replica is missed least: one that is away, then one of a crowded rack, then one of a loaded broker. The first is
/// the preferred leader and stays.
fn dispensable(chosen: &[i32], brokers: &BTreeMap<i32, Broker>) -> Option<usize> {
    let worth = |id: i32| {
        let away = brokers.get(&id).is_none_or(|broker| !broker.live);
        (away, neighbours(id, chosen, brokers), brokers.get(&id).map_or(0, |broker| broker.load))
    };
    (1..chosen.len()).max_by_key(|at| worth(chosen[*at]))
}

/// Who gets one more: one that serves, then one of a rack without a replica, then the one with the fewest, then the one
/// that comes after the last.
fn next(chosen: &[i32], brokers: &BTreeMap<i32, Broker>) -> Option<i32> {
    let last = chosen.last().copied().unwrap_or(i32::MIN);
    let free = brokers.iter().filter(|(id, _)| !chosen.contains(id));
    let cost = |id: i32, broker: &Broker| (!broker.live, neighbours(id, chosen, brokers), broker.load, id <= last, id);
    free.min_by_key(|(id, broker)| cost(**id, broker)).map(|(id, _)| *id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brokers(racks: &[&str]) -> BTreeMap<i32, Broker> {
        let broker = |rack: &&str| Broker { rack: Some((*rack).to_owned()), live: true, load: 0 };
        (0..).zip(racks.iter().map(broker)).collect()
    }

    #[test]
    fn more_replicas_stand_in_more_racks_and_loads_even_out() {
        let mut world = brokers(&["x", "x", "y", "y", "z"]);
        let grown: Vec<Vec<i32>> = (0..4).map(|from| resize(&[from], 3, &mut world)).collect();
        assert_eq!(grown, [vec![0, 2, 4], vec![1, 3, 4], vec![2, 0, 4], vec![3, 1, 4]]);
        let mut plain = brokers(&["", "", ""]);
        plain.values_mut().for_each(|broker| broker.rack = None);
        let grown: Vec<Vec<i32>> = (0..3).map(|from| resize(&[from], 2, &mut plain)).collect();
        assert_eq!(grown, [vec![0, 1], vec![1, 2], vec![2, 0]]);
    }

    #[test]
    fn who_is_away_goes_first_and_the_preferred_leader_never() {
        let mut world = brokers(&["x", "y", "z", "x"]);
        world.entry(1).or_default().live = false;
        assert_eq!(resize(&[0, 1, 2], 2, &mut world), [0, 2]);
        assert_eq!(resize(&[1, 0, 2], 1, &mut world), [1]);
        assert_eq!(resize(&[0, 2, 3], 2, &mut world), [0, 2], "two were in one rack");
        assert_eq!(resize(&[2], 0, &mut world), [2], "one stays");
    }

    #[test]
    fn who_is_away_is_taken_last_and_there_may_not_be_enough() {
        let mut world = brokers(&["x", "y", "z"]);
        world.entry(1).or_default().live = false;
        assert_eq!(resize(&[0], 2, &mut world), [0, 2]);
        assert_eq!(resize(&[0], 5, &mut world), [0, 2, 1]);
    }
}
