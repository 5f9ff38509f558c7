//! Messages of every kind, with every error that the core has.

use std::sync::Arc;

use ottla_core::config::{InvalidValue, UnknownKey};
use ottla_core::controller::error::{
    InvalidAssignment, InvalidIsr, InvalidPartitions, InvalidReplicationFactor, StaleLeader, Standing,
    TooManyPartitions,
};
use ottla_core::controller::{
    DocumentId, FeatureRange, IsrChange, Leadership, NamedPartition, NewTopic, Registration, Seen, SessionId, ShardId,
    StopState,
};
use ottla_core::metadata::{Endpoint, Partition, Reassignment, Topic};
use ottla_core::topic_name::{InvalidName, is_internal};
use proptest::collection::{btree_map, vec};
use proptest::option;

use super::*;

const KEY: &str = "segment.bytes";

pub(super) fn broker() -> impl Strategy<Value = BrokerId> + Clone {
    any::<i32>().prop_map(BrokerId::new)
}

fn run() -> impl Strategy<Value = Incarnation> + Clone {
    any::<i64>().prop_map(Incarnation::new)
}

fn leader_epoch() -> impl Strategy<Value = LeaderEpoch> {
    any::<i32>().prop_map(LeaderEpoch::new)
}

fn partition_epoch() -> impl Strategy<Value = PartitionEpoch> {
    any::<i32>().prop_map(PartitionEpoch::new)
}

fn epoch() -> impl Strategy<Value = ControllerEpoch> {
    any::<i64>().prop_map(ControllerEpoch::new)
}

pub(super) fn topic_id() -> impl Strategy<Value = TopicId> {
    any::<[u8; 16]>().prop_map(TopicId::from_bytes)
}

fn partition_id() -> impl Strategy<Value = TopicPartition> {
    (topic_id(), any::<i32>()).prop_map(|(topic, index)| TopicPartition::new(topic, PartitionIndex::new(index)))
}

fn age() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_micros)
}

fn ages() -> impl Strategy<Value = BTreeMap<BrokerId, Duration>> {
    btree_map(broker(), age(), 0..5)
}

fn standing() -> impl Strategy<Value = Standing> {
    (any::<[u8; 16]>(), run(), lsn()).prop_map(|(directory, incarnation, synced)| Standing {
        directory: DirectoryId::from_bytes(directory),
        incarnation,
        synced,
    })
}

fn lsn() -> impl Strategy<Value = Lsn> {
    any::<u64>().prop_map(Lsn::new)
}

pub(super) fn count() -> impl Strategy<Value = usize> {
    0..usize::MAX / 2
}

fn presentation() -> BoxedStrategy<Presentation> {
    let document = option::of(any::<u32>())
        .prop_map(|shard| shard.map_or(DocumentId::Root, |shard| DocumentId::Shard(ShardId(shard))));
    let seen = (epoch(), any::<u64>(), any::<[u8; 16]>()).prop_map(|(epoch, version, session)| Seen {
        epoch,
        version,
        session: SessionId(session),
    });
    let vector = btree_map(document, seen, 0..5);
    (broker(), any::<[u8; 16]>(), standing(), vector)
        .prop_map(|(broker, cluster, standing, vector)| Presentation {
            broker,
            cluster: ClusterId::from_bytes(cluster),
            standing,
            vector,
        })
        .boxed()
}

fn endpoints() -> BoxedStrategy<BTreeMap<String, Endpoint>> {
    let endpoint = (".{0,6}", any::<u16>()).prop_map(|(host, port)| Endpoint { host, port });
    btree_map(".{0,6}", endpoint, 0..3).boxed()
}

fn registration() -> BoxedStrategy<Registration> {
    let features = (any::<u32>(), any::<u32>()).prop_map(|(min, max)| FeatureRange { min, max });
    (
        broker(),
        any::<[u8; 16]>(),
        standing(),
        option::of(".{0,6}"),
        endpoints(),
        features,
        (any::<bool>(), vec(partition_id(), 0..4), vec(partition_id(), 0..4)),
    )
        .prop_map(|(broker, cluster, standing, rack, endpoints, features, doubts)| Registration {
            broker,
            cluster: ClusterId::from_bytes(cluster),
            standing,
            rack,
            endpoints,
            features,
            unclean_stop: doubts.0,
            unflushed: doubts.1,
            suspect: doubts.2,
        })
        .boxed()
}

fn new_topic() -> BoxedStrategy<NewTopic> {
    let assignment = (any::<i32>().prop_map(PartitionIndex::new), vec(broker(), 0..4));
    (
        ".{0,8}",
        topic_id(),
        any::<Option<i32>>(),
        any::<Option<i16>>(),
        vec(assignment, 0..3),
        btree_map(".{0,5}", ".{0,5}", 0..3),
    )
        .prop_map(|(name, id, partitions, replication_factor, assignments, config)| NewTopic {
            name,
            id,
            partitions,
            replication_factor,
            assignments,
            config,
        })
        .boxed()
}

fn request() -> BoxedStrategy<Request> {
    let leadership =
        (partition_id(), leader_epoch()).prop_map(|(partition, leader_epoch)| Leadership { partition, leader_epoch });
    let leaderships = vec(leadership, 0..4);
    let change = (partition_id(), leader_epoch(), partition_epoch(), vec((broker(), run()), 0..4)).prop_map(
        |(partition, leader_epoch, partition_epoch, isr)| IsrChange { partition, leader_epoch, partition_epoch, isr },
    );
    prop_oneof![
        registration().prop_map(Request::Register),
        (broker(), run(), endpoints()).prop_map(|(broker, incarnation, endpoints)| Request::Admit {
            broker,
            incarnation,
            endpoints: Some(endpoints).filter(|endpoints| !endpoints.is_empty()),
        }),
        (broker(), vec(topic_id(), 0..4), vec((partition_id(), partition_epoch()), 0..4))
            .prop_map(|(broker, topics, partitions)| Request::ReplicasDeleted { broker, topics, partitions }),
        (broker(), run(), vec(change, 0..4)).prop_map(|(broker, incarnation, changes)| Request::AlterPartitions {
            broker,
            incarnation,
            changes
        }),
        (broker(), run(), leaderships, any::<bool>()).prop_map(|(broker, incarnation, leaderships, renew)| {
            if renew {
                Request::RenewTerms { broker, incarnation, leaderships }
            } else {
                Request::HandOver { broker, incarnation, leaderships }
            }
        }),
        (broker(), run(), vec(partition_id(), 0..4)).prop_map(|(broker, incarnation, partitions)| {
            Request::ReplicasLost { broker, incarnation, partitions }
        }),
        (broker(), run()).prop_map(|(broker, incarnation)| Request::PrepareStop { broker, incarnation }),
        Just(Request::AllocateProducerIds),
        (vec(new_topic(), 0..3), any::<bool>())
            .prop_map(|(topics, validate_only)| Request::CreateTopics { topics, validate_only }),
    ]
    .boxed()
}

pub(super) fn up() -> impl Strategy<Value = Up> {
    let request = prop_oneof![request(), admin::request()];
    let ask = (any::<u64>(), request).prop_map(|(id, request)| Up::Ask { id, request });
    let other = prop_oneof![
        (any::<u32>(), presentation(), option::of(run())).prop_map(|(version, presentation, run)| Up::Hello {
            version,
            presentation,
            run
        }),
        (any::<u64>(), run(), any::<u64>(), any::<bool>(), lsn())
            .prop_map(|(sequence, run, view, draining, synced)| Up::Beat { sequence, run, view, draining, synced }),
        any::<u64>().prop_map(|sequence| Up::Echo { sequence }),
        run().prop_map(|run| Up::Leaving { run }),
    ];
    prop_oneof![3 => ask, 1 => other]
}

fn register_error() -> BoxedStrategy<RegisterError> {
    let features = (any::<u32>(), any::<u32>()).prop_map(|(min, max)| FeatureRange { min, max });
    prop_oneof![
        (any::<[u8; 16]>(), any::<[u8; 16]>()).prop_map(|(got, expected)| RegisterError::OtherCluster {
            got: ClusterId::from_bytes(got),
            expected: ClusterId::from_bytes(expected)
        }),
        (broker(), run(), run()).prop_map(|(broker, got, registered)| RegisterError::StaleRun {
            broker,
            got,
            registered
        }),
        broker().prop_map(RegisterError::Unknown),
        (broker(), run()).prop_map(|(broker, incarnation)| RegisterError::Alive { broker, incarnation }),
        (broker(), any::<[u8; 16]>(), broker()).prop_map(|(broker, directory, holder)| {
            RegisterError::DirectoryOfAnother { broker, directory: DirectoryId::from_bytes(directory), holder }
        }),
        (broker(), features, any::<u32>()).prop_map(|(broker, can, level)| RegisterError::Features {
            broker,
            can,
            level
        }),
        Just(NotController.into()),
    ]
    .boxed()
}

/// A run that is not the controller's is said as [`BrokerRequestError::NotController`]: the two mean the same.
fn broker_error() -> BoxedStrategy<BrokerRequestError> {
    let run = register_error().prop_map(|error| {
        let not = matches!(error, RegisterError::NotController(_));
        if not { NotController.into() } else { BrokerRequestError::Run(error) }
    });
    prop_oneof![run, broker().prop_map(BrokerRequestError::Fenced), Just(NotController.into())].boxed()
}

fn stale() -> BoxedStrategy<StaleLeader> {
    prop_oneof![
        Just(StaleLeader::Unknown),
        (broker(), option::of(broker()), leader_epoch()).prop_map(|(broker, leader, epoch)| StaleLeader::NotLeader {
            broker,
            leader,
            epoch
        }),
        (leader_epoch(), leader_epoch()).prop_map(|(got, current)| StaleLeader::LeaderEpoch { got, current }),
        (partition_epoch(), partition_epoch()).prop_map(|(got, current)| StaleLeader::PartitionEpoch { got, current }),
    ]
    .boxed()
}

fn alter_error() -> BoxedStrategy<AlterPartitionError> {
    let wait = (0..u64::MAX / 2).prop_map(Duration::from_micros);
    let why = prop_oneof![
        Just(Ineligible::Fenced),
        (run(), run()).prop_map(|(got, registered)| Ineligible::StaleRun { got, registered }),
        Just(Ineligible::Draining),
        wait.prop_map(Ineligible::TooSoon),
    ];
    prop_oneof![
        stale().prop_map(AlterPartitionError::Stale),
        (broker(), why).prop_map(|(broker, why)| AlterPartitionError::Ineligible { broker, why }),
        Just(InvalidIsr::NoLeader.into()),
        broker().prop_map(|broker| InvalidIsr::Twice(broker).into()),
        broker().prop_map(|broker| InvalidIsr::NoReplica(broker).into()),
    ]
    .boxed()
}

fn leadership_error() -> BoxedStrategy<LeadershipError> {
    prop_oneof![stale().prop_map(LeadershipError::Stale), Just(LeadershipError::NobodyElse)].boxed()
}

fn name_error() -> BoxedStrategy<InvalidName> {
    prop_oneof![
        Just(InvalidName::Empty),
        Just(InvalidName::Dots),
        count().prop_map(|length| InvalidName::TooLong { length }),
        ".{0,6}".prop_map(|name| InvalidName::Characters { name }),
        (".{0,6}", ".{0,6}").prop_map(|(name, other)| InvalidName::Collision { name, other }),
    ]
    .boxed()
}

pub(super) fn assignment_error() -> BoxedStrategy<InvalidAssignment> {
    prop_oneof![
        Just(InvalidAssignment::Empty),
        broker().prop_map(InvalidAssignment::Twice),
        broker().prop_map(InvalidAssignment::UnknownBroker),
        (count(), count()).prop_map(|(got, expected)| InvalidAssignment::Uneven { got, expected }),
        any::<i32>().prop_map(|index| InvalidAssignment::Gap(PartitionIndex::new(index))),
        (count(), count()).prop_map(|(added, assigned)| InvalidAssignment::Count { added, assigned }),
        Just(InvalidAssignment::Fenced),
    ]
    .boxed()
}

pub(super) fn config_error() -> BoxedStrategy<ConfigError> {
    prop_oneof![
        (".{0,6}", ".{0,6}", ".{0,6}").prop_map(|(key, value, allowed)| InvalidValue { key, value, allowed }.into()),
        (".{0,6}", any::<bool>()).prop_map(|(key, near)| UnknownKey { key, nearest: near.then_some(KEY) }.into()),
        (".{0,6}", ".{0,6}").prop_map(|(value, other_value)| {
            Conflict { key: KEY, value, rule: "may not be larger than", other: "node.id", other_value }.into()
        }),
        Just(ConfigError::ReadOnly(KEY)),
        Just(ConfigError::PerBroker("node.id")),
        Just(ConfigError::NotAList(KEY)),
        ".{0,6}".prop_map(ConfigError::NoValue),
        Just(ConfigError::InternalDurability(KEY)),
    ]
    .boxed()
}

pub(super) fn request_error() -> BoxedStrategy<InvalidRequest> {
    prop_oneof![
        ".{0,6}".prop_map(InvalidRequest::Duplicate),
        Just(InvalidRequest::CountAndAssignment("the number of partitions")),
        Just(InvalidRequest::CountAndAssignment("the replication factor")),
        ".{0,6}".prop_map(|topic| InvalidRequest::Internal { operation: "creation", topic }),
        ".{0,6}".prop_map(|topic| InvalidRequest::Internal { operation: "deletion", topic }),
        broker().prop_map(InvalidRequest::UnknownBroker),
    ]
    .boxed()
}

fn create_error() -> BoxedStrategy<CreateTopicError> {
    prop_oneof![
        name_error().prop_map(CreateTopicError::Name),
        ".{0,6}".prop_map(CreateTopicError::Exists),
        any::<i32>().prop_map(|count| InvalidPartitions::NotPositive(count).into()),
        any::<i32>().prop_map(|count| InvalidPartitions::Same(count).into()),
        (".{0,6}", any::<i32>(), any::<i32>()).prop_map(|(topic, current, wanted)| InvalidPartitions::Fewer {
            topic,
            current,
            wanted
        }
        .into()),
        any::<i16>().prop_map(|factor| InvalidReplicationFactor::NotPositive(factor).into()),
        (count(), count())
            .prop_map(|(wanted, registered)| InvalidReplicationFactor::TooLarge { wanted, registered }.into()),
        assignment_error().prop_map(CreateTopicError::Assignment),
        config_error().prop_map(CreateTopicError::Config),
        request_error().prop_map(CreateTopicError::Request),
        (count(), count()).prop_map(|(got, max)| TooManyPartitions { got, max }.into()),
        Just(NotController.into()),
    ]
    .boxed()
}

pub(super) fn ids() -> impl Strategy<Value = Vec<BrokerId>> {
    vec(broker(), 0..4)
}

fn partition() -> BoxedStrategy<Partition> {
    let moving = (ids(), ids()).prop_map(|(origin, target)| Reassignment { origin, target });
    (option::of(broker()), leader_epoch(), partition_epoch(), (ids(), ids(), ids(), ids(), ids()), option::of(moving))
        .prop_map(|(leader, leader_epoch, partition_epoch, ids, reassignment)| {
            let (replicas, isr, elr, last_known_elr, leaving) = ids;
            Partition {
                leader,
                leader_epoch,
                partition_epoch,
                replicas,
                isr,
                elr,
                last_known_elr,
                reassignment,
                leaving,
            }
        })
        .boxed()
}

fn topic() -> BoxedStrategy<Arc<Topic>> {
    ("[a-z_]{1,8}", topic_id(), vec(partition(), 0..4), btree_map(".{0,5}", ".{0,5}", 0..3))
        .prop_map(|(name, id, partitions, config)| {
            Arc::new(Topic { internal: is_internal(&name), name, id, partitions, config })
        })
        .boxed()
}

pub(super) fn result<T, E>(
    done: impl Strategy<Value = T>,
    refused: impl Strategy<Value = E>,
) -> impl Strategy<Value = Result<T, E>>
where
    T: std::fmt::Debug + Clone,
    E: std::fmt::Debug + Clone,
{
    prop_oneof![done.prop_map(Ok), refused.prop_map(Err)]
}

fn answer() -> BoxedStrategy<Answer> {
    let registered = (run(), any::<bool>()).prop_map(|(incarnation, trusted)| Registered { incarnation, trusted });
    let example = (".{0,6}", any::<i32>())
        .prop_map(|(topic, index)| NamedPartition { topic, partition: PartitionIndex::new(index) });
    let state = (count(), count(), option::of(example)).prop_map(|(leads, would_fall_short, example)| StopState {
        leads,
        would_fall_short,
        example,
    });
    let block = (0..i64::MAX / 2, 1..i64::MAX / 2)
        .prop_map(|(first, count)| ProducerIdBlock { first: ProducerId::new(first), count });
    let altered = || vec(result(partition(), alter_error()), 0..4);
    let led = || vec(result(partition(), leadership_error()), 0..4);
    let other = prop_oneof![
        result(registered, register_error()).prop_map(Answer::Register),
        result(Just(()), register_error()).prop_map(Answer::Admit),
        result(Just(()), Just(NotController)).prop_map(Answer::ReplicasDeleted),
        result(altered(), broker_error()).prop_map(Answer::AlterPartitions),
        result(led(), broker_error()).prop_map(Answer::HandOver),
        result(led(), broker_error()).prop_map(Answer::RenewTerms),
        result(Just(()), broker_error()).prop_map(Answer::ReplicasLost),
        result(state, broker_error()).prop_map(Answer::PrepareStop),
        result(block, Just(NotController)).prop_map(Answer::AllocateProducerIds),
    ];
    let created = vec(result(topic(), create_error()), 0..4).prop_map(Answer::CreateTopics);
    prop_oneof![1 => created, 2 => other].boxed()
}

pub(super) fn down() -> impl Strategy<Value = Down> {
    let document = vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let answer = prop_oneof![answer(), admin::answer()];
    let answer = (any::<u64>(), answer).prop_map(|(id, answer)| Down::Answer { id, answer });
    let other = prop_oneof![
        option::of(broker()).prop_map(|leader| Down::NotController { leader }),
        (epoch(), any::<u64>(), any::<bool>(), vec(document, 0..4))
            .prop_map(|(epoch, view, complete, documents)| Down::Documents { epoch, view, complete, documents }),
        (any::<u64>(), epoch(), any::<u64>(), ages(), option::of(age())).prop_map(
            |(sequence, epoch, view, ages, most_heard)| Down::Beat { sequence, epoch, view, ages, most_heard }
        ),
    ];
    prop_oneof![3 => answer, 1 => other]
}

pub(super) fn silent() -> impl Strategy<Value = Silent> {
    (broker(), epoch(), ages(), any::<bool>()).prop_map(|(broker, epoch, ages, heard_again)| Silent {
        broker,
        epoch,
        ages,
        heard_again,
    })
}
