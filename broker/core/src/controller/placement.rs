//! Who holds which partition: spreading replicas over brokers and racks, checking assignments made by hand, electing.

use std::collections::{BTreeMap, BTreeSet};

use super::error::{InvalidAssignment, InvalidReplicationFactor};
use crate::metadata::{Broker, Partition};
use crate::types::{BrokerId, LeaderEpoch, PartitionEpoch, PartitionIndex};

/// Spreads `count` new partitions, the first of which has the index `first`, over the brokers: leaders take turns, and
/// the replicas of one partition stand in as many racks as there are. `seed` decides who begins.
pub(super) fn spread(
    brokers: &BTreeMap<BrokerId, Broker>,
    first: usize,
    count: usize,
    replicas: usize,
    seed: u64,
) -> Result<Vec<Vec<BrokerId>>, InvalidReplicationFactor> {
    if replicas > brokers.len() {
        return Err(InvalidReplicationFactor::TooLarge { wanted: replicas, registered: brokers.len() });
    }
    let brokers = &worth_placing_on(brokers, replicas);
    let order = by_turns_of_racks(brokers);
    let racks: BTreeSet<_> = brokers.values().map(|broker| broker.rack.as_deref()).collect();
    let begin = usize::try_from(seed % order.len().max(1) as u64).unwrap_or_default();
    let place = |partition: usize| {
        let from = begin + partition;
        // Every round over the brokers shifts the followers by one, so that a dead broker's load goes to all others.
        let shift = from / order.len().max(1);
        let mut chosen: Vec<BrokerId> = Vec::with_capacity(replicas);
        let mut used_racks = BTreeSet::new();
        let turn = |step: usize| match step {
            0 => order[from % order.len()],
            _ => order[(from + 1 + (step - 1 + shift) % (order.len() - 1)) % order.len()],
        };
        let wanted_racks = racks.len().min(replicas);
        for only_new_racks in [true, false] {
            for candidate in (0..order.len()).map(turn) {
                let rack = brokers[&candidate].rack.as_deref();
                let crowded = only_new_racks && (used_racks.len() >= wanted_racks || used_racks.contains(&rack));
                if chosen.len() < replicas && !chosen.contains(&candidate) && !crowded {
                    chosen.push(candidate);
                    used_racks.insert(rack);
                }
            }
        }
        chosen
    };
    Ok((first..first + count).map(place).collect())
}

/// The unfenced brokers, if they are enough; otherwise all.
fn worth_placing_on(brokers: &BTreeMap<BrokerId, Broker>, replicas: usize) -> BTreeMap<BrokerId, Broker> {
    let live = || brokers.iter().filter(|(_, broker)| !broker.fenced);
    let enough = live().count() >= replicas.max(1);
    let chosen = brokers.iter().filter(|(_, broker)| !enough || !broker.fenced);
    chosen.map(|(id, broker)| (*id, broker.clone())).collect()
}

/// The brokers, unfenced ones before fenced ones, neighbours in different racks as far as there are.
fn by_turns_of_racks(brokers: &BTreeMap<BrokerId, Broker>) -> Vec<BrokerId> {
    let mut by_rack: BTreeMap<(bool, usize, Option<&str>), BrokerId> = BTreeMap::new();
    let mut seen: BTreeMap<(bool, Option<&str>), usize> = BTreeMap::new();
    for broker in brokers.values() {
        let rack = broker.rack.as_deref();
        let position = seen.entry((broker.fenced, rack)).or_default();
        by_rack.insert((broker.fenced, *position, rack), broker.id);
        *position += 1;
    }
    by_rack.into_values().collect()
}

/// Checks what a client assigned by hand to partitions of `expected` replicas each (`None`: whatever the first has).
pub(super) fn check_assignment(
    brokers: &BTreeMap<BrokerId, Broker>,
    replicas: &[BrokerId],
    expected: Option<usize>,
) -> Result<(), InvalidAssignment> {
    if replicas.is_empty() {
        return Err(InvalidAssignment::Empty);
    }
    let mut seen = BTreeSet::new();
    for &replica in replicas {
        if !seen.insert(replica) {
            return Err(InvalidAssignment::Twice(replica));
        }
        if !brokers.contains_key(&replica) {
            return Err(InvalidAssignment::UnknownBroker(replica));
        }
    }
    match expected {
        Some(expected) if expected != replicas.len() => {
            return Err(InvalidAssignment::Uneven { got: replicas.len(), expected });
        }
        Some(_) | None => {}
    }
    if replicas.iter().all(|replica| brokers[replica].fenced) {
        return Err(InvalidAssignment::Fenced);
    }
    Ok(())
}

/// The assignments in order of partitions, if they are exactly 0, 1, 2, …
pub(super) fn in_order(
    assignments: &[(PartitionIndex, Vec<BrokerId>)],
) -> Result<Vec<Vec<BrokerId>>, InvalidAssignment> {
    let by_index: BTreeMap<_, _> = assignments.iter().map(|(index, replicas)| (*index, replicas)).collect();
    let gap = (0..).map(PartitionIndex::new).zip(by_index.keys()).find(|(expected, index)| expected != *index);
    if let Some((missing, _)) = gap {
        return Err(InvalidAssignment::Gap(missing));
    }
    if by_index.len() < assignments.len() {
        let next = i32::try_from(by_index.len()).unwrap_or(i32::MAX);
        return Err(InvalidAssignment::Gap(PartitionIndex::new(next)));
    }
    Ok(by_index.into_values().cloned().collect())
}

/// A new partition on these brokers: those that live are in sync, the first of them leads.
pub(super) fn new_partition(brokers: &BTreeMap<BrokerId, Broker>, replicas: Vec<BrokerId>) -> Partition {
    let live = |id: &BrokerId| brokers.get(id).is_some_and(|broker| !broker.fenced);
    let isr: Vec<_> = replicas.iter().copied().filter(live).collect();
    Partition {
        leader: isr.first().copied(),
        leader_epoch: LeaderEpoch::new(0),
        partition_epoch: PartitionEpoch::new(0),
        // Nobody lives: whoever comes first holds as much as all others, nothing.
        isr: if isr.is_empty() { replicas.clone() } else { isr },
        replicas,
        ..Partition::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{DirectoryId, Incarnation};

    fn brokers(racks: &[Option<&str>]) -> BTreeMap<BrokerId, Broker> {
        let broker = |(id, rack): (i32, &Option<&str>)| Broker {
            id: BrokerId::new(id),
            incarnation: Incarnation::new(1),
            directory: DirectoryId::ZERO,
            rack: rack.map(str::to_owned),
            endpoints: BTreeMap::new(),
            fenced: false,
        };
        (1..).zip(racks).map(broker).map(|broker| (broker.id, broker)).collect()
    }

    #[test]
    fn leaders_take_turns_and_replicas_are_distinct() {
        let brokers = brokers(&[None, None, None, None]);
        let placed = spread(&brokers, 0, 40, 3, 7).expect("enough brokers");
        let mut leaders: BTreeMap<BrokerId, usize> = BTreeMap::new();
        for replicas in &placed {
            assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), 3);
            *leaders.entry(replicas[0]).or_default() += 1;
        }
        assert_eq!(leaders.values().copied().collect::<Vec<_>>(), [10; 4]);
        // The followers of one leader are not always the same.
        let followers: BTreeSet<_> = placed.iter().filter(|r| r[0] == BrokerId::new(1)).map(|r| r[1]).collect();
        assert_eq!(followers.len(), 3);
    }

    #[test]
    fn replicas_stand_in_different_racks() {
        let brokers = brokers(&[Some("a"), Some("a"), Some("a"), Some("b"), Some("c")]);
        for replicas in spread(&brokers, 0, 30, 3, 1).expect("enough brokers") {
            let racks: BTreeSet<_> = replicas.iter().map(|id| brokers[id].rack.as_deref()).collect();
            assert_eq!(racks.len(), 3, "{replicas:?}");
        }
    }

    #[test]
    fn more_replicas_than_brokers_are_refused() {
        let refused = spread(&brokers(&[None]), 0, 1, 2, 0);
        assert_eq!(refused, Err(InvalidReplicationFactor::TooLarge { wanted: 2, registered: 1 }));
        let nobody = spread(&brokers(&[]), 0, 1, 1, 0);
        assert_eq!(nobody, Err(InvalidReplicationFactor::TooLarge { wanted: 1, registered: 0 }));
    }

    #[test]
    fn assignments_by_hand_are_checked() {
        let brokers = brokers(&[None, None]);
        let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId::new).collect::<Vec<_>>();
        let check = |replicas: &[i32], expected| check_assignment(&brokers, &ids(replicas), expected);
        assert_eq!(check(&[1, 2], Some(2)), Ok(()));
        assert_eq!(check(&[], None), Err(InvalidAssignment::Empty));
        assert_eq!(check(&[1, 1], None), Err(InvalidAssignment::Twice(BrokerId::new(1))));
        assert_eq!(check(&[1, 9], None), Err(InvalidAssignment::UnknownBroker(BrokerId::new(9))));
        assert_eq!(check(&[1], Some(2)), Err(InvalidAssignment::Uneven { got: 1, expected: 2 }));
        let assignment = |indexes: &[i32]| {
            let pairs: Vec<_> = indexes.iter().map(|&index| (PartitionIndex::new(index), ids(&[1]))).collect();
            in_order(&pairs).map(|placed| placed.len())
        };
        assert_eq!(assignment(&[1, 0]), Ok(2));
        assert_eq!(assignment(&[0, 2]), Err(InvalidAssignment::Gap(PartitionIndex::new(1))));
        assert_eq!(assignment(&[1]), Err(InvalidAssignment::Gap(PartitionIndex::new(0))));
        assert_eq!(assignment(&[0, 0]), Err(InvalidAssignment::Gap(PartitionIndex::new(1))));
    }
}
