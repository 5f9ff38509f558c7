//! What is decided and refused, request by request.

use super::*;

fn refused(result: Result<Arc<Topic>, CreateTopicError>) -> CreateTopicError {
    result.expect_err("refused")
}

fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId::new).collect()
}

#[test]
fn a_topic_is_created_with_defaults_and_is_in_the_image() {
    let mut bench = Bench::ready();
    let created = bench.create_one(named("orders")).expect("created");
    assert_eq!(created.partitions.len(), 1);
    let partition = &created.partitions[0];
    assert_eq!(partition.leader, Some(BrokerId::new(1)));
    assert_eq!((partition.isr.clone(), partition.replicas.clone()), (ids(&[1]), ids(&[1])));
    assert_eq!(*bench.topic("orders"), *created);
    assert_eq!(bench.store.topics()["orders"], created);
}

#[test]
fn internal_topics_begin_with_as_many_replicas_as_there_can_be() {
    let mut bench = Bench::ready();
    let replicas = |topic: Arc<Topic>| topic.partitions[0].replicas.len();
    assert_eq!(bench.create_one(named("__transaction_state")).map(replicas), Ok(1));
    bench.join(2, 0);
    assert_eq!(bench.create_one(named("__consumer_offsets")).map(replicas), Ok(2));
    assert_eq!(bench.create_one(named("ordinary")).map(replicas), Ok(1));
}

#[test]
fn what_cannot_be_created_says_why() {
    let mut bench = Bench::ready();
    bench.create_one(named("a.b")).expect("created");
    let with = |change: &dyn Fn(&mut NewTopic)| {
        let mut topic = named("x");
        change(&mut topic);
        topic
    };
    let assigned = |assignments: &[(i32, &[i32])]| {
        assignments.iter().map(|(index, on)| (PartitionIndex::new(*index), ids(on))).collect::<Vec<_>>()
    };
    let cases: Vec<(NewTopic, CreateTopicError)> = vec![
        (named("a.b"), CreateTopicError::Exists("a.b".into())),
        (named("a_b"), InvalidName::Collision { name: "a_b".into(), other: "a.b".into() }.into()),
        (named("a b"), InvalidName::Characters { name: "a b".into() }.into()),
        (with(&|t| t.partitions = Some(0)), InvalidPartitions::NotPositive(0).into()),
        (with(&|t| t.partitions = Some(-2)), InvalidPartitions::NotPositive(-2).into()),
        (with(&|t| t.partitions = Some(10_001)), error::TooManyPartitions { got: 10_001, max: 10_000 }.into()),
        (with(&|t| t.replication_factor = Some(0)), InvalidReplicationFactor::NotPositive(0).into()),
        (
            with(&|t| t.replication_factor = Some(2)),
            InvalidReplicationFactor::TooLarge { wanted: 2, registered: 1 }.into(),
        ),
        (
            with(&|t| (t.assignments, t.partitions) = (assigned(&[(0, &[1])]), Some(1))),
            InvalidRequest::CountAndAssignment("the number of partitions").into(),
        ),
        (
            with(&|t| (t.assignments, t.replication_factor) = (assigned(&[(0, &[1])]), Some(1))),
            InvalidRequest::CountAndAssignment("the replication factor").into(),
        ),
        (
            with(&|t| t.assignments = assigned(&[(0, &[1]), (2, &[1])])),
            InvalidAssignment::Gap(PartitionIndex::new(1)).into(),
        ),
        (with(&|t| t.assignments = assigned(&[(0, &[4])])), InvalidAssignment::UnknownBroker(BrokerId::new(4)).into()),
    ];
    for (topic, expected) in cases {
        assert_eq!(refused(bench.create_one(topic)), expected);
    }
    let bad_config = with(&|t| t.config = [("retention.ms".into(), "x".into())].into());
    assert!(matches!(refused(bench.create_one(bad_config)), CreateTopicError::Config(ConfigError::Invalid(_))));
    let reserved = refused(bench.create_one(named("__cluster_metadata")));
    assert!(matches!(reserved, CreateTopicError::Request(InvalidRequest::Internal { .. })));
    assert_eq!(bench.store.topics().len(), 1, "nothing of it was made");
}

#[test]
fn items_of_one_request_are_judged_each_on_its_own() {
    let mut bench = Bench::ready();
    let results = bench.create(vec![named("a"), named("b b"), named("c"), named("d"), named("d")]);
    let ok: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(ok, [true, false, true, false, false]);
    assert!(matches!(results[3], Err(CreateTopicError::Request(InvalidRequest::Duplicate(_)))));
    assert_eq!(bench.machine.image().topics().keys().collect::<Vec<_>>(), ["a", "c"]);
    let collide = bench.create(vec![named("x.y"), named("x_y")]);
    assert!(collide[0].is_ok() && collide[1].is_err(), "names collide within one request too");
}

#[test]
fn a_trial_changes_nothing() {
    let mut bench = Bench::ready();
    let writes = bench.writes;
    let trial = Request::CreateTopics { topics: vec![named("a")], validate_only: true };
    let Answer::CreateTopics(results) = bench.ask(trial) else { panic!("other answer") };
    assert!(results[0].is_ok());
    bench.create_one(named("a")).expect("still free");
    let growth = Growth { topic: "a".into(), count: 3, assignments: None };
    let trial = Request::CreatePartitions { topics: vec![growth], validate_only: true };
    assert_eq!(bench.ask(trial), Answer::CreatePartitions(vec![Ok(())]));
    let change = ConfigChange::Replace([("retention.ms".into(), "1".into())].into());
    let trial =
        Request::AlterConfigs { resources: vec![(ConfigTarget::Topic("a".into()), change)], validate_only: true };
    assert_eq!(bench.ask(trial), Answer::AlterConfigs(vec![Ok(())]));
    assert_eq!(bench.writes, writes + 1, "only the creation was written");
    assert!(bench.topic("a").config.is_empty() && bench.topic("a").partitions.len() == 1);
}

#[test]
fn a_deleted_topic_leaves_a_tombstone_until_its_replicas_are_gone() {
    let mut bench = Bench::ready();
    let id = bench.create_one(named("a")).expect("created").id;
    let delete = |topic| Request::DeleteTopics { topics: vec![topic] };
    let Answer::DeleteTopics(results) = bench.ask(delete(TopicRef::Id(id))) else { panic!("other answer") };
    assert_eq!(results, [Ok(("a".into(), id))]);
    assert!(bench.machine.image().topic("a").is_none());
    assert_eq!(bench.machine.image().tombstones()[&id].holders, [BrokerId::new(1)].into());

    // Created again, it is another topic; the tombstone stays its own.
    let mut again = named("a");
    again.id = TopicId::from_bytes([9; 16]);
    bench.create_one(again).expect("created again");
    let unknown = bench.ask(delete(TopicRef::Id(id)));
    assert_eq!(unknown, Answer::DeleteTopics(vec![Err(DeleteTopicError::UnknownId(id))]));
    let gone = Request::ReplicasDeleted { broker: BrokerId::new(1), topics: vec![id], partitions: Vec::new() };
    assert_eq!(bench.ask(gone.clone()), Answer::ReplicasDeleted(Ok(())));
    assert!(bench.machine.image().tombstones().is_empty());
    assert!(bench.machine.image().topic("a").is_some());
    assert_eq!(bench.ask(gone), Answer::ReplicasDeleted(Ok(())), "saying it twice is no error");
}

#[test]
fn what_cannot_be_deleted_says_why() {
    let mut bench = Bench::ready();
    bench.create(vec![named("a"), named("__consumer_offsets")]);
    let topics = ["a", "nothing", "__consumer_offsets", "a"].map(|name| TopicRef::Name(name.into())).into();
    let Answer::DeleteTopics(results) = bench.ask(Request::DeleteTopics { topics }) else { panic!("other answer") };
    assert!(results[0].is_ok());
    assert_eq!(results[1], Err(DeleteTopicError::UnknownName("nothing".into())));
    assert!(matches!(results[2], Err(DeleteTopicError::Request(InvalidRequest::Internal { .. }))));
    assert!(results[3].is_err(), "it is deleted once");

    let mut config = config(1, 2);
    let file = [("delete.topic.enable".to_owned(), "false".to_owned())].into();
    config.broker = BrokerConfig::from_file(file).expect("valid").0;
    let mut bench = Bench::on(bench.store, config);
    let topics = vec![TopicRef::Name("a".into())];
    let answer = bench.ask(Request::DeleteTopics { topics });
    assert_eq!(answer, Answer::DeleteTopics(vec![Err(DeleteTopicError::Disabled)]));
}

#[test]
fn partitions_are_added_and_never_taken_away() {
    let mut bench = Bench::ready();
    bench.join(2, 0);
    let mut topic = named("a");
    topic.partitions = Some(3);
    bench.create_one(topic).expect("created");
    let mut grow = |count, assignments| {
        let topics = vec![Growth { topic: "a".into(), count, assignments }];
        let answer = bench.ask(Request::CreatePartitions { topics, validate_only: false });
        let Answer::CreatePartitions(mut results) = answer else { panic!("answered {answer:?}") };
        results.remove(0)
    };
    assert_eq!(grow(3, None), Err(InvalidPartitions::Same(3).into()));
    let fewer = InvalidPartitions::Fewer { topic: "a".into(), current: 3, wanted: 2 };
    assert_eq!(grow(2, None), Err(fewer.into()));
    assert_eq!(grow(0, None), Err(InvalidPartitions::NotPositive(0).into()));
    assert_eq!(
        grow(5, Some(vec![ids(&[1])])),
        Err(CreatePartitionsError::Assignment(InvalidAssignment::Count { added: 2, assigned: 1 }))
    );
    assert_eq!(
        grow(4, Some(vec![ids(&[1, 2])])),
        Err(CreatePartitionsError::Assignment(InvalidAssignment::Uneven { got: 2, expected: 1 }))
    );
    assert_eq!(grow(4, Some(vec![ids(&[2])])), Ok(()));
    assert_eq!(grow(6, None), Ok(()));
    let topic = bench.topic("a");
    assert_eq!(topic.partitions.len(), 6);
    assert_eq!(topic.partitions[3].replicas, ids(&[2]));
    assert_eq!(bench.machine.image().partition_count(), 6);
}

fn alter(bench: &mut Bench, target: ConfigTarget, change: ConfigChange) -> Result<(), AlterConfigError> {
    let answer = bench.ask(Request::AlterConfigs { resources: vec![(target, change)], validate_only: false });
    let Answer::AlterConfigs(mut results) = answer else { panic!("answered {answer:?}") };
    results.remove(0)
}

fn set(key: &str, value: &str) -> ConfigChange {
    ConfigChange::Alter(vec![(key.into(), Alteration::Set(value.into()))])
}

#[test]
fn topic_configs_are_altered_key_by_key_or_replaced_whole() {
    let mut bench = Bench::ready();
    bench.create_one(named("a")).expect("created");
    let topic = || ConfigTarget::Topic("a".into());
    alter(&mut bench, topic(), set("retention.ms", "5")).expect("altered");
    alter(&mut bench, topic(), set("segment.ms", "6")).expect("altered");
    let expected: ExplicitConfig = [("retention.ms".into(), "5".into()), ("segment.ms".into(), "6".into())].into();
    assert_eq!(bench.topic("a").config, expected);
    let replaced: ExplicitConfig = [("retention.bytes".into(), "7".into())].into();
    alter(&mut bench, topic(), ConfigChange::Replace(replaced.clone())).expect("replaced");
    assert_eq!(bench.topic("a").config, replaced);
    let unset = ConfigChange::Alter(vec![("segment.ms".into(), Alteration::Delete)]);
    alter(&mut bench, topic(), unset).expect("deleting what is not set is no error");

    assert!(matches!(alter(&mut bench, topic(), set("retention.ms", "x")), Err(AlterConfigError::Config(_))));
    let unknown = alter(&mut bench, ConfigTarget::Topic("b".into()), set("retention.ms", "1"));
    assert_eq!(unknown, Err(AlterConfigError::UnknownName("b".into())));
    let twice = ["1", "2"].map(|value| ("retention.ms".to_owned(), Alteration::Set(value.into())));
    let twice = alter(&mut bench, topic(), ConfigChange::Alter(twice.into()));
    assert!(matches!(twice, Err(AlterConfigError::Request(InvalidRequest::Duplicate(_)))));
}

#[test]
fn a_file_that_changes_under_the_controller_counts_under_what_is_set_at_run_time() {
    let mut bench = Bench::ready();
    bench.create_one(named("a")).expect("created");
    let file = |policy: &str| {
        let values = [("log.cleanup.policy".to_owned(), policy.to_owned())].into();
        BrokerConfig::from_file(values).expect("valid").0
    };
    let mut appended = |machine: &dyn Fn(&mut Bench)| {
        machine(&mut bench);
        let none = ConfigChange::Alter(vec![("cleanup.policy".into(), Alteration::Delete)]);
        alter(&mut bench, ConfigTarget::Topic("a".into()), none).expect("altered");
        let append = ConfigChange::Alter(vec![("cleanup.policy".into(), Alteration::Append("delete".into()))]);
        alter(&mut bench, ConfigTarget::Topic("a".into()), append).expect("altered");
        bench.topic("a").config["cleanup.policy"].clone()
    };
    assert_eq!(appended(&|_| {}), "delete");
    assert_eq!(appended(&|bench| bench.machine.configure(file("compact"))), "compact,delete");
    assert_eq!(appended(&|bench| bench.machine.configure(file("delete"))), "delete");
    let set_for_all = |bench: &mut Bench| {
        alter(bench, ConfigTarget::AllBrokers, set("log.cleanup.policy", "delete")).expect("altered");
        bench.machine.configure(file("compact"));
    };
    assert_eq!(appended(&set_for_all), "delete", "what was set at run time wins");
}

#[test]
fn run_time_broker_configs_change_what_new_topics_are_checked_with() {
    let mut bench = Bench::ready();
    let all = || ConfigTarget::AllBrokers;
    alter(&mut bench, all(), set("log.retention.ms", "5")).expect("altered");
    alter(&mut bench, ConfigTarget::Broker(BrokerId::new(1)), set("log.cleaner.threads", "2")).expect("altered");
    assert_eq!(bench.machine.image().broker_defaults()["log.retention.ms"], "5");
    assert_eq!(bench.machine.image().broker_config(BrokerId::new(1)).expect("set")["log.cleaner.threads"], "2");
    let refused = alter(&mut bench, all(), set("min.insync.replicas", "2"));
    assert_eq!(refused, Err(ConfigError::ReadOnly("min.insync.replicas").into()));
    let refused = alter(&mut bench, ConfigTarget::Broker(BrokerId::new(9)), set("log.cleaner.threads", "2"));
    assert_eq!(refused, Err(InvalidRequest::UnknownBroker(BrokerId::new(9)).into()));
}

#[test]
fn another_min_insync_replicas_clears_the_eligible_replicas_in_the_same_write() {
    let mut bench = Bench::ready();
    bench.create_one(named("a")).expect("created");
    let shard = DocumentId::Shard(document::shard_of("a", document::SHARD_COUNT));
    let Some((Document::Shard(content), _)) = bench.store.documents.get_mut(&shard) else { panic!("no shard") };
    let topics = &mut Arc::make_mut(content).topics;
    Arc::make_mut(topics.get_mut("a").expect("there")).partitions[0].elr = ids(&[5]);
    let mut bench = Bench::on(bench.store, config(1, 2));
    let before = bench.topic("a").partitions[0].clone();
    alter(&mut bench, ConfigTarget::Topic("a".into()), set("retention.ms", "5")).expect("altered");
    assert_eq!(bench.topic("a").partitions[0], before, "another config leaves it alone");
    alter(&mut bench, ConfigTarget::Topic("a".into()), set("min.insync.replicas", "2")).expect("altered");
    let after = bench.topic("a").partitions[0].clone();
    assert_eq!((after.elr.len(), after.partition_epoch.get()), (0, before.partition_epoch.get() + 1));
}

#[test]
fn producer_ids_are_never_given_twice() {
    let mut bench = Bench::ready();
    let mut next = 0;
    for round in 2..6 {
        for _ in 0..3 {
            let Answer::AllocateProducerIds(Ok(block)) = bench.ask(Request::AllocateProducerIds) else {
                panic!("refused")
            };
            assert!(block.first >= ProducerId::new(next));
            next = block.first.get() + block.count;
        }
        bench = Bench::on(bench.store, config(1, round));
    }
}

#[test]
fn a_broker_that_comes_back_on_its_disk_leads_again_in_a_new_epoch() {
    let mut bench = Bench::ready();
    bench.create_one(named("a")).expect("created");
    let before = bench.topic("a").partitions[0].clone();
    let registered = bench.join(1, 1);
    assert_eq!(registered, Registered { incarnation: Incarnation::new(2), trusted: true });
    let after = bench.topic("a").partitions[0].clone();
    assert_eq!(after.leader, before.leader);
    assert_eq!(after.leader_epoch, LeaderEpoch::new(1));
    assert_eq!(after.partition_epoch, PartitionEpoch::new(1));
    let admit = Request::Admit { broker: BrokerId::new(1), incarnation: registered.incarnation, endpoints: None };
    assert_eq!(bench.ask(admit), Answer::Admit(Ok(())), "a lost answer may be asked for again");
    assert_eq!(bench.topic("a").partitions[0], after, "without another epoch");
}

#[test]
fn a_broker_that_is_reached_elsewhere_says_so_and_nothing_else_changes() {
    let mut bench = Bench::ready();
    bench.create_one(named("a")).expect("created");
    let before = bench.topic("a").partitions[0].clone();
    let at = |host: &str| BTreeMap::from([("OUT".to_owned(), Endpoint { host: host.to_owned(), port: 31_234 })]);
    let admit = |run: i64, endpoints| Request::Admit {
        broker: BrokerId::new(1),
        incarnation: Incarnation::new(run),
        endpoints,
    };
    let known = |bench: &Bench| bench.machine.image().brokers()[&BrokerId::new(1)].clone();
    assert_eq!(bench.ask(admit(1, Some(at("one")))), Answer::Admit(Ok(())));
    assert_eq!((known(&bench).endpoints, known(&bench).incarnation), (at("one"), Incarnation::new(1)));
    assert_eq!(bench.topic("a").partitions[0], before, "its leaderships go on");
    let writes = bench.writes;
    assert_eq!(bench.ask(admit(1, Some(at("one")))), Answer::Admit(Ok(())));
    assert_eq!(bench.ask(admit(1, None)), Answer::Admit(Ok(())));
    assert_eq!((known(&bench).endpoints, bench.writes), (at("one"), writes), "what is known already is not written");
    assert!(matches!(bench.ask(admit(2, Some(at("two")))), Answer::Admit(Err(RegisterError::StaleRun { .. }))));
    assert_eq!(known(&bench).endpoints, at("one"), "only the run that is registered has a say");
}

#[test]
fn a_run_that_was_allotted_and_never_recorded_does_not_count_as_another_disk() {
    let mut bench = Bench::ready();
    bench.create_one(named("a")).expect("created");
    // Allotted run 2, died before recording it; its directory still says 1. Then again.
    for expected in [2, 3] {
        let Answer::Register(Ok(registered)) = bench.ask(registration(1, 1, 1)) else { panic!("refused") };
        assert_eq!(registered, Registered { incarnation: Incarnation::new(expected), trusted: true });
    }
    // This time it recorded run 3, and died before it was admitted.
    let Answer::Register(Ok(registered)) = bench.ask(registration(1, 3, 1)) else { panic!("refused") };
    assert!(registered.trusted);
    // It recorded 4 when 5 had been allotted already, to a question that it had asked twice.
    bench.ask(registration(1, 3, 1));
    let Answer::Register(Ok(registered)) = bench.ask(registration(1, 4, 1)) else { panic!("refused") };
    assert_eq!(registered, Registered { incarnation: Incarnation::new(6), trusted: true });
    assert_eq!(bench.topic("a").partitions[0].isr, ids(&[1]));
    let Answer::Register(Ok(registered)) = bench.ask(registration(1, 2, 1)) else { panic!("refused") };
    assert!(!registered.trusted, "that is the state of before it recorded 3");
}

// A9
#[test]
fn a_disk_that_was_restored_replaced_or_emptied_leads_nothing() {
    for (recorded, directory) in [(1, 1), (0, 1), (2, 9)] {
        let mut bench = Bench::ready();
        bench.create_one(named("a")).expect("created");
        bench.join(1, 1);
        let Answer::Register(Ok(registered)) = bench.ask(registration(1, recorded, directory)) else {
            panic!("refused")
        };
        assert!(!registered.trusted, "run {recorded} on directory {directory}");
        let out = |partition: &Partition| partition.leader.is_none() && partition.isr.is_empty();
        assert!(out(&bench.topic("a").partitions[0]));
        let admit = Request::Admit { broker: BrokerId::new(1), incarnation: registered.incarnation, endpoints: None };
        assert_eq!(bench.ask(admit), Answer::Admit(Ok(())));
        assert!(out(&bench.topic("a").partitions[0]), "nobody else has the records either: it stays so");
        // Somebody who accepts the loss says so per topic.
        alter(&mut bench, ConfigTarget::Topic("a".into()), set("unclean.leader.election.enable", "true")).expect("set");
        bench.ask(registration(1, registered.incarnation.get(), directory));
        let incarnation = Incarnation::new(registered.incarnation.get() + 1);
        bench.ask(Request::Admit { broker: BrokerId::new(1), incarnation, endpoints: None });
        assert_eq!(bench.topic("a").partitions[0].leader, Some(BrokerId::new(1)));
    }
}

#[test]
fn an_old_run_is_not_admitted_and_a_foreign_directory_is_refused() {
    let mut bench = Bench::ready();
    bench.ask(registration(1, 1, 1));
    let admit = Request::Admit { broker: BrokerId::new(1), incarnation: Incarnation::new(1), endpoints: None };
    let stale =
        RegisterError::StaleRun { broker: BrokerId::new(1), got: Incarnation::new(1), registered: Incarnation::new(2) };
    assert_eq!(bench.ask(admit), Answer::Admit(Err(stale)));
    let Request::Register(mut foreign) = registration(1, 1, 1) else { unreachable!("just made") };
    foreign.cluster = ClusterId::ZERO;
    let answer = bench.ask(Request::Register(foreign));
    assert!(matches!(answer, Answer::Register(Err(RegisterError::OtherCluster { .. }))));
}

#[test]
fn a_topic_made_while_its_broker_was_not_yet_admitted_gets_its_leader_then() {
    let mut bench = Bench::on(Store::initialised(), config(1, 1));
    bench.ask(registration(1, 0, 1));
    let created = bench.create_one(named("a")).expect("created");
    assert_eq!(created.partitions[0].leader, None);
    bench.ask(Request::Admit { broker: BrokerId::new(1), incarnation: Incarnation::new(1), endpoints: None });
    assert_eq!(bench.topic("a").partitions[0].leader, Some(BrokerId::new(1)));
}
