//! What is chosen in plain cases, and what holds of every choice, whatever the layout.

use proptest::prelude::*;

use super::*;
use crate::cluster::fixture::layout;

fn set(ids: impl IntoIterator<Item = i32>) -> BTreeSet<i32> {
    ids.into_iter().collect()
}

fn lines(moves: &[Move]) -> Vec<String> {
    moves.iter().map(|one| format!("{}-{} {:?}", one.topic, one.partition, one.replicas)).collect()
}

fn racks(layout: &mut Layout, racks: &[&str]) {
    for (node, rack) in layout.brokers.values_mut().zip(racks) {
        node.rack = Some((*rack).to_owned());
    }
}

/// As if everything had arrived.
fn arrive(layout: &mut Layout, moves: &[Move]) {
    for one in moves {
        let held = layout.topics.get_mut(&one.topic).unwrap();
        held.partitions[usize::try_from(one.partition).unwrap()].replicas.clone_from(&one.replicas);
    }
}

#[test]
fn who_leaves_is_replaced_in_its_place_by_who_holds_the_least() {
    let found = layout(4, &[("t", &[&[0, 1, 2], &[1, 2, 0], &[0, 1]])]);
    let moves = drain(&found, &set([2]), &set([0, 1, 3]), 50);
    assert_eq!(lines(&moves), ["t-0 [3, 1, 0]", "t-1 [1, 3, 0]"], "of what moves anyway the leaders are spread");
    assert_eq!(lines(&drain(&found, &set([2]), &set([0, 1, 3]), 1)), ["t-0 [3, 1, 0]"], "no more than that");
    assert_eq!(drain(&found, &set([3]), &set([0, 1, 2]), 50), [], "who holds nothing has nothing to move");
}

#[test]
fn racks_count_before_loads() {
    let mut found = layout(5, &[("t", &[&[0, 1, 2]]), ("u", &[&[4], &[4], &[4]])]);
    racks(&mut found, &["x", "y", "z", "x", "z"]);
    assert_eq!(lines(&drain(&found, &set([2]), &set([0, 1, 3, 4]), 50)), ["t-0 [0, 1, 4]"]);
    // A new broker of the first rack takes from that rack alone.
    let mut grown = layout(4, &[("t", &[&[0, 1, 2], &[1, 2, 0], &[2, 0, 1], &[0, 1, 2]])]);
    racks(&mut grown, &["x", "y", "z", "x"]);
    let moves = level(&grown, &set([3]), &set(0..4), 50);
    assert!(!moves.is_empty());
    for one in &moves {
        assert!(one.replicas.contains(&3) && !one.replicas.contains(&0), "{}", lines(&moves).join(", "));
    }
}

#[test]
fn nobody_gets_what_it_cannot_take_now() {
    let mut found = layout(4, &[("t", &[&[0, 1]])]);
    found.brokers.get_mut(&3).unwrap().live = false;
    assert_eq!(lines(&drain(&found, &set([1]), &set([0, 2, 3]), 50)), ["t-0 [0, 2]"]);
    assert_eq!(drain(&found, &set([1]), &set([0, 3]), 50), [], "and a partition is not left half done");
    assert_eq!(level(&found, &set([3]), &set(0..4), 50), []);
    let wide = too_wide(&found, &set([1]), &set([0]));
    assert_eq!(wide, [TooWide { topic: "t".to_owned(), replicas: 2 }]);
    assert_eq!(too_wide(&found, &set([2]), &set([0])), [], "what it does not hold is no matter");
}

#[test]
fn a_new_broker_gets_its_share_of_replicas_and_leaders() {
    let spots: Vec<[i32; 2]> = (0..24).map(|at| [at % 3, (at + 1) % 3]).collect();
    let spots: Vec<&[i32]> = spots.iter().map(|one| &one[..]).collect();
    let mut found = layout(4, &[("t", &spots)]);
    let moves = level(&found, &set([3]), &set(0..4), 50);
    assert_eq!(moves.len(), 12, "its share, and nothing else moves");
    arrive(&mut found, &moves);
    let loads: Vec<usize> = (0..4).map(|id| found.load(id)).collect();
    assert_eq!(loads, [12, 12, 12, 12]);
    let leads = |id: i32| found.spots().filter(|(.., spot)| spot.replicas[0] == id).count();
    assert_eq!([leads(0), leads(1), leads(2), leads(3)], [6, 6, 6, 6]);
    assert_eq!(level(&found, &set(0..4), &set(0..4), 50), [], "what is even stays");
}

#[test]
fn a_tenth_is_even_enough_and_what_moves_is_let_be() {
    let mut spots = vec![&[0][..]; 21];
    spots.extend([&[1][..]; 19]);
    let mut found = layout(2, &[("t", &spots)]);
    assert_eq!(level(&found, &set([0, 1]), &set([0, 1]), 50), []);
    spots.truncate(37);
    found = layout(2, &[("t", &spots)]);
    for spot in &mut found.topics.get_mut("t").unwrap().partitions {
        spot.moving = true;
    }
    assert_eq!(level(&found, &set([0, 1]), &set([0, 1]), 50), []);
    assert_eq!(drain(&found, &set([0]), &set([1]), 50), []);
}

/// A layout of some brokers in some racks, or none, with partitions anywhere.
fn any() -> impl Strategy<Value = Layout> {
    (3..8_i32, 0..4_usize, prop::collection::vec((1..4_usize, 0..1000_i32, 1..5_i32), 1..60)).prop_map(
        |(brokers, racks, partitions)| {
            let mut topics: BTreeMap<String, Vec<Vec<i32>>> = BTreeMap::new();
            for (factor, start, stride) in partitions {
                let mut replicas: Vec<i32> = Vec::new();
                // Skewed: the first brokers hold the most.
                let places = (0..).map(|at| (start % 3 + at * stride) % brokers).chain(0..brokers).take(64);
                for id in places.chain(0..brokers) {
                    if replicas.len() < factor.min(3) && !replicas.contains(&id) {
                        replicas.push(id);
                    }
                }
                topics.entry(format!("t{}", start % 4)).or_default().push(replicas);
            }
            let owned: Vec<(String, Vec<&[i32]>)> =
                topics.iter().map(|(name, all)| (name.clone(), all.iter().map(Vec::as_slice).collect())).collect();
            let all: Vec<(&str, &[&[i32]])> = owned.iter().map(|(name, all)| (name.as_str(), &all[..])).collect();
            let mut found = layout(brokers, &all);
            for (id, node) in found.brokers.iter_mut().filter(|_| racks > 0) {
                node.rack = Some((usize::try_from(*id).unwrap() % racks).to_string());
            }
            found
        },
    )
}

fn spread(layout: &Layout, replicas: &[i32]) -> usize {
    replicas.iter().map(|id| layout.brokers[id].rack.clone()).collect::<BTreeSet<_>>().len()
}

/// Every partition that a move names: before, and after.
fn both<'a>(layout: &'a Layout, moves: &'a [Move]) -> impl Iterator<Item = (&'a [i32], &'a [i32])> {
    let before = |one: &Move| &layout.topics[&one.topic].partitions[usize::try_from(one.partition).unwrap()].replicas;
    moves.iter().map(move |one| (&before(one)[..], &one.replicas[..]))
}

proptest! {
    #[test]
    fn whoever_leaves_is_emptied_and_no_replica_moves_that_need_not(found in any(), leaves in 0..8_i32) {
        let leaves = set([leaves % i32::try_from(found.brokers.len()).unwrap()]);
        let staying: BTreeSet<i32> = found.brokers.keys().copied().filter(|id| !leaves.contains(id)).collect();
        prop_assume!(too_wide(&found, &leaves, &staying).is_empty());
        let moves = drain(&found, &leaves, &staying, usize::MAX);
        prop_assert_eq!(&moves, &drain(&found, &leaves, &staying, usize::MAX), "one layout, one answer");
        for (before, after) in both(&found, &moves) {
            prop_assert_eq!(after.len(), before.len());
            prop_assert_eq!(set(after.iter().copied()).len(), after.len(), "nobody twice");
            prop_assert!(after.iter().all(|id| staying.contains(id)));
            let kept = before.iter().filter(|id| after.contains(id)).count();
            prop_assert_eq!(kept + 1, before.len(), "only the replica of the one that leaves moves");
            let new = after.iter().find(|id| !before.contains(id)).unwrap();
            let others: Vec<i32> = after.iter().copied().filter(|id| id != new).collect();
            for other in staying.iter().filter(|id| !after.contains(id)) {
                let moved: Vec<i32> = others.iter().copied().chain([*other]).collect();
                prop_assert!(spread(&found, after) >= spread(&found, &moved), "{after:?}, and {other} is in another rack");
            }
        }
        let mut later = found.clone();
        arrive(&mut later, &moves);
        prop_assert!(leaves.iter().all(|id| later.load(*id) == 0));
    }

    #[test]
    fn whoever_lacks_its_share_gets_it_and_then_nothing_moves(found in any(), some in 0..128_u32, batch in 1..20_usize) {
        let all: BTreeSet<i32> = found.brokers.keys().copied().collect();
        let takers: BTreeSet<i32> = all.iter().copied().filter(|id| some >> id & 1 == 1).collect();
        let (mut later, mut rounds) = (found.clone(), 0);
        loop {
            let moves = level(&later, &takers, &all, batch);
            prop_assert_eq!(&moves, &level(&later, &takers, &all, batch), "one layout, one answer");
            prop_assert!(moves.len() <= batch);
            if moves.is_empty() {
                break;
            }
            for (before, after) in both(&later, &moves) {
                prop_assert_eq!(after.len(), before.len());
                prop_assert_eq!(set(after.iter().copied()).len(), after.len(), "nobody twice");
                prop_assert!(spread(&later, after) >= spread(&later, before), "{before:?} became {after:?}");
                prop_assert!(after.iter().filter(|id| !before.contains(id)).all(|id| takers.contains(id)));
            }
            arrive(&mut later, &moves);
            rounds += 1;
            prop_assert!(rounds < 200, "it never comes to rest");
        }
        let whole = share(&later, &all);
        if later.brokers.values().all(|node| node.rack.is_none()) {
            prop_assert!(takers.iter().all(|id| !lacks(later.load(*id), whole)), "{later:?}");
        }
    }
}
