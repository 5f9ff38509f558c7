//! What members get, told as tables, and what must hold for any group.

use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, prop_compose, proptest};

use super::*;

fn member(id: &str, topics: &[&str], owned: &[(&str, i32)], generation: i32) -> Member {
    let named = |&(topic, index): &(&str, i32)| NamedPartition::new(topic, index.into());
    Member {
        id: id.to_owned(),
        instance: None,
        subscription: Subscription {
            topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
            owned: owned.iter().map(named).collect(),
            generation,
        },
    }
}

fn partitions(topics: &[(&str, i32)]) -> Partitions {
    topics.iter().map(|&(topic, count)| (topic.to_owned(), (0..count).map(PartitionIndex::new).collect())).collect()
}

fn text(assignment: &Assignment) -> Vec<String> {
    let line = |(member, own): (&String, &BTreeSet<NamedPartition>)| {
        let own: Vec<String> = own.iter().map(ToString::to_string).collect();
        format!("{member}: {}", own.join(" "))
    };
    assignment.iter().map(line).collect()
}

fn check(strategy: Strategy, members: &[Member], topics: &[(&str, i32)], expected: &[&str]) {
    assert_eq!(text(&assign(strategy, members, &partitions(topics))), expected);
}

#[test]
fn range_gives_each_topic_in_contiguous_pieces() {
    let members = [member("b", &["t", "u"], &[], -1), member("a", &["t", "u"], &[], -1), member("c", &["u"], &[], -1)];
    check(
        Strategy::Range,
        &members,
        &[("t", 3), ("u", 4), ("nobody", 2)],
        &["a: t-0 t-1 u-0 u-1", "b: t-2 u-2", "c: u-3"],
    );
}

#[test]
fn range_puts_static_members_first() {
    let mut members = [member("a", &["t"], &[], -1), member("b", &["t"], &[], -1)];
    members[1].instance = Some("z".to_owned());
    check(Strategy::Range, &members, &[("t", 3)], &["a: t-2", "b: t-0 t-1"]);
}

#[test]
fn a_newcomer_first_waits_for_what_others_let_go() {
    let old = member("a", &["t"], &[("t", 0), ("t", 1), ("t", 2), ("t", 3)], 1);
    let new = member("b", &["t"], &[], -1);
    check(Strategy::CooperativeSticky, &[old, new.clone()], &[("t", 4)], &["a: t-0 t-1", "b: "]);
    let old = member("a", &["t"], &[("t", 0), ("t", 1)], 2);
    check(Strategy::CooperativeSticky, &[old, new], &[("t", 4)], &["a: t-0 t-1", "b: t-2 t-3"]);
}

#[test]
fn what_a_leaver_had_is_given_out_at_once() {
    let stays = member("a", &["t"], &[("t", 1)], 3);
    let joins = member("c", &["t"], &[], -1);
    check(Strategy::CooperativeSticky, &[stays, joins], &[("t", 4)], &["a: t-1 t-2", "c: t-0 t-3"]);
}

#[test]
fn old_and_contradicting_claims_are_void() {
    let young = member("a", &["t"], &[("t", 0)], 5);
    let stale = member("b", &["t"], &[("t", 0), ("t", 1)], 4);
    check(Strategy::CooperativeSticky, &[young, stale], &[("t", 2)], &["a: t-0", "b: t-1"]);
    let one = member("a", &["t"], &[("t", 0)], 5);
    let two = member("b", &["t"], &[("t", 0)], 5);
    check(Strategy::CooperativeSticky, &[one, two], &[("t", 1)], &["a: t-0", "b: "]);
}

prop_compose! {
    fn any_group()(
        counts in prop::collection::vec(0..7_i32, 1..4),
        wants in prop::collection::vec(prop::collection::vec(any::<bool>(), 3), 1..6),
        owns in prop::collection::vec((0..6_usize, 0..3_usize, 0..7_i32, -1..3_i32), 0..12),
    ) -> (Vec<Member>, Partitions) {
        let names = ["t0", "t1", "t2"];
        let topics: Vec<_> = counts.iter().enumerate().map(|(at, &count)| (names[at], count)).collect();
        let mut members: Vec<Member> = wants.iter().enumerate().map(|(at, wants)| {
            let topics: Vec<&str> = wants.iter().zip(names).filter(|(wants, _)| **wants).map(|(_, name)| name).collect();
            member(&format!("m{at}"), &topics, &[], -1)
        }).collect();
        for (at, topic, index, generation) in owns {
            let count = members.len();
            let subscription = &mut members[at % count].subscription;
            subscription.owned.insert(NamedPartition::new(names[topic], index.into()));
            subscription.generation = generation;
        }
        (members, partitions(&topics))
    }
}

/// What everyone owns after `assignment` in generation `generation`.
fn settle(members: &mut [Member], assignment: &Assignment, generation: i32) {
    for member in members {
        member.subscription.owned = assignment.get(&member.id).cloned().unwrap_or_default();
        member.subscription.generation = generation;
    }
}

proptest! {
    #[test]
    fn everything_wanted_is_given_once(group in any_group()) {
        let (mut members, partitions) = group;
        for strategy in [Strategy::Range, Strategy::CooperativeSticky] {
            let mut assignment = assign(strategy, &members, &partitions);
            for generation in 10..12 {
                settle(&mut members, &assignment, generation);
                assignment = assign(strategy, &members, &partitions);
            }
            let given: Vec<_> = assignment.values().flatten().collect();
            let wanted = partitions.iter()
                .filter(|(topic, _)| members.iter().any(|member| member.subscription.topics.contains(*topic)))
                .map(|(_, indices)| indices.len()).sum::<usize>();
            prop_assert_eq!(given.len(), wanted);
            for member in &members {
                let strange = assignment[&member.id].iter().any(|own| !member.subscription.topics.contains(&own.topic));
                prop_assert!(!strange);
            }
            settle(&mut members, &assignment, 12);
            prop_assert_eq!(assign(strategy, &members, &partitions), assignment);
        }
    }

    #[test]
    fn nothing_is_taken_and_given_in_one_round(group in any_group()) {
        let (members, partitions) = group;
        let assignment = assign(Strategy::CooperativeSticky, &members, &partitions);
        for member in &members {
            let generation = member.subscription.generation;
            let own: BTreeSet<_> = member.subscription.owned.iter().collect();
            for other in members.iter().filter(|other| other.id != member.id) {
                let contested = |own: &&&NamedPartition| members.iter().any(|third| {
                    third.id != member.id && third.subscription.generation >= generation
                        && third.subscription.owned.contains(**own)
                });
                let moved = own.iter().filter(|own| !contested(own)).any(|own| assignment[&other.id].contains(*own));
                prop_assert!(!moved);
            }
        }
    }
}
