//! Each policy against each state of a topic.

use super::*;

const ID: TopicId = TopicId::from_bytes([1; 16]);
const OTHER: TopicId = TopicId::from_bytes([2; 16]);

fn config(pairs: &[(&str, &str)]) -> ExplicitConfig {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn declared(partitions: i32, pairs: &[(&str, &str)]) -> DeclaredTopic {
    DeclaredTopic {
        name: "orders".to_owned(),
        partitions,
        replicas: None,
        config: config(pairs),
        adoption: AdoptionPolicy::IfIdentical,
        drift: DriftPolicy::Correct,
        deletion: DeletionPolicy::Retain,
        file: PathBuf::from("a.yaml"),
    }
}

fn applied(id: TopicId, partitions: i32, pairs: &[(&str, &str)]) -> AppliedTopic {
    AppliedTopic {
        id,
        partitions,
        config: config(pairs),
        deletion: DeletionPolicy::Retain,
        file: PathBuf::from("a.yaml"),
    }
}

fn observed(partitions: i32, pairs: &[(&str, &str)]) -> ObservedTopic {
    ObservedTopic { id: ID, partitions, config: config(pairs) }
}

/// Plans for the topic `orders` and gives the sentences.
fn check(
    declared: Option<DeclaredTopic>,
    applied: Option<AppliedTopic>,
    observed: Option<ObservedTopic>,
    expected: &[&str],
) {
    let named = |name: &str| name.to_owned();
    let applied = applied.map(|one| (named("orders"), one)).into_iter().collect();
    // Topics that nobody declares are there in every case, and never in any plan.
    let mut there: BTreeMap<_, _> = observed.map(|one| (named("orders"), one)).into_iter().collect();
    there
        .insert(named("by-hand"), ObservedTopic { id: OTHER, partitions: 3, config: config(&[("retention.ms", "1")]) });
    let declared: Vec<_> = declared.into_iter().collect();
    let found: Vec<_> = plan(&declared, &applied, &there).iter().map(Action::to_string).collect();
    assert_eq!(found, expected);
}

#[test]
fn what_is_not_there_is_created() {
    check(Some(declared(12, &[("retention.ms", "1")])), None, None, &["topic orders: create with 12 partitions"]);
    // It was there, and somebody deleted it.
    check(Some(declared(1, &[])), Some(applied(ID, 1, &[])), None, &["topic orders: create with 1 partition"]);
}

#[test]
fn what_is_as_declared_is_left_alone() {
    let pairs = &[("retention.ms", "1")];
    check(Some(declared(2, pairs)), Some(applied(ID, 2, pairs)), Some(observed(2, pairs)), &[]);
}

#[test]
fn a_changed_declaration_is_applied_whatever_the_drift_policy() {
    for drift in [DriftPolicy::Correct, DriftPolicy::Report] {
        let topic = DeclaredTopic { drift, ..declared(4, &[("retention.ms", "2")]) };
        check(
            Some(topic),
            Some(applied(ID, 2, &[("retention.ms", "1"), ("max.message.bytes", "9")])),
            Some(observed(2, &[("retention.ms", "1"), ("max.message.bytes", "9")])),
            &[
                "topic orders: add partitions, 2 become 4",
                "topic orders: set max.message.bytes back to its default, retention.ms=2",
            ],
        );
    }
}

#[test]
fn changes_by_others_are_corrected_or_reported() {
    let there = observed(4, &[("retention.ms", "5"), ("segment.bytes", "7")]);
    let before = applied(ID, 2, &[("retention.ms", "1")]);
    check(
        Some(declared(2, &[("retention.ms", "1")])),
        Some(before.clone()),
        Some(there.clone()),
        &[
            "topic orders: set retention.ms=1, segment.bytes back to its default",
            "topic orders: differs and is left so: partitions is 4, declared is 2",
        ],
    );
    let topic = DeclaredTopic { drift: DriftPolicy::Report, ..declared(2, &[("retention.ms", "1")]) };
    check(
        Some(topic),
        Some(before),
        Some(there),
        &[
            "topic orders: differs and is left so: partitions is 4, declared is 2; retention.ms is 5, declared is 1; segment.bytes is 7, declared is the default",
        ],
    );
}

#[test]
fn partitions_may_not_shrink() {
    check(
        Some(declared(2, &[])),
        Some(applied(ID, 4, &[])),
        Some(observed(4, &[])),
        &["topic orders: it has 4 partitions and 2 are declared: partitions may not shrink"],
    );
}

#[test]
fn a_topic_of_others_is_taken_over_only_as_the_policy_says() {
    let same = || Some(observed(1, &[]));
    let differs = || Some(observed(2, &[("retention.ms", "1")]));
    let with = |adoption| Some(DeclaredTopic { adoption, ..declared(3, &[]) });
    let plain = |adoption| Some(DeclaredTopic { adoption, ..declared(1, &[]) });
    let taken = "topic orders: take over the topic that is there";
    let never = "topic orders: the topic is there already, and adoptionPolicy is Never";

    check(plain(AdoptionPolicy::Never), None, same(), &[never]);
    check(plain(AdoptionPolicy::IfIdentical), None, same(), &[taken]);
    check(plain(AdoptionPolicy::Always), None, same(), &[taken]);
    check(with(AdoptionPolicy::Never), None, differs(), &[never]);
    check(
        with(AdoptionPolicy::IfIdentical),
        None,
        differs(),
        &[
            "topic orders: the topic is there already and differs (partitions is 2, declared is 3; retention.ms is 1, declared is the default), and adoptionPolicy is IfIdentical",
        ],
    );
    check(
        with(AdoptionPolicy::Always),
        None,
        differs(),
        &[taken, "topic orders: add partitions, 2 become 3", "topic orders: set retention.ms back to its default"],
    );
    // Deleted and made again by hand: the name is the same, the topic is not.
    check(plain(AdoptionPolicy::Never), Some(applied(OTHER, 1, &[])), same(), &[never]);
}

#[test]
fn a_declaration_that_is_gone_deletes_only_if_it_said_so() {
    let released = "topic orders: leave alone from now on, its declaration is gone";
    let deleted = "topic orders: delete, its declaration is gone (deletionPolicy Delete)";
    let delete = |id| Some(AppliedTopic { deletion: DeletionPolicy::Delete, ..applied(id, 1, &[]) });
    check(None, Some(applied(ID, 1, &[])), Some(observed(1, &[])), &[released]);
    check(None, delete(ID), Some(observed(1, &[])), &[deleted]);
    check(None, delete(ID), None, &[released]);
    // Another topic of the same name is not the one that was declared.
    check(None, delete(OTHER), Some(observed(1, &[])), &[released]);
    check(None, None, Some(observed(1, &[])), &[]);
}
