//! What an image finds, shares and calls a difference.

use super::*;

fn topic(name: &str, id: u8, partitions: usize) -> Topic {
    let partition = Partition {
        leader: Some(BrokerId::new(1)),
        leader_epoch: LeaderEpoch::new(0),
        partition_epoch: PartitionEpoch::new(0),
        replicas: vec![BrokerId::new(1)],
        isr: vec![BrokerId::new(1)],
        ..Partition::default()
    };
    Topic {
        name: name.to_owned(),
        id: TopicId::from_bytes([id; 16]),
        partitions: vec![partition; partitions],
        config: ExplicitConfig::new(),
        internal: false,
    }
}

#[test]
fn a_topic_is_found_by_name_and_by_id() {
    let image = Image::empty(ClusterId::ZERO).with_topic(topic("a", 1, 2)).with_topic(topic("b", 2, 3));
    assert_eq!(image.topic("a").map(|topic| topic.id), Some(TopicId::from_bytes([1; 16])));
    assert_eq!(image.topic_by_id(TopicId::from_bytes([2; 16])).map(|topic| topic.name.as_str()), Some("b"));
    assert!(image.partition("a", PartitionIndex::new(1)).is_some());
    assert!(image.partition("a", PartitionIndex::new(2)).is_none());
    assert!(image.partition("a", PartitionIndex::new(-1)).is_none());
    assert_eq!(image.partition_count(), 5);
}

#[test]
fn a_topic_created_again_loses_its_old_id() {
    let image = Image::empty(ClusterId::ZERO).with_topic(topic("a", 1, 2)).with_topic(topic("a", 9, 1));
    assert!(image.topic_by_id(TopicId::from_bytes([1; 16])).is_none());
    assert_eq!(image.partition_count(), 1);
    let image = image.without_topics(["a", "unknown"]);
    assert_eq!((image.topics().len(), image.partition_count()), (0, 0));
    assert!(image.topic_by_id(TopicId::from_bytes([9; 16])).is_none());
}

#[test]
fn a_delta_names_what_was_created_changed_and_deleted() {
    let before = Image::empty(ClusterId::ZERO).with_topics([
        Arc::new(topic("again", 1, 1)),
        Arc::new(topic("grows", 2, 1)),
        Arc::new(topic("same", 3, 1)),
        Arc::new(topic("vanishes", 4, 1)),
    ]);
    let tombstone = Tombstone { name: "again".into(), holders: [BrokerId::new(1)].into() };
    let after = before
        .clone()
        .with_topics([
            Arc::new(topic("again", 7, 1)),
            Arc::new(topic("grows", 2, 4)),
            Arc::new(topic("same", 3, 1)),
            Arc::new(topic("new", 8, 1)),
        ])
        .without_topics(["vanishes"])
        .with_tombstones([(TopicId::from_bytes([1; 16]), tombstone)].into());

    let delta = after.delta_since(&before);
    let names = |topics: &[Arc<Topic>]| topics.iter().map(|topic| topic.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&delta.created), ["again", "new"]);
    assert_eq!(delta.changed.len(), 1);
    assert_eq!((delta.changed[0].0.partitions.len(), delta.changed[0].1.partitions.len()), (1, 4));
    // `vanishes` is absent without a tombstone: nothing of it is deleted.
    assert_eq!(delta.deleted, [TopicId::from_bytes([1; 16])]);
    assert!(!delta.brokers && !delta.broker_configs);
    assert!(after.delta_since(&after.clone()).is_empty());
}

#[test]
fn a_delta_sees_brokers_and_their_configs() {
    let broker = Broker {
        id: BrokerId::new(1),
        incarnation: Incarnation::new(1),
        directory: DirectoryId::ZERO,
        rack: None,
        endpoints: BTreeMap::new(),
        fenced: false,
    };
    let before = Image::empty(ClusterId::ZERO);
    let after = before.clone().with_broker(broker);
    assert!(after.delta_since(&before).brokers);
    let configs = [("log.retention.ms".to_owned(), "1".to_owned())].into();
    assert!(after.clone().with_broker_configs(configs, BTreeMap::new()).delta_since(&after).broker_configs);
}
