//! What people ask for, with every error that the core has for it.

use ottla_core::config::Alteration;
use ottla_core::controller::error::{InvalidPartitions, InvalidReplicationFactor, TooManyPartitions};
use ottla_core::controller::{
    ConfigChange, ConfigTarget, ElectionKind, Growth, Move, Moving, NamedPartition, TopicRef,
};
use proptest::collection::{btree_map, vec};
use proptest::option;

use super::strategies::{assignment_error, broker, config_error, count, ids, request_error, result, topic_id};
use super::*;

fn named() -> impl Strategy<Value = NamedPartition> {
    (".{0,6}", any::<i32>()).prop_map(|(topic, index)| NamedPartition { topic, partition: PartitionIndex::new(index) })
}

fn change() -> BoxedStrategy<(ConfigTarget, ConfigChange)> {
    let target = prop_oneof![
        ".{0,6}".prop_map(ConfigTarget::Topic),
        broker().prop_map(ConfigTarget::Broker),
        Just(ConfigTarget::AllBrokers),
    ];
    let how = prop_oneof![
        ".{0,5}".prop_map(Alteration::Set),
        Just(Alteration::Delete),
        ".{0,5}".prop_map(Alteration::Append),
        ".{0,5}".prop_map(Alteration::Subtract),
    ];
    let change = prop_oneof![
        btree_map(".{0,5}", ".{0,5}", 0..3).prop_map(ConfigChange::Replace),
        vec((".{0,5}", how), 0..3).prop_map(ConfigChange::Alter),
    ];
    (target, change).boxed()
}

pub(super) fn request() -> BoxedStrategy<Request> {
    let topic = prop_oneof![".{0,6}".prop_map(TopicRef::Name), topic_id().prop_map(TopicRef::Id)];
    let growth = (".{0,6}", any::<i32>(), option::of(vec(ids(), 0..3)))
        .prop_map(|(topic, count, assignments)| Growth { topic, count, assignments });
    let kind = prop_oneof![Just(ElectionKind::Preferred), Just(ElectionKind::Unclean)];
    let wanted = (named(), option::of(ids())).prop_map(|(partition, target)| Move { partition, target });
    let some = || option::of(vec(named(), 0..3));
    prop_oneof![
        vec(topic, 0..4).prop_map(|topics| Request::DeleteTopics { topics }),
        (vec(growth, 0..3), any::<bool>())
            .prop_map(|(topics, validate_only)| Request::CreatePartitions { topics, validate_only }),
        (vec(change(), 0..3), any::<bool>())
            .prop_map(|(resources, validate_only)| Request::AlterConfigs { resources, validate_only }),
        (kind, some()).prop_map(|(kind, partitions)| Request::ElectLeaders { kind, partitions }),
        (vec(wanted, 0..3), any::<bool>())
            .prop_map(|(moves, may_change_factor)| Request::Reassign { moves, may_change_factor }),
        some().prop_map(|partitions| Request::ListReassignments { partitions }),
        broker().prop_map(|broker| Request::Unregister { broker }),
    ]
    .boxed()
}

fn delete_error() -> BoxedStrategy<DeleteTopicError> {
    prop_oneof![
        ".{0,6}".prop_map(DeleteTopicError::UnknownName),
        topic_id().prop_map(DeleteTopicError::UnknownId),
        Just(DeleteTopicError::Disabled),
        request_error().prop_map(DeleteTopicError::Request),
        Just(NotController.into()),
    ]
    .boxed()
}

fn growth_error() -> BoxedStrategy<CreatePartitionsError> {
    prop_oneof![
        ".{0,6}".prop_map(CreatePartitionsError::UnknownName),
        any::<i32>().prop_map(|count| InvalidPartitions::Same(count).into()),
        (".{0,6}", any::<i32>(), any::<i32>()).prop_map(|(topic, current, wanted)| InvalidPartitions::Fewer {
            topic,
            current,
            wanted
        }
        .into()),
        assignment_error().prop_map(CreatePartitionsError::Assignment),
        (count(), count())
            .prop_map(|(wanted, registered)| InvalidReplicationFactor::TooLarge { wanted, registered }.into()),
        request_error().prop_map(CreatePartitionsError::Request),
        (count(), count()).prop_map(|(got, max)| TooManyPartitions { got, max }.into()),
        Just(NotController.into()),
    ]
    .boxed()
}

fn alter_error() -> BoxedStrategy<AlterConfigError> {
    prop_oneof![
        ".{0,6}".prop_map(AlterConfigError::UnknownName),
        config_error().prop_map(AlterConfigError::Config),
        request_error().prop_map(AlterConfigError::Request),
        Just(NotController.into()),
    ]
    .boxed()
}

fn elect_error() -> BoxedStrategy<ElectLeaderError> {
    prop_oneof![
        Just(ElectLeaderError::Unknown),
        Just(ElectLeaderError::NotNeeded),
        broker().prop_map(ElectLeaderError::PreferredNotAvailable),
        Just(ElectLeaderError::NobodyAvailable),
        Just(NotController.into()),
    ]
    .boxed()
}

fn reassign_error() -> BoxedStrategy<ReassignError> {
    prop_oneof![
        Just(ReassignError::Unknown),
        Just(ReassignError::NoneInProgress),
        assignment_error().prop_map(ReassignError::Assignment),
        (count(), count()).prop_map(|(current, wanted)| ReassignError::ReplicationFactor { current, wanted }),
        Just(ReassignError::NobodyInSync),
        Just(NotController.into()),
    ]
    .boxed()
}

fn unregister_error() -> BoxedStrategy<UnregisterError> {
    prop_oneof![
        broker().prop_map(UnregisterError::Unknown),
        broker().prop_map(UnregisterError::Alive),
        (broker(), count()).prop_map(|(broker, replicas)| UnregisterError::HoldsReplicas { broker, replicas }),
        Just(NotController.into()),
    ]
    .boxed()
}

pub(super) fn answer() -> BoxedStrategy<Answer> {
    let moving =
        (named(), topic_id(), ids(), ids(), ids()).prop_map(|(partition, topic_id, replicas, adding, removing)| {
            Moving { partition, topic_id, replicas, adding, removing }
        });
    let elected = (named(), result(Just(()), elect_error()));
    prop_oneof![
        vec(result((".{0,6}", topic_id()), delete_error()), 0..4).prop_map(Answer::DeleteTopics),
        vec(result(Just(()), growth_error()), 0..4).prop_map(Answer::CreatePartitions),
        vec(result(Just(()), alter_error()), 0..4).prop_map(Answer::AlterConfigs),
        result(vec(elected, 0..3), Just(NotController)).prop_map(Answer::ElectLeaders),
        vec(result(Just(()), reassign_error()), 0..4).prop_map(Answer::Reassign),
        result(vec(moving, 0..3), Just(NotController)).prop_map(Answer::ListReassignments),
        result(Just(()), unregister_error()).prop_map(Answer::Unregister),
    ]
    .boxed()
}
