//! Contiguous ranges of each topic, members in the order of their static or dynamic ids, as Java's RangeAssignor.
//!
//! Owns the order of members: static ones first, by the id they gave themselves, so that a restart changes nothing.

use std::cmp::Ordering;

use super::{Assignment, Member, Partitions};
use crate::config::NamedPartition;

pub(super) fn assign(members: &[Member], partitions: &Partitions) -> Assignment {
    let mut assignment: Assignment = members.iter().map(|member| (member.id.clone(), Default::default())).collect();
    for (topic, indices) in partitions {
        let mut wanting: Vec<&Member> =
            members.iter().filter(|member| member.subscription.topics.contains(topic)).collect();
        if wanting.is_empty() {
            continue;
        }
        wanting.sort_by(|one, other| order(one, other));
        let share = indices.len() / wanting.len();
        let larger = indices.len() % wanting.len();
        let mut rest = indices.iter();
        for (at, member) in wanting.into_iter().enumerate() {
            let count = share + usize::from(at < larger);
            let own = rest.by_ref().take(count).map(|&index| NamedPartition::new(topic.clone(), index));
            assignment.entry(member.id.clone()).or_default().extend(own);
        }
    }
    assignment
}

fn order(one: &Member, other: &Member) -> Ordering {
    match (&one.instance, &other.instance) {
        (Some(one), Some(other)) => one.cmp(other),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => one.id.cmp(&other.id),
    }
}
