//! Everybody keeps what they have as far as that is fair; what has to move is first let go of, then given out.
//!
//! Owns the cooperative protocol's rule (KIP-429): a partition that changes hands is left out of one assignment, so that
//! its old owner revokes it and joins again. Claims from older generations lose; claims that contradict each other in one
//! generation are void.

use std::collections::{BTreeMap, BTreeSet};

use super::{Assignment, Member, Partitions};
use crate::config::NamedPartition;

pub(super) fn assign(members: &[Member], partitions: &Partitions) -> Assignment {
    let all: BTreeSet<NamedPartition> = partitions
        .iter()
        .flat_map(|(topic, indices)| indices.iter().map(|&index| NamedPartition::new(topic.clone(), index)))
        .collect();
    let owners = owners(members, &all);
    let wanting = |topic: &str| -> Vec<&str> {
        let wants = |member: &&Member| member.subscription.topics.contains(topic);
        members.iter().filter(wants).map(|member| member.id.as_str()).collect()
    };
    let wanting: BTreeMap<&str, Vec<&str>> = partitions.keys().map(|topic| (topic.as_str(), wanting(topic))).collect();
    let mut assignment: Assignment = members.iter().map(|member| (member.id.clone(), BTreeSet::new())).collect();
    for (partition, owner) in &owners {
        if wanting.get(partition.topic.as_str()).is_some_and(|wanting| wanting.contains(&owner.as_str())) {
            assignment.entry(owner.clone()).or_default().insert(partition.clone());
        }
    }
    give_out(&mut assignment, &all, &wanting);
    balance(&mut assignment, &wanting);
    for (member, own) in &mut assignment {
        own.retain(|partition| owners.get(partition).is_none_or(|owner| owner == member));
    }
    assignment
}

/// Who holds what, by the youngest claim.
fn owners(members: &[Member], all: &BTreeSet<NamedPartition>) -> BTreeMap<NamedPartition, String> {
    let mut claims: BTreeMap<&NamedPartition, (i32, Option<&str>)> = BTreeMap::new();
    for member in members {
        let generation = member.subscription.generation;
        for partition in member.subscription.owned.intersection(all) {
            let claim = claims.entry(partition).or_insert((generation, Some(&member.id)));
            if claim.1 == Some(member.id.as_str()) || claim.0 > generation {
                continue;
            }
            *claim = if claim.0 < generation { (generation, Some(&member.id)) } else { (generation, None) };
        }
    }
    let valid = |(partition, (_, owner)): (&NamedPartition, (i32, Option<&str>))| {
        owner.map(|owner| (partition.clone(), owner.to_owned()))
    };
    claims.into_iter().filter_map(valid).collect()
}

/// Gives what nobody has to whoever has least.
fn give_out(assignment: &mut Assignment, all: &BTreeSet<NamedPartition>, wanting: &BTreeMap<&str, Vec<&str>>) {
    let taken: BTreeSet<NamedPartition> = assignment.values().flatten().cloned().collect();
    for partition in all.difference(&taken) {
        let Some(wanting) = wanting.get(partition.topic.as_str()) else { continue };
        let least = wanting.iter().min_by_key(|member| assignment.get(**member).map_or(0, BTreeSet::len));
        if let Some(own) = least.and_then(|member| assignment.get_mut(*member)) {
            own.insert(partition.clone());
        }
    }
}

/// Moves single partitions from members with more to members that have at least two fewer, until there are none.
fn balance(assignment: &mut Assignment, wanting: &BTreeMap<&str, Vec<&str>>) {
    while let Some((from, to, partition)) = unfair(assignment, wanting) {
        if let Some(own) = assignment.get_mut(&from) {
            own.remove(&partition);
        }
        assignment.entry(to).or_default().insert(partition);
    }
}

/// A move that makes the shares more even: each lowers the sum of their squares, so there are finitely many.
fn unfair(assignment: &Assignment, wanting: &BTreeMap<&str, Vec<&str>>) -> Option<(String, String, NamedPartition)> {
    let mut richest: Vec<(&String, &BTreeSet<NamedPartition>)> = assignment.iter().collect();
    richest.sort_by_key(|(_, own)| std::cmp::Reverse(own.len()));
    for (from, own) in richest {
        for partition in own.iter().rev() {
            let Some(wanting) = wanting.get(partition.topic.as_str()) else { continue };
            let share = |member: &&&str| assignment.get(**member).map_or(0, BTreeSet::len);
            let poorest = wanting.iter().min_by_key(share);
            if let Some(to) = poorest.filter(|to| share(to) + 1 < own.len()) {
                return Some((from.clone(), (*to).to_owned(), partition.clone()));
            }
        }
    }
    None
}
