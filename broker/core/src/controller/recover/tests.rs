//! Plans from small sets of directories: what is chosen, refused, doubted, and how high the documents are lifted.
//!
//! `tests/disks` does the same to a cluster in a storm.

use super::*;
use crate::controller::{Claim, FeatureRange, Header, Member, WriteId};
use crate::metadata::{Broker, Partition, Topic};
use crate::types::{Incarnation, LeaderEpoch, Lsn, ProducerId, TopicId};

const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);
const TOPIC: &str = "orders";

fn id(id: i32) -> BrokerId {
    BrokerId::new(id)
}

fn directory_id(broker: i32) -> DirectoryId {
    DirectoryId::from_bytes([broker as u8; 16])
}

/// A state on the line on which each epoch's only claim made the version of ten times its number.
fn header(epoch: i64, version: u64) -> Header {
    let session = |epoch: i64| SessionId([epoch as u8; 16]);
    let claim =
        |epoch: i64| Claim { epoch: ControllerEpoch::new(epoch), version: 10 * epoch as u64, session: session(epoch) };
    let write = WriteId { session: session(epoch), number: version };
    let claims = (1..=epoch).map(claim).collect();
    Header { cluster: CLUSTER, version, epoch: ControllerEpoch::new(epoch), writer: id(1), write, claims }
}

/// Brokers 1 to 3, each registered for run 4 on a directory of its own.
fn root(epoch: i64, version: u64) -> Root {
    let member = |broker: i32| Member {
        broker: Broker {
            id: id(broker),
            incarnation: Incarnation::new(4),
            directory: directory_id(broker),
            rack: None,
            endpoints: BTreeMap::new(),
            fenced: false,
        },
        admitted_from: None,
        features: FeatureRange::SUPPORTED,
        synced: Lsn::new(70),
    };
    let members = (1..=3).map(|broker| (id(broker), member(broker))).collect();
    let next_producer_id = ProducerId::new(5000);
    Root { header: header(epoch, version), shard_count: 1, members, next_producer_id, ..Root::default() }
}

/// One topic: partition 0 on all three, partition 1 on 1 and 2.
fn shard(epoch: i64, version: u64) -> Shard {
    let partition = |replicas: &[i32]| Partition {
        leader: Some(id(replicas[0])),
        leader_epoch: LeaderEpoch::new(6),
        partition_epoch: crate::types::PartitionEpoch::new(9),
        replicas: replicas.iter().copied().map(id).collect(),
        isr: replicas.iter().copied().map(id).collect(),
        leaving: vec![id(9)],
        ..Partition::default()
    };
    let topic = Topic {
        name: TOPIC.to_owned(),
        id: TopicId::from_bytes([1; 16]),
        partitions: vec![partition(&[1, 2, 3]), partition(&[2, 1])],
        config: BTreeMap::new(),
        internal: false,
    };
    let runs = (1..=3).map(|broker| (id(broker), Incarnation::new(4))).collect();
    let topics = BTreeMap::from([(TOPIC.to_owned(), Arc::new(topic))]);
    Shard { header: header(epoch, version), topics, runs, ..Shard::default() }
}

fn directory(broker: i32, root: Root, shard: Shard) -> Directory {
    let copies = [Document::Root(Arc::new(root)), Document::Shard(Arc::new(shard))];
    Directory {
        name: format!("disk-{broker}"),
        cluster: CLUSTER,
        standing: standing(broker, 4),
        copies: copies.into_iter().map(|copy| (copy.id(), copy)).collect(),
        damaged: false,
    }
}

fn standing(broker: i32, recorded: i64) -> Standing {
    Standing { directory: directory_id(broker), incarnation: Incarnation::new(recorded), synced: Lsn::new(75) }
}

/// Three directories; the second holds the newest root, the third the newest shard.
fn three() -> Vec<Directory> {
    vec![
        directory(1, root(2, 25), shard(2, 22)),
        directory(2, root(3, 33), shard(3, 30)),
        directory(3, root(3, 31), shard(3, 35)),
    ]
}

fn made(directories: &[Directory]) -> Plan {
    planned(directories, &BTreeMap::new(), &[]).expect("sound")
}

fn planned(directories: &[Directory], stored: &BTreeMap<DocumentId, Stored>, lost: &[i32]) -> Result<Plan, Refusal> {
    plan(directories, stored, &lost.iter().copied().map(id).collect())
}

fn rebuilt(plan: &Plan) -> (Root, Shard) {
    let documents = plan.documents([9; 8]);
    let [Document::Shard(shard), Document::Root(root)] = &documents[..] else { panic!("the root last: {documents:?}") };
    (Root::clone(root), Shard::clone(shard))
}

fn in_store(documents: Vec<Document>) -> BTreeMap<DocumentId, Stored> {
    documents.into_iter().map(|document| (document.id(), Stored::Document(document))).collect()
}

fn names(plan: &Plan) -> Vec<String> {
    plan.at_risk.iter().map(|one| format!("{}-{}", one.name.topic, one.name.partition)).collect()
}

#[test]
fn each_document_comes_from_the_directory_that_has_seen_it_newest() {
    let plan = made(&three());
    let chosen: Vec<_> = plan.origins.iter().map(|one| (one.document, one.from.as_str(), one.at.version)).collect();
    assert_eq!(chosen, [(DocumentId::Root, "disk-2", 33), (DocumentId::Shard(ShardId(0)), "disk-3", 35)]);
    assert!(plan.is_complete() && plan.at_risk.is_empty() && plan.can_start());
    assert_eq!((plan.topics, plan.partitions), (1, 2));
    let brokers: Vec<_> = plan.holders.iter().map(|holder| holder.broker).collect();
    assert_eq!(brokers, [Some(id(1)), Some(id(2)), Some(id(3))]);
}

#[test]
fn what_is_written_descends_from_everything_and_is_above_everything() {
    let directories = three();
    let plan = made(&directories);
    let (root, shard) = rebuilt(&plan);
    for directory in &directories {
        for copy in directory.copies.values() {
            let next = if copy.id() == DocumentId::Root { &root.header } else { &shard.header };
            assert!(next.descends_from(copy.header().seen()), "{}", directory.name);
        }
    }
    // So does whatever the next controller makes of it, even for a directory that has seen far more.
    let claimed = |header: &Header| {
        let (epoch, version) = (ControllerEpoch::new(header.epoch.get() + 1), header.version + 1);
        let session = SessionId([200; 16]);
        let write = WriteId { session, number: 1 };
        Header { epoch, version, claims: header.claims_with(epoch, version, session), write, ..header.clone() }
    };
    let unseen = Seen { epoch: ControllerEpoch::new(1000), version: 1_000_000, session: SessionId([8; 16]) };
    assert!(claimed(&root.header).descends_from(unseen) && claimed(&shard.header).descends_from(unseen));
    assert_eq!((root.header.epoch, shard.header.epoch), (plan.epoch, plan.epoch));
    assert!(plan.epoch > ControllerEpoch::new(1000) && plan.epoch_seen == ControllerEpoch::new(3));
    assert!(root.next_producer_id.get() > 5000 + 1000 && root.next_producer_id == plan.next_producer_id());
    for (broker, member) in &root.members {
        assert!(member.broker.fenced && member.broker.incarnation > Incarnation::new(4), "{broker}");
        assert!(member.reaches(standing(broker.get(), 4)), "{broker} is admitted as after any stop");
        assert_ne!(shard.runs[broker], member.broker.incarnation, "the entries are of a run that is over");
    }
    for (before, after) in self::shard(3, 35).topics[TOPIC].partitions.iter().zip(&shard.topics[TOPIC].partitions) {
        assert!(after.leader_epoch > before.leader_epoch && after.partition_epoch > before.partition_epoch);
        assert_eq!((&after.isr, &after.replicas, after.leader), (&before.isr, &before.replicas, before.leader));
        assert_eq!(after.leaving, before.leaving);
    }
}

#[test]
fn a_directory_that_is_missing_is_named_with_everything_that_it_may_know_better() {
    let mut directories = three();
    directories.remove(2);
    let plan = made(&directories);
    assert_eq!(plan.doubts, [Doubt::Absent { broker: id(3) }]);
    // Partition 1 has no replica there: whoever led it last is here.
    assert_eq!(names(&plan), ["orders-0"]);
    let at_risk = &plan.at_risk[0];
    assert_eq!((&at_risk.unknown, &at_risk.may_lead), (&vec![id(3)], &vec![id(1), id(2)]));
    let (root, shard) = rebuilt(&plan);
    assert!(shard.topics[TOPIC].partitions[0].leaving.is_empty(), "nobody deletes a replica on doubtful grounds");
    assert!(root.members[&id(3)].stands_on(standing(3, 4)), "as the copies say of it");
    assert!(!root.members[&id(3)].stands_on(standing(3, 5)), "it was registered since, and we know not how");
}

#[test]
fn a_directory_that_was_restored_counts_as_missing_and_its_broker_catches_up() {
    for (recorded, later) in [(3, false), (5, true)] {
        let mut directories = three();
        directories[0].standing.incarnation = Incarnation::new(recorded);
        let plan = made(&directories);
        let (directory, registered) = ("disk-1".to_owned(), Incarnation::new(4));
        let (broker, recorded) = (id(1), Incarnation::new(recorded));
        let reached = (Lsn::new(75), Lsn::new(70));
        let doubt = match later {
            false => Doubt::Outdated {
                broker,
                directory,
                recorded: (recorded, reached.0),
                registered: (registered, reached.1),
            },
            true => Doubt::LaterRun { broker, directory, recorded, registered },
        };
        assert_eq!(plan.doubts, [doubt]);
        assert_eq!(names(&plan), ["orders-0", "orders-1"]);
        let (root, _) = rebuilt(&plan);
        let standing = directories[0].standing;
        assert!(!root.members[&id(1)].stands_on(standing), "A9: it leaves every in-sync set");
        assert!(root.members[&id(1)].broker.incarnation > recorded);
    }
}

#[test]
fn an_older_state_of_the_last_run_counts_as_missing_too() {
    let mut directories = three();
    directories[0].standing.synced = Lsn::new(69);
    let plan = made(&directories);
    assert!(matches!(plan.doubts[..], [Doubt::Outdated { .. }]) && plan.at_risk.len() == 2);
    let (root, _) = rebuilt(&plan);
    assert_eq!(root.members[&id(1)].synced, Lsn::new(70), "it is found older when it registers");
}

#[test]
fn a_run_that_was_allotted_and_never_recorded_is_no_doubt() {
    let mut directories = three();
    let Document::Root(newest) = directories[1].copies[&DocumentId::Root].clone() else { panic!("a root") };
    let mut newest = Root::clone(&newest);
    let member = newest.members.get_mut(&id(1)).expect("registered");
    (member.broker.incarnation, member.admitted_from) = (Incarnation::new(5), Some(Incarnation::new(4)));
    directories[1].copies.insert(DocumentId::Root, Document::Root(Arc::new(newest)));
    let plan = made(&directories);
    assert!(plan.is_complete());
    let (root, _) = rebuilt(&plan);
    assert!(root.members[&id(1)].stands_on(directories[0].standing));
}

#[test]
fn damage_and_a_root_that_is_older_than_its_shards_are_doubts() {
    let mut directories = three();
    directories[1].damaged = true;
    let damaged = made(&directories);
    assert_eq!(damaged.doubts, [Doubt::Damaged { broker: Some(id(2)), directory: "disk-2".into() }]);
    let mut directories = three();
    directories[0].copies.clear();
    let emptied = made(&directories);
    assert_eq!(emptied.doubts, [Doubt::Damaged { broker: Some(id(1)), directory: "disk-1".into() }]);
    let mut directories = three();
    directories.push(directory(9, root(2, 20), shard(4, 41)));
    let later = made(&directories);
    let (root, shard) = (ControllerEpoch::new(3), ControllerEpoch::new(4));
    assert_eq!(later.doubts, [Doubt::LaterTerm { root, shard }]);
    assert_eq!(names(&later), ["orders-0", "orders-1"], "whoever decided is not here");
    assert_eq!(later.holders[3].broker, None);
}

#[test]
fn a_lost_disk_is_waited_for_by_nobody() {
    let one = &three()[..1];
    let waits = made(one);
    assert!(!waits.can_start(), "one of three vouches for nothing");
    let plan = planned(one, &BTreeMap::new(), &[2, 3]).expect("sound");
    assert!(plan.can_start() && !plan.is_complete());
    let (root, shard) = rebuilt(&plan);
    assert_eq!(root.members.keys().copied().collect::<Vec<_>>(), [id(1)]);
    assert!(root.retired[&id(2)] > Incarnation::new(4), "its runs are not given out again");
    let partitions = &shard.topics[TOPIC].partitions;
    assert_eq!((&partitions[0].isr, &partitions[0].last_known_elr), (&vec![id(1)], &vec![id(2), id(3)]));
    assert_eq!((partitions[1].leader, &partitions[1].isr), (None, &vec![id(1)]));
    for (broker, why) in [(1, "is its data directory"), (8, "does not register it")] {
        let refused = planned(one, &BTreeMap::new(), &[broker]).expect_err("refused").to_string();
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_its_name() {
    let refused = |directories: &[Directory]| planned(directories, &BTreeMap::new(), &[]).expect_err("refused");
    assert_eq!(refused(&[]), Refusal::NoDirectory);
    let mut several = three();
    several[2].cluster = ClusterId::ZERO;
    assert!(refused(&several).to_string().contains("disk-1 belongs to cluster"));
    let mut copied = three();
    copied[2].standing.directory = directory_id(1);
    assert_eq!(refused(&copied), Refusal::Copied { one: "disk-1".into(), other: "disk-3".into() });
    let mut rootless = three();
    rootless.iter_mut().for_each(|one| drop(one.copies.remove(&DocumentId::Root)));
    assert_eq!(refused(&rootless), Refusal::NoRoot);
    let shard = DocumentId::Shard(ShardId(0));
    let mut shardless = three();
    shardless.iter_mut().for_each(|one| drop(one.copies.remove(&shard)));
    assert_eq!(refused(&shardless), Refusal::NoShard(shard));
}

#[test]
fn two_branches_are_refused() {
    let mut directories = three();
    let mut branch = shard(2, 24);
    let session = SessionId([77; 16]);
    // The document went back to version 21, and another process claimed it in epoch 3 once more.
    branch.header = Header {
        epoch: ControllerEpoch::new(3),
        version: 23,
        write: WriteId { session, number: 1 },
        claims: header(2, 21).claims_with(ControllerEpoch::new(3), 22, session),
        ..branch.header
    };
    directories[0].copies.insert(DocumentId::Shard(ShardId(0)), Document::Shard(Arc::new(branch)));
    let refused = planned(&directories, &BTreeMap::new(), &[]).expect_err("refused");
    assert!(matches!(&refused, Refusal::Conflict { one, other, .. } if one == "disk-3" && other == "disk-1"));
    assert!(refused.to_string().contains("topics-0000 in disk-3 (epoch 3, version 35"), "{refused}");
}

#[test]
fn the_store_is_compared_and_what_is_newer_there_is_said() {
    let plan_with = |documents| planned(&three(), &in_store(documents), &[]).expect("sound");
    let stored = |root: Root, shard: Shard| vec![Document::Root(Arc::new(root)), Document::Shard(Arc::new(shard))];
    let states = |plan: &Plan| plan.origins.iter().map(|one| one.in_store.clone()).collect::<Vec<_>>();
    let same = plan_with(stored(root(3, 33), shard(3, 35)));
    assert_eq!(states(&same), [InStore::Same, InStore::Same]);
    let older = plan_with(stored(root(2, 20), shard(1, 10)));
    assert!(matches!(states(&older)[..], [InStore::Older(_), InStore::Older(_)]) && older.given_up().count() == 0);
    let newer = plan_with(stored(root(5, 50), shard(3, 35)));
    assert!(matches!(states(&newer)[..], [InStore::Newer(_), InStore::Same]) && newer.given_up().count() == 1);
    assert_eq!(newer.epoch_seen, ControllerEpoch::new(5), "what is given up is not allotted again");
    let mut foreign = shard(2, 24);
    let session = SessionId([99; 16]);
    foreign.header = Header {
        epoch: ControllerEpoch::new(4),
        version: 25,
        claims: foreign.header.claims_with(ControllerEpoch::new(4), 25, session),
        write: WriteId { session, number: 1 },
        ..foreign.header
    };
    let elsewhere = plan_with(stored(root(3, 33), foreign));
    assert!(matches!(states(&elsewhere)[..], [InStore::Same, InStore::Elsewhere(_)]));
    assert_eq!(states(&made(&three())), [InStore::Missing, InStore::Missing]);
    let unreadable = BTreeMap::from([(DocumentId::Root, Stored::Unreadable("torn".into()))]);
    assert_eq!(planned(&three(), &unreadable, &[]).expect("sound").given_up().count(), 1);
    let mut other = root(3, 33);
    other.header.cluster = ClusterId::ZERO;
    let refused = planned(&three(), &in_store(vec![Document::Root(Arc::new(other))]), &[]);
    assert!(matches!(refused, Err(Refusal::StoreOfAnother { .. })));
}

#[test]
fn a_recovery_that_was_interrupted_can_be_made_again() {
    let first = made(&three());
    let again = planned(&three(), &in_store(first.documents([1; 8])), &[]).expect("sound");
    assert!(again.origins.iter().all(|one| matches!(one.in_store, InStore::Recovered(_))));
    assert_eq!(again.given_up().count(), 0);
    assert!(again.epoch > first.epoch);
    let (root, _) = rebuilt(&again);
    assert!(root.next_producer_id > first.next_producer_id());
}
