//! Documents come back as they were; bytes that are none give a sentence.

use super::*;
use ottla_core::controller::document::{SHARD_COUNT, initial};
use ottla_core::controller::{Claim, FeatureRange, Header, Member, Root, SessionId, Shard, WriteId};
use ottla_core::metadata::{Broker, Endpoint, Partition, Reassignment, Tombstone, Topic};
use ottla_core::types::*;
use proptest::prelude::*;

fn header() -> impl Strategy<Value = Header> {
    let claim = (any::<i64>(), any::<u64>(), any::<[u8; 16]>()).prop_map(|(epoch, version, session)| Claim {
        epoch: ControllerEpoch::new(epoch),
        version,
        session: SessionId(session),
    });
    let claims = proptest::collection::vec(claim, 0..4);
    (any::<[u8; 16]>(), any::<u64>(), any::<i64>(), any::<i32>(), any::<[u8; 16]>(), any::<u64>(), claims).prop_map(
        |(cluster, version, epoch, writer, session, number, claims)| Header {
            cluster: ClusterId::from_bytes(cluster),
            version,
            epoch: ControllerEpoch::new(epoch),
            writer: BrokerId::new(writer),
            write: WriteId { session: SessionId(session), number },
            claims,
        },
    )
}

fn ids() -> impl Strategy<Value = Vec<BrokerId>> {
    proptest::collection::vec(any::<i32>().prop_map(BrokerId::new), 0..4)
}

fn config() -> impl Strategy<Value = std::collections::BTreeMap<String, String>> {
    proptest::collection::btree_map("[a-z.]{0,8}", ".{0,8}", 0..4)
}

fn partition() -> impl Strategy<Value = Partition> {
    let reassignment = (ids(), ids()).prop_map(|(origin, target)| Reassignment { origin, target });
    let reassignment = proptest::option::of(reassignment);
    (any::<Option<i32>>(), any::<[i32; 2]>(), ids(), ids(), ids(), ids(), reassignment, ids()).prop_map(
        |(leader, [leader_epoch, partition_epoch], replicas, isr, elr, last_known_elr, reassignment, leaving)| {
            Partition {
                leader: leader.map(BrokerId::new),
                leader_epoch: LeaderEpoch::new(leader_epoch),
                partition_epoch: PartitionEpoch::new(partition_epoch),
                replicas,
                isr,
                elr,
                last_known_elr,
                reassignment,
                leaving,
            }
        },
    )
}

fn shard() -> impl Strategy<Value = Document> {
    let topic = ("[a-z]{1,6}", any::<[u8; 16]>(), proptest::collection::vec(partition(), 0..5), config());
    let topic = topic.prop_map(|(name, id, partitions, config)| {
        let id = TopicId::from_bytes(id);
        (name.clone(), Arc::new(Topic { name, id, partitions, config, internal: false }))
    });
    let tombstone = (any::<[u8; 16]>(), ".{0,6}", ids()).prop_map(|(id, name, holders)| {
        (TopicId::from_bytes(id), Tombstone { name, holders: holders.into_iter().collect() })
    });
    let run = (any::<i32>().prop_map(BrokerId::new), any::<i64>().prop_map(Incarnation::new));
    (
        header(),
        any::<u32>(),
        proptest::collection::vec(topic, 0..6),
        proptest::collection::vec(tombstone, 0..3),
        proptest::collection::vec(run, 0..3),
    )
        .prop_map(|(header, index, topics, tombstones, runs)| {
            let (topics, tombstones) = (topics.into_iter().collect(), tombstones.into_iter().collect());
            Document::Shard(Arc::new(Shard { header, index, topics, tombstones, runs: runs.into_iter().collect() }))
        })
}

fn root() -> impl Strategy<Value = Document> {
    let endpoint =
        (".{0,6}", ".{0,6}", any::<u16>()).prop_map(|(listener, host, port)| (listener, Endpoint { host, port }));
    let member = (
        any::<i32>(),
        any::<i64>(),
        any::<[u8; 16]>(),
        any::<Option<String>>(),
        proptest::collection::vec(endpoint, 0..3),
        any::<bool>(),
        any::<Option<i64>>(),
        any::<u64>().prop_map(Lsn::new),
    )
        .prop_map(|(id, incarnation, directory, rack, endpoints, fenced, admitted_from, synced)| {
            let broker = Broker {
                id: BrokerId::new(id),
                incarnation: Incarnation::new(incarnation),
                directory: DirectoryId::from_bytes(directory),
                rack,
                endpoints: endpoints.into_iter().collect(),
                fenced,
            };
            let features = FeatureRange { min: 1, max: 1 + u32::from(fenced) };
            (broker.id, Member { broker, admitted_from: admitted_from.map(Incarnation::new), features, synced })
        });
    let own = (any::<i32>().prop_map(BrokerId::new), config());
    let run = any::<i64>().prop_map(Incarnation::new);
    (
        header(),
        1_u32..1000,
        proptest::collection::vec(member, 0..4),
        any::<i64>(),
        any::<u32>(),
        config(),
        proptest::collection::vec(own, 0..3),
        proptest::collection::btree_map(any::<i32>().prop_map(BrokerId::new), run, 0..3),
        any::<Option<i32>>(),
    )
        .prop_map(|(header, shard_count, members, next, feature_level, broker_defaults, own, retired, minimum)| {
            Document::Root(Arc::new(Root {
                header,
                shard_count,
                members: members.into_iter().collect(),
                next_producer_id: ProducerId::new(next),
                feature_level,
                broker_defaults,
                broker_configs: own.into_iter().collect(),
                retired,
                min_insync_replicas: minimum,
            }))
        })
}

fn wrapped(kind: u8, size: u32, plain: &[u8]) -> Vec<u8> {
    let packed = zstd::bulk::compress(plain, 1).expect("compressed");
    let body = [&[kind], &size.to_be_bytes()[..], &packed].concat();
    [&MAGIC[..], &[VERSION], &checksum(&body).to_be_bytes(), &body].concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn documents_come_back_as_they_were(document in prop_oneof![root(), shard()]) {
        let bytes = encode(&document);
        prop_assert_eq!(&bytes, &encode(&document), "the same content has the same bytes");
        prop_assert_eq!(decode(&bytes), Ok(document));
    }

    #[test]
    fn a_changed_byte_is_noticed(document in shard(), at in any::<prop::sample::Index>(), bit in 0_u32..8) {
        let mut bytes = encode(&document).to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn garbage_gives_a_sentence(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn garbage_in_an_honest_envelope_gives_no_panic(kind in 0_u8..4, plain in proptest::collection::vec(any::<u8>(), 0..200)) {
        let size = u32::try_from(plain.len()).expect("small");
        let _ = decode(&wrapped(kind, size, &plain));
    }
}

#[test]
fn a_newer_version_is_refused_with_a_sentence() {
    let mut bytes = encode(&initial(ClusterId::ZERO)[0]).to_vec();
    bytes[4] = VERSION + 1;
    let refused = decode(&bytes).expect_err("refused");
    assert_eq!(refused, DecodeError::Newer { found: 2 });
    assert!(refused.to_string().contains("newer"), "{refused}");
}

#[test]
fn a_size_that_lies_is_refused() {
    for size in [0_u32, 1, 20_000_000, u32::MAX] {
        assert!(matches!(decode(&wrapped(KIND_ROOT, size, &[0; 100])), Err(DecodeError::Content(_))), "{size}");
    }
}

#[test]
fn a_cluster_begins_with_documents_of_this_version() {
    let documents = initial(ClusterId::from_bytes([3; 16]));
    assert_eq!(documents.len(), SHARD_COUNT as usize + 1);
    for document in documents {
        assert_eq!(decode(&encode(&document)), Ok(document));
    }
}

#[test]
fn fifty_thousand_partitions_stay_small() {
    let partition = Partition {
        leader: Some(BrokerId::new(1)),
        leader_epoch: LeaderEpoch::new(3),
        partition_epoch: PartitionEpoch::new(4),
        replicas: vec![BrokerId::new(1)],
        isr: vec![BrokerId::new(1)],
        ..Partition::default()
    };
    let topic = |n: u8| Topic {
        name: format!("topic-{n}"),
        id: TopicId::from_bytes([n; 16]),
        partitions: vec![partition.clone(); 1000],
        config: Default::default(),
        internal: false,
    };
    let topics = (0..4).map(topic).map(|topic| (topic.name.clone(), Arc::new(topic))).collect();
    let shard = Shard { topics, ..Shard::default() };
    assert!(encode(&Document::Shard(Arc::new(shard))).len() < 64 * 1024);
}
