//! Topics that come and go in every order, and who has the topic after each of them.

use kube::ResourceExt;

use super::super::declared::{Declared, RECORD};
use super::*;

/// A Topic that was created in that second and declares the topic `t`.
fn topic(name: &str, second: u8) -> Topic {
    serde_yaml::from_str(&format!(
        "{{apiVersion: ottla.dev/v1alpha1, kind: Topic, spec: {{clusterRef: {{name: c}}, topicName: t}}, metadata: \
         {{name: {name}, creationTimestamp: '2026-01-01T00:00:{second:02}Z'}}}}"
    ))
    .unwrap()
}

fn recorded(mut topic: Topic) -> Topic {
    let record = Declared::of(&topic).record(Some("one")).text();
    topic.annotations_mut().insert(RECORD.to_owned(), record);
    topic
}

fn going(mut topic: Topic) -> Topic {
    topic.metadata.deletion_timestamp = topic.metadata.creation_timestamp.clone();
    topic
}

fn orders(count: usize) -> Vec<Vec<usize>> {
    let Some(last) = count.checked_sub(1) else { return vec![Vec::new()] };
    let insert = |order: Vec<usize>| {
        (0..=last).map(move |at| [&order[..at], &[last], &order[at..]].concat()).collect::<Vec<_>>()
    };
    orders(last).into_iter().flat_map(insert).collect()
}

/// Who has the topic, in whatever order they are known. Everybody else of those who stay has to name that one.
fn holder(topics: &[Topic]) -> Option<String> {
    let mut holders: Vec<Option<String>> = Vec::new();
    for order in orders(topics.len()) {
        let known: Vec<&Topic> = order.iter().map(|at| &topics[*at]).collect();
        let claims = claims(&known);
        let mut first = claims.iter().filter(|claim| stays(claim.topic) && claim.older.is_none());
        let holder = first.next().map(|claim| name(claim.topic));
        assert!(first.next().is_none(), "two have one topic: {claims:?}");
        for (claim, topic) in claims.iter().zip(known) {
            assert_eq!(name(claim.topic), name(topic), "claims come in the order of Topics");
            let other = holder.filter(|holder| *holder != name(topic));
            let expected = if stays(topic) { (other, None) } else { (None, other) };
            assert_eq!((claim.older, claim.heir), expected, "{order:?}");
        }
        holders.push(holder.map(str::to_owned));
    }
    holders.dedup();
    assert_eq!(holders.len(), 1, "the order in which they are known decides nothing: {holders:?}");
    holders.remove(0)
}

fn check(topics: &[Topic], expected: Option<&str>) {
    assert_eq!(holder(topics).as_deref(), expected);
}

#[test]
fn the_older_comes_first_whatever_the_names_and_records_are() {
    check(&[], None);
    check(&[topic("a", 1)], Some("a"));
    check(&[topic("a", 2), topic("z", 1)], Some("z"));
    check(&[recorded(topic("a", 2)), topic("z", 1)], Some("z"));
    check(&[topic("a", 3), topic("b", 2), topic("c", 1)], Some("c"));
}

#[test]
fn of_one_second_whoever_has_the_topic_keeps_it() {
    check(&[topic("a", 1), topic("z", 1)], Some("a"));
    check(&[topic("a", 1), recorded(topic("z", 1))], Some("z"));
    check(&[recorded(topic("a", 1)), recorded(topic("z", 1))], Some("a"));
}

#[test]
fn whoever_goes_leaves_the_topic_to_the_next() {
    check(&[going(topic("a", 1))], None);
    check(&[going(recorded(topic("a", 1))), topic("b", 2), topic("c", 3)], Some("b"));
    check(&[topic("a", 1), going(recorded(topic("z", 1)))], Some("a"));
}

#[test]
fn other_topics_are_nobody_elses_matter() {
    let mut other = topic("z", 1);
    other.spec.topic_name = None;
    let ours = topic("a", 2);
    assert!(claims(&[&other, &ours]).iter().all(|claim| claim.older.is_none() && claim.heir.is_none()));
}

/// Topics of one second come in every order and each is judged as it comes; the one that has the topic is recorded.
#[test]
fn whoever_came_first_in_a_second_has_the_topic_until_it_goes() {
    for order in orders(4) {
        let mut known: Vec<Topic> = Vec::new();
        for at in &order {
            known.push(topic(["a", "b", "c", "d"][*at], 1));
            let holder = holder(&known).expect("somebody has it");
            assert_eq!(holder, name(&known[0]), "nobody takes it away: {order:?}");
            known = known.into_iter().map(|one| if name(&one) == holder { recorded(one) } else { one }).collect();
        }
        let left = known.split_off(1);
        check(&[vec![going(known.remove(0))], left.clone()].concat(), left.iter().map(name).min());
    }
}
