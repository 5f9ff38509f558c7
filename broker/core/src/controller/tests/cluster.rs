//! Several brokers: who is let in, who is taken for dead, who leads then.

use super::*;
use crate::controller::error::{
    AlterPartitionError, BrokerRequestError, ElectLeaderError, Ineligible, InvalidIsr, LeadershipError, StaleLeader,
};
use crate::types::TopicPartition;

/// Brokers 1 to n, of which 1 is the controller, all admitted, and a perfect store.
pub(super) struct Cluster {
    pub(super) bench: Bench,
    pub(super) alive: BTreeMap<i32, Incarnation>,
}

pub(super) fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId::new).collect()
}

pub(super) const fn id(id: i32) -> BrokerId {
    BrokerId::new(id)
}

impl Cluster {
    pub(super) fn of(count: i32) -> Self {
        Self::with(count, Tuning::default())
    }

    pub(super) fn with(count: i32, tuning: Tuning) -> Self {
        let config = Config { tuning, ..config(1, 1) };
        let mut cluster = Self { bench: Bench::on(Store::initialised(), config), alive: BTreeMap::new() };
        for broker in 1..=count {
            cluster.starts(broker, 0);
        }
        cluster
    }

    /// The broker starts on a directory that records that run, and is let in.
    pub(super) fn starts(&mut self, broker: i32, recorded: i64) -> Registered {
        let registered = self.bench.join(broker, recorded);
        self.alive.insert(broker, registered.incarnation);
        self.speaks(broker);
        registered
    }

    fn speaks(&mut self, broker: i32) {
        let incarnation = self.alive[&broker];
        self.bench.feed(Event::Heartbeat { broker: id(broker), incarnation, draining: false, synced: Lsn::default() });
    }

    /// Time passes, and whoever is alive is heard.
    pub(super) fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 50 {
            self.bench.now += Duration::from_millis(50);
            for broker in self.alive.keys().copied().collect::<Vec<_>>() {
                // A process whose run is not registered any more is not let in anyway.
                self.speaks(broker);
            }
            self.bench.feed(Event::Tick);
        }
    }

    /// The broker falls silent, and is taken for dead.
    pub(super) fn dies(&mut self, broker: i32) -> Incarnation {
        let run = self.alive.remove(&broker).expect("was alive");
        self.pass(1700);
        run
    }

    /// A topic with one partition on these brokers, the first of which leads.
    pub(super) fn topic_on(&mut self, name: &str, replicas: &[i32], min_insync: &str) -> TopicPartition {
        let mut topic = named(name);
        topic.assignments = vec![(PartitionIndex::new(0), ids(replicas))];
        topic.config = [("min.insync.replicas".to_owned(), min_insync.to_owned())].into();
        let created = self.bench.create_one(topic).expect("created");
        TopicPartition::new(created.id, PartitionIndex::new(0))
    }

    pub(super) fn partition(&self, name: &str) -> Partition {
        self.bench.topic(name).partitions[0].clone()
    }

    /// The leader asks for that in-sync set, in the terms that are current.
    pub(super) fn wants_isr(&mut self, name: &str, isr: &[i32]) -> Result<Partition, AlterPartitionError> {
        let wanted = self.isr_change(name, isr);
        self.alters(self.partition(name).leader.expect("led").get(), wanted)
    }

    pub(super) fn isr_change(&self, name: &str, isr: &[i32]) -> IsrChange {
        let partition = self.partition(name);
        let brokers = self.bench.machine.image().brokers().clone();
        let member = |broker: &i32| (id(*broker), brokers[&id(*broker)].incarnation);
        IsrChange {
            partition: TopicPartition::new(self.bench.topic(name).id, PartitionIndex::new(0)),
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            isr: isr.iter().map(member).collect(),
        }
    }

    pub(super) fn alters(&mut self, leader: i32, wanted: IsrChange) -> Result<Partition, AlterPartitionError> {
        let incarnation = self.alive[&leader];
        let request = Request::AlterPartitions { broker: id(leader), incarnation, changes: vec![wanted] };
        let Answer::AlterPartitions(Ok(mut results)) = self.bench.ask(request) else { panic!("refused as a whole") };
        results.remove(0)
    }

    pub(super) fn store_of(self) -> Store {
        self.bench.store
    }
}

// A6
#[test]
fn nobody_is_let_in_under_an_id_that_lives() {
    let mut cluster = Cluster::of(3);
    for broker in [1, 2] {
        let answer = cluster.bench.ask(registration(broker, 1, broker as u8));
        let alive = RegisterError::Alive { broker: id(broker), incarnation: Incarnation::new(1) };
        assert_eq!(answer, Answer::Register(Err(alive)));
    }
    // Its stream closes: the next process on that disk is let in at once, and leads again in new terms.
    cluster.topic_on("a", &[2, 1], "1");
    let event = Event::StreamClosed { broker: id(2), incarnation: Incarnation::new(1), refused: false };
    cluster.bench.feed(event);
    let before = cluster.partition("a");
    assert_eq!(cluster.starts(2, 1), Registered { incarnation: Incarnation::new(2), trusted: true });
    let after = cluster.partition("a");
    assert_eq!((after.leader, after.isr), (before.leader, before.isr));
    assert_eq!(after.leader_epoch.get(), before.leader_epoch.get() + 1);
    assert_eq!(after.partition_epoch.get(), before.partition_epoch.get() + 1);
}

// A6
#[test]
fn a_run_that_was_allotted_and_never_written_does_not_silence_the_one_that_lives() {
    let mut cluster = Cluster::of(3);
    let (broker, incarnation) = (id(2), Incarnation::new(1));
    cluster.bench.feed(Event::StreamClosed { broker, incarnation, refused: false });
    // Another process registers; the controller is deposed before that is written.
    cluster.bench.store.claim_root(SessionId([9; 16]));
    let (now, ask) = (cluster.bench.now, Event::Ask(RequestId(900), registration(2, 0, 9)));
    cluster.bench.feed(ask);
    assert!(matches!(cluster.bench.machine.phase(), Phase::Backoff(_)));
    cluster.bench.now = now + Duration::from_secs(1);
    cluster.bench.feed(Event::Tick);
    // The first one has only lost its connection for a moment, and is heard before the next term begins.
    cluster.bench.feed(Event::Heartbeat { broker, incarnation, draining: false, synced: Lsn::default() });
    cluster.bench.feed(Event::Presented(presentation(3, 1)));
    assert_eq!(cluster.bench.machine.phase(), &Phase::Acting);
    let alive = RegisterError::Alive { broker, incarnation };
    assert_eq!(cluster.bench.ask(registration(2, 0, 9)), Answer::Register(Err(alive)));
}

#[test]
fn a_copy_of_a_directory_and_a_binary_of_another_time_are_refused() {
    let mut cluster = Cluster::of(2);
    let answer = cluster.bench.ask(registration(3, 1, 2));
    let directory = DirectoryId::from_bytes([2; 16]);
    let copied = RegisterError::DirectoryOfAnother { broker: id(3), directory, holder: id(2) };
    assert_eq!(answer, Answer::Register(Err(copied)));
    let Request::Register(mut newer) = registration(3, 0, 3) else { unreachable!("just made") };
    newer.features = FeatureRange { min: 2, max: 3 };
    let refused = RegisterError::Features { broker: id(3), can: newer.features, level: 1 };
    assert_eq!(cluster.bench.ask(Request::Register(newer)), Answer::Register(Err(refused)));
}

// A9
#[test]
fn an_emptied_disk_is_out_of_everything_before_its_broker_is_admitted() {
    let mut cluster = Cluster::of(3);
    cluster.topic_on("led", &[2, 1, 3], "2");
    cluster.topic_on("followed", &[1, 2], "1");
    cluster.topic_on("alone", &[2], "1");
    let event = Event::StreamClosed { broker: id(2), incarnation: Incarnation::new(1), refused: false };
    cluster.bench.feed(event);
    let Answer::Register(Ok(registered)) = cluster.bench.ask(registration(2, 0, 9)) else { panic!("refused") };
    assert!(!registered.trusted);
    let led = cluster.partition("led");
    assert_eq!((led.leader, led.isr, led.elr), (Some(id(1)), ids(&[1, 3]), ids(&[])));
    assert_eq!((led.leader_epoch.get(), led.partition_epoch.get()), (1, 1), "one change, one election");
    assert_eq!(cluster.partition("followed").isr, ids(&[1]));
    let alone = cluster.partition("alone");
    assert_eq!((alone.leader, alone.isr, alone.elr, alone.last_known_elr), (None, ids(&[]), ids(&[]), ids(&[2])));
    let admit = Request::Admit { broker: id(2), incarnation: registered.incarnation, endpoints: None };
    assert_eq!(cluster.bench.ask(admit), Answer::Admit(Ok(())));
    assert_eq!(cluster.partition("led").isr, ids(&[1, 3]), "it comes back only when it has caught up");
    assert_eq!(cluster.partition("alone").leader, None, "and never where nobody has the records");
}

// R12
#[test]
fn what_a_broker_lost_is_named_and_the_rest_stays() {
    let mut cluster = Cluster::of(2);
    let lost = cluster.topic_on("lost", &[2, 1], "1");
    cluster.topic_on("kept", &[2, 1], "1");
    cluster.bench.feed(Event::StreamClosed { broker: id(2), incarnation: Incarnation::new(1), refused: false });
    let Request::Register(mut again) = registration(2, 1, 2) else { unreachable!("just made") };
    again.suspect = vec![lost];
    let Answer::Register(Ok(registered)) = cluster.bench.ask(Request::Register(again)) else { panic!("refused") };
    assert!(registered.trusted);
    assert_eq!((cluster.partition("lost").leader, cluster.partition("lost").isr), (Some(id(1)), ids(&[1])));
    assert_eq!(cluster.partition("kept").isr, ids(&[2, 1]));
    // While it runs, the same.
    let incarnation = registered.incarnation;
    assert_eq!(
        cluster.bench.ask(Request::Admit { broker: id(2), incarnation, endpoints: None }),
        Answer::Admit(Ok(()))
    );
    let kept = TopicPartition::new(cluster.bench.topic("kept").id, PartitionIndex::new(0));
    let request = Request::ReplicasLost { broker: id(2), incarnation, partitions: vec![kept] };
    assert_eq!(cluster.bench.ask(request), Answer::ReplicasLost(Ok(())));
    assert_eq!((cluster.partition("kept").leader, cluster.partition("kept").isr), (Some(id(1)), ids(&[1])));
}

#[test]
fn after_a_power_cut_only_what_was_promised_to_be_on_disk_counts() {
    let mut cluster = Cluster::of(2);
    let mut opted_out = named("opted-out");
    opted_out.assignments = vec![(PartitionIndex::new(0), ids(&[1, 2]))];
    opted_out.config = [("flush.messages".to_owned(), "100".to_owned())].into();
    cluster.bench.create_one(opted_out).expect("created");
    cluster.topic_on("durable", &[1, 2], "1");
    cluster.bench.feed(Event::StreamClosed { broker: id(2), incarnation: Incarnation::new(1), refused: false });
    let Request::Register(mut again) = registration(2, 1, 2) else { unreachable!("just made") };
    again.unclean_stop = true;
    assert!(matches!(cluster.bench.ask(Request::Register(again)), Answer::Register(Ok(_))));
    assert_eq!(cluster.partition("opted-out").isr, ids(&[1]));
    assert_eq!(cluster.partition("durable").isr, ids(&[1, 2]));
}

#[test]
fn a_silent_leader_is_replaced_from_its_in_sync_set_with_one_write_per_shard() {
    let mut cluster = Cluster::of(3);
    cluster.topic_on("a", &[2, 3, 1], "2");
    cluster.alive.remove(&2);
    cluster.pass(1400);
    assert_eq!(cluster.partition("a").leader, Some(id(2)));
    let writes = cluster.bench.writes;
    cluster.pass(300);
    let after = cluster.partition("a");
    assert_eq!((after.leader, after.isr, after.elr), (Some(id(3)), ids(&[3, 1]), ids(&[])));
    assert_eq!((after.leader_epoch.get(), after.partition_epoch.get()), (1, 1));
    assert!(cluster.bench.machine.image().broker(id(2)).expect("registered").fenced);
    assert_eq!(cluster.bench.writes, writes + 2, "the root and one shard");
    cluster.pass(3000);
    assert_eq!(cluster.bench.writes, writes + 2, "nobody dies twice");
}

#[test]
fn a_leader_that_refuses_connections_is_replaced_within_half_a_second() {
    let mut cluster = Cluster::of(3);
    cluster.topic_on("a", &[2, 3, 1], "2");
    let incarnation = cluster.alive.remove(&2).expect("alive");
    cluster.bench.feed(Event::StreamClosed { broker: id(2), incarnation, refused: true });
    cluster.pass(450);
    assert_eq!(cluster.partition("a").leader, Some(id(3)));
}

#[test]
fn a_broker_that_says_goodbye_is_replaced_at_once() {
    let mut cluster = Cluster::of(3);
    cluster.topic_on("a", &[2, 3, 1], "2");
    let incarnation = cluster.alive.remove(&2).expect("alive");
    cluster.bench.feed(Event::Left { broker: id(2), incarnation });
    assert_eq!(cluster.partition("a").leader, Some(id(3)));
}

#[test]
fn a_broker_that_was_only_paused_is_admitted_again_and_not_into_in_sync_sets() {
    let mut cluster = Cluster::of(3);
    cluster.topic_on("a", &[2, 3], "1");
    cluster.topic_on("alone", &[2], "1");
    let incarnation = cluster.dies(2);
    let alone = cluster.partition("alone");
    assert_eq!((alone.leader, alone.isr, alone.elr), (None, ids(&[]), ids(&[2])));
    assert_eq!(
        cluster.bench.ask(Request::Admit { broker: id(2), incarnation, endpoints: None }),
        Answer::Admit(Ok(()))
    );
    cluster.alive.insert(2, incarnation);
    assert_eq!((cluster.partition("a").leader, cluster.partition("a").isr), (Some(id(3)), ids(&[3])));
    let alone = cluster.partition("alone");
    assert_eq!((alone.leader, alone.isr, alone.elr), (Some(id(2)), ids(&[2]), ids(&[])));
    assert_eq!(alone.leader_epoch.get(), 2, "nobody led in epoch 1");
}

#[test]
fn eligible_replicas_are_kept_while_nothing_can_be_committed_without_them() {
    let mut cluster = Cluster::of(4);
    cluster.topic_on("a", &[2, 3, 4], "2");
    cluster.dies(4);
    let a = cluster.partition("a");
    assert_eq!((a.isr, a.elr), (ids(&[2, 3]), ids(&[])), "two are enough to commit without 4");
    cluster.dies(3);
    let a = cluster.partition("a");
    assert_eq!((a.leader, a.isr, a.elr), (Some(id(2)), ids(&[2]), ids(&[3])));
    // Only one of four is left beside the controller: it waits, then goes on.
    cluster.alive.remove(&2);
    cluster.pass(1700);
    assert_eq!(cluster.partition("a").leader, Some(id(2)), "fewer than half are heard");
    cluster.pass(10_000);
    let a = cluster.partition("a");
    assert_eq!((a.leader, a.isr, a.elr), (None, ids(&[]), ids(&[2, 3])));
    // The one that may not lead comes first, and does not lead; an eligible one does.
    cluster.starts(4, 1);
    assert_eq!(cluster.partition("a").leader, None);
    cluster.starts(3, 1);
    let a = cluster.partition("a");
    assert_eq!((a.leader, a.isr, a.elr), (Some(id(3)), ids(&[3]), ids(&[2])));
    cluster.pass(2000);
    let a = cluster.wants_isr("a", &[3, 4]).expect("has caught up");
    assert_eq!((a.isr, a.elr), (ids(&[3, 4]), ids(&[])), "two can commit without 2");
}

#[test]
fn nobody_is_elected_unclean_unless_the_topic_says_so_or_somebody_asks() {
    let mut cluster = Cluster::of(3);
    cluster.topic_on("a", &[2, 3], "1");
    cluster.dies(3);
    let incarnation = cluster.dies(2);
    // The controller is alone, and waits before it believes that.
    cluster.pass(10_500);
    cluster.starts(3, 1);
    let a = cluster.partition("a");
    assert_eq!((a.leader, a.elr), (None, ids(&[2])), "3 was out of sync before 2 died");
    let named = NamedPartition { topic: "a".into(), partition: PartitionIndex::new(0) };
    let elect = |kind| Request::ElectLeaders { kind, partitions: Some(vec![named.clone()]) };
    let elected = |result| Answer::ElectLeaders(Ok(vec![(named.clone(), result)]));
    let not_available = ElectLeaderError::PreferredNotAvailable(id(2));
    assert_eq!(cluster.bench.ask(elect(ElectionKind::Preferred)), elected(Err(not_available)));
    assert_eq!(cluster.bench.ask(elect(ElectionKind::Unclean)), elected(Ok(())));
    let a = cluster.partition("a");
    assert_eq!((a.leader, a.isr, a.elr), (Some(id(3)), ids(&[3]), ids(&[])));
    assert_eq!(cluster.bench.ask(elect(ElectionKind::Unclean)), elected(Err(ElectLeaderError::NotNeeded)));
    // The old leader comes back as a follower.
    let admit = Request::Admit { broker: id(2), incarnation, endpoints: None };
    assert_eq!(cluster.bench.ask(admit), Answer::Admit(Ok(())));
    assert_eq!(cluster.partition("a").leader, Some(id(3)));
}

#[test]
fn leaderships_go_home_on_request_and_by_themselves() {
    let mut cluster = Cluster::of(3);
    cluster.topic_on("a", &[2, 3], "1");
    for by_itself in [false, true] {
        let run = cluster.dies(2);
        assert_eq!(cluster.partition("a").leader, Some(id(3)));
        cluster.starts(2, run.get());
        cluster.pass(61_000);
        cluster.wants_isr("a", &[2, 3]).expect("has caught up");
        if by_itself {
            cluster.pass(301_000);
        } else {
            let request = Request::ElectLeaders { kind: ElectionKind::Preferred, partitions: None };
            let Answer::ElectLeaders(Ok(results)) = cluster.bench.ask(request) else { panic!("refused") };
            assert_eq!(results.len(), 1, "only what needed one");
        }
        assert_eq!(cluster.partition("a").leader, Some(id(2)));
        assert_eq!(cluster.partition("a").isr, ids(&[2, 3]));
    }
}

// R5, R6
#[test]
fn stale_terms_and_stale_members_change_nothing() {
    let mut cluster = Cluster::of(3);
    let at = cluster.topic_on("a", &[2, 3, 1], "1");
    cluster.wants_isr("a", &[2, 1]).expect("3 is slow");
    let good = cluster.isr_change("a", &[2, 1, 3]);
    let before = cluster.partition("a");
    let is = |change: &dyn Fn(&mut IsrChange)| {
        let mut wanted = good.clone();
        change(&mut wanted);
        wanted
    };
    let cases: Vec<(IsrChange, AlterPartitionError)> = vec![
        (is(&|c| c.partition.topic = TopicId::ZERO), StaleLeader::Unknown.into()),
        (is(&|c| c.partition.partition = PartitionIndex::new(7)), StaleLeader::Unknown.into()),
        (
            is(&|c| c.leader_epoch = LeaderEpoch::new(9)),
            StaleLeader::LeaderEpoch { got: LeaderEpoch::new(9), current: before.leader_epoch }.into(),
        ),
        (
            is(&|c| c.partition_epoch = PartitionEpoch::new(0)),
            StaleLeader::PartitionEpoch { got: PartitionEpoch::new(0), current: before.partition_epoch }.into(),
        ),
        (is(&|c| c.isr.retain(|(member, _)| *member != id(2))), InvalidIsr::NoLeader.into()),
        (is(&|c| c.isr.push(c.isr[0])), InvalidIsr::Twice(id(2)).into()),
        (is(&|c| c.isr.push((id(8), Incarnation::new(1)))), InvalidIsr::NoReplica(id(8)).into()),
        (
            is(&|c| c.isr[2].1 = Incarnation::new(0)),
            AlterPartitionError::Ineligible {
                broker: id(3),
                why: Ineligible::StaleRun { got: Incarnation::new(0), registered: Incarnation::new(1) },
            },
        ),
        (
            good.clone(),
            AlterPartitionError::Ineligible { broker: id(3), why: Ineligible::TooSoon(Duration::from_secs(1)) },
        ),
    ];
    for (wanted, expected) in cases {
        assert_eq!(cluster.alters(2, wanted), Err(expected));
        assert_eq!(cluster.partition("a"), before);
    }
    let not_leader = StaleLeader::NotLeader { broker: id(3), leader: Some(id(2)), epoch: before.leader_epoch };
    assert_eq!(cluster.alters(3, good.clone()), Err(not_leader.into()));
    cluster.pass(1000);
    let after = cluster.alters(2, good.clone()).expect("a second has passed");
    assert_eq!((after.isr, after.partition_epoch.get()), (ids(&[2, 3, 1]), 2));
    // The same once more, as it was sent: too late.
    assert!(matches!(cluster.alters(2, good), Err(AlterPartitionError::Stale(StaleLeader::PartitionEpoch { .. }))));
    // A set that stays as it is is a new version: whatever was asked for before it is too late.
    let nothing_new = cluster.isr_change("a", &[2, 1, 3]);
    assert_eq!(cluster.alters(2, nothing_new).map(|partition| partition.partition_epoch.get()), Ok(3));
    // A stale run of the leader has no say at all.
    let request = Request::AlterPartitions { broker: id(2), incarnation: Incarnation::new(0), changes: vec![] };
    let Answer::AlterPartitions(Err(BrokerRequestError::Run(RegisterError::StaleRun { .. }))) =
        cluster.bench.ask(request)
    else {
        panic!("it had a say")
    };
    assert_eq!(at, TopicPartition::new(cluster.bench.topic("a").id, PartitionIndex::new(0)));
}

/// Brokers that left again and again wait before they join, but never while acks=all waits for them.
#[test]
fn who_is_needed_for_acks_joins_at_once() {
    let mut cluster = Cluster::of(3);
    cluster.topic_on("a", &[2, 3, 1], "2");
    for _ in 0..3 {
        cluster.wants_isr("a", &[2]).expect("1 and 3 are slow");
        cluster.pass(2_000);
        cluster.wants_isr("a", &[2, 1]).expect("one member is less than acks=all needs");
        let third = cluster.wants_isr("a", &[2, 1, 3]);
        let Err(AlterPartitionError::Ineligible { broker, why: Ineligible::TooSoon(wait) }) = third else {
            assert_eq!(third.map(|partition| partition.isr), Ok(ids(&[2, 3, 1])), "the first time a second is enough");
            continue;
        };
        assert_eq!(broker, id(3));
        cluster.pass(u64::try_from(wait.as_millis()).expect("seconds"));
        cluster.wants_isr("a", &[2, 1, 3]).expect("it has waited");
    }
}

#[test]
fn a_slow_leader_hands_over_and_one_whose_write_failed_goes_on_in_a_new_term() {
    let mut cluster = Cluster::of(3);
    let at = cluster.topic_on("a", &[2, 3], "1");
    let ask = |cluster: &mut Cluster, over: bool, leader: i32, epoch: i32| {
        let leadership = Leadership { partition: at, leader_epoch: LeaderEpoch::new(epoch) };
        let (broker, incarnation, leaderships) = (id(leader), cluster.alive[&leader], vec![leadership]);
        let request = if over {
            Request::HandOver { broker, incarnation, leaderships }
        } else {
            Request::RenewTerms { broker, incarnation, leaderships }
        };
        let (Answer::HandOver(Ok(mut results)) | Answer::RenewTerms(Ok(mut results))) = cluster.bench.ask(request)
        else {
            panic!("refused as a whole")
        };
        results.remove(0).map(|partition| (partition.leader, partition.leader_epoch.get(), partition.isr))
    };
    assert_eq!(ask(&mut cluster, true, 2, 0), Ok((Some(id(3)), 1, ids(&[2, 3]))));
    assert!(matches!(ask(&mut cluster, true, 2, 0), Err(LeadershipError::Stale(StaleLeader::NotLeader { .. }))));
    assert_eq!(ask(&mut cluster, false, 3, 1), Ok((Some(id(3)), 2, ids(&[2, 3]))));
    assert!(matches!(ask(&mut cluster, false, 3, 1), Err(LeadershipError::Stale(StaleLeader::LeaderEpoch { .. }))));
    cluster.wants_isr("a", &[3]).expect("shrunk");
    assert_eq!(ask(&mut cluster, true, 3, 2), Err(LeadershipError::NobodyElse));
}

// A5
#[test]
fn an_admission_that_was_written_by_half_is_completed_by_the_next_controller() {
    let mut cluster = Cluster::of(3);
    let names: Vec<String> = (0..6).map(|n| format!("t{n}")).collect();
    for name in &names {
        cluster.topic_on(name, &[2, 3], "1");
    }
    let before = cluster.bench.store.clone();
    cluster.bench.feed(Event::StreamClosed { broker: id(2), incarnation: Incarnation::new(1), refused: false });
    cluster.starts(2, 1);
    // Of the admission only the root arrived: the shards still name run 1.
    let mut half = before;
    half.documents.insert(DocumentId::Root, cluster.bench.store.documents[&DocumentId::Root].clone());
    let mut next = Bench::on(half, config(1, 7));
    next.feed(Event::Presented(presentation(2, 2)));
    assert_eq!(next.machine.phase(), &Phase::Acting);
    for name in &names {
        let partition = &next.topic(name).partitions[0];
        assert_eq!((partition.leader, partition.leader_epoch.get()), (Some(id(2)), 1), "run 2 leads in its own term");
    }
    let runs_of = |shard: &Shard| shard.runs.get(&id(2)).copied();
    for (document, _) in next.store.documents.values() {
        if let Document::Shard(shard) = document
            && !shard.topics.is_empty()
        {
            assert_eq!(runs_of(shard), Some(Incarnation::new(2)));
        }
    }
}

/// What a broker says that stands on its disk and has seen nothing yet.
pub(super) fn presentation(broker: i32, recorded: i64) -> Presentation {
    Presentation {
        broker: id(broker),
        cluster: CLUSTER,
        standing: Standing {
            directory: DirectoryId::from_bytes([broker as u8; 16]),
            incarnation: Incarnation::new(recorded),
            synced: Lsn::default(),
        },
        vector: Vector::new(),
    }
}

#[test]
fn a_flapping_follower_writes_no_more_than_the_budget() {
    let writes = WriteBudget { burst_bytes: 16_000, bytes_per_second: 100 };
    let mut cluster = Cluster::with(3, Tuning { writes: Some(writes), ..Tuning::default() });
    cluster.topic_on("a", &[1, 2], "1");
    let (before, _) = cluster.bench.machine.write_counts();
    let start = cluster.bench.now;
    for _ in 0..300 {
        for isr in [&[1][..], &[1, 2]] {
            // Answers may have to wait; the leader does not ask again before it has one.
            cluster.bench.asked += 1;
            let request = Request::AlterPartitions {
                broker: id(1),
                incarnation: cluster.alive[&1],
                changes: vec![cluster.isr_change("a", isr)],
            };
            let asked = RequestId(cluster.bench.asked);
            cluster.bench.feed(Event::Ask(asked, request));
            for _ in 0..600 {
                if cluster.bench.answers.remove(&asked).is_some() {
                    break;
                }
                cluster.pass(100);
            }
        }
        cluster.pass(500);
    }
    let (after, held) = cluster.bench.machine.write_counts();
    let seconds = cluster.bench.now.duration_since(start).as_secs();
    assert!(after - before <= 16_000 + 100 * (seconds + 1), "{} in {seconds} s", after - before);
    assert!(held > 0 || after - before < 16_000 + 50 * seconds);
    // What is urgent is written at once all the same.
    cluster.dies(2);
    assert_eq!(cluster.partition("a").isr, ids(&[1]));
}
